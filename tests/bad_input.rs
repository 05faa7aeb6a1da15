//! Whatever is wrong with an input, the answer is an error that says what, where, expected and
//! found, or a picture that is defined; never a panic.

mod common;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::process::{Command, Output};

use common::tiny::{self, Picture, gpu};
use common::{Within, difference};
use glam::Vec3;
use gpavatar::reference::pipeline::{build, prepare, render};
use gpavatar::reference::{rays, style_unet};
use gpavatar::{
    AdapterKind, Atlas, Avatar, AvatarOptions, Background, Camera, Drive, Error, FloatFormat, Gpu,
    GpuOptions, HeadModel, HeadModelParts, Model, ModelConfig, ModelOptions, Noise, RenderOptions,
    Result, ShaderChecks, SourceImage, TensorWriter, Weights, wgpu,
};

/// The error's message, of which `parts` are parts.
#[track_caller]
fn refused<T: Debug>(result: Result<T>, kind: fn(&Error) -> bool, parts: &[&str]) -> String {
    let error = result.expect_err("should have been refused");
    let message = error.to_string();
    assert!(kind(&error), "another kind of error: {error:?}");
    for part in parts {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
    message
}

fn argument(error: &Error) -> bool {
    matches!(error, Error::Argument { .. })
}

fn format(error: &Error) -> bool {
    matches!(error, Error::Format { .. })
}

fn tensors(error: &Error) -> bool {
    matches!(error, Error::Tensors { .. })
}

fn limit(error: &Error) -> bool {
    matches!(error, Error::Limit { .. })
}

/// A head of the tiny network's points whose channels have names.
fn head() -> HeadModel {
    let template = tiny::points(tiny::config().points);
    let direction = |scale: f32| template.iter().map(move |p| p.map(|v| scale * v));
    let parts = HeadModelParts {
        shape_basis: direction(0.1).chain(direction(-0.05)).collect(),
        expression_basis: direction(0.05).chain(direction(-0.1)).collect(),
        channels: vec!["jawOpen".into(), "mouthSmileLeft".into()],
        template,
        ..HeadModelParts::default()
    };
    HeadModel::new(parts).unwrap()
}

fn model_with_head() -> Model {
    let options = ModelOptions {
        head: Some(head()),
        ..ModelOptions::default()
    };
    Model::with_options(gpu(), tiny::weights(&tiny::config()), options).unwrap()
}

// ---- pictures ------------------------------------------------------------------------------

#[test]
fn no_sources() {
    let result = Avatar::from_images(&tiny::model(), &[]);
    refused(
        result,
        argument,
        &["sources", "at least one picture", "none"],
    );
}

#[test]
fn pictures_without_pixels_or_of_another_size_than_their_data() {
    for (width, height) in [(0, 0), (0, 4), (4, 0), (SourceImage::MAX_SIDE + 1, 1)] {
        let size = format!("{width} x {height}");
        let data = vec![0; (width * height * 4) as usize];
        let parts = ["1 to 8192 pixels a side", &size];
        refused(
            SourceImage::from_rgba8(width, height, data),
            argument,
            &parts,
        );
    }
    let result = SourceImage::from_rgba8(3, 2, vec![0; 23]);
    refused(result, argument, &["3 x 2 x 4 = 24 bytes", "23 bytes"]);
}

#[test]
fn picture_files_that_are_damaged_or_none() {
    let good = std::fs::read(common::golden_path("source_0.png")).unwrap();
    for bytes in [
        vec![],
        b"not a picture".to_vec(),
        good[..good.len() / 2].to_vec(),
        good[..40].to_vec(),
        // The header's width.
        [&good[..16], &[0; 4], &good[20..]].concat(),
        // In the middle of the pixels.
        [&good[..1000], &[0; 500], &good[1500..]].concat(),
    ] {
        refused(SourceImage::from_bytes(&bytes), format, &["source picture"]);
    }
    let missing = SourceImage::open("no/such/picture.png");
    let io = |error: &Error| matches!(error, Error::Io { .. });
    refused(missing, io, &["cannot read no/such/picture.png"]);
}

#[test]
fn pictures_whose_camera_does_not_show_the_head() {
    let model = tiny::model();
    let good = Camera::orbit(12.0, 0.0, 0.0);
    let mut singular = good;
    singular.transform[1] = singular.transform[0];
    let edge_on = Camera::orbit(12.0, 0.0, 90.0);
    let away = Camera::look_at([0.0, 0.0, 12.0], [0.0, 0.0, 24.0], [0.0, 1.0, 0.0]);
    let not_finite = good.with_focal(f32::NAN);
    for (camera, parts) in [
        (singular, ["camera transform", "a rotation"]),
        (edge_on, ["camera of the source picture", "quadrilateral"]),
        (away, ["camera of the source picture", "behind it"]),
        (not_finite, ["camera focal length", "NaN"]),
    ] {
        let source = tiny::picture(32, 32, 0).tracked(camera);
        refused(Avatar::from_images(&model, &[source]), argument, &parts);
    }
}

// ---- drives --------------------------------------------------------------------------------

#[test]
fn shapes_that_do_not_fit_the_head() {
    let with_shape = |model: &Model, shape: &[f32]| {
        let options = AvatarOptions {
            shape: shape.to_vec(),
            ..AvatarOptions::default()
        };
        Avatar::with_options(model, &[tiny::picture(32, 32, 0)], &options)
    };
    let model = model_with_head();
    assert!(with_shape(&model, &[0.5, 1.0]).is_ok());
    refused(
        with_shape(&model, &[0.5]),
        argument,
        &["shape", "2 coefficients or none", "found 1"],
    );
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let found = format!("{value} at");
        let result = with_shape(&model, &[0.0, value]);
        refused(result, argument, &["shape", "finite", &found, "1"]);
    }
    refused(
        with_shape(&tiny::model(), &[0.5]),
        argument,
        &["shape", "no head model"],
    );
}

