//! Zip archives of tensors, in memory.
//!
//! The crate zip copies what it reads. Stored entries are borrowed here, and so their checksums are
//! checked here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::ops::Range;
use std::sync::OnceLock;

use zip::{CompressionMethod, ZipArchive};

/// Largest number of bytes that one byte of a deflated entry can become.
const MAX_INFLATION: u64 = 1032;

/// The directory of an archive.
#[derive(Debug)]
pub(super) struct Archive {
    entries: BTreeMap<String, Entry>,
}

/// A file in an archive.
#[derive(Debug)]
pub(super) struct Entry {
    index: usize,
    range: Range<usize>,
    stored: bool,
    size: u64,
    checksum: u32,
    intact: OnceLock<bool>,
}

impl Archive {
    /// Reads the directory of an archive.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut archive = open(bytes)?;
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
                index,
                range,
                stored: file.compression() == CompressionMethod::Stored,
                size: file.size(),
                checksum: file.crc32(),
                intact: OnceLock::new(),
            };
            entries.insert(name, entry);
        }
        Ok(Self { entries })
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
        match self.stored {
            true => Ok(self.range.len()),
            false => Err("expected an uncompressed entry, as in PyTorch's archives".into()),
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
            false => Err("a checksum does not match: the file is damaged, get it again".into()),
        }
    }

    /// The entry's content, decompressed if need be.
    pub fn content<'a>(&self, archive: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
        if self.stored {
            return self.stored(archive).map(Cow::Borrowed);
        }
        let (compressed, size) = (self.range.len(), self.size);
        if size > (compressed as u64).saturating_mul(MAX_INFLATION) {
            return Err(format!(
                "{compressed} compressed bytes cannot become {size} bytes"
            ));
        }
        let mut content = Vec::new();
        let mut zip = open(archive)?;
        let file = zip.by_index(self.index).map_err(|e| e.to_string())?;
        // Reads one byte more than expected: the checksum is verified at the end of the data.
        let mut file = file.take(size.saturating_add(1));
        let read = file.read_to_end(&mut content);
        match read.map_err(|e| e.to_string())? {
            read if read as u64 == size => Ok(content.into()),
            read => Err(format!("expected {size} bytes, found {read}")),
        }
    }
}

fn open(bytes: &[u8]) -> Result<ZipArchive<Cursor<&[u8]>>, String> {
    ZipArchive::new(Cursor::new(bytes)).map_err(|error| error.to_string())
}

#[cfg(test)]
pub(super) mod tests;
