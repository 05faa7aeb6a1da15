use std::{collections::BTreeMap, fs};

use serde_json::ser::CompactFormatter;

use super::{Motion, MotionFrame, file::KEY};
use crate::camera::Camera;
use crate::drive::{
    Drive,
    tests::{expression, head},
};
use crate::error::refused;
use crate::file::Scratch;
use crate::weights::{FloatFormat, TensorFile, TensorWriter};

/// Five frames in which everything changes, with values that are not exact in decimal.
fn lively() -> Motion {
    let frames = (0..5)
        .map(|i| {
            let t = i as f32 / 7.0;
            MotionFrame {
                expression: vec![t, 1.0 / 3.0, -t * t],
                pose: vec![0.1 * t, 0.0, -0.3 * t, t, 0.5, 0.0],
                camera: Camera::orbit(10.0 + t, 5.0 * t, 30.0 * t)
                    .with_focal(12.0 + t)
                    .with_clamp_near(i == 3),
            }
        })
        .collect();
    let channels = ["mouthSmileRight", "jawOpen", "mouthSmileLeft"].map(String::from);
    let motion = Motion::new(29.97, frames).unwrap();
    (motion.with_channels(channels.into()).unwrap()).with_name("lively", "CC0-1.0")
}

/// Nothing changes in its three frames, and there is no expression.
fn still() -> Motion {
    Motion::new(25.0, vec![MotionFrame::default(); 3]).unwrap()
}

#[test]
fn files_round_trip_exactly() {
    let scratch = Scratch::new("motion-files");
    for motion in [lively(), still()] {
        for name in ["motion.json", "motion.safetensors"] {
            let path = scratch.path(name);
            motion.write(&path).unwrap();
            assert_eq!(Motion::open(&path).unwrap(), motion, "{name}");
        }
    }
    for name in ["motion.txt", "motion", "json"] {
        refused!(lively().write(scratch.path(name)), Argument);
        refused!(Motion::open(scratch.path(name)), Argument);
    }
    refused!(Motion::open(scratch.path("missing.json")), Io);
}

#[test]
fn json_has_a_line_per_frame() {
    let frames = [0.0, 0.25].map(|x| MotionFrame {
        expression: vec![x, 1.0],
        pose: vec![0.5, 0.0, 0.0],
        camera: Camera::orbit(10.0, 0.0, 0.0),
    });
    let motion = Motion::new(30.0, frames.into()).unwrap();
    let motion = motion.with_channels(vec!["a".into(), "b".into()]).unwrap();
    let expected = r#"{
  "version": 1,
  "name": "",
  "licence": "",
  "fps": 30.0,
  "channels": ["a","b"],
  "focal": 12.0,
  "expression": [
    [0.0,1.0],
    [0.25,1.0]
  ],
  "pose": [0.5,0.0,0.0],
  "transform": [
    [[-1.0,0.0,0.0,0.0],[0.0,1.0,0.0,0.0],[0.0,0.0,-1.0,10.0]],
    [[-1.0,0.0,0.0,0.0],[0.0,1.0,0.0,0.0],[0.0,0.0,-1.0,10.0]]
  ]
}
"#;
    assert_eq!(motion.to_json().replace("-0.0", "0.0"), expected);
}

#[test]
fn hand_written_json_may_leave_out_much() {
    let motion = Motion::from_json(
        r#"{"version": 1, "fps": 24, "expression": [[0], [1], [2]], "pose": [0, 0.5, 0],
                "orbit": [[10, 0, -30], [10, 0, 0], [10, 0, 30]], "focal": 11}"#,
    )
    .unwrap();
    assert_eq!((motion.len(), motion.fps(), motion.name()), (3, 24.0, ""));
    assert!(motion.channels().is_empty());
    let frame = &motion.frames()[2];
    assert_eq!(frame.expression, [2.0]);
    assert_eq!(frame.pose, [0.0, 0.5, 0.0]);
    let camera = Camera::orbit(10.0, 0.0, 30.0).with_focal(11.0);
    assert_eq!(frame.camera, camera);
    assert_eq!(motion.frames().get(3), None);

    let neutral = Motion::from_json(r#"{"version": 1, "fps": 30}"#).unwrap();
    assert_eq!(neutral.frames(), [MotionFrame::default()]);
    let fixed = format!(
        r#"{{"version": 1, "fps": 30, "clamp_near": true, "transform": {:?}}}"#,
        Camera::orbit(8.0, 10.0, 20.0).transform
    );
    let expected = Camera::orbit(8.0, 10.0, 20.0).with_clamp_near(true);
    let fixed = Motion::from_json(&fixed).unwrap();
    assert_eq!(fixed.frames()[0].camera, expected);
}