#[test]
fn expressions_and_poses_that_do_not_fit_the_head() {
    let avatar = tiny::avatar(&model_with_head());
    let neutral = Drive::neutral;
    let refused = |drive: Drive, parts: &[&str]| {
        refused(avatar.render(&drive), argument, parts);
    };
    refused(
        neutral().expression("jawopen", 0.5),
        &[
            "expression",
            "a channel of the head model",
            "nearest: \"jawOpen\"",
            "\"jawopen\"",
        ],
    );
    refused(
        neutral().expression("smile", 1.0),
        &["\"mouthSmileLeft\"", "found \"smile\""],
    );
    refused(
        neutral().expression("jawOpen", f32::NAN),
        &["expression \"jawOpen\"", "NaN"],
    );
    refused(
        neutral().coefficients([0.0; 3]),
        &["expression", "2 coefficients or none", "3"],
    );
    refused(
        neutral().coefficients([0.0, f32::INFINITY]),
        &["expression", "inf at index 1"],
    );
    refused(
        neutral().pose([0.0; 4]),
        &["pose", "3 values for each", "4 values"],
    );
    refused(
        neutral().pose([0.0, f32::NAN, 0.0]),
        &["pose", "finite", "NaN at index 1"],
    );
    let both = tiny::drive().expression("jawOpen", 0.5);
    refused(both, &["drive", "either points or expression", "both"]);
}

#[test]
fn points_that_do_not_fit_the_network() {
    let avatar = tiny::avatar(&tiny::model());
    let count = tiny::config().points;
    let refused = |points: Vec<[f32; 3]>, parts: &[&str]| {
        refused(avatar.render(&Drive::points(points)), argument, parts);
    };
    refused(
        tiny::points(count - 1),
        &["points of the drive", "100 points", "99"],
    );
    refused(vec![], &["points of the drive", "100 points", "found 0"]);
    for value in [f32::NAN, f32::INFINITY, -1e7, f32::MAX] {
        let mut points = tiny::points(count);
        points[7][2] = value;
        refused(
            points,
            &["points of the drive", "within ±1000000", "index 7"],
        );
    }
    let neutral = avatar.render(&Drive::neutral());
    self::refused(neutral, argument, &["drive", "100 explicit points", "none"]);
}

#[test]
fn cameras_that_are_none() {
    let avatar = tiny::avatar(&tiny::model());
    let good = Camera::default();
    let with = |row: usize, column: usize, value: f32| {
        let mut camera = good;
        camera.transform[row][column] = value;
        camera
    };
    let mut singular = good;
    singular.transform[2] = [0.0; 4];
    for (camera, parts) in [
        (
            with(1, 1, f32::NAN),
            ["camera transform", "finite values", "NaN"],
        ),
        (
            with(0, 3, f32::INFINITY),
            ["camera transform", "finite values", "inf"],
        ),
        (
            singular,
            ["camera transform", "a rotation", "determinant 0"],
        ),
        (with(0, 0, -1.5), ["camera transform", "a rotation", "-1.5"]),
        (
            with(2, 3, 1e7),
            ["camera transform", "within ±1000000", "10000000"],
        ),
        (
            good.with_focal(0.0),
            ["camera focal length", "0.001", "found 0"],
        ),
        (
            good.with_focal(1e-30),
            ["camera focal length", "0.001", "found 0.00"],
        ),
    ] {
        refused(
            avatar.render(&tiny::drive().camera(camera)),
            argument,
            &parts,
        );
    }
}

// ---- many at a time ------------------------------------------------------------------------

