//! Zip archives of tensors, in memory.
//!
//! The crate zip copies what it reads. Stored entries are borrowed here, and so their checksums are
//! checked here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Cursor;
use std::ops::Range;
use std::sync::OnceLock;

use flate2::read::DeflateDecoder;
use zip::{CompressionMethod, ZipArchive};

use super::budget::{Budget, inflated};

/// Largest number of bytes that one byte of a deflated entry can become.
const MAX_INFLATION: u64 = 1032;

const DAMAGED: &str = "a checksum does not match: the file is damaged, get it again";

/// The directory of an archive.
#[derive(Debug)]
pub(super) struct Archive {
    entries: BTreeMap<String, Entry>,
    budget: Budget,
}

/// A file in an archive.
#[derive(Debug)]
pub(super) struct Entry {
    range: Range<usize>,
    method: CompressionMethod,
    size: u64,
    checksum: u32,
    intact: OnceLock<bool>,
    budget: Budget,
}

impl Archive {
    /// Reads the directory of an archive, with a budget of its own.
    #[cfg(test)]
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        Self::within(bytes, &Budget::of(bytes.len()))
    }

    /// Reads the directory of an archive. Decompressed entries are taken from the budget.
    pub fn within(bytes: &[u8], budget: &Budget) -> Result<Self, String> {
        let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|e| e.to_string())?;
        let mut entries = BTreeMap::new();
        for index in 0..archive.len() {
            let file = archive.by_index_raw(index).map_err(|e| e.to_string())?;
            let name = file.name().map_err(|e| e.to_string())?.into_owned();
            let range = file.data_start().and_then(|start| {
                let end = start.checked_add(file.compressed_size())?;
                let range = usize::try_from(start).ok()?..usize::try_from(end).ok()?;
                (!file.encrypted() && range.end <= bytes.len()).then_some(range)
            });
            let range = range.ok_or_else(|| {
                format!("entry {name:?} is encrypted or does not lie within the file")
            })?;
            let entry = Entry {
                range,
                method: file.compression(),
                size: file.size(),
                checksum: file.crc32(),
                intact: OnceLock::new(),
                budget: budget.clone(),
            };
            entries.insert(name, entry);
        }
        Ok(Self {
            entries,
            budget: budget.clone(),
        })
    }

    /// What is left for reading the file.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Names of all entries, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The entry of a name.
    pub fn entry(&self, name: &str) -> Result<&Entry, String> {
        (self.entries.get(name)).ok_or_else(|| format!("expected an entry {name:?}, found none"))
    }
}

impl Entry {
    /// Length of an entry that must not be compressed.
    pub fn stored_length(&self) -> Result<usize, String> {
        match self.method {
            CompressionMethod::Stored => Ok(self.range.len()),
            _ => Err("expected an uncompressed entry, as in PyTorch's archives".into()),
        }
    }

    /// The entry's bytes in the archive, which must not be compressed.
    ///
    /// The checksum is computed once, however often the entry is asked for.
    pub fn stored<'a>(&self, archive: &'a [u8]) -> Result<&'a [u8], String> {
        self.stored_length()?;
        let bytes = (archive.get(self.range.clone()))
            .ok_or("expected the archive that the entry is from")?;
        let intact = || crc32fast::hash(bytes) == self.checksum;
        match self.intact.get_or_init(intact) {
            true => Ok(bytes),
            false => Err(DAMAGED.into()),
        }
    }

    /// The entry's content, decompressed if need be.
    pub fn content<'a>(&self, archive: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
        match self.method {
            CompressionMethod::Stored => return self.stored(archive).map(Cow::Borrowed),
            CompressionMethod::Deflated => {}
            other => return Err(format!("expected an entry that is deflated, found {other}")),
        }
        let (compressed, size) = (self.range.len(), self.size);
        if size > (compressed as u64).saturating_mul(MAX_INFLATION) {
            return Err(format!(
                "{compressed} compressed bytes cannot become {size} bytes"
            ));
        }
        let bytes = (archive.get(self.range.clone()))
            .ok_or("expected the archive that the entry is from")?;
        let content = inflated(DeflateDecoder::new(bytes), &self.budget)?;
        match content.len() {
            length if length as u64 != size => {
                Err(format!("expected {size} bytes, found {length}"))
            }
            _ if crc32fast::hash(&content) != self.checksum => Err(DAMAGED.into()),
            _ => Ok(content.into()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
