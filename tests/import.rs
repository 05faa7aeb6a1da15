//! The authors' files, as Python wrote them into `tests/fixtures`, come out with the values that
//! went in. All of these are exact in the types on both sides, so that no test has a tolerance.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::refused;
use gpavatar::glam::{Quat, Vec3};
use gpavatar::import::{
    Checkpoint, Contents, HeadOptions, HeadRotation, ImportedMotion, MotionOptions, RateSource,
    Sources, head_model, head_model_from_bytes, motion, motion_from_bytes,
};
use gpavatar::{
    Attention, Camera, FloatFormat, HeadModel, HeadModelParts, ModelConfig, Motion, PointWeighting,
    SyntheticRules, TensorWriter, Weights,
};
use half::{bf16, f16};

fn fixture(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    fixtures.join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap()
}

/// Number of files and directories in a directory.
fn entries(directory: &Path) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

/// The content of a weights file.
fn written(checkpoint: &Checkpoint, format: FloatFormat) -> Vec<u8> {
    checkpoint.writer(format).unwrap().into_bytes().unwrap()
}

/// The configuration of the weights in `tiny.tsv`, with the importer's defaults for what their shapes
/// do not tell.
fn tiny() -> ModelConfig {
    ModelConfig {
        source_size: 16,
        plane_size: 8,
        plane_channels: 4,
        points: 9,
        point_feature: 3,
        point_hidden: 16,
        point_output: 4,
        feature_hidden: 8,
        rgb_hidden: 8,
        low_res_size: 2,
        low_res_channels: 4,
        output_size: 8,
        style_size: 4,
        style_layers: 2,
        encoder_channels: BTreeMap::from([(4, 4), (8, 4), (16, 4)]),
        super_resolver_channels: BTreeMap::from([(4, 4), (8, 4)]),
        encoder_decoder_channels: BTreeMap::from([(4, 8), (8, 4)]),
        super_resolver_decoder_channels: BTreeMap::from([(4, 4), (8, 4)]),
        ..ModelConfig::default()
    }
}

/// The weights that both checkpoints were made from.
fn tiny_weights() -> Weights {
    let rules = std::fs::read_to_string(fixture("tiny.tsv")).unwrap();
    Weights::synthetic(tiny(), 7, SyntheticRules::parse(&rules).unwrap()).unwrap()
}

#[test]
fn a_checkpoint_of_a_training_is_imported() {
    let checkpoint = Checkpoint::open(fixture("checkpoint_nested.ckpt")).unwrap();
    assert_eq!(*checkpoint.config(), tiny());
    let weighting = checkpoint.config().point_weighting;
    assert_eq!(weighting, PointWeighting::Released);
    assert_eq!(checkpoint.config().attention, Attention::Softmax);
    let ignored = ["percep_loss.mean", "percep_loss.steps"];
    assert_eq!(checkpoint.ignored(), ignored);

    let expected = tiny_weights();
    let imported = Weights::from_bytes(written(&checkpoint, FloatFormat::F32)).unwrap();
    assert_eq!(imported.config(), expected.config());
    let halved = Weights::from_bytes(written(&checkpoint, FloatFormat::F16)).unwrap();
    for spec in expected.config().tensors().unwrap() {
        let values = expected.f32(&spec.name).unwrap();
        assert_eq!(checkpoint.f32(&spec.name).unwrap(), values, "{}", spec.name);
        assert_eq!(imported.f32(&spec.name).unwrap(), values, "{}", spec.name);
        let rounded: Vec<f32> = values.iter().map(|&x| f16::from_f32(x).to_f32()).collect();
        assert_eq!(halved.f32(&spec.name).unwrap(), rounded, "{}", spec.name);
    }
}