#[test]
fn one_bad_drive_among_many() {
    let model = model_with_head();
    let other = tiny::avatar(&tiny::model());
    let (avatar, good) = (tiny::avatar(&model), Drive::neutral());
    let unknown = Drive::neutral().expression("jawopen", 0.5);
    let options = RenderOptions::default();
    let atlas = Atlas::new(&model, [4, 4]).unwrap();
    let before = {
        let frames = vec![(&avatar, &good); 16];
        atlas.render(&frames, &options).unwrap();
        atlas.to_image().unwrap()
    };
    let nod = Drive::neutral().pose([0.3, 0.0, 0.0]);
    for (bad, parts) in [
        (
            (&avatar, &unknown),
            ["expression of frame 11", "found \"jawopen\""],
        ),
        ((&other, &good), ["avatar of frame 11", "of this model"]),
    ] {
        let mut frames = vec![(&avatar, &nod); 11];
        frames.push(bad);
        refused(model.render_many(&frames, &options), argument, &parts);
        refused(atlas.render(&frames, &options), argument, &parts);
        let mut encoder = gpu().device().create_command_encoder(&Default::default());
        let result = atlas.record(&mut encoder, &frames, &options);
        refused(result, argument, &parts);
        gpu().queue().submit([encoder.finish()]);
        assert!(
            atlas.to_image().unwrap() == before,
            "something was rendered"
        );

        // A sequence is taken one by one: what comes before is played, what comes after is not.
        let mut playback = model.play(frames.into_iter().chain([(&avatar, &good)]));
        for _ in 0..11 {
            playback.next().unwrap().unwrap();
        }
        refused(playback.next().unwrap(), argument, &parts);
        assert!(playback.next().is_none() && playback.next().is_none());
    }
    let mut playback = other.play([&unknown]);
    let parts = ["drive of frame 0", "explicit points"];
    refused(playback.next().unwrap(), argument, &parts);
    assert!(playback.next().is_none());
}

#[test]
fn one_bad_picture_among_those_of_many_avatars() {
    let model = model_with_head();
    let good = [tiny::picture(32, 32, 0)];
    let edge_on = [
        tiny::picture(32, 32, 0),
        tiny::picture(32, 32, 0).tracked(Camera::orbit(12.0, 0.0, 90.0)),
    ];
    let shaped = |shape: &[f32]| AvatarOptions {
        shape: shape.to_vec(),
        ..AvatarOptions::default()
    };
    let built = |bad: &[SourceImage], options: AvatarOptions| {
        let mut avatars = vec![(&good[..], shaped(&[0.5, 1.0])); 9];
        avatars.push((bad, options));
        Avatar::build_many(&model, &avatars)
    };
    assert_eq!(built(&good, shaped(&[])).unwrap().len(), 10);
    let parts = ["sources of avatar 9", "at least one picture"];
    refused(built(&[], shaped(&[])), argument, &parts);
    let parts = ["camera of the source picture of avatar 9", "quadrilateral"];
    refused(built(&edge_on, shaped(&[])), argument, &parts);
    let parts = ["shape of avatar 9", "2 coefficients or none", "1"];
    refused(built(&good, shaped(&[0.5])), argument, &parts);
    let parts = ["shape of avatar 9", "finite", "NaN"];
    refused(built(&good, shaped(&[f32::NAN, 0.0])), argument, &parts);
    let without = [(&good[..], shaped(&[0.5]))];
    let result = Avatar::build_many(&tiny::model(), &without);
    refused(result, argument, &["shape of avatar 0", "no head model"]);
}

#[test]
fn atlases_without_tiles_or_larger_than_a_texture() {
    let model = tiny::model();
    for (grid, size) in [([0, 3], "0 x 3"), ([3, 0], "3 x 0"), ([0, 0], "0 x 0")] {
        let parts = ["grid of the atlas", "at least one column", size];
        refused(Atlas::new(&model, grid), argument, &parts);
    }
    for grid in [[257, 1], [1, 257], [u32::MAX, 1], [u32::MAX; 2]] {
        let parts = ["an atlas of ", "max_texture_dimension_2d of at least"];
        refused(Atlas::new(&model, grid), limit, &parts);
    }
    let atlas = Atlas::new(&model, [2, 3]).unwrap();
    let (avatar, drive) = (tiny::avatar(&model), tiny::drive());
    let parts = ["frames", "each of 2 x 3 tiles", "found 7"];
    let frames = vec![(&avatar, &drive); 7];
    let options = RenderOptions::default();
    refused(atlas.render(&frames, &options), argument, &parts);
}

// ---- pictures at the edges -----------------------------------------------------------------

/// What the scalar network renders of [`tiny::avatar`] at these points.
fn reference(config: &ModelConfig, points: &[[f32; 3]], camera: &Camera) -> Vec<f32> {
    let weights = tiny::weights(config);
    let source = prepare(config, &tiny::picture(32, 32, 0)).unwrap();
    let noise = style_unet::Noise::Stored;
    let planes = build(&weights, &[source], noise).unwrap();
    let points: Vec<Vec3> = points.iter().map(|p| Vec3::from(*p)).collect();
    let rendering = render(&weights, &planes.fused, &points, camera, noise).unwrap();
    rendering.low_res.data
}

