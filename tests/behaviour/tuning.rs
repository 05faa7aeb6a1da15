//! Measured kernel variants.

use gpavatar::{AdapterKind, Tuning};

use crate::common::tiny::{self, Picture, drives};
use crate::common::{Within, difference};

#[test]
fn measured_variants_give_the_same_pictures_and_can_be_pinned() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("variants.json");
    let opened = |tuning| {
        let gpu = tiny::gpu_with(|options| options.kernels = Some(AdapterKind::Gpu)).unwrap();
        let model = tiny::model_with(&gpu, &tiny::config(), |options| options.tuning = tuning);
        let avatar = tiny::avatar(&model.unwrap());
        let picture = Picture::render(&avatar, &drives(1)[0]);
        (avatar.model().clone(), picture)
    };
    let (estimated, expected) = opened(Tuning::default());
    assert!(estimated.choices().is_empty());
    let kept = Some(file.clone());
    let (measured, found) = opened(Tuning::Measure { file: kept });
    assert!(file.exists());
    assert!(!measured.choices().is_empty());
    difference("image", &found.image, &expected.image).all_within(1e-4);
    let (pinned, again) = opened(Tuning::Pinned(file.clone()));
    assert_eq!(pinned.choices(), measured.choices());
    assert_eq!(again.image, found.image);
}
