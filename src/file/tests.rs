use tempfile::TempDir;

use super::*;
use crate::error::refused;

/// A directory of its own for one test, removed when dropped.
pub(crate) struct Scratch(TempDir);

impl Scratch {
    pub fn new(test: &str) -> Self {
        let prefix = format!("gpavatar-{test}-");
        Self(TempDir::with_prefix(prefix).unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Number of files and directories in it.
    pub fn entries(&self) -> usize {
        fs::read_dir(self.0.path()).unwrap().count()
    }
}

fn write(path: &Path, pieces: &[&[u8]]) -> Result<()> {
    replace(path, |write| {
        pieces.iter().try_for_each(|piece| write(piece))
    })
}

#[test]
fn replacing_leaves_the_new_file_and_nothing_else() {
    let scratch = Scratch::new("file-replace");
    let path = scratch.path("data.bin");
    write(&path, &[b"longer than ", b"the second"]).unwrap();
    let mut earlier = fs::File::open(&path).unwrap();
    write(&path, &[b"sec", b"ond"]).unwrap();
    assert_eq!(read(&path).unwrap(), b"second");
    assert_eq!(scratch.entries(), 1);
    // A reader of the earlier file keeps it.
    let mut content = String::new();
    io::Read::read_to_string(&mut earlier, &mut content).unwrap();
    assert_eq!(content, "longer than the second");
}

#[test]
fn content_that_fails_half_way_leaves_the_earlier_file() {
    let scratch = Scratch::new("file-content");
    let path = scratch.path("data.bin");
    write(&path, &[b"first"]).unwrap();
    let result = replace(&path, |write| {
        write(b"sec")?;
        Err(Error::argument("content", "all of it", "half of it"))
    });
    refused!(result, Argument);
    assert_eq!(read(&path).unwrap(), b"first");
    assert_eq!(scratch.entries(), 1);
}

#[test]
fn a_failed_write_names_the_file_and_cleans_up() {
    let scratch = Scratch::new("file-failed");
    // A directory that is not empty cannot be replaced by a file.
    let path = scratch.path("taken");
    fs::create_dir(&path).unwrap();
    write(&path.join("inside"), &[b"x"]).unwrap();
    let error = write(&path, &[b"y"]).unwrap_err();
    assert!(matches!(error, Error::Io { action: "write", path: p, .. } if p == path));
    assert_eq!(scratch.entries(), 1);
    for unwritable in [
        Path::new(""),
        Path::new("/"),
        &scratch.path("no/such/directory"),
    ] {
        refused!(write(unwritable, &[b"z"]), Io);
    }
}

#[test]
fn a_missing_file_is_an_io_error() {
    let error = read(Path::new("no such file")).unwrap_err();
    assert!(error.to_string().contains("cannot read no such file"));
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_permissions_are_ordinary() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let scratch = Scratch::new("file-links");
    let (file, link) = (scratch.path("data.bin"), scratch.path("link"));
    fs::write(&file, b"first").unwrap();
    symlink("data.bin", &link).unwrap();
    write(&link, &[b"second"]).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(read(&file).unwrap(), b"second");
    let ordinary = scratch.path("ordinary");
    fs::write(&ordinary, b"").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&file), mode(&ordinary));
    // One that leads nowhere makes the file that it names.
    let (nowhere, far) = (scratch.path("nowhere"), scratch.path("far"));
    symlink("new.bin", &nowhere).unwrap();
    symlink(&nowhere, &far).unwrap();
    write(&far, &[b"third"]).unwrap();
    assert!(fs::symlink_metadata(&nowhere).unwrap().is_symlink());
    assert_eq!(read(&scratch.path("new.bin")).unwrap(), b"third");
    let circle = scratch.path("circle");
    symlink("circle", &circle).unwrap();
    refused!(write(&circle, &[b"x"]), Io);
    // A name as long as file systems allow leaves no room for another beside it.
    write(&scratch.path(&"n".repeat(255)), &[b"x"]).unwrap();
    refused!(write(Path::new("/dev/null"), &[b"x"]), Io);
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_not_read() {
    let scratch = Scratch::new("file-pipes");
    let pipe = scratch.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    for path in [&*pipe, Path::new("/dev/zero")] {
        assert!(refused!(read(path), Io).contains("not a regular file"));
        assert!(refused!(write(path, &[b"x"]), Io).contains("not a file"));
    }
    refused!(read(&scratch.path("")), Io);
}