/// The field is steep beside a point, and the fine depths follow it: rounding shows in some rays.
#[track_caller]
fn close(name: &str, found: &[f32], expected: &[f32]) {
    let difference = difference(name, found, expected);
    difference.within_range(1e-4, 0.05).all_within_range(1e-2);
}

#[test]
fn a_camera_facing_away_or_past_the_head_sees_nothing() {
    let avatar = tiny::avatar(&tiny::model());
    let away = Camera::look_at([0.0, 0.0, 10.0], [0.0, 0.0, 20.0], [0.0, 1.0, 0.0]);
    for camera in [
        away,
        away.with_clamp_near(true),
        Camera::look_at([0.0, 5.0, 10.0], [0.0, 5.0, 0.0], [0.0, 1.0, 0.0]),
    ] {
        let drive = tiny::drive().camera(camera);
        let options = RenderOptions {
            background: Background::Transparent,
            ..RenderOptions::default()
        };
        let frame = avatar.render_with(&drive, &options).unwrap();
        let picture = Picture::of(&frame, gpu());
        assert!(picture.rgba.iter().all(|v| *v == 0), "{camera:?}");
        assert!(
            picture
                .low_res
                .iter()
                .chain(&picture.depth)
                .all(|v| *v == 0.0),
            "{camera:?}"
        );
        // What the super-resolver makes of nothing.
        let nothing = vec![0.0; picture.low_res.len()];
        let nothing = pollster::block_on(avatar.model().super_resolve(&nothing)).unwrap();
        assert_eq!(picture.image, nothing);
    }
}

#[test]
fn a_camera_in_the_cube_or_on_its_surface() {
    let up = [0.0, 1.0, 0.0];
    let inside = Camera::look_at([0.3, 0.1, 0.6], [0.0; 3], up).with_focal(1.0);
    let centre = Camera::look_at([0.0; 3], [0.0, 0.0, -1.0], up).with_focal(0.5);
    let on_a_face = Camera::look_at([0.0, 0.0, 1.0], [0.0; 3], up).with_focal(2.0);
    // The rays of the middle column run within the face.
    let along_a_face = Camera::look_at([1.0, 0.0, 0.0], [1.0, 0.0, -1.0], up).with_focal(1.0);
    let wide = inside.with_focal(Camera::SHORTEST_FOCAL);
    for config in [tiny::config(), tiny::released()] {
        let model = Model::new(gpu(), tiny::weights(&config)).unwrap();
        let avatar = tiny::avatar(&model);
        let points = tiny::points(config.points);
        for camera in [inside, centre, on_a_face, along_a_face, wide] {
            for camera in [camera, camera.with_clamp_near(true)] {
                let drive = Drive::points(points.clone()).camera(camera);
                let picture = Picture::render(&avatar, &drive);
                assert!(picture.is_finite(), "{camera:?}");
                let seen = picture.low_res.iter().any(|v| *v != 0.0);
                assert!(seen, "{camera:?} sees nothing");
                // 0/0 decides which rays along a face miss.
                if camera.focal != wide.focal && camera.origin() != along_a_face.origin() {
                    let expected = reference(&config, &points, &camera);
                    close("low_res", &picture.low_res, &expected);
                }
            }
        }
    }
}

#[test]
fn points_exactly_on_samples() {
    // Straight rays whose depths are multiples of 1/16: all positions are exact on any device.
    let camera = Camera::look_at([0.0, 0.0, 5.0], [0.0; 3], [0.0, 1.0, 0.0]);
    for config in [tiny::config(), tiny::released()] {
        let side = config.low_res_size as usize;
        let rays = rays::generate(&camera, side);
        let depths = rays::coarse_depths(&rays, config.coarse_samples as usize);
        let positions = rays::positions(&rays, &depths);
        let samples = config.coarse_samples as usize;
        let middle = (side * side / 2) * samples..;
        let mut points = tiny::points(config.points);
        // Several points on one sample, and one on each of the others of the middle ray.
        points[3] = positions[middle.start + 2].to_array();
        for (point, at) in points
            .iter_mut()
            .zip(&positions[middle.clone()])
            .take(samples)
        {
            assert_eq!((at.x, at.y, (at.z * 16.0).fract()), (0.0, 0.0, 0.0));
            *point = at.to_array();
        }
        points[50] = points[2];
        points[60] = points[2];

        let model = Model::new(gpu(), tiny::weights(&config)).unwrap();
        let avatar = tiny::avatar(&model);
        let picture = Picture::render(&avatar, &Drive::points(points.clone()).camera(camera));
        assert!(picture.is_finite());
        let expected = reference(&config, &points, &camera);
        // The weight 10¹² of a sample on a point is the same on both sides.
        close("low_res", &picture.low_res, &expected);
    }
}

