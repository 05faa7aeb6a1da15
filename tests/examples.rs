//! What the examples make of the pictures that they render, and what they run on.

#[path = "../examples/common/mod.rs"]
mod common;
#[path = "common/mod.rs"]
mod golden;

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use common::album::{Album, evenly, gif_delay};
use common::backdrop::Backdrop;
use common::cli::Range;
use common::demo::{self, Sample};
use common::evaluation::{Evaluation, Scores};
use common::sheet::{Cell, GAP, line, sheet, width};
use golden::tiny;
use gpavatar::{
    Avatar, AvatarOptions, Camera, Drive, HeadModel, HeadModelParts, Model, ModelOptions, Motion,
    Weights,
};
use image::codecs::gif::GifDecoder;
use image::{AnimationDecoder, Rgba, RgbaImage};
use serde_json::{Value, json};

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

    let directory = nowhere("sheet");
    let mut album = album(&directory, 0);
    album.save("sheet.png", &plain(4, [0; 4])).unwrap();
    assert_eq!(album.finish().unwrap(), [directory.join("sheet.png")]);
    assert_eq!(files(&directory), ["sheet.png"]);
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
fn a_sheet_may_show_pictures_as_they_are() {
    let cells = [0, 1].map(|_| Cell {
        label: String::new(),
        picture: plain(32, [255; 4]),
    });
    let sheet = sheet(&[&cells], 2, width(2, 32));
    let white = |x: &u32| sheet.get_pixel(*x, GAP)[0] == 255;
    assert_eq!((0..sheet.width()).filter(white).count(), 64);
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

/// The motions that ship with the crate, with their names.
fn motions() -> Vec<(String, Motion)> {
    let directory = demo::file("weights/motions");
    let names = files(&directory).into_iter();
    let names = names.filter(|name| name.ends_with(".json"));
    let open = |name: String| {
        let motion = Motion::open(directory.join(&name)).unwrap();
        (name, motion)
    };
    names.map(open).collect()
}

#[test]
fn what_ships_goes_together() {
    let weights = Weights::open(demo::weights()).unwrap();
    let head = HeadModel::open(demo::weights()).unwrap();
    let motions = motions();
    for (name, motion) in &motions {
        for drive in motion.drives() {
            let fits = drive.resolve(Some(&head), weights.config().points as usize);
            fits.map(drop)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
    assert!(motions.len() >= 4);

    let samples = Sample::all().unwrap();
    assert!(samples.len() >= 6);
    assert!(samples.iter().any(|sample| sample.sources.len() == 3));
    for sample in &samples {
        assert_eq!(sample.shape.len(), head.shape_count(), "{}", sample.name);
        for picture in sample.pictures().unwrap() {
            picture.homography(weights.config().source_size).unwrap();
        }
    }
    assert_eq!(Sample::named(None).unwrap().name, samples[0].name);
    assert_eq!(
        Sample::named(Some(&samples[2].name)).unwrap().name,
        samples[2].name
    );
    let error = Sample::named(Some("nobody")).err().unwrap().to_string();
    assert!(
        error.contains(&samples[1].name) && error.contains("nobody"),
        "{error}"
    );
}

#[test]
fn shipped_motions_stay_in_range_and_can_be_repeated() {
    for (name, motion) in motions() {
        assert_eq!(motion.licence(), "MIT OR Apache-2.0", "{name}");
        let frames = motion.frames();
        let values = frames.iter().flat_map(|frame| &frame.expression);
        assert!(
            values.into_iter().all(|v| (0.0..=1.0).contains(v)),
            "{name}"
        );
        let step = |i: usize| {
            let [from, to] = [i, (i + 1) % frames.len()].map(|i| &frames[i].expression);
            tiny::largest_difference(from, to)
        };
        let last = frames.len() - 1;
        let largest = (0..last).map(step).fold(0.0, f32::max);
        assert!(step(last) <= largest, "{name} jumps when it begins again");
    }
}

/// The tiny network, with its points as a head whose lower half a channel moves.
fn tiny_model() -> Model {
    let config = tiny::config();
    let template = tiny::points(config.points);
    let down = |[_, y, _]: &[f32; 3]| [0.0, if *y < 0.0 { -0.5 } else { 0.0 }, 0.0];
    let head = HeadModelParts {
        shape_basis: template.clone(),
        expression_basis: template.iter().map(down).collect(),
        channels: vec!["jawOpen".into()],
        template,
        ..HeadModelParts::default()
    };
    let options = ModelOptions {
        head: Some(HeadModel::new(head).unwrap()),
        ..ModelOptions::default()
    };
    Model::with_options(tiny::gpu(), tiny::weights(&config), options).unwrap()
}

/// An evaluation folder that holds what a network renders, and its description.
struct Exam {
    folder: PathBuf,
    description: Value,
}

impl Exam {
    /// Two identities, each with a target for everything that is measured.
    fn new(name: &str, model: &Model) -> Self {
        let folder = nowhere(name);
        fs::create_dir_all(&folder).unwrap();
        let identities: Vec<Value> = (0..2).map(|i| identity(&folder, model, i)).collect();
        Self {
            folder,
            description: json!({
                "format": "gpavatar evaluation", "version": 1,
                "image_size": model.config().output_size,
                "channels": ["jawOpen"], "identities": identities,
            }),
        }
    }

    /// Opens the folder and measures the network.
    fn measure(&self, model: &Model) -> Result<Scores, String> {
        let json = self.description.to_string();
        fs::write(self.folder.join("evaluation.json"), json).unwrap();
        let evaluation = Evaluation::open(&self.folder, None).map_err(|e| e.to_string())?;
        let mut renderings = 0;
        let scores = evaluation.measure(model, |_| renderings += 1);
        if scores.is_ok() {
            assert_eq!(renderings, evaluation.renderings());
        }
        scores.map_err(|e| e.to_string())
    }

    fn target(&mut self, identity: usize, kind: &str) -> &mut Value {
        let targets = &mut self.description["identities"][identity]["targets"];
        let targets = targets.as_array_mut().unwrap().iter_mut();
        targets.into_iter().find(|t| t["kind"] == kind).unwrap()
    }
}

/// Renders the pictures of an identity into an evaluation folder and describes them.
fn identity(folder: &Path, model: &Model, i: u32) -> Value {
    let shape = [0.1 * i as f32];
    let tracked = Camera::orbit(12.0, 0.0, 5.0);
    let sources = [0, 1, 2].map(|k| {
        let name = format!("{i}_source_{k}.png");
        let source = tiny::picture(32, 32, 3 * i + k);
        let pixels = RgbaImage::from_raw(32, 32, source.pixels().to_vec()).unwrap();
        pixels.save(folder.join(&name)).unwrap();
        json!({"picture": name, "transform": tracked.transform})
    });
    let source = tiny::picture(32, 32, 3 * i).tracked(tracked);
    let options = AvatarOptions {
        shape: shape.to_vec(),
        ..AvatarOptions::default()
    };
    let avatar = Avatar::with_options(model, &[source], &options).unwrap();

    let mut targets = Vec::new();
    for (kind, channel, jaw, yaw) in [
        ("random", Value::Null, 0.7, 10.0),
        ("channel", json!("neutral"), 0.0, 0.0),
        ("channel", json!("jawOpen"), 1.0, 0.0),
        ("identity", Value::Null, 0.3, 5.0),
        ("view", Value::Null, 0.3, -45.0),
        ("view", Value::Null, 0.3, 0.0),
        ("view", Value::Null, 0.3, 45.0),
    ] {
        let (camera, pose) = (Camera::orbit(11.0, 0.0, yaw), [0.0, 0.1, 0.0]);
        let drive = Drive::neutral().expression("jawOpen", jaw);
        let frame = avatar.render(&drive.pose(pose).camera(camera)).unwrap();
        let mut picture = frame.to_image().unwrap();
        let name = format!("{i}_{}.png", targets.len());
        picture.save(folder.join(&name)).unwrap();
        let mut neutral = Value::Null;
        if kind == "random" {
            // Unlike anything that the network renders.
            image::imageops::invert(&mut picture);
            neutral = json!(format!("{i}_neutral.png"));
            picture
                .save(folder.join(neutral.as_str().unwrap()))
                .unwrap();
        }
        targets.push(json!({
            "kind": kind, "picture": name, "channel": channel, "expression": [jaw], "pose": pose,
            "neutral": neutral,
            "transform": camera.transform, "yaw": yaw, "face_box": [4, 4, 28, 28],
            "regions": [[10, 12, 5, 3], [22, 12, 5, 3], [16, 22, 8, 5]],
        }));
    }
    json!({"name": i.to_string(), "shape": shape, "sources": sources, "targets": targets})
}

/// PSNR of pictures that differ by rounding to 8 bits, at most half a step.
fn rounding_psnr() -> f64 {
    20.0 * 510f64.log10()
}

#[test]
fn a_network_is_perfect_at_what_it_rendered() {
    let model = tiny_model();
    let mut exam = Exam::new("exam", &model);
    let mut scores = exam.measure(&model).unwrap();
    assert_eq!(scores.identities, 2);
    for psnr in [scores.psnr, scores.region_psnr] {
        assert!(psnr.unwrap() >= rounding_psnr(), "{psnr:?}");
    }
    assert!(scores.face_l1.unwrap() <= 0.5 / 255.0);
    assert!(scores.ssim.unwrap() > 0.99, "{scores:?}");
    assert_eq!(scores.expression_closer, Some(1.0));
    assert_eq!(scores.identity_score, Some(1.0));
    let [(name, agreement)] = &scores.channels[..] else {
        panic!("{scores:?}");
    };
    assert_eq!(name, "jawOpen");
    // A rounding step of 1/255 on differences that are larger by far.
    assert!((agreement.cosine - 1.0).abs() < 0.05, "{agreement:?}");
    assert!((agreement.amplitude - 1.0).abs() < 0.05, "{agreement:?}");
    // Other sources give other pictures.
    assert!(scores.fusion_gain_front.unwrap() < -10.0, "{scores:?}");
    // One of the three that the gain is over is perfect, the others are not.
    let (gain, front) = (scores.fusion_gain, scores.fusion_gain_front);
    let others = 3.0 * gain.unwrap() - front.unwrap();
    assert!(others > front.unwrap() + 10.0, "{scores:?}");
    assert!(scores.seconds_per_avatar > 0.0 && scores.seconds_per_frame > 0.0);

    // Nothing but JSON has no infinity.
    scores.psnr = Some(f64::INFINITY);
    scores.ssim = None;
    let json = serde_json::to_value(&scores).unwrap();
    let mut keys: Vec<_> = json.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        [
            "channels",
            "expression_closer",
            "face_l1",
            "fusion_gain",
            "fusion_gain_front",
            "identities",
            "identity_score",
            "psnr",
            "psnr_three_sources",
            "region_psnr",
            "seconds_per_avatar",
            "seconds_per_frame",
            "ssim",
            "view_drop",
        ]
    );
    assert!(json["psnr"].is_null() && json["ssim"].is_null());
    assert_eq!(json["channels"]["jawOpen"]["cosine"], agreement.cosine);
    let mut text = String::new();
    scores.write(&mut text).unwrap();
    assert!(text.contains("| PSNR, one source | inf dB |"), "{text}");
    assert!(text.contains("| SSIM | – |"), "{text}");

    // The other identity's picture, and the neutral one for the target.
    for i in 0..2 {
        exam.target(i, "identity")["picture"] = json!(format!("{}_3.png", 1 - i));
        let random = exam.target(i, "random");
        let picture = random["picture"].take();
        random["picture"] = std::mem::replace(&mut random["neutral"], picture);
    }
    let scores = exam.measure(&model).unwrap();
    assert_eq!(scores.expression_closer, Some(0.0));
    assert_eq!(scores.identity_score, Some(0.0));
    assert!(scores.psnr.unwrap() < rounding_psnr() - 10.0);
}

#[test]
fn broken_evaluations_are_refused() {
    let model = tiny_model();
    let mut exam = Exam::new("broken exam", &model);
    let whole = exam.description.clone();
    plain(16, [9; 4])
        .save(exam.folder.join("small.png"))
        .unwrap();
    type Damage = fn(&mut Exam);
    let damages: [(Damage, &str); 15] = [
        (
            |e| e.description["format"] = json!("x"),
            r#"found "x" of version 1"#,
        ),
        (|e| e.description["version"] = json!(2), "of version 2"),
        (
            |e| e.description["identities"] = json!([]),
            "at least one identity, found none",
        ),
        (
            |e| e.description["channels"] = json!(["a", "b"]),
            "expected 2 values, one per channel",
        ),
        (
            |e| e.description["channels"] = json!(["jawOpened"]),
            r#"nearest: "jawOpen""#,
        ),
        (
            |e| e.description["image_size"] = json!(64),
            "64 pixels wide, the model's pictures 32",
        ),
        (
            |e| e.description["identities"][1]["shape"] = json!([1, 2]),
            "identity 1: shape: expected",
        ),
        (
            |e| e.description["identities"][0]["sources"][2]["picture"] = json!("no.png"),
            "no.png",
        ),
        (
            |e| {
                drop(
                    e.description["identities"][0]["sources"]
                        .as_array_mut()
                        .unwrap()
                        .pop(),
                )
            },
            "array of length 3",
        ),
        (|e| e.target(0, "random")["neutral"] = Value::Null, "null"),
        (
            |e| e.target(0, "random")["picture"] = json!("small.png"),
            "found 16 x 16",
        ),
        (
            |e| e.target(1, "view")["kind"] = json!("identity"),
            r#"one target of kind "identity""#,
        ),
        (
            |e| e.target(1, "view")["kind"] = json!("other"),
            "unknown variant `other`",
        ),
        (
            |e| e.target(1, "view")["face_box"] = json!([4, 4, 33, 8]),
            "targets[4].face_box",
        ),
        (
            |e| e.target(1, "view")["regions"][2] = json!([1, 1, 0, 1]),
            "found [1.0, 1.0, 0.0, 1.0]",
        ),
    ];
    for (damage, expected) in damages {
        exam.description = whole.clone();
        damage(&mut exam);
        let error = exam.measure(&model).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    let nowhere = Evaluation::open(&nowhere("no exam"), None);
    let error = nowhere.err().unwrap().to_string();
    assert!(error.contains("evaluation.json: No such file"), "{error}");
}
