//! Files on disk, read and replaced as a whole.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::Builder;

use crate::error::{Error, Result};

/// The whole content of a file.
///
/// Files are read, not mapped: a map of one that another process cuts would end this one.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = failed("read", path);
    let found = fs::metadata(path).map_err(failed)?;
    // Opening a pipe waits for somebody to write into it, and a device may have no end.
    if !found.is_file() && !found.is_dir() {
        return Err(failed(io::Error::other("it is not a regular file")));
    }
    fs::read(path).map_err(failed)
}

/// Replaces the file at `path`, or the one that a link there names, with the pieces that `content`
/// hands to its argument, one after the other.
///
/// They go to a temporary file beside it, which takes its place when complete: no reader ever sees
/// half a file, and whatever fails, an earlier file stays as it was.
pub(crate) fn replace(
    path: &Path,
    content: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>,
) -> Result<()> {
    let failed = failed("write", path);
    let target = target(path).map_err(failed)?;
    if fs::metadata(&target).is_ok_and(|found| !found.is_file()) {
        return Err(failed(io::Error::other("it exists and is not a file")));
    }
    let directory = directory_of(&target).map_err(failed)?;
    let mut partial = partial(0o666).tempfile_in(directory).map_err(failed)?;
    let mut file = io::BufWriter::new(&mut partial);
    content(&mut |bytes| file.write_all(bytes).map_err(failed))?;
    file.flush().map_err(failed)?;
    drop(file);
    partial.as_file().sync_all().map_err(failed)?;
    match partial.persist(&target) {
        Ok(_) => Ok(()),
        Err(error) => Err(failed(error.error)),
    }
}

/// Makes the directory at `path`, which must not hold anything yet, with the files that `content`
/// writes into its argument.
///
/// It is filled as a temporary directory beside its place and moved when complete, so that a
/// failure leaves no half-filled directory.
#[cfg(feature = "import")]
pub(crate) fn create_directory(
    path: &Path,
    content: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let failed = failed("write", path);
    let beside = directory_of(path).map_err(failed)?;
    let partial = partial(0o777).tempdir_in(beside).map_err(failed)?;
    content(partial.path())?;
    fs::rename(partial.path(), path).map_err(failed)?;
    // There is nothing left to remove.
    let _ = partial.keep();
    Ok(())
}

/// The error of an `action` (read, write, …) on the file at `path`.
pub(crate) fn failed(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Error + Copy {
    move |source| Error::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

/// The file that a path means, which need not exist: links are followed.
fn target(path: &Path) -> io::Result<PathBuf> {
    if let Ok(found) = fs::canonicalize(path) {
        return Ok(found);
    }
    // As many as Linux follows.
    const MAX_LINKS: usize = 40;
    let mut target = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&target) {
            // One that is relative starts where the link lies.
            Ok(next) => target = directory_of(&target)?.join(next),
            Err(_) => return Ok(target),
        }
    }
    Err(io::Error::other("its links lead around in a circle"))
}

fn directory_of(path: &Path) -> io::Result<&Path> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Ok(Path::new(".")),
        Some(parent) => Ok(parent),
        None => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Makes temporary files and directories with the permissions of ordinary ones: `mode` less the
/// process's mask.
fn partial(mode: u32) -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder.prefix(".gpavatar-").suffix(".partial");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    let _ = mode;
    builder
}

#[cfg(test)]
pub(crate) use tests::Scratch;
#[cfg(test)]
mod tests;