#[test]
fn all_points_in_one_place() {
    for config in [tiny::config(), tiny::released()] {
        let model = Model::new(gpu(), tiny::weights(&config)).unwrap();
        for place in [[0.0; 3], [1e6, -1e6, 1e6]] {
            let drive = Drive::points(vec![place; config.points as usize]);
            let picture = Picture::render(&tiny::avatar(&model), &drive);
            assert!(picture.is_finite(), "all points at {place:?}");
        }
    }
}

#[test]
fn coefficients_of_any_size_give_a_picture() {
    let model = model_with_head();
    let avatar = tiny::avatar(&model);
    for value in [1e10, -1e30, f32::MAX] {
        let pose = Drive::neutral().pose([value, 0.0, -value]);
        assert!(Picture::render(&avatar, &pose).is_finite(), "{pose:?}");
    }
    // Points that overflow all go to the same far corner.
    let far = Drive::points(vec![[1e6; 3]; tiny::config().points as usize]);
    let far = Picture::render(&avatar, &far);
    assert!(far.is_finite());
    for coefficients in [
        [1e10, 1e10],
        [-1e30, 1e30],
        [f32::MAX; 2],
        [-f32::MAX, f32::MAX],
    ] {
        let drive = Drive::neutral().coefficients(coefficients);
        assert_eq!(Picture::render(&avatar, &drive), far, "{coefficients:?}");
        let options = AvatarOptions {
            shape: coefficients.to_vec(),
            ..AvatarOptions::default()
        };
        let pictures = [tiny::picture(32, 32, 0)];
        let shaped = Avatar::with_options(&model, &pictures, &options).unwrap();
        assert_eq!(
            Picture::render(&shaped, &Drive::neutral()),
            far,
            "{coefficients:?}"
        );
    }
}

// ---- files ---------------------------------------------------------------------------------

/// A weights file of the tiny network, after `change`.
fn weights_file(change: impl FnOnce(&mut TensorWriter<'_>)) -> Vec<u8> {
    let weights = tiny::weights(&tiny::config());
    let mut writer = weights.writer(FloatFormat::F32).unwrap();
    change(&mut writer);
    writer.into_bytes().unwrap()
}

/// A weights file of the tiny network without tensor `missing`.
fn weights_file_without(missing: &str) -> Vec<u8> {
    let weights = tiny::weights(&tiny::config());
    let metadata = BTreeMap::from([("config".into(), weights.config().to_json().unwrap())]);
    let mut writer = TensorWriter::new(metadata);
    for spec in weights.config().tensors().unwrap() {
        if spec.name != missing {
            let name = spec.name.clone();
            let values = || weights.f32(&name).map(|v| v.into_owned().into());
            let values = values();
            writer.floats(spec.name, &spec.shape, FloatFormat::F32, || values);
        }
    }
    writer.into_bytes().unwrap()
}

#[test]
fn weights_with_tensors_that_do_not_fit() {
    let bias = "nerf_mlp.feature_layers.0.bias";
    let floats = |name: &'static str, values: Vec<f32>| {
        weights_file(|writer| {
            let shape = [values.len()];
            writer.floats(name, &shape, FloatFormat::F32, || Ok(values.into()));
        })
    };
    let parts = ["weights in memory: 1 tensor problem", bias];
    for (bytes, found) in [
        (
            weights_file_without(bias),
            "expected shape [24], found nothing",
        ),
        (
            floats(bias, vec![0.0; 23]),
            "expected shape [24], found [23]",
        ),
        (weights_file(|w| w.ints(bias, &[24], &[0; 24])), "found I32"),
        (
            floats(bias, vec![f32::NAN; 24]),
            "found NaN or infinity at element 0",
        ),
        (
            floats(bias, [vec![0.0; 23], vec![f32::INFINITY]].concat()),
            "infinity at element 23",
        ),
    ] {
        let message = refused(Weights::from_bytes(bytes), tensors, &parts);
        assert!(message.contains(found), "no {found:?} in: {message}");
    }
    let extra = floats("nerf_mlp.surprise", vec![1.0]);
    let parts = [
        "nerf_mlp.surprise",
        "expected no such tensor, found shape [1]",
    ];
    refused(Weights::from_bytes(extra), tensors, &parts);
}