#[test]
fn bad_json_is_an_error_that_says_why() {
    #[track_caller]
    fn refused(json: &str, reason: &str) {
        let error = refused!(Motion::from_json(json), Format);
        assert!(error.contains(reason), "{json}: {error}");
    }
    let other_version = "expected version 1, found 2";
    for (json, reason) in [
        ("", "EOF"),
        ("3", "invalid type"),
        (r#"{"fps": 30}"#, "missing field `version`"),
        (r#"{"version": 2, "frames": []}"#, other_version),
        (r#"{"version": 1}"#, "missing field `fps`"),
        (r#"{"version": 1, "fps": 0}"#, "positive"),
        (r#"{"version": 1, "fps": -30}"#, "positive"),
        (r#"{"version": 1, "fps": 1e39}"#, "positive"),
    ] {
        refused(json, reason);
    }
    let one_value = "expected one value of the right size";
    for (rest, reason) in [
        (r#""expresion": [[0]]"#, "unknown field `expresion`"),
        (r#""expression": []"#, "at least one frame"),
        (r#""expression": [[0, 1], [0]]"#, "expression of frame 1"),
        (r#""expression": [[0, 1], 0]"#, one_value),
        (r#""expression": [[0], [null]]"#, one_value),
        (r#""expression": [[0], [NaN]]"#, "expected value at line 1"),
        (r#""expression": [[0], [1e39]]"#, "inf at index 0"),
        (
            r#""expression": [[0], [1]], "pose": [[0, 0, 0]]"#,
            "2 values for \"expression\"",
        ),
        (r#""channels": ["a"], "expression": [0, 1]"#, "2 names"),
        (
            r#""channels": ["a", "a"], "expression": [0, 1]"#,
            "\"a\" twice",
        ),
        (r#""pose": [0, 1]"#, "axis-angle triples"),
        (r#""orbit": [10, 0]"#, one_value),
        (r#""orbit": [0, 0, 0]"#, "camera transform of frame 0"),
        (r#""focal": [12, 0]"#, "focal length of frame 1"),
        (
            r#""orbit": [9, 0, 0], "transform": [[1,0,0,0],[0,1,0,0],[0,0,1,0]]"#,
            "found both",
        ),
    ] {
        refused(&format!(r#"{{"version": 1, "fps": 30, {rest}}}"#), reason);
    }
}

#[test]
fn broken_files_name_themselves_and_never_panic() {
    let scratch = Scratch::new("motion-broken");
    let (json, tensors) = (lively().to_json(), lively().to_safetensors().unwrap());
    for cut in 0..json.trim_end().len() {
        refused!(Motion::from_json(&json[..cut]), Format);
    }
    for cut in 0..tensors.len() {
        refused!(Motion::from_safetensors(tensors[..cut].to_vec()), Format);
    }
    for i in 0..tensors.len() {
        let mut flipped = tensors.clone();
        flipped[i] ^= 0x41;
        // Some bytes only change a value; returning is the test.
        let _ = Motion::from_safetensors(flipped);
    }
    for (name, bytes) in [
        ("cut.json", &json.as_bytes()[..99]),
        ("utf8.json", &[0xff, 0xfe][..]),
        ("cut.safetensors", &tensors[..99]),
    ] {
        fs::write(scratch.path(name), bytes).unwrap();
        let error = refused!(Motion::open(scratch.path(name)), Format);
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn tensors_that_do_not_fit_are_errors() {
    let header = lively().header().to_json(CompactFormatter);
    let transform = [Camera::default().transform; 2];
    let nan = [f32::NAN; 2];
    let transform = transform.as_flattened().as_flattened();
    let file = |key, transforms: &[f32], focal: &[f32], expression: &[f32]| {
        let mut writer = TensorWriter::new(BTreeMap::new());
        writer.metadata(key, header.as_str());
        for (name, shape, values) in [
            ("transform", &[transforms.len() / 12, 3, 4][..], transforms),
            ("focal", &[focal.len()], focal),
            ("expression", &[2, expression.len() / 2], expression),
        ] {
            writer.floats(name, shape, FloatFormat::F32, || Ok(values.into()));
        }
        Motion::from_safetensors(writer.into_bytes().unwrap())
    };
    let (focal, expression) = ([12.0; 2], [0.0; 6]);
    let good = file(KEY, transform, &focal, &expression).unwrap();
    assert_eq!(good.len(), 2);
    let first = &transform[..12];
    let error = file("other", transform, &focal, &expression).unwrap_err();
    assert!(error.to_string().contains("no metadata entry"), "{error}");
    let (focals, columns) = ("focal: expected shape [2]", "expression: expected shape");
    for (transforms, focal, expression, expected) in [
        (transform, &[12.0; 3][..], &expression[..], focals),
        (first, &[12.0], &expression, &format!("{columns} [1, any]")),
        (&[], &[], &expression, &format!("{columns} [0, any]")),
        (transform, &nan, &expression, "focal length of frame 0"),
        (transform, &focal, &expression[..4], "2 names"),
    ] {
        let error = file(KEY, transforms, focal, expression).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn frames_that_do_not_fit_are_errors() {
    let good = lively().frames().to_vec();
    let damaged = |damage: fn(&mut MotionFrame)| {
        let mut frames = good.clone();
        damage(&mut frames[2]);
        frames
    };
    let bad = [
        (30.0, Vec::new()),
        (0.0, good.clone()),
        (f32::NAN, good.clone()),
        (f32::INFINITY, good.clone()),
        (30.0, damaged(|f| f.expression.clear())),
        (30.0, damaged(|f| f.expression[1] = f32::NAN)),
        (30.0, damaged(|f| f.pose.truncate(3))),
        (30.0, damaged(|f| f.pose[5] = f32::INFINITY)),
        (30.0, damaged(|f| f.camera.transform[0][0] = f32::NAN)),
        (30.0, damaged(|f| f.camera.focal = -1.0)),
    ];
    Motion::new(30.0, good.clone()).unwrap();
    for (fps, frames) in bad {
        refused!(Motion::new(fps, frames), Argument);
    }
}

#[test]
fn channels_are_matched_by_name_if_there_are_names() {
    let (head, motion) = (head(), lively());
    let drives: Vec<Drive> = motion.drives().collect();
    assert_eq!(drives.len(), motion.len());
    let [smile_right, jaw, smile_left] = *motion.frames()[3].expression else {
        panic!("three channels")
    };
    let found = expression(&drives[3], &head);
    assert_eq!(found, [jaw, smile_left, smile_right]);

    let frames = motion.frames().to_vec();
    let unnamed = Motion::new(30.0, frames.clone()).unwrap();
    let drive = unnamed.drives().nth(3).unwrap();
    assert_eq!(expression(&drive, &head), [smile_right, jaw, smile_left]);

    let unknown = ["jawOpen", "mouthSmileLeft", "elbow"].map(String::from);
    let unknown = Motion::new(30.0, frames)
        .unwrap()
        .with_channels(unknown.into());
    let drive = unknown.unwrap().drives().next().unwrap();
    let error = drive.resolve(Some(&head), 2).unwrap_err();
    assert!(error.to_string().contains("found \"elbow\""), "{error}");
}

#[test]
fn sampling_meets_the_frames_and_moves_between_them() {
    let motion = lively();
    let drives: Vec<Drive> = motion.drives().collect();
    assert_eq!(motion.sample(0.0).unwrap(), drives[0]);
    assert_eq!(motion.sample(-1.0).unwrap(), drives[0]);
    assert_eq!(motion.sample(motion.duration() + 1.0).unwrap(), drives[4]);
    assert_eq!(motion.sample(f32::INFINITY).unwrap(), drives[4]);
    refused!(motion.sample(f32::NAN), Argument);

    // Between two frames the earlier one decides.
    let clamped = |position: f32| motion.sample(position / 29.97).unwrap().camera.clamp_near;
    assert_eq!([2.5, 3.5].map(clamped), [false, true]);

    let turning = |angle: f32| MotionFrame {
        expression: vec![angle],
        pose: vec![0.0, angle.to_radians(), 0.0],
        camera: Camera::orbit(10.0 + angle / 10.0, 0.0, angle).with_focal(12.0 + angle),
    };
    let motion = Motion::new(2.0, vec![turning(0.0), turning(40.0)]).unwrap();
    assert_eq!(motion.duration(), 0.5);
    let quarter = motion.sample(0.125).unwrap();
    let expected = turning(10.0);
    // f32 rounding through quaternions, at the camera's distance of 10.
    let close = |a: f32, b: f32| (a - b).abs() < 1e-5;
    assert!(close(quarter.coefficients[0], 10.0));
    assert!(close(quarter.camera.focal, 22.0));
    let all_close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(&a, &b)| close(a, b));
    assert!(all_close(&quarter.pose, &expected.pose));
    let [found, expected] = [&quarter.camera, &expected.camera].map(|c| c.transform.as_flattened());
    assert!(all_close(found, expected));
    quarter.camera.validate().unwrap();
}

#[test]
fn smoothing_matches_the_authors() {
    let golden = TensorFile::golden("geometry.safetensors");
    let read = |name: &str| golden.f32(name).unwrap();
    let motion = |expression: &str, transform: &str| {
        let expression = read(expression);
        let transform = read(transform);
        let transforms: &[[[f32; 4]; 3]] = bytemuck::cast_slice(&transform);
        let frames = (expression.chunks_exact(50).zip(transforms))
            .map(|(expression, &transform)| MotionFrame {
                expression: expression.to_vec(),
                pose: expression[..6].to_vec(),
                camera: transform.into(),
            })
            .collect();
        Motion::new(25.0, frames).unwrap()
    };
    let alpha: f32 = golden.metadata()["smooth_alpha"].parse().unwrap();
    let found = motion("smooth.expression_in", "smooth.transform_in").smooth(alpha);
    let found = found.unwrap();
    let expected = motion("smooth.expression_out", "smooth.transform_out");
    assert_eq!((found.len(), expected.len()), (12, 12));
    for (found, expected) in found.frames().iter().zip(expected.frames()) {
        let [a, b] = [found, expected].map(|f| f.values().chain(f.camera.transform.as_flattened()));
        for (a, b) in a.zip(b) {
            // f32 rounding of the same recurrence, relative to distances of 10.
            assert!((a - b).abs() < 1e-6 * b.abs().max(1.0), "{a} {b}");
        }
        assert_eq!(found.camera.focal, Camera::FOCAL);
    }
}

#[test]
fn smoothing_keeps_everything_else_and_checks_its_factor() {
    let motion = lively();
    let smooth = motion.smooth(0.5).unwrap();
    assert_eq!(smooth.name(), motion.name());
    assert_eq!(smooth.licence(), motion.licence());
    assert_eq!(smooth.channels(), motion.channels());
    assert!(smooth.frames()[3].camera.clamp_near && !smooth.frames()[4].camera.clamp_near);
    // Half way from one focal length to the next.
    assert!((smooth.frames()[1].camera.focal - (12.0 + 0.5 / 7.0)).abs() < 1e-5);
    for alpha in [0.0, -0.5, 1.1, f32::NAN] {
        refused!(motion.smooth(alpha), Argument);
    }
    let opposite = [10.0, -10.0].map(|z| MotionFrame {
        camera: Camera::look_at([0.0, 0.0, z], [0.0; 3], [0.0, 1.0, 0.0]),
        ..MotionFrame::default()
    });
    let opposite = Motion::new(30.0, opposite.into()).unwrap();
    let error = opposite.smooth(0.5).unwrap_err().to_string();
    assert!(error.contains("camera transform of frame 1"), "{error}");
}

#[test]
fn a_small_file_does_not_become_a_large_motion() {
    // One row of expression for a long list of another key.
    let row = vec!["0"; 20_000].join(",");
    let list = vec!["true"; 10_000].join(",");
    let json =
        format!(r#"{{"version": 1, "fps": 30, "expression": [{row}], "clamp_near": [{list}]}}"#);
    let error = refused!(Motion::from_json(&json), Format);
    assert!(error.contains("10000 frames of 20000 values"), "{error}");
    // Lists without content.
    let rows = "[],".repeat(2_000_000);
    let json = format!(r#"{{"version": 1, "fps": 30, "pose": [{rows}[]]}}"#);
    let error = refused!(Motion::from_json(&json), Format);
    assert!(error.contains("more lists and names"), "{error}");
    // A row for some hours is no reason.
    let list = vec!["true"; 100_000].join(",");
    let json =
        format!(r#"{{"version": 1, "fps": 30, "expression": [0, 1], "clamp_near": [{list}]}}"#);
    assert_eq!(Motion::from_json(&json).unwrap().len(), 100_000);
}

#[test]
fn cameras_may_have_the_usual_fourth_row() {
    let parse = |last: &str| {
        let rows = format!("[[-1,0,0,0],[0,1,0,0],[0,0,-1,10]{last}]");
        Motion::from_json(&format!(
            r#"{{"version": 1, "fps": 30, "transform": {rows}}}"#
        ))
    };
    let three = parse("").unwrap();
    assert_eq!(parse(",[0,0,0,1]").unwrap(), three);
    assert_eq!(three.frames()[0].camera, Camera::orbit(10.0, 0.0, 0.0));
    for last in [",[0,0,0,2]", ",[0,0,1,1]", ",[0,0,0,1],[0,0,0,1]"] {
        refused!(parse(last), Format);
    }
}

#[test]
fn coefficients_without_names_may_be_cut() {
    let named = lively();
    assert_eq!(named.clone().with_first_coefficients(1), named);
    let unnamed = Motion::new(30.0, named.frames().to_vec()).unwrap();
    let cut = unnamed.clone().with_first_coefficients(2);
    assert_eq!(
        cut.frames()[3].expression,
        named.frames()[3].expression[..2]
    );
    assert_eq!(unnamed.clone().with_first_coefficients(9), unnamed);
}
