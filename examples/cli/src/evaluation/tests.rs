//! Measures a network on its own renderings.

use std::fs;
use std::path::Path;

use gpavatar::{Avatar, AvatarOptions, Background, Camera, Drive, Model, RenderOptions};
use image::RgbaImage;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Evaluation, Scores};
use crate::testing::{model, picture, plain};

/// An evaluation folder with renderings of a network, and its description.
struct Exam {
    folder: TempDir,
    description: Value,
}

impl Exam {
    /// Two identities, each with a target for everything that is measured.
    fn new(model: &Model) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let identities = (0..2).map(|i| identity(folder.path(), model, i));
        let identities: Vec<Value> = identities.collect();
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
        fs::write(self.folder.path().join("evaluation.json"), json).unwrap();
        let evaluation = Evaluation::open(self.folder.path(), None).map_err(|e| e.to_string())?;
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
        let source = picture(32, 3 * i + k);
        let pixels = RgbaImage::from_raw(32, 32, source.pixels().to_vec()).unwrap();
        pixels.save(folder.join(&name)).unwrap();
        json!({"picture": name, "transform": tracked.transform})
    });
    let source = picture(32, 3 * i).tracked(tracked);
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
        let drive = drive.pose(pose).camera(camera);
        let frame = avatar.render(&drive).unwrap();
        let mut picture = frame.to_image().unwrap();
        let name = format!("{i}_{}.png", targets.len());
        picture.save(folder.join(&name)).unwrap();
        let (mut neutral, mut matte) = (Value::Null, Value::Null);
        if kind == "random" {
            // Unlike anything that the network renders.
            image::imageops::invert(&mut picture);
            neutral = json!(format!("{i}_neutral.png"));
            picture
                .save(folder.join(neutral.as_str().unwrap()))
                .unwrap();
            matte = json!(format!("{i}_matte.png"));
            let options = RenderOptions {
                background: Background::Straight,
                ..RenderOptions::default()
            };
            let frame = avatar.render_with(&drive, &options).unwrap();
            let picture = frame.to_image().unwrap();
            picture.save(folder.join(matte.as_str().unwrap())).unwrap();
        }
        targets.push(json!({
            "kind": kind, "picture": name, "channel": channel, "expression": [jaw], "pose": pose,
            "neutral": neutral, "matte": matte,
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
    let model = model();
    let mut exam = Exam::new(&model);
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
    let edges = scores.edges.as_ref().unwrap();
    assert_eq!(
        [edges.difference, edges.alpha, edges.darker, edges.ghosts],
        [0.0; 4]
    );
    assert!(scores.seconds_per_avatar > 0.0 && scores.seconds_per_frame > 0.0);

    // JSON has no infinity.
    scores.psnr = Some(f64::INFINITY);
    scores.ssim = None;
    let json = serde_json::to_value(&scores).unwrap();
    let mut keys: Vec<&str> = (json.as_object().unwrap().keys().map(String::as_str)).collect();
    keys.sort_unstable();
    let expected = "channels edges expression_closer face_l1 fusion_gain fusion_gain_front identities \
                    identity_score psnr psnr_three_sources region_psnr seconds_per_avatar \
                    seconds_per_frame ssim view_drop";
    assert_eq!(keys.join(" "), expected);
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
    let model = model();
    let mut exam = Exam::new(&model);
    let whole = exam.description.clone();
    plain(16, [9; 4])
        .save(exam.folder.path().join("small.png"))
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
                let sources = &mut e.description["identities"][0]["sources"];
                sources.as_array_mut().unwrap().pop();
            },
            "array of length 3",
        ),
        (
            |e| e.target(0, "random")["neutral"] = json!("nowhere.png"),
            "nowhere.png",
        ),
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
    let nowhere = Evaluation::open(Path::new("no exam"), None);
    let error = nowhere.err().unwrap().to_string();
    assert!(error.contains("evaluation.json: No such file"), "{error}");
}