#[test]
fn weights_files_that_are_cut_or_lie() {
    let good = weights_file(|_| {});
    assert!(Weights::from_bytes(good.clone()).is_ok());
    let name = "weights in memory";
    for length in [0, 7, 8, 100, good.len() / 2, good.len() - 1] {
        refused(
            Weights::from_bytes(good[..length].to_vec()),
            format,
            &[name, "safetensors file"],
        );
    }
    refused(
        Weights::from_bytes([&good[..], &[0]].concat()),
        format,
        &[name],
    );

    let header_length = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let (header, data) = good[8..].split_at(header_length);
    let with_header = |header: &str| {
        [
            &(header.len() as u64).to_le_bytes(),
            header.as_bytes(),
            data,
        ]
        .concat()
    };
    let header = str::from_utf8(header).unwrap();
    let lies = [
        with_header(&header.replacen("\"data_offsets\":[", "\"data_offsets\":[9", 1)),
        with_header(&header.replacen("\"shape\":[", "\"shape\":[2,", 1)),
        with_header(&header.replacen("\"dtype\":\"F32\"", "\"dtype\":\"F16\"", 1)),
        with_header(&header.replacen("\"dtype\":\"F32\"", "\"dtype\":\"X99\"", 1)),
        [&u64::MAX.to_le_bytes(), &good[8..]].concat(),
    ];
    for bytes in lies {
        assert_ne!(bytes, good);
        refused(
            Weights::from_bytes(bytes),
            format,
            &[name, "safetensors file"],
        );
    }
    let unconfigured = TensorWriter::new(BTreeMap::new()).into_bytes().unwrap();
    refused(
        Weights::from_bytes(unconfigured),
        format,
        &[name, "no entry \"config\""],
    );
    let other = weights_file(|writer| writer.metadata("config", "{\"neighbours\": 9}"));
    let config = |error: &Error| matches!(error, Error::Config { .. });
    refused(
        Weights::from_bytes(other),
        config,
        &["neighbours: expected 1..=8, found 9"],
    );
}

#[test]
fn avatar_files_that_are_none_or_another_models() {
    let model = tiny::model();
    let avatar = tiny::avatar(&model);
    let good = pollster::block_on(avatar.to_bytes(FloatFormat::F32)).unwrap();
    assert!(Avatar::from_bytes(&model, good.clone()).is_ok());

    for length in [0, 20, good.len() - 1] {
        refused(
            Avatar::from_bytes(&model, good[..length].to_vec()),
            format,
            &["avatar"],
        );
    }
    let weights = weights_file(|_| {});
    refused(
        Avatar::from_bytes(&model, weights),
        format,
        &["avatar", "holds no avatar"],
    );

    let larger = ModelConfig {
        plane_channels: 12,
        ..tiny::config()
    };
    let other = Model::new(gpu(), tiny::weights(&larger)).unwrap();
    let parts = ["planes of avatar", "[16, 16, 3, 12]", "[16, 16, 3, 8]"];
    refused(Avatar::from_bytes(&other, good.clone()), argument, &parts);

    // One whose identity belongs to another head.
    let with_head = model_with_head();
    let options = AvatarOptions {
        shape: vec![0.5, -0.5],
        ..AvatarOptions::default()
    };
    let sources = [tiny::picture(32, 32, 0)];
    let shaped = Avatar::with_options(&with_head, &sources, &options).unwrap();
    let shaped = pollster::block_on(shaped.to_bytes(FloatFormat::F32)).unwrap();
    refused(
        Avatar::from_bytes(&model, shaped),
        argument,
        &["shape", "no head model", "2"],
    );

    let made = |version: &str, shape: &[f32], plane: f32| {
        let metadata = BTreeMap::from([("gpavatar.avatar".into(), version.into())]);
        let mut writer = TensorWriter::new(metadata);
        let planes = vec![plane; 16 * 16 * 24];
        writer.floats("planes", &[16, 16, 3, 8], FloatFormat::F32, || {
            Ok(planes.into())
        });
        let values = shape.to_vec();
        writer.floats("shape", &[shape.len()], FloatFormat::F32, || {
            Ok(values.into())
        });
        Avatar::from_bytes(&with_head, writer.into_bytes().unwrap())
    };
    assert!(made("1", &[0.0, 0.0], 0.0).is_ok());
    refused(made("2", &[], 0.0), format, &["version 2", "reads 1"]);
    refused(
        made("1", &[0.0; 3], 0.0),
        argument,
        &["shape", "2", "found 3"],
    );
    refused(
        made("1", &[0.0, f32::NAN], 0.0),
        argument,
        &["shape", "finite", "NaN"],
    );
    refused(
        made("1", &[], f32::NAN),
        argument,
        &["planes", "finite", "NaN"],
    );
}

#[test]
fn a_head_model_of_another_number_of_vertices() {
    let parts = HeadModelParts {
        template: tiny::points(99),
        ..HeadModelParts::default()
    };
    let options = ModelOptions {
        head: Some(HeadModel::new(parts).unwrap()),
        ..ModelOptions::default()
    };
    let result = Model::with_options(gpu(), tiny::weights(&tiny::config()), options);
    refused(result, argument, &["head model", "100 vertices", "99"]);
}

// ---- devices -------------------------------------------------------------------------------

