//! Films that are written and read again, and such that are damaged.

use std::fs;
use std::path::Path;
use std::process::Command;

use gpavatar::Error;
use image::RgbaImage;

use super::{Film, Recorder, Sound, is_film};
use crate::testing::{files, plain};

/// A film of one colour after the other.
fn record(path: &Path, pictures: u8, rate: f64, (width, height): (u32, u32)) {
    let mut film = Recorder::create(path, rate, false, None).unwrap();
    for i in 0..pictures {
        let picture = RgbaImage::from_pixel(width, height, [i * 20, 100, 50, 255].into());
        film.push(&picture).unwrap();
    }
    assert_eq!(film.finish().unwrap(), path);
}

/// All frames of a film.
fn frames(film: &mut Film) -> gpavatar::Result<Vec<RgbaImage>> {
    let (mut frames, mut frame) = (Vec::new(), RgbaImage::new(0, 0));
    while film.next(&mut frame)? {
        frames.push(frame.clone());
    }
    Ok(frames)
}

/// Whether the frames have the colours of [`record`], as exactly as video keeps them.
#[track_caller]
fn check(frames: &[RgbaImage]) {
    for (i, frame) in frames.iter().enumerate() {
        let [red, green, ..] = frame.get_pixel(3, 3).0.map(i32::from);
        let near = (red - 20 * i as i32).abs() < 8 && (green - 100).abs() < 8;
        assert!(near, "{i}: {red}, {green}");
    }
}

fn run_ffmpeg(arguments: &str, paths: [&Path; 2]) {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y", "-i"]).arg(paths[0]);
    let run = command.args(arguments.split(' ')).arg(paths[1]).status();
    assert!(run.unwrap().success(), "{arguments}");
}

#[test]
fn films_are_read_as_they_were_written() {
    let room = tempfile::tempdir().unwrap();
    for (name, rate, size, read) in [
        ("a.mp4", 30000.0 / 1001.0, (32, 48), (32, 48)),
        // Sides of most films are even.
        ("b.MKV", 12.5, (31, 17), (32, 18)),
        ("c.webm", 24.0, (32, 32), (32, 32)),
        ("d.gif", 25.0, (31, 17), (31, 17)),
    ] {
        let path = room.path().join("new").join(name);
        assert!(is_film(&path));
        record(&path, 10, rate, size);
        let mut film = Film::open(&path, None).unwrap();
        assert!((film.rate() - rate).abs() < 1e-3, "{name}: {}", film.rate());
        assert_eq!(film.count(), Some(10), "{name}");
        let frames = frames(&mut film).unwrap();
        assert_eq!(frames.len(), 10, "{name}");
        assert_eq!(frames[0].dimensions(), read, "{name}");
        check(&frames);
    }
    // Sampled at another rate, it takes as long as before.
    let film = room.path().join("new/a.mp4");
    let mut film = Film::open(&film, Some(60000.0 / 1001.0)).unwrap();
    let frames = frames(&mut film).unwrap();
    assert_eq!(frames.len(), 20);
    check(&frames.into_iter().step_by(2).collect::<Vec<_>>());
}

#[test]
fn a_folder_is_a_film_by_names() {
    let room = tempfile::tempdir().unwrap();
    let film = || Film::open(room.path(), None);
    let empty = frames(&mut film().unwrap()).unwrap_err();
    assert!(matches!(empty, Error::Format { .. }), "{empty}");
    for (name, red) in [("10.png", 200), ("02.PNG", 100)] {
        plain(4, [red, 255, 255, 128])
            .save(room.path().join(name))
            .unwrap();
    }
    fs::write(room.path().join("notes.txt"), "no picture").unwrap();
    assert_eq!(film().unwrap().rate(), 25.0);
    assert_eq!(Film::open(room.path(), Some(10.0)).unwrap().rate(), 10.0);
    // On black.
    let read = frames(&mut film().unwrap()).unwrap();
    let colours: Vec<_> = read.iter().map(|frame| frame.get_pixel(0, 0).0).collect();
    assert_eq!(colours, [[50, 128, 128, 255], [100, 128, 128, 255]]);
    fs::write(room.path().join("03.png"), "no picture").unwrap();
    let error = frames(&mut film().unwrap()).unwrap_err().to_string();
    assert!(error.contains("03.png"), "{error}");
}

