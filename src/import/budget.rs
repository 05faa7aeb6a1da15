//! What reading a file may cost.

use std::borrow::Cow;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flate2::read::MultiGzDecoder;

use crate::sniff::{self, Kind};

/// Bytes that reading a file may take for each of its own, and those that even a small file may.
const PER_BYTE: usize = 6;
const FREE: usize = 48 << 20;

/// The memory that is left for reading a file: everything that is made of its bytes, until the
/// file is read. Handles share it.
///
/// Compressed entries, shared values and strided views make much of few bytes. What was taken is
/// never given back, so that time is bounded, too: a file cannot have the same bytes read again
/// and again. With the file itself the memory stays below eight times its size and 64 MiB.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<AtomicUsize>);

impl Budget {
    /// For a file of `length` bytes.
    pub fn of(length: usize) -> Self {
        let bytes = length.saturating_mul(PER_BYTE).saturating_add(FREE);
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    /// Takes `bytes`.
    ///
    /// # Errors
    /// If there are fewer; then nothing is left.
    pub fn take(&self, bytes: usize) -> Result<(), String> {
        // Threads that take at once may take a little twice, which nothing depends on.
        let left = self.0.load(Ordering::Relaxed).checked_sub(bytes);
        self.0.store(left.unwrap_or(0), Ordering::Relaxed);
        match left {
            Some(_) => Ok(()),
            None => Err(format!(
                "reading it takes more memory than {PER_BYTE} times its size and {} MiB",
                FREE >> 20
            )),
        }
    }

    /// True when nothing is left.
    pub fn is_spent(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

/// The content of a file, decompressed if it is gzip-compressed, and the budget for reading it.
///
/// # Errors
/// If the compressed data are damaged or become too many.
pub(super) fn opened(bytes: Cow<'_, [u8]>) -> Result<(Cow<'_, [u8]>, Budget), String> {
    let budget = Budget::of(bytes.len());
    if sniff::kind(&bytes) != Kind::Gzip {
        return Ok((bytes, budget));
    }
    let content = inflated(MultiGzDecoder::new(&*bytes), &budget);
    let content = content.map_err(|reason| format!("its gzip compression: {reason}"))?;
    match sniff::kind(&content) {
        Kind::Gzip => Err("it is a gzip-compressed file within another".into()),
        _ => Ok((content.into(), budget)),
    }
}

/// Everything that `compressed` gives, within the budget.
pub(super) fn inflated(mut compressed: impl Read, budget: &Budget) -> Result<Vec<u8>, String> {
    const PIECE: usize = 1 << 16;
    let mut content = Vec::new();
    loop {
        budget.take(PIECE)?;
        // Doubling might take twice what is needed.
        if content.capacity() - content.len() < PIECE {
            content.reserve_exact(content.len() / 4 + 2 * PIECE);
        }
        let mut piece = compressed.by_ref().take(PIECE as u64);
        match piece
            .read_to_end(&mut content)
            .map_err(|error| error.to_string())?
        {
            PIECE => {}
            _ => return Ok(content),
        }
    }
}

#[cfg(test)]
mod tests;
