//! Files of an album, before and after it is finished.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use image::AnimationDecoder;
use image::codecs::gif::GifDecoder;

use super::{Album, evenly};
use crate::testing::{files, plain};

fn album(directory: &Path, pictures: u8) -> Album {
    let mut album = Album::create(directory).unwrap();
    for i in 0..pictures {
        album.push(&plain(8, [i * 80, 10, 200, 255])).unwrap();
    }
    album
}

#[test]
fn an_album_is_there_when_it_is_complete() {
    let room = tempfile::tempdir().unwrap();
    let directory = room.path().join("album");
    let unfinished = album(&directory, 3);
    assert_eq!(files(&directory), [".partial"]);
    drop(unfinished);
    assert!(!directory.exists());

    for (pictures, expected) in [
        (3, ["0000.png", "0001.png", "0002.png"].as_slice()),
        (1, &["0000.png"]),
    ] {
        let mut album = album(&directory, pictures);
        album.save("sheet.png", &plain(4, [0; 4])).unwrap();
        let written = ["frames", "sheet.png"].map(|name| directory.join(name));
        assert_eq!(album.finish().unwrap(), written);
        assert_eq!(files(&directory), ["frames", "sheet.png"]);
        assert_eq!(files(&directory.join("frames")), expected);
    }
    drop(album(&directory, 2));
    assert_eq!(files(&directory), ["frames", "sheet.png"]);

    let directory = room.path().join("sheet");
    let mut album = album(&directory, 0);
    album.save("sheet.png", &plain(4, [0; 4])).unwrap();
    assert_eq!(album.finish().unwrap(), [directory.join("sheet.png")]);
    assert_eq!(files(&directory), ["sheet.png"]);
}

#[test]
fn an_animation_plays_the_pictures_in_order() {
    let room = tempfile::tempdir().unwrap();
    let directory = room.path().join("animation");
    let mut album = album(&directory, 3);
    album.push(&plain(8, [255, 255, 255, 60])).unwrap();
    album.animate("a.gif", [0, 2, 1, 3], 1.0 / 30.0).unwrap();
    album.finish().unwrap();
    let file = BufReader::new(File::open(directory.join("a.gif")).unwrap());
    let frames = GifDecoder::new(file).unwrap().into_frames();
    let frames = frames.collect_frames().unwrap();
    let first = |frame: &image::Frame| frame.buffer().get_pixel(3, 3).0;
    let colours: Vec<_> = frames.iter().map(first).collect();
    assert_eq!(
        colours[..3],
        [[0, 10, 200, 255], [160, 10, 200, 255], [80, 10, 200, 255]]
    );
    assert_eq!(colours[3][3], 0, "what is mostly transparent is not there");
}

#[test]
fn pictures_are_chosen_evenly() {
    assert_eq!(evenly(10, 4), [0, 2, 5, 7]);
    assert_eq!(evenly(3, 8), [0, 1, 2]);
    assert_eq!(evenly(0, 8), [0; 0]);
}