#[test]
fn views_into_shared_storages_of_any_type_are_imported() {
    let checkpoint = Checkpoint::open(fixture("checkpoint_views.ckpt")).unwrap();
    assert_eq!(*checkpoint.config(), tiny());
    let expected = tiny_weights();
    // In the order of the script.
    let round = [
        |x: f32| x,
        |x| f16::from_f32(x).to_f32(),
        |x| bf16::from_f32(x).to_f32(),
    ];
    for (spec, round) in tiny().tensors().unwrap().iter().zip(round.iter().cycle()) {
        let values = expected.f32(&spec.name).unwrap();
        let values: Vec<f32> = values.iter().map(|&x| round(x)).collect();
        assert_eq!(checkpoint.f32(&spec.name).unwrap(), values, "{}", spec.name);
    }
}

#[test]
fn what_tensors_do_not_tell_can_be_set() {
    let open = || Checkpoint::open(fixture("checkpoint_views.ckpt")).unwrap();
    let checkpoint = open().with_config(|config| config.neighbours = 4).unwrap();
    let file = written(&checkpoint, FloatFormat::F32);
    assert_eq!(Weights::from_bytes(file).unwrap().config().neighbours, 4);
    refused::config(open().with_config(|config| config.neighbours = 99), &[]);
    refused::tensors(open().with_config(|config| config.point_feature = 4), &[]);
}

#[test]
fn an_import_appears_only_when_complete() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("weights.safetensors");
    let mut damaged = bytes("checkpoint_nested.ckpt");
    let query = tiny_weights().f32("query_style_tplane").unwrap()[..4].to_vec();
    let needle: Vec<u8> = query.iter().flat_map(|x| x.to_le_bytes()).collect();
    let place = damaged.windows(needle.len()).position(|w| w == needle);
    damaged[place.unwrap()] ^= 1;
    let checkpoint = Checkpoint::from_bytes("damaged", damaged).unwrap();
    let result = checkpoint.writer(FloatFormat::F32).unwrap().write(&path);
    refused::tensors(result, &["query_style_tplane: ", "checksum"]);
    assert_eq!(entries(scratch.path()), 0);
}

#[test]
fn files_before_pytorch_1_6_are_refused_with_what_to_do() {
    let path = fixture("legacy.ckpt");
    let advice = "torch.save(torch.load(";
    let parts = ["legacy.ckpt", "before version 1.6", advice];
    refused::format(Checkpoint::open(&path), &parts);
    refused::format(Sources::open(&path), &["torch.load"]);
}

#[test]
fn other_files_are_no_checkpoints() {
    for name in [
        "head.npz",
        "head_python2.pkl",
        "values_2.6.pt",
        "face.csv",
        "motion_archive.pt",
    ] {
        refused::format(Checkpoint::open(fixture(name)), &[name]);
    }
    refused::io(Checkpoint::open("no such file"), &[]);
}

/// Checks the numbers of vertices and directions of a head model. Its expression directions
/// begin with number `first_expression` of all `directions` in the file.
#[track_caller]
fn check_head(
    head: &HeadModel,
    vertices: usize,
    kept: [usize; 2],
    first_expression: usize,
    directions: usize,
) {
    let parts: &HeadModelParts = head.parts();
    let [shapes, expressions] = kept;
    assert_eq!(head.vertex_count(), vertices);
    assert_eq!([head.shape_count(), head.expression_count()], kept);
    assert_eq!(parts.parents, [-1, 0, 1, 1, 1]);
    assert_eq!(parts.pose_joints, [0, 2]);
    assert_eq!(parts.scale, 5.0);
    // The values count up in 1024ths, in the order of the axes that the original arrays have.
    let value = |i: usize| i as f32 / 1024.0;
    for v in 0..vertices {
        for axis in 0..3 {
            let row = 3 * v + axis;
            assert_eq!(parts.template[v][axis], value(row));
            let expression_basis = &parts.expression_basis;
            for (basis, kept, first, all) in [
                (&parts.shape_basis, shapes, 0, directions),
                (expression_basis, expressions, first_expression, directions),
                (&parts.pose_basis, 36, 0, 36),
            ] {
                for k in 0..kept {
                    assert_eq!(basis[k * vertices + v][axis], value(row * all + first + k));
                }
            }
        }
    }
    let (regressor, weights): (&[f32], &[f32]) = match vertices {
        2 => (
            &[1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.25, 0.75],
            &[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.5],
        ),
        _ => (
            &[
                1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.25, 0.75,
            ],
            &[
                1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0,
            ],
        ),
    };
    assert_eq!(parts.joint_regressor, regressor);
    assert_eq!(parts.skinning_weights, weights);
}

