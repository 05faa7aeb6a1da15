//! The same input gives the same bytes, regardless of other work.

use std::thread;

use gpavatar::{
    AdapterKind, Atlas, Avatar, Camera, Drive, Frame, Gpu, HeadModel, Model, SourceImage, Weights,
};

use crate::common::tiny::{self, KEPT, Picture, drives, gpu, planes};

#[test]
fn handles_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    fn cloned<T: Clone + Send + Sync>() {}
    cloned::<Gpu>();
    cloned::<Model>();
    cloned::<Avatar>();
    shared::<Frame>();
    shared::<Atlas>();
    shared::<gpavatar::Playback<std::vec::IntoIter<(Avatar, Drive)>>>();
    shared::<Weights>();
    cloned::<HeadModel>();
    cloned::<SourceImage>();
    cloned::<Drive>();
    shared::<gpavatar::Error>();
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let frames = |model: &Model| {
        let sources = [tiny::picture(32, 32, 0), tiny::picture(20, 40, 1)];
        let avatar = Avatar::from_images(model, &sources).unwrap();
        let of = |drive: &Drive| Picture::render(&avatar, drive);
        let pictures: Vec<_> = drives(3).iter().map(of).collect();
        (planes(&avatar), pictures)
    };
    for config in [tiny::config(), tiny::released()] {
        let model = Model::new(gpu(), tiny::weights(&config)).unwrap();
        let first = frames(&model);
        assert_eq!(frames(&model), first);
        let another = Model::new(gpu(), tiny::weights(&config)).unwrap();
        assert_eq!(frames(&another), first);
        assert_ne!(first.1[0], first.1[1]);
    }
}

#[test]
fn earlier_points_leave_no_trace() {
    let model = tiny::model();
    let drives = drives(2);
    let expected = Picture::render(&tiny::avatar(&model), &drives[1]);
    let avatar = tiny::avatar(&model);
    // The first points decide how all later ones are searched.
    let mut mixed = tiny::points(model.config().points);
    mixed.reverse();
    for first in [Drive::points(mixed), drives[0].clone()] {
        avatar.render(&first).unwrap();
        assert_eq!(Picture::render(&avatar, &drives[1]), expected);
    }
}

#[test]
fn a_trace_changes_neither_planes_nor_pictures() {
    let drive = tiny::drive();
    let views = [
        Camera::orbit(10.0, 10.0, 25.0),
        // Most rays miss the cube, some close to its edges.
        Camera::orbit(16.0, 20.0, 45.0),
        Camera::orbit(60.0, 0.0, 0.0),
    ];
    for (kind, subgroups) in [
        (AdapterKind::Gpu, false),
        (AdapterKind::Cpu, false),
        (AdapterKind::Cpu, true),
    ] {
        let gpu = tiny::gpu_with(|options| {
            options.kernels = Some(kind);
            options.subgroups = subgroups;
        });
        let gpu = gpu.unwrap();
        for config in [tiny::config(), tiny::released()] {
            let [plain, traced] = [false, true].map(|trace| {
                let model = tiny::model_with(&gpu, &config, |options| options.trace = trace);
                tiny::avatar(&model.unwrap())
            });
            assert!(planes(&plain) == planes(&traced), "{kind:?}");
            for camera in &views {
                let drive = drive.clone().camera(*camera);
                let [found, expected] =
                    [&traced, &plain].map(|avatar| Picture::render(avatar, &drive));
                assert!(expected.is_finite());
                assert!(found == expected, "{kind:?}, {camera:?}");
            }
        }
    }
}

#[test]
fn models_avatars_and_threads_in_parallel_do_not_meet() {
    let models = [tiny::config(), tiny::released()]
        .map(|config| Model::new(gpu(), tiny::weights(&config)).unwrap());
    let sources = [0, 1].map(|seed| tiny::picture(32, 32, seed));
    let drives = &drives(4);
    // Every combination, alone.
    let mut expected = Vec::new();
    for model in &models {
        for source in &sources {
            let avatar = Avatar::from_images(model, std::slice::from_ref(source)).unwrap();
            let pictures: Vec<_> = drives.iter().map(|d| Picture::render(&avatar, d)).collect();
            expected.push((avatar, source, pictures));
        }
    }
    thread::scope(|scope| {
        for (avatar, source, pictures) in expected.iter().chain(&expected) {
            scope.spawn(move || {
                for round in 0..3 {
                    // All in flight before the first is read.
                    let of = |drive: &Drive| avatar.render_with(drive, &KEPT).unwrap();
                    let frames: Vec<Frame> = drives.iter().map(of).collect();
                    for (frame, expected) in frames.iter().zip(pictures) {
                        assert_eq!(Picture::of(frame, gpu()), *expected, "round {round}");
                    }
                }
                let again = std::slice::from_ref(*source);
                let again = Avatar::from_images(avatar.model(), again).unwrap();
                assert_eq!(planes(&again), planes(avatar));
                let low_res = &pictures[0].low_res;
                let image = pollster::block_on(avatar.model().super_resolve(low_res)).unwrap();
                assert_eq!(image, pictures[0].image);
                let profiled = avatar.profile(&drives[1], &KEPT);
                let (frame, _) = profiled.unwrap();
                assert_eq!(Picture::of(&frame, gpu()), pictures[1]);
            });
        }
    });
}

#[test]
fn frames_that_are_kept_keep_their_pictures() {
    let avatar = tiny::avatar(&tiny::model());
    let drives = drives(4);
    let kept: Vec<Frame> = drives
        .iter()
        .map(|d| avatar.render_with(d, &KEPT).unwrap())
        .collect();
    let pictures: Vec<Picture> = kept.iter().map(|f| Picture::of(f, gpu())).collect();
    for drive in &drives {
        drop(avatar.render(drive).unwrap());
    }
    for (frame, picture) in kept.iter().zip(&pictures) {
        assert_eq!(Picture::of(frame, gpu()), *picture);
    }
    for (drive, picture) in drives.iter().zip(&pictures) {
        assert_eq!(Picture::render(&avatar, drive), *picture);
    }
}