#[test]
fn a_turned_film_is_upright() {
    let room = tempfile::tempdir().unwrap();
    let [film, turned] = ["film.mp4", "turned.mp4"].map(|name| room.path().join(name));
    record(&film, 4, 25.0, (32, 48));
    run_ffmpeg("-c copy -metadata:s:v rotate=90", [&film, &turned]);
    let frames = frames(&mut Film::open(&turned, None).unwrap()).unwrap();
    assert_eq!(frames[0].dimensions(), (48, 32));
    check(&frames);
}

#[test]
fn a_film_that_is_cut_ends_with_its_last_whole_frame() {
    let room = tempfile::tempdir().unwrap();
    let source = room.path().join("whole.mkv");
    record(&source, 10, 25.0, (64, 64));
    record(&room.path().join("a.gif"), 10, 25.0, (64, 64));
    // Frames of about the same size.
    run_ffmpeg("-c:v mjpeg -q:v 2", [&source, &room.path().join("a.mkv")]);
    for name in ["a.mkv", "a.gif"] {
        let path = room.path().join(name);
        let whole = fs::read(&path).unwrap();
        // Within the last frames: what a container has behind them is short.
        fs::write(&path, &whole[..whole.len() * 7 / 10]).unwrap();
        let frames = frames(&mut Film::open(&path, None).unwrap()).unwrap();
        assert!((1..10).contains(&frames.len()), "{name}: {}", frames.len());
        check(&frames);
        fs::write(&path, &whole[..20]).unwrap();
        let error = Film::open(&path, None).and_then(|mut film| self::frames(&mut film));
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains(name) && error.contains("not a valid film"),
            "{error}"
        );
    }
    let error = Film::open(&room.path().join("none.mp4"), None)
        .err()
        .unwrap();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

#[test]
fn delays_of_a_gif_give_its_mean_rate() {
    use image::codecs::gif::GifEncoder;
    use image::{Delay, Frame};

    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("a.gif");
    let mut encoder = GifEncoder::new(fs::File::create(&path).unwrap());
    for milliseconds in [100, 300, 0, 0] {
        let delay = Delay::from_numer_denom_ms(milliseconds, 1);
        let frame = Frame::from_parts(plain(4, [255; 4]), 0, 0, delay);
        encoder.encode_frame(frame).unwrap();
    }
    drop(encoder);
    // Without a delay, a tenth of a second.
    let film = Film::open(&path, None).unwrap();
    assert!((film.rate() - 4.0 / 0.6).abs() < 1e-6, "{}", film.rate());
}

#[test]
fn a_film_appears_when_it_is_complete() {
    let room = tempfile::tempdir().unwrap();
    for name in ["a.mp4", "a.gif"] {
        let path = room.path().join(name);
        let mut film = Recorder::create(&path, 25.0, false, None).unwrap();
        film.push(&plain(16, [255; 4])).unwrap();
        assert!(!path.exists());
        drop(film);
        assert_eq!(files(room.path()), [""; 0]);
        let none = Recorder::create(&path, 25.0, false, None).unwrap().finish();
        assert!(none.unwrap_err().to_string().contains("no pictures"));
    }
}

#[test]
fn what_cannot_be_written_says_why() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("a.mp4");
    let error = Recorder::create(&path, 25.0, true, None)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains(".webm"), "{error}");
    // The last line of ffmpeg.
    let sound = Some(Sound {
        film: room.path().join("missing.mp4"),
        codec: "aac".into(),
        start: 0.0,
        length: None,
    });
    let mut film = Recorder::create(&path, 25.0, false, sound).unwrap();
    let error = (0..1000).find_map(|_| film.push(&plain(64, [255; 4])).err());
    let error = error.unwrap().to_string();
    assert!(error.contains("No such file or directory"), "{error}");
    // All pictures are of one size.
    let mut film = Recorder::create(&path, 25.0, false, None).unwrap();
    film.push(&plain(16, [255; 4])).unwrap();
    assert!(film.push(&plain(18, [255; 4])).is_err());
    assert!(!is_film(Path::new("a/b")));
}