#[test]
fn a_head_model_of_python_2_and_chumpy_is_imported() {
    let path = fixture("head_python2.pkl");
    let head = head_model(&path, &HeadOptions::default()).unwrap();
    check_head(&head, 2, [100, 50], 300, 400);
    let head = head_model(&path, &HeadOptions::whole()).unwrap();
    check_head(&head, 2, [300, 100], 300, 400);
    let some = HeadOptions {
        shapes: Some(7),
        expressions: Some(3),
        identity_directions: Some(20),
        scale: 5.0,
    };
    check_head(&head_model(&path, &some).unwrap(), 2, [7, 3], 20, 400);
}

#[test]
fn head_models_of_today_s_numpy_are_imported() {
    for name in [
        "head_protocol0.pkl",
        "head_protocol1.pkl",
        "head_protocol2.pkl",
        "head_protocol5.pkl",
        "head.npz",
    ] {
        let head = head_model(fixture(name), &HeadOptions::default()).unwrap();
        check_head(&head, 3, [100, 50], 100, 150);
    }
}

#[test]
fn converted_head_models_are_imported() {
    let original = head_model(fixture("head.npz"), &HeadOptions::default()).unwrap();
    // A head model of this crate stays unchanged.
    let own = original.to_safetensors().unwrap();
    let again = head_model_from_bytes("own", own, &HeadOptions::default()).unwrap();
    assert_eq!(again.parts(), original.parts());

    let value = |i: usize| i as f32 / 1024.0;
    let parts = original.parts();
    let mut writer = TensorWriter::new(BTreeMap::new());
    let template = parts.template.as_flattened().to_vec();
    for (name, shape, values) in [
        ("v_template", vec![3, 3], template),
        ("shapedirs", vec![3, 3, 400], (0..3600).map(value).collect()),
        ("posedirs", vec![3, 3, 36], (0..324).map(value).collect()),
        ("J_regressor", vec![5, 3], parts.joint_regressor.clone()),
        ("lbs_weights", vec![3, 5], parts.skinning_weights.clone()),
    ] {
        writer.floats(name, &shape, FloatFormat::F32, || Ok(values.into()));
    }
    writer.ints("parents", &[5], &parts.parents);
    let file = writer.into_bytes().unwrap();
    let head = head_model_from_bytes("converted", file, &HeadOptions::default()).unwrap();
    check_head(&head, 3, [100, 50], 300, 400);
}

#[test]
fn incomplete_head_models_are_refused() {
    let options = HeadOptions {
        identity_directions: Some(401),
        ..HeadOptions::default()
    };
    let result = head_model(fixture("head_python2.pkl"), &options);
    refused::format(result, &["401", "400"]);
    let options = HeadOptions::default();
    refused::format(head_model(fixture("legacy.ckpt"), &options), &[]);
    let result = head_model(fixture("motion_numpy.pkl"), &options);
    refused::format(result, &["expected an array v_template, found none"]);
    let unnamed = bytes("head_python2.pkl");
    let place = unnamed.windows(9).position(|w| w == b"chumpy.ch").unwrap();
    let unnamed = [&unnamed[..place], b"chumpy.zz", &unnamed[place + 9..]].concat();
    let result = head_model_from_bytes("unknown", unnamed, &options);
    refused::format(result, &["chumpy.zz.Ch"]);
}

