//! Avatars in files.

use std::collections::BTreeMap;

use gpavatar::{Avatar, FloatFormat, Model, ModelConfig, TensorWriter};

use crate::common::refused;
use crate::common::tiny::{self, Picture, gpu, model_with_head, weights_file};

#[test]
fn avatars_survive_their_files() {
    let model = tiny::model();
    let sources = [tiny::picture(32, 32, 0), tiny::picture(32, 32, 1)];
    let avatar = Avatar::from_images(&model, &sources).unwrap();
    let expected = Picture::render(&avatar, &tiny::drive());

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("avatar.safetensors");
    avatar.save(&path).unwrap();
    let loaded = Avatar::load(&model, &path).unwrap();
    assert_eq!(Picture::render(&loaded, &tiny::drive()), expected);

    for (format, digits) in [
        (FloatFormat::F32, 24),
        (FloatFormat::F16, 11),
        (FloatFormat::Bf16, 8),
    ] {
        let bytes = pollster::block_on(avatar.to_bytes(format)).unwrap();
        let loaded = Avatar::from_bytes(&model, bytes).unwrap();
        let found = Picture::render(&loaded, &tiny::drive());
        if format == FloatFormat::F32 {
            assert_eq!(found, expected);
        } else {
            // Rounded planes; the field magnifies their differences by about ten.
            let difference = found.distance(&expected);
            let small = difference > 0.0 && difference < 10.0 / (1 << digits) as f32;
            assert!(small, "{format:?}: {difference}");
        }
    }
}

#[test]
fn avatar_files_that_are_none_or_another_models() {
    let model = tiny::model();
    let avatar = tiny::avatar(&model);
    let good = pollster::block_on(avatar.to_bytes(FloatFormat::F32)).unwrap();
    assert!(Avatar::from_bytes(&model, good.clone()).is_ok());

    for length in [0, 20, good.len() - 1] {
        let result = Avatar::from_bytes(&model, good[..length].to_vec());
        refused::format(result, &["avatar"]);
    }
    let weights = weights_file(|_| {});
    let result = Avatar::from_bytes(&model, weights);
    refused::format(result, &["avatar", "holds no avatar"]);

    let larger = ModelConfig {
        plane_channels: 12,
        ..tiny::config()
    };
    let other = Model::new(gpu(), tiny::weights(&larger)).unwrap();
    let parts = ["planes of avatar", "[16, 16, 3, 12]", "[16, 16, 3, 8]"];
    refused::argument(Avatar::from_bytes(&other, good.clone()), &parts);

    // One whose planes have this size, too, but were made for another network.
    let fewer = ModelConfig {
        neighbours: tiny::config().neighbours - 1,
        ..tiny::config()
    };
    let other = Model::new(gpu(), tiny::weights(&fewer)).unwrap();
    let expected = format!("expected neighbours {}, as the model has", fewer.neighbours);
    let found = format!("found neighbours {}", fewer.neighbours + 1);
    let parts = ["configuration of avatar", &expected, &found];
    refused::argument(Avatar::from_bytes(&other, good.clone()), &parts);

    // One whose identity belongs to another head.
    let with_head = model_with_head();
    let sources = [tiny::picture(32, 32, 0)];
    let shaped = Avatar::with_options(&with_head, &sources, &tiny::shaped([0.5, -0.5])).unwrap();
    let shaped = pollster::block_on(shaped.to_bytes(FloatFormat::F32)).unwrap();
    let result = Avatar::from_bytes(&model, shaped);
    refused::argument(result, &["shape", "no head model", "2"]);

    let made = |version: &str, shape: &[f32], plane: f32| {
        let metadata = BTreeMap::from([("gpavatar.avatar".into(), version.into())]);
        let mut writer = TensorWriter::new(metadata);
        let planes = Ok(vec![plane; 16 * 16 * 24].into());
        writer.floats("planes", &[16, 16, 3, 8], FloatFormat::F32, || planes);
        let values = Ok(shape.to_vec().into());
        writer.floats("shape", &[shape.len()], FloatFormat::F32, || values);
        Avatar::from_bytes(&with_head, writer.into_bytes().unwrap())
    };
    assert!(made("1", &[0.0, 0.0], 0.0).is_ok());
    refused::format(made("2", &[], 0.0), &["version 2", "reads 1"]);
    refused::argument(made("1", &[0.0; 3], 0.0), &["shape", "2", "found 3"]);
    let result = made("1", &[0.0, f32::NAN], 0.0);
    refused::argument(result, &["shape", "finite", "NaN"]);
    refused::argument(made("1", &[], f32::NAN), &["planes", "finite", "NaN"]);
}
