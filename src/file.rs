//! Files on disk, read and replaced as a whole.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{Error, Result};

/// The whole content of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|source| Error::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })
}

/// Maps a file into memory. It must stay as it is while the map is in use, which callers ask of
/// theirs.
pub(crate) fn map(path: &Path) -> Result<Box<dyn AsRef<[u8]> + Send + Sync>> {
    let failed = |action| {
        move |source| Error::Io {
            action,
            path: path.to_owned(),
            source,
        }
    };
    let file = fs::File::open(path).map_err(failed("open"))?;
    // SAFETY: the map is only ever read, and as plain bytes, of which all values are valid. That
    // the file stays as it is meanwhile is asked of the caller.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(failed("map"))?;
    Ok(Box::new(map))
}

/// Replaces the file at `path` with the pieces that `content` hands to its argument, one after the
/// other.
///
/// They go to a file beside it, which takes its place when complete: no reader ever sees half a
/// file, and whatever fails, an earlier file stays as it was.
pub(crate) fn replace(
    path: &Path,
    content: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>,
) -> Result<()> {
    let failed = |source| Error::Io {
        action: "write",
        path: path.to_owned(),
        source,
    };
    let (partial, file) = PartialFile::create_beside(path).map_err(failed)?;
    let mut file = io::BufWriter::new(file);
    content(&mut |bytes| file.write_all(bytes).map_err(failed))?;
    file.into_inner()
        .map_err(|error| failed(error.into_error()))?
        .sync_all()
        .map_err(failed)?;
    fs::rename(&partial.0, path).map_err(failed)
}

/// Makes the directory at `path`, which must not hold anything yet, with what `content` puts into
/// the directory that it is given.
///
/// That is one beside it, which takes its place when complete: whatever fails, no half-filled
/// directory stays.
#[cfg(feature = "import")]
pub(crate) fn create_directory(
    path: &Path,
    content: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let failed = |source| Error::Io {
        action: "write",
        path: path.to_owned(),
        source,
    };
    let partial = PartialDirectory(partial_name(path));
    fs::create_dir(&partial.0).map_err(failed)?;
    content(&partial.0)?;
    fs::rename(&partial.0, path).map_err(failed)
}

/// A name beside `path` that nobody else uses.
fn partial_name(path: &Path) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);

    let mut name = path.file_name().unwrap_or_default().to_owned();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".{}-{count}.partial", process::id()));
    path.with_file_name(name)
}

/// A directory on its way, removed unless it was moved to its place.
#[cfg(feature = "import")]
struct PartialDirectory(PathBuf);

#[cfg(feature = "import")]
impl Drop for PartialDirectory {
    fn drop(&mut self) {
        // As for files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file on its way, removed unless it was moved to its place.
struct PartialFile(PathBuf);

impl PartialFile {
    fn create_beside(path: &Path) -> io::Result<(Self, fs::File)> {
        let path = partial_name(path);
        let file = fs::File::create_new(&path)?;
        Ok((Self(path), file))
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        // After the move there is nothing left to remove; before it, the first error is the one to
        // report.
        let _ = fs::remove_file(&self.0);
    }
}

/// A directory of its own for one test, removed when dropped.
#[cfg(test)]
pub(crate) struct Scratch(PathBuf);

#[cfg(test)]
impl Scratch {
    pub fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gpavatar-{test}-{}", process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Number of files and directories in it.
    pub fn entries(&self) -> usize {
        fs::read_dir(&self.0).unwrap().count()
    }
}

#[cfg(test)]
impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests;
