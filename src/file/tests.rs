use super::*;

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
    write(&path, &[b"sec", b"ond"]).unwrap();
    assert_eq!(read(&path).unwrap(), b"second");
    assert_eq!(scratch.entries(), 1);
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
    assert!(matches!(result, Err(Error::Argument { .. })), "{result:?}");
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
        assert!(matches!(write(unwritable, &[b"z"]), Err(Error::Io { .. })));
    }
}

#[test]
fn a_missing_file_is_an_io_error() {
    let error = read(Path::new("no such file")).unwrap_err();
    assert!(error.to_string().contains("cannot read no such file"));
}