/// Checks the frames that the script made, those with these numbers.
#[track_caller]
fn check_motion(motion: &Motion, numbers: &[usize]) {
    assert_eq!(motion.fps(), 25.0);
    assert_eq!(motion.len(), numbers.len());
    for (frame, &i) in motion.frames().iter().zip(numbers) {
        let expected: Vec<f32> = (0..50).map(|k| (i * 50 + k) as f32 / 64.0).collect();
        assert_eq!(frame.expression, expected);
        let expected: Vec<f32> = (0..6).map(|k| k as f32 / 64.0 + i as f32).collect();
        assert_eq!(frame.pose, expected);
        let x = i as f32 / 4.0;
        let rows = [
            [1.0, 0.0, 0.0, x],
            [0.0, 1.0, 0.0, 0.0],
            [0.0, 0.0, 1.0, 10.0],
        ];
        assert_eq!(frame.camera.transform, rows);
    }
}

#[test]
fn tracked_videos_are_imported_in_the_order_of_their_frames() {
    let open = |name| {
        motion(fixture(name), &MotionOptions::default())
            .unwrap()
            .motion
    };
    let all: Vec<usize> = (0..12).collect();
    check_motion(&open("motion_numpy.pkl"), &all);
    check_motion(&open("motion_tensors.pkl"), &[2, 10]);
    check_motion(&open("motion_lists.pkl"), &[2, 10]);
    check_motion(&open("motion_archive.pt"), &[2, 10]);
    let options = MotionOptions {
        fps: Some(30.0),
        smoothing: Some(0.5),
        ..MotionOptions::default()
    };
    let smoothed = motion(fixture("motion_numpy.pkl"), &options)
        .unwrap()
        .motion;
    assert_eq!(smoothed.fps(), 30.0);
    assert_eq!(smoothed.name(), "motion_numpy");
    let expected = open("motion_numpy.pkl").smooth(0.5).unwrap();
    assert_eq!(smoothed.frames(), expected.frames());
}

#[test]
fn recordings_of_faces_are_imported_by_the_names_of_their_columns() {
    let path = fixture("face.csv");
    let motion_of = |still_head| {
        let options = MotionOptions {
            still_head,
            ..MotionOptions::default()
        };
        motion(&path, &options).unwrap()
    };
    let imported = motion_of(true);
    assert_eq!(imported.head_rotation, HeadRotation::LeftOut);
    let recording = imported.motion;
    assert_eq!((recording.len(), recording.fps()), (9, 3.0));
    assert_eq!(recording.channels().len(), 52);
    assert_eq!(recording.channels()[0], "eyeBlinkLeft");
    assert_eq!(recording.channels()[17], "jawOpen");
    let whole = motion_of(false);
    assert_eq!(whole.head_rotation, HeadRotation::Camera);
    let eyes =
        ["Left", "Right"].map(|side| ["Yaw", "Pitch", "Roll"].map(|a| format!("{side}Eye{a}")));
    assert_eq!(whole.dropped, eyes.concat());
    for (i, frame) in whole.motion.frames().iter().enumerate() {
        // The second row has no face, and repeats the first one.
        let row = if i == 1 { 0 } else { i };
        let expected: Vec<f32> = (0..61).map(|j| (row * 64 + j) as f32 / 1024.0).collect();
        assert_eq!(frame.expression, expected[..52]);
        assert_eq!(recording.frames()[i].expression, expected[..52]);
        assert_eq!(recording.frames()[i].camera, Camera::default());
        // Yaw, pitch and roll: the camera's place in the head's coordinates.
        let [yaw, pitch, roll] = [52, 53, 54].map(|angle| expected[angle]);
        let head = Quat::from_rotation_y(yaw) * Quat::from_rotation_x(pitch);
        let head = head * Quat::from_rotation_z(roll);
        let place: Vec3 = head.inverse() * Camera::default().origin();
        assert!(frame.camera.origin().abs_diff_eq(place, 1e-5), "{i}");
    }

    let parse = |csv: &str| motion_from_bytes("csv", csv.as_bytes(), &MotionOptions::default());
    let timed = parse("time, jawOpen\n0.5, 0.25\n1.0, 0.75\n")
        .unwrap()
        .motion;
    assert_eq!(timed.fps(), 2.0);
    assert_eq!(timed.channels(), ["jawOpen"]);
    assert_eq!(timed.frames()[1].expression, [0.75]);
    let refused = |csv: &str, reason: &str| {
        let error = parse(csv).unwrap_err().to_string();
        assert!(error.contains(reason), "{csv:?}: {error}");
    };
    refused("", "it is empty");
    for csv in ["a,b\n1,2\n", "Timecode\n1\n"] {
        refused(csv, "Timecode");
    }
    refused("Timecode,JawOpen,JawOpen\n1,0,0\n", "twice");
    for (rows, reason) in [
        ("noon,1\n", "row 2: expected a time"),
        ("24:00:00:00,1\n", "row 2: expected a time"),
        ("1,0\n2,wide\n", "row 3: expected a number in column 2"),
        ("1\n", "row 2: expected 2 columns, found 1"),
        ("1,NaN\n", "finite"),
        ("", "at least one frame"),
    ] {
        refused(&format!("Timecode,JawOpen\n{rows}"), reason);
    }
}

