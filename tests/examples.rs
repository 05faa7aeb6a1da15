//! What the examples make of the pictures that they render, and what they run on.

#[path = "../examples/common/mod.rs"]
mod common;

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use common::album::{Album, evenly, gif_delay};
use common::backdrop::Backdrop;
use common::cli::Range;
use common::demo::Demo;
use common::sheet::{Cell, GAP, line, sheet};
use gpavatar::Motion;
use image::codecs::gif::GifDecoder;
use image::{AnimationDecoder, Rgba, RgbaImage};

fn plain(side: u32, colour: [u8; 4]) -> RgbaImage {
    RgbaImage::from_pixel(side, side, Rgba(colour))
}

/// A directory that does not exist.
fn nowhere(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&directory);
    directory
}

fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<String> = entries.map(|entry| name(entry.unwrap())).collect();
    names.sort();
    names
}

fn album(directory: &Path, pictures: u8) -> Album {
    let mut album = Album::create(directory).unwrap();
    for i in 0..pictures {
        album.push(&plain(8, [i * 80, 10, 200, 255])).unwrap();
    }
    album
}

#[test]
fn an_album_is_there_when_it_is_complete() {
    let directory = nowhere("album");
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
        let written = album.finish().unwrap();
        assert_eq!(
            written,
            [directory.join("frames"), directory.join("sheet.png")]
        );
        assert_eq!(files(&directory), ["frames", "sheet.png"]);
        assert_eq!(files(&directory.join("frames")), expected);
    }
    drop(album(&directory, 2));
    assert_eq!(files(&directory), ["frames", "sheet.png"]);
}

#[test]
fn an_animation_plays_the_pictures_in_order() {
    let directory = nowhere("animation");
    let mut album = album(&directory, 3);
    album.push(&plain(8, [255, 255, 255, 60])).unwrap();
    album.animate("a.gif", [0, 2, 1, 3], 1.0 / 30.0).unwrap();
    album.finish().unwrap();
    let file = BufReader::new(File::open(directory.join("a.gif")).unwrap());
    let frames = GifDecoder::new(file)
        .unwrap()
        .into_frames()
        .collect_frames()
        .unwrap();
    let first = |frame: &image::Frame| frame.buffer().get_pixel(3, 3).0;
    let colours: Vec<_> = frames.iter().map(first).collect();
    assert_eq!(
        colours[..3],
        [[0, 10, 200, 255], [160, 10, 200, 255], [80, 10, 200, 255]]
    );
    assert_eq!(colours[3][3], 0, "what is mostly transparent is not there");
}

#[test]
fn an_animation_lasts_as_long_as_it_should() {
    let delays: Vec<_> = (0..30).map(|i| gif_delay(i, 1.0 / 30.0)).collect();
    assert_eq!(delays.iter().sum::<std::time::Duration>().as_millis(), 1000);
    assert!(
        delays
            .iter()
            .all(|delay| [30, 40].contains(&delay.as_millis()))
    );
}

#[test]
fn a_sheet_has_its_cells_in_rows() {
    let red = |i: u8| Cell {
        label: "8".into(),
        picture: plain(32, [200 + i, 0, 0, 255]),
    };
    let (above, below) = ([red(0)], [red(1), red(2), red(3), red(4)]);
    let (columns, width) = (3, 300);
    let sheet = sheet(&[&above, &below], columns, width);
    let pitch = (width - GAP) / columns;
    let side = pitch - GAP;
    let height = side + GAP + line(side);
    assert_eq!(sheet.dimensions(), (width, 3 * height + GAP));
    let cells = [(0, 0), (0, 1), (1, 1), (2, 1), (0, 2)];
    for (i, (column, row)) in (0u8..).zip(cells) {
        let (x, y) = (GAP + column * pitch, GAP + row * height);
        let middle = sheet.get_pixel(x + side / 2, y + side / 2);
        assert_eq!(middle.0, [200 + i, 0, 0, 255]);
        // All dots of the upper edge of an 8.
        let canvas = sheet.get_pixel(0, 0);
        let label = (x..x + 6).map(|x| sheet.get_pixel(x, y + side + 4));
        assert!(label.clone().all(|ink| ink != canvas), "label {i}");
    }
}

#[test]
fn a_picture_that_is_not_square_is_in_the_middle_of_its_cell() {
    let cell = Cell {
        label: String::new(),
        picture: RgbaImage::from_pixel(40, 10, Rgba([255, 255, 255, 255])),
    };
    let sheet = sheet(&[&[cell]], 1, 100 + 2 * GAP);
    let white: Vec<u32> = (0..sheet.height())
        .filter(|y| sheet.get_pixel(GAP + 50, *y)[0] == 255)
        .collect();
    assert_eq!((white.len(), white[0]), (25, GAP + 37));
}

#[test]
fn pictures_are_chosen_evenly() {
    assert_eq!(evenly(10, 4), [0, 2, 5, 7]);
    assert_eq!(evenly(3, 8), [0, 1, 2]);
    assert_eq!(evenly(0, 8), [0; 0]);
}

#[test]
fn ranges_are_clipped_and_never_empty() {
    let of = |text: &str| text.parse::<Range>().and_then(|range| range.of(48));
    assert_eq!(of(".."), Ok(0..48));
    assert_eq!(of("12.."), Ok(12..48));
    assert_eq!(of("..24"), Ok(0..24));
    assert_eq!(of("40..99"), Ok(40..48));
    for wrong in ["48..", "3..3", "5..2", "7", "a..b", "-1..3", ""] {
        assert!(of(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn colours_show_through() {
    let backdrop = "#ff0080".parse();
    assert_eq!(backdrop, Ok(Backdrop::Colour([255, 0, 128])));
    let mut picture = RgbaImage::new(3, 1);
    picture.put_pixel(1, 0, Rgba([0, 200, 0, 255]));
    picture.put_pixel(2, 0, Rgba([0, 200, 0, 51]));
    backdrop.unwrap().apply(&mut picture);
    let pixels: Vec<_> = picture.pixels().map(|pixel| pixel.0).collect();
    // A fifth of the front, four of the back.
    assert_eq!(
        pixels,
        [[255, 0, 128, 255], [0, 200, 0, 255], [204, 40, 102, 255]]
    );
    for wrong in ["", "red", "#12345", "#1234567", "#gggggg", "ff0080"] {
        assert!(wrong.parse::<Backdrop>().is_err(), "{wrong}");
    }
}

#[test]
fn the_shipped_motion_fits_the_shipped_network() {
    let demo = Demo::open().unwrap();
    let motion = Motion::open(Demo::motion()).unwrap();
    assert_eq!(motion.len(), 48);
    for drive in motion.drives() {
        drive
            .resolve(Some(&demo.head), demo.weights.config().points as usize)
            .unwrap();
    }
}
