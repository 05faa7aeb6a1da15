//! A device that is lost.

use gpavatar::{Atlas, Avatar, AvatarOptions, Error, FloatFormat, Model, RenderOptions};

use crate::common::refused::refused;
use crate::common::tiny;

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
    // Frames in flight may still arrive.
    let rest: Vec<_> = playback.by_ref().take(10).collect();
    assert!(rest.len() < 10, "it went on");
    let failed = |error: &Error| matches!(error, Error::Gpu { .. });
    let last = rest.into_iter().last().unwrap();
    refused(last, failed, &["GPU failure during "]);
    assert!(playback.next().is_none());
}