/// The adapter that [`Gpu::new`] prefers, with a device of the host's own limits.
fn host_device(limits: wgpu::Limits) -> (wgpu::Adapter, wgpu::Device, wgpu::Queue) {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default())).unwrap();
    let descriptor = wgpu::DeviceDescriptor {
        required_limits: limits,
        ..Default::default()
    };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    (adapter, device, queue)
}

#[test]
fn devices_whose_limits_are_too_small() {
    let (adapter, device, queue) = host_device(wgpu::Limits::downlevel_defaults());
    let result = Gpu::from_device(&adapter, device, queue, ShaderChecks::Trusted);
    let parts = [
        "the kernel ",
        "max_storage_buffers_per_shader_stage",
        "the device has 4",
    ];
    refused(result, limit, &parts);

    let (adapter, device, queue) = host_device(wgpu::Limits {
        max_compute_invocations_per_workgroup: 128,
        max_compute_workgroup_size_x: 128,
        ..wgpu::Limits::default()
    });
    let result = Gpu::from_device(&adapter, device, queue, ShaderChecks::Checked);
    let parts = [
        "the kernel output/depth",
        "of at least 256",
        "the device has 128",
    ];
    refused(result, limit, &parts);

    // Enough for every kernel, but not for the tensors, dispatches and pictures of this network.
    for (limits, parts) in [
        (
            wgpu::Limits {
                max_storage_buffer_binding_size: 1 << 12,
                ..wgpu::Limits::default()
            },
            ["the tensor ", "max_storage_buffer_binding_size"],
        ),
        (
            wgpu::Limits {
                max_compute_workgroups_per_dimension: 8,
                ..wgpu::Limits::default()
            },
            [
                "max_compute_workgroups_per_dimension of at least ",
                "the device has 8",
            ],
        ),
        (
            wgpu::Limits {
                max_texture_dimension_2d: 16,
                ..wgpu::Limits::default()
            },
            [
                "the picture",
                "max_texture_dimension_2d of at least 32, the device has 16",
            ],
        ),
    ] {
        let (adapter, device, queue) = host_device(limits);
        let gpu = Gpu::from_device(&adapter, device, queue, ShaderChecks::Trusted).unwrap();
        let result = Model::new(&gpu, tiny::weights(&tiny::config()));
        refused(result, limit, &parts);
    }
}

#[test]
fn adapters_that_do_not_exist() {
    let request = |adapter: Option<&str>, backends: wgpu::Backends| {
        let options = GpuOptions {
            adapter: adapter.map(Into::into),
            backends,
            ..GpuOptions::default()
        };
        Gpu::with_options(&options)
    };
    let no_adapter = |error: &Error| matches!(error, Error::NoAdapter { .. });
    let here = gpu().description();
    let here = here.split(" (").next().unwrap();
    let install = "apt-get install mesa-vulkan-drivers";
    let unknown = request(Some("Voodoo 2"), wgpu::Backends::all());
    refused(
        unknown,
        no_adapter,
        &["\"Voodoo 2\"", "Adapters found: ", here, install],
    );
    // Where the asked-for backend has none, the message still lists the others' adapters.
    let absent = if cfg!(target_os = "macos") {
        wgpu::Backends::DX12
    } else {
        wgpu::Backends::METAL
    };
    refused(
        request(None, absent),
        no_adapter,
        &[
            "none on ",
            absent.iter_names().next().unwrap().0,
            here,
            install,
        ],
    );
}

#[test]
fn a_device_that_is_gone() {
    let gpu = tiny::open();
    let model = Model::new(&gpu, tiny::weights(&tiny::config())).unwrap();
    let avatar = tiny::avatar(&model);
    let options = RenderOptions::default();
    let kept = avatar.render(&tiny::drive()).unwrap();
    let drives = [tiny::drive(), tiny::drive()];
    let atlas = Atlas::new(&model, [2, 1]).unwrap();
    gpu.device().destroy();
    let failed = |error: &Error| matches!(error, Error::Gpu { .. });
    let parts = &["GPU failure during "];
    refused(avatar.render(&tiny::drive()), failed, parts);
    refused(avatar.profile(&tiny::drive(), &options), failed, parts);
    let frames = drives.each_ref().map(|drive| (&avatar, drive));
    refused(model.render_many(&frames, &options), failed, parts);
    refused(atlas.render(&frames, &options), failed, parts);
    refused(atlas.to_image(), failed, parts);
    refused(kept.to_image(), failed, parts);
    refused(pollster::block_on(kept.depth()), failed, parts);
    refused(
        pollster::block_on(model.super_resolve(&[0.0; 648])),
        failed,
        parts,
    );
    refused(
        pollster::block_on(avatar.to_bytes(FloatFormat::F32)),
        failed,
        parts,
    );
    refused(
        Avatar::from_images(&model, &[tiny::picture(32, 32, 0)]),
        failed,
        parts,
    );
    let together = [(&[tiny::picture(32, 32, 0)][..], AvatarOptions::default())];
    refused(Avatar::build_many(&model, &together), failed, parts);
    refused(
        Model::new(&gpu, tiny::weights(&tiny::config())),
        failed,
        parts,
    );
}

