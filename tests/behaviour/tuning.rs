//! Measured kernel variants.

use gpavatar::{AdapterKind, Avatar, Gpu, GpuOptions, Model, ModelOptions, Tuning};

use crate::common::tiny::{self, Picture, drives};
use crate::common::{Within, difference};

#[test]
fn measured_variants_give_the_same_pictures_and_can_be_pinned() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("variants.json");
    let opened = |tuning| {
        let options = GpuOptions {
            poison: true,
            kernels: Some(AdapterKind::Gpu),
            ..GpuOptions::from_env().unwrap()
        };
        let gpu = Gpu::with_options(&options).unwrap();
        let options = ModelOptions {
            tuning,
            ..ModelOptions::default()
        };
        let weights = tiny::weights(&tiny::config());
        let model = Model::with_options(&gpu, weights, options).unwrap();
        let avatar = Avatar::from_images(&model, &[tiny::picture(32, 32, 0)]).unwrap();
        let picture = Picture::render(&avatar, &drives(1)[0]);
        (model, picture)
    };
    let (estimated, expected) = opened(Tuning::default());
    assert!(estimated.choices().is_empty());
    let measure = Tuning::Measure {
        file: Some(file.clone()),
    };
    let (measured, found) = opened(measure);
    assert!(file.exists());
    assert!(!measured.choices().is_empty());
    difference("image", &found.image, &expected.image).all_within(1e-4);
    let (pinned, again) = opened(Tuning::Pinned(file.clone()));
    assert_eq!(pinned.choices(), measured.choices());
    assert_eq!(again.image, found.image);
}