/// A file of another program, from `tests/fixtures/motions`.
#[track_caller]
fn foreign(name: &str) -> ImportedMotion {
    motion(fixture("motions").join(name), &MotionOptions::default())
        .unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn recordings_of_many_programs_are_imported() {
    for (name, frames, fps, channels) in [
        ("animation_frames.csv", 40, 30.0, 52),
        ("without_index.csv", 40, 30.0, 52),
        ("seconds.csv", 40, 30.0, 51),
        ("frame_and_milliseconds.csv", 40, 30.0, 51),
        ("milliseconds.csv", 40, 30.0, 51),
        ("bsData.json", 20, 30.0, 52),
        ("neurosync.csv", 130, 60.0, 52),
        ("turns_the_head.csv", 130, 60.0, 6),
    ] {
        let found = foreign(name);
        assert_eq!(
            (found.motion.len(), found.motion.fps()),
            (frames, fps),
            "{name}: {found}"
        );
        assert_eq!(found.motion.channels().len(), channels, "{name}: {found}");
    }
    let value = |found: &ImportedMotion, channel: &str, frame: usize| {
        let at = found
            .motion
            .channels()
            .iter()
            .position(|name| name == channel);
        found.motion.frames()[frame].expression[at.unwrap()]
    };
    let audio2face = foreign("animation_frames.csv");
    assert_eq!(audio2face.motion.channels()[0], "eyeBlinkLeft");
    assert_eq!(audio2face.motion.channels()[51], "tongueOut");
    assert_eq!(value(&audio2face, "jawOpen", 0), 0.5);
    assert!(audio2face.dropped.is_empty());
    let lam = foreign("bsData.json");
    assert!((value(&lam, "jawOpen", 4) - 0.441).abs() < 1e-3);
    assert_eq!(foreign("seconds.csv").dropped, ["_neutral"]);
    let neurosync = foreign("neurosync.csv");
    for emotion in [
        "Angry",
        "Disgusted",
        "Fearful",
        "Happy",
        "Neutral",
        "Sad",
        "Surprised",
    ] {
        assert!(
            neurosync.dropped.iter().any(|name| name == emotion),
            "{neurosync}"
        );
    }
    // Nothing tells its rate.
    let frame_first = fixture("motions/frame_first.csv");
    let error = motion(&frame_first, &MotionOptions::default());
    refused::format(error, &["frame_first.csv", "times", "--fps"]);
    let options = MotionOptions {
        fps: Some(30.0),
        ..MotionOptions::default()
    };
    assert_eq!(motion(&frame_first, &options).unwrap().motion.len(), 40);
}

#[test]
fn a_recording_turns_the_head() {
    let found = foreign("turns_the_head.csv");
    assert_eq!(found.head_rotation, HeadRotation::Camera);
    let azimuth = |frame: usize| {
        let [x, y, z] = found.motion.frames()[frame].camera.origin().to_array();
        ((-x).atan2(z), y.atan2(x.hypot(z)))
    };
    // Half a radian of yaw, and a pitch of a fifth.
    assert_eq!(azimuth(0), (0.0, 0.0));
    let high = (0..130).map(azimuth);
    let high = high.fold((0.0f32, 0.0f32), |high, (yaw, pitch)| {
        (high.0.max(yaw), high.1.max(pitch))
    });
    assert!(
        (high.0 - 0.5).abs() < 0.01 && (high.1 - 0.2).abs() < 0.05,
        "{high:?}"
    );
}

#[test]
fn motions_of_other_trackers_are_imported() {
    let vhap = foreign("tracked_flame_params_30.npz");
    assert_eq!((vhap.motion.len(), vhap.motion.fps()), (20, 25.0));
    assert_eq!(vhap.rate, RateSource::Assumed);
    let frame = &vhap.motion.frames()[3];
    assert_eq!((frame.expression.len(), frame.pose.len()), (100, 6));
    for entry in [
        "neck_pose",
        "eyes_pose",
        "translation",
        "shape",
        "static_offset",
    ] {
        assert!(vhap.dropped.iter().any(|name| name == entry), "{vhap}");
    }
    assert_eq!(foreign("00000.npz").motion.len(), 1);
    // A folder with a file for each frame.
    let scratch = tempfile::tempdir().unwrap();
    for frame in 0..3 {
        let file = scratch.path().join(format!("{frame:05}.npz"));
        std::fs::copy(fixture("motions/00000.npz"), file).unwrap();
    }
    let folder = motion(scratch.path(), &MotionOptions::default()).unwrap();
    assert_eq!(folder.motion.len(), 3);
    refused::format(
        motion(scratch.path().parent().unwrap(), &MotionOptions::default()),
        &["00000.npz"],
    );

    let gagavatar = foreign("smoothed.pkl");
    assert_eq!(gagavatar.motion.len(), 20);
    let frame = &gagavatar.motion.frames()[0];
    assert_eq!((frame.expression.len(), frame.pose.len()), (100, 6));
    assert!(gagavatar.dropped.iter().any(|name| name == "eyecode"));
    assert_eq!(foreign("optim.pkl").motion.len(), 1);
    // Cameras with the usual last row.
    let four = foreign("four_rows.pkl").motion;
    assert_eq!(four.frames()[0].expression.len(), 50);
}

#[test]
fn tracked_sources_become_pictures_cameras_and_a_shape() {
    let sources = Sources::open(fixture("sources.pth")).unwrap();
    let shape: Vec<f32> = (0..100).map(|k| k as f32 / 64.0).collect();
    assert_eq!(sources.shape, shape);
    assert_eq!(sources.frames, ["f_3", "../f_12"]);
    for (i, (image, camera)) in sources.images.iter().zip(&sources.cameras).enumerate() {
        assert_eq!((image.width(), image.height()), (6, 8));
        let place = camera.unwrap().translation().to_array();
        assert_eq!(place, [0.0, 0.0, 10.0 + i as f32]);
        for (place, pixel) in image.pixels().chunks_exact(4).enumerate() {
            // The second picture has the first one's channels one further.
            let expected = [0, 1, 2].map(|c| ((c + 3 - i) % 3 * 48 + place) as u8);
            assert_eq!(pixel, [expected[0], expected[1], expected[2], 255]);
        }
    }

    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("sources");
    sources.write(&directory).unwrap();
    let first = gpavatar::SourceImage::open(directory.join("source_0.png")).unwrap();
    assert_eq!(first, sources.images[0]);
    let json = std::fs::read_to_string(directory.join("sources.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["sources"][1]["frame"], "../f_12");
    assert_eq!(json["sources"][1]["picture"], "source_1.png");
    assert_eq!(json["sources"][1]["canonical"], true);
    assert_eq!(json["sources"][1]["transform"][2][3], 11.0);
    assert_eq!(json["shape"].as_array().unwrap().len(), 100);
    // What is written is what is read, from the folder and from its list.
    assert_eq!(Sources::open(&directory).unwrap(), sources);
    let list = directory.join("sources.json");
    assert_eq!(Sources::open(&list).unwrap(), sources);
    // An existing file is not overwritten, and nothing is left beside it.
    refused::io(sources.write(&directory), &[]);
    assert_eq!(entries(scratch.path()), 1);
}

#[test]
fn lists_of_sources_say_which_pictures_are_canonical() {
    let scratch = tempfile::tempdir().unwrap();
    let picture = image::RgbImage::from_pixel(4, 4, image::Rgb([9, 8, 7]));
    picture.save(scratch.path().join("a.png")).unwrap();
    let path = scratch.path().join("sources.json");
    let open = |sources: &str| {
        let json = format!("{{\"version\": 1, \"sources\": [{sources}]}}");
        std::fs::write(&path, json).unwrap();
        Sources::open(scratch.path())
    };
    let rows = |last: &str| format!("[[-1,0,0,0],[0,1,0,0],[0,0,-1,10]{last}]");
    let camera = Camera::orbit(10.0, 0.0, 0.0);
    for (entry, tracked) in [
        (
            format!(r#"{{"picture": "a.png", "transform": {}}}"#, rows("")),
            true,
        ),
        (
            format!(
                r#"{{"picture": "a.png", "transform": {}}}"#,
                rows(",[0,0,0,1]")
            ),
            true,
        ),
        // What was written before there was the key `canonical`.
        (
            format!(
                r#"{{"image": "a.png", "frame": "f_1", "transform": {}}}"#,
                rows("")
            ),
            false,
        ),
        (
            r#"{"picture": "a.png", "canonical": true}"#.to_owned(),
            false,
        ),
    ] {
        let sources = open(&entry).unwrap();
        let found = sources.images[0].camera();
        assert_eq!(found.is_some(), tracked, "{entry}");
        if let Some(found) = found {
            assert_eq!(found.origin(), camera.origin());
        }
    }
    let bad = format!(
        r#"{{"picture": "a.png", "transform": {}}}"#,
        rows(",[0,0,0,2]")
    );
    refused::format(open(&bad), &["sources.json", "the last one 0 0 0 1"]);
    refused::format(open("{}"), &["sources[0]: expected a picture"]);
    refused::io(open(r#"{"picture": "none.png"}"#), &["none.png"]);
}

#[test]
fn contents_of_every_file_are_listed() {
    let (torch, pickle) = ("PyTorch archive", "Python pickle");
    let before_1_6 = "PyTorch file in the format before version 1.6";
    let check = |name: &str, kind: &str, entry: &str| {
        let contents = Contents::open(fixture(name)).unwrap();
        assert_eq!(contents.kind, kind, "{name}");
        assert!(contents.to_string().contains(entry), "{contents}");
        assert!(!contents.truncated);
    };
    let entry = "config_dict: an object of __main__.ConfigDict";
    check("checkpoint_nested.ckpt", torch, entry);
    let entry = "query_style_tplane: F32 [1, 1, 3, 4, 8, 8], ";
    check("checkpoint_views.ckpt", torch, entry);
    let entry = "float64: F64 [2, 3], 0.0000 to 0.6250, mean 0.3125 ± 0.2135";
    check("values_2.6.pt", torch, entry);
    let entry = "J_regressor: F64 [5, 2], 0.0000 to 1.0000";
    check("head_python2.pkl", pickle, entry);
    let entry = "J_regressor: F64 [5, 3], 0.0000 to 1.0000";
    check("head.npz", "numpy archive", entry);
    let entry = "video_10.emoca_pose: F32 [6], 10.0000 to 10.0781";
    check("motion_tensors.pkl", pickle, entry);
    let entry = "expression.jawOpen: F32 [9], ";
    check("face.csv", "recording of a face", entry);
    check("legacy.ckpt", before_1_6, "");

    let checkpoint = Checkpoint::open(fixture("checkpoint_nested.ckpt")).unwrap();
    let weights = written(&checkpoint, FloatFormat::F16);
    let head = head_model(fixture("head.npz"), &HeadOptions::default()).unwrap();
    let motion = motion(fixture("motion_numpy.pkl"), &MotionOptions::default()).unwrap();
    let motion = motion.motion;
    let (tensors, json) = (motion.to_safetensors(), motion.to_json().into());
    for (bytes, kind, entry) in [
        (Ok(weights), "weights", "\"points\":9"),
        (
            head.to_safetensors(),
            "head model",
            "pose_basis: F32 [36, 3, 3]",
        ),
        (tensors, "motion", "expression: F32 [12, 50]"),
        (Ok(json), "motion", "name: motion_numpy"),
    ] {
        let contents = Contents::from_bytes("test", bytes.unwrap()).unwrap();
        assert_eq!(contents.kind, format!("{kind} of this crate"));
        assert!(contents.to_string().contains(entry), "{contents}");
    }
}

/// The checkpoint of `make_full_size.py`.
#[test]
#[ignore = "needs a file of 419 MB, see tests/fixtures/make_full_size.py"]
fn a_checkpoint_of_the_released_size_is_imported() {
    let path = std::env::var_os("GPAVATAR_CHECKPOINT").expect("GPAVATAR_CHECKPOINT is a path");
    let checkpoint = Checkpoint::open(path).unwrap();
    let mut config = ModelConfig::default();
    // The encoder's decoder ends at the planes' resolution; further table entries are not used.
    config.encoder_decoder_channels.remove(&512);
    assert_eq!(*checkpoint.config(), config);
    assert_eq!(checkpoint.ignored(), ["percep_loss.net.slice1.0.weight"]);
    let scratch = tempfile::tempdir().unwrap();
    let output = scratch.path().join("weights.safetensors");
    let writer = checkpoint.writer(FloatFormat::F32).unwrap();
    writer.write(&output).unwrap();
    let imported = Weights::open(&output).unwrap();
    let rules = SyntheticRules::parse(include_str!("golden/checkpoint_released.tsv")).unwrap();
    let expected = Weights::synthetic(config, 1, rules).unwrap();
    let tensors = expected.config().tensors().unwrap();
    assert_eq!(tensors.len(), 574);
    for spec in tensors {
        let same = imported.f32(&spec.name).unwrap() == expected.f32(&spec.name).unwrap();
        assert!(same, "{}", spec.name);
    }
}

#[test]
fn no_cut_or_changed_byte_panics() {
    let names = [
        "big_endian.pt",
        "face.csv",
        "head.npz",
        "legacy.ckpt",
        "motion_lists.pkl",
        "motion_tensors.pkl",
        "sources.pth",
    ];
    for name in names {
        let whole = bytes(name);
        let read = |bytes: Vec<u8>| {
            // It need not be readable; returning is the test.
            let _ = motion_from_bytes(name, &bytes, &MotionOptions::default());
            let _ = Sources::from_bytes(name, &bytes);
            let _ = Contents::from_bytes(name, bytes.clone());
            let _ = Checkpoint::from_bytes(name, bytes.clone());
            let _ = head_model_from_bytes(name, bytes, &HeadOptions::default());
        };
        for i in (0..whole.len()).step_by(whole.len().div_ceil(500)) {
            read(whole[..i].to_vec());
            let mut changed = whole.clone();
            changed[i] ^= 0xFF;
            read(changed);
        }
    }
}