#[test]
fn a_device_that_goes_while_it_plays() {
    let gpu = tiny::open();
    let avatar = tiny::avatar(&Model::new(&gpu, tiny::weights(&tiny::config())).unwrap());
    let drive = tiny::drive();
    let mut playback = avatar.play(std::iter::repeat(&drive));
    playback.next().unwrap().unwrap();
    gpu.device().destroy();
    // What was in flight may still arrive.
    let rest: Vec<_> = playback.by_ref().take(10).collect();
    assert!(rest.len() < 10, "it went on");
    let failed = |error: &Error| matches!(error, Error::Gpu { .. });
    let last = rest.into_iter().last().unwrap();
    refused(last, failed, &["GPU failure during "]);
    assert!(playback.next().is_none());
}

/// Set in the processes that the tests below start: a process's own environment cannot be changed
/// safely while other tests read it.
const CHILD: &str = "GPAVATAR_TEST_CHILD";

/// Runs the named test in a process of its own, where [`CHILD`] is set.
fn child(test: &str, change: impl FnOnce(&mut Command) -> &mut Command) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]);
    let output = change(command.env(CHILD, "")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

fn print_opened(gpu: Result<Gpu, Error>) {
    match gpu {
        Ok(gpu) => println!("opened {:?} {}", gpu.kind(), gpu.description()),
        Err(error) => println!("refused: {error}"),
    }
}

#[test]
fn the_environment_counts_where_it_is_asked_for() {
    const NAME: &str = "the_environment_counts_where_it_is_asked_for";
    if std::env::var_os(CHILD).is_some() {
        print_opened(GpuOptions::from_env().and_then(|options| Gpu::with_options(&options)));
        println!("without the environment:");
        return print_opened(Gpu::new());
    }
    let answers = |variable: &str, value: &str| {
        let output = child(NAME, |command| command.env(variable, value));
        let output = String::from_utf8(output.stdout).unwrap();
        let (asked, unasked) = output.split_once("without the environment:").unwrap();
        (asked.to_owned(), unasked.to_owned())
    };
    for (variable, value, parts) in [
        (
            "GPAVATAR_BACKEND",
            "glide",
            ["one of vulkan", "found glide"],
        ),
        (
            "GPAVATAR_ADAPTER",
            "Voodoo 2",
            ["\"Voodoo 2\"", "Adapters found: "],
        ),
    ] {
        let (asked, unasked) = answers(variable, value);
        for part in parts.into_iter().chain(["refused: "]) {
            assert!(asked.contains(part), "no {part:?} in: {asked}");
        }
        assert!(unasked.contains("opened "), "{unasked}");
    }
    for kind in [AdapterKind::Gpu, AdapterKind::Cpu] {
        let (asked, _) = answers("GPAVATAR_KERNELS", &format!("{kind:?}"));
        assert!(asked.contains(&format!("opened {kind:?}")), "{asked}");
    }
}

#[test]
fn opening_a_device_says_nothing() {
    const NAME: &str = "opening_a_device_says_nothing";
    if std::env::var_os(CHILD).is_some() {
        return print_opened(Gpu::new());
    }
    let output = child(NAME, |command| {
        let command = command.env_remove("XDG_RUNTIME_DIR");
        command.env_remove("WAYLAND_DISPLAY").env_remove("DISPLAY")
    });
    let opened = String::from_utf8_lossy(&output.stdout);
    assert!(opened.contains("opened "), "{opened}");
    // Where there is nothing but GL, its driver may complain.
    if !opened.contains("(gl,") {
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    }
}

#[test]
fn low_resolution_images_that_do_not_fit() {
    let model = tiny::model();
    let not_finite = pollster::block_on(model.super_resolve(&[f32::NAN; 648]));
    refused(
        not_finite,
        argument,
        &["low-resolution image", "finite", "NaN at index 0"],
    );
    let result = pollster::block_on(model.super_resolve(&[0.0; 7]));
    refused(
        result,
        argument,
        &["low-resolution image", "648 numbers", "7"],
    );
}

#[test]
fn noise_of_any_seed_is_finite() {
    let avatar = tiny::avatar(&tiny::model());
    for seed in [0, 1, u64::MAX, 1 << 32] {
        let options = RenderOptions {
            noise: Noise::Seeded(seed),
            ..RenderOptions::default()
        };
        let frame = avatar.render_with(&tiny::drive(), &options).unwrap();
        assert!(Picture::of(&frame, gpu()).is_finite(), "seed {seed}");
    }
}
