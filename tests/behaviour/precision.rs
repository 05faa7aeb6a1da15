//! Numeric formats: all of them make avatars that can be saved.

use gpavatar::{Avatar, FloatFormat, Precision};

use crate::common::tiny::{self, Picture, gpu};

#[test]
fn precisions_are_read() {
    for (text, precision) in [
        ("f32", Precision::F32),
        ("mixed", Precision::Mixed),
        ("f16", Precision::F16),
    ] {
        assert_eq!(text.parse::<Precision>().unwrap(), precision);
        assert_eq!(precision.to_string(), text);
    }
    let error = "F16".parse::<Precision>().unwrap_err().to_string();
    for part in ["precision", "f32, mixed or f16", "\"F16\""] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn avatars_of_every_precision_are_saved_and_loaded() {
    let config = tiny::config();
    let mut bytes = Vec::new();
    for precision in [Precision::F32, Precision::Mixed, Precision::F16] {
        let model = tiny::model_with(gpu(), &config, |options| options.precision = precision);
        let model = model.unwrap();
        assert_eq!(model.precision(), precision);
        bytes.push(model.device_bytes());
        // One picture is copied into the planes, several are fused into them.
        for count in [1, 3] {
            let pictures = [0, 1, 2].map(|seed| tiny::picture(32, 32, seed));
            let avatar = Avatar::from_images(&model, &pictures[..count]).unwrap();
            let file = pollster::block_on(avatar.to_bytes(FloatFormat::F32)).unwrap();
            let loaded = Avatar::from_bytes(&model, file).unwrap();
            let [found, expected] = [&loaded, &avatar].map(|a| Picture::render(a, &tiny::drive()));
            assert_eq!(found, expected, "{precision:?}, {count} pictures");
        }
    }
    assert!(bytes.is_sorted_by(|a, b| a > b), "{bytes:?}");
}
