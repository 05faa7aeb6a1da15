//! A device that is lost.

use gpavatar::{Atlas, Avatar, AvatarOptions, FloatFormat, Model, RenderOptions};

use crate::common::refused;
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
    let parts = &["GPU failure during "];
    refused::gpu(avatar.render(&tiny::drive()), parts);
    refused::gpu(avatar.profile(&tiny::drive(), &options), parts);
    let frames = drives.each_ref().map(|drive| (&avatar, drive));
    refused::gpu(model.render_many(&frames, &options), parts);
    refused::gpu(atlas.render(&frames, &options), parts);
    refused::gpu(atlas.to_image(), parts);
    refused::gpu(kept.to_image(), parts);
    refused::gpu(pollster::block_on(kept.depth()), parts);
    refused::gpu(pollster::block_on(model.super_resolve(&[0.0; 648])), parts);
    refused::gpu(pollster::block_on(avatar.to_bytes(FloatFormat::F32)), parts);
    let pictures = [tiny::picture(32, 32, 0)];
    refused::gpu(Avatar::from_images(&model, &pictures), parts);
    let together = [(&pictures[..], AvatarOptions::default())];
    refused::gpu(Avatar::build_many(&model, &together), parts);
    refused::gpu(Model::new(&gpu, tiny::weights(&tiny::config())), parts);
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
    let last = rest.into_iter().last().unwrap();
    refused::gpu(last, &["GPU failure during "]);
    assert!(playback.next().is_none());
}
