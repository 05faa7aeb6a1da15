//! Head models and coefficients.

use gpavatar::import::{HeadOptions, head_model};
use gpavatar::{
    Avatar, Camera, Drive, FloatFormat, HeadModel, HeadModelParts, Model, ModelConfig, Weights,
};

use crate::common::refused;
use crate::common::tiny::{self, Picture, gpu, model_with_head};
use crate::common::{Within, difference, flame_points, golden, golden_path, vectors};

#[test]
fn a_head_model_drives_the_points_that_it_computes() {
    let golden = golden("head_model_512.safetensors");
    let path = golden_path("head_model_512.safetensors");
    let head = head_model(path, &HeadOptions::default()).unwrap();
    let config = ModelConfig {
        points: 512,
        ..tiny::config()
    };
    let with_head = tiny::model_with(gpu(), &config, |options| options.head = Some(head)).unwrap();
    let from_file = {
        let (weights, head) = (tiny::weights(&config), with_head.head().unwrap());
        let mut writer = weights.writer(FloatFormat::F32).unwrap();
        head.embed(&mut writer, FloatFormat::F32);
        let weights = Weights::from_bytes(writer.into_bytes().unwrap()).unwrap();
        Model::new(gpu(), weights).unwrap()
    };
    let without = Model::new(gpu(), tiny::weights(&config)).unwrap();
    let given = tiny::avatar(&without);
    let mut pictures = Vec::new();
    for case in ["case0", "case1", "case2"] {
        let input = |name: &str| golden.f32(&format!("{case}.{name}")).unwrap().into_owned();
        let camera = Camera::orbit(10.0, 0.0, 15.0);

        let coefficients = [input("shape"), input("expression")].concat();
        let points = flame_points(&golden, &coefficients, &vectors(&input("pose")));
        let points = points.iter().map(|p| p.to_array()).collect();
        let expected = Picture::render(&given, &Drive::points(points).camera(camera));

        let options = tiny::shaped(input("shape"));
        let avatar =
            |model| Avatar::with_options(model, &[tiny::picture(32, 32, 0)], &options).unwrap();
        let drive = Drive::neutral()
            .coefficients(input("expression"))
            .pose(input("pose"))
            .camera(camera);
        let found = Picture::render(&avatar(&with_head), &drive);
        assert_eq!(Picture::render(&avatar(&from_file), &drive), found);
        // Points are 2e-6 apart: sums of 186 products, and the direction from a point to a sample
        // a hundredth away turns by 2e-4.
        let name = format!("{case}: low_res");
        difference(&name, &found.low_res, &expected.low_res)
            .within(1e-4, 0.05)
            .all_within(1e-2);
        assert!(found.distance(&expected) < 1e-2);
        pictures.push(found);
    }
    let moved = pictures[0].distance(&pictures[1]);
    assert!(moved > 0.05, "the head does not move");
}

#[test]
fn shapes_that_do_not_fit_the_head() {
    let with_shape = |model: &Model, shape: &[f32]| {
        Avatar::with_options(model, &[tiny::picture(32, 32, 0)], &tiny::shaped(shape))
    };
    let model = model_with_head();
    assert!(with_shape(&model, &[0.5, 1.0]).is_ok());
    let result = with_shape(&model, &[0.5]);
    refused::argument(result, &["shape", "2 coefficients or none", "found 1"]);
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let found = format!("{value} at");
        let result = with_shape(&model, &[0.0, value]);
        refused::argument(result, &["shape", "finite", &found, "1"]);
    }
    let result = with_shape(&tiny::model(), &[0.5]);
    refused::argument(result, &["shape", "no head model"]);
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
    let most = f32::MAX;
    for coefficients in [[1e10, 1e10], [-1e30, 1e30], [most; 2], [-most, most]] {
        let drive = Drive::neutral().coefficients(coefficients);
        assert_eq!(Picture::render(&avatar, &drive), far, "{coefficients:?}");
        let pictures = [tiny::picture(32, 32, 0)];
        let shaped = Avatar::with_options(&model, &pictures, &tiny::shaped(coefficients));
        let found = Picture::render(&shaped.unwrap(), &Drive::neutral());
        assert_eq!(found, far, "{coefficients:?}");
    }
}

#[test]
fn a_head_model_of_another_number_of_vertices() {
    let parts = HeadModelParts {
        template: tiny::points(99),
        ..HeadModelParts::default()
    };
    let head = HeadModel::new(parts).unwrap();
    let result = tiny::model_with(gpu(), &tiny::config(), |options| options.head = Some(head));
    refused::argument(result, &["head model", "100 vertices", "99"]);
}
