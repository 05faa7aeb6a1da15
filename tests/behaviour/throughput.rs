//! Many frames and avatars at a time equal one at a time.

use gpavatar::{
    Atlas, Avatar, AvatarOptions, Camera, Drive, HeadModel, HeadModelParts, Model, Noise,
    RenderOptions, SourceImage, wgpu,
};

use crate::common::refused;
use crate::common::tiny::{
    self, KEPT, Picture, SEEDED, drives, gpu, mix, model_with_head, people, planes,
};

#[test]
fn many_frames_are_those_of_one_at_a_time() {
    for config in [tiny::config(), tiny::released()] {
        let model = Model::new(gpu(), tiny::weights(&config)).unwrap();
        let (people, drives) = (people(&model), drives(6));
        let mixed = mix(&people, &drives);
        for options in [KEPT, SEEDED] {
            let one = |(avatar, drive): &(&Avatar, &Drive)| {
                Picture::of(&avatar.render_with(drive, &options).unwrap(), gpu())
            };
            let expected: Vec<Picture> = mixed.iter().map(one).collect();
            let frames = model.render_many(&mixed, &options).unwrap();
            assert_eq!(frames.len(), 18);
            for (i, (frame, expected)) in frames.iter().zip(&expected).enumerate() {
                assert_eq!(Picture::of(frame, gpu()), *expected, "frame {i}");
            }
            assert_ne!(expected[0], expected[1]);
            assert_ne!(expected[0], expected[3]);
        }
        assert!(model.render_many(&[], &SEEDED).unwrap().is_empty());
    }
}

#[test]
fn played_pictures_are_those_of_one_at_a_time_in_order() {
    let model = tiny::model();
    let (people, drives) = (people(&model), drives(4));
    let mixed = mix(&people, &drives);
    let one = |(avatar, drive): &(&Avatar, &Drive)| {
        Picture::of(&avatar.render_with(drive, &SEEDED).unwrap(), gpu())
    };
    let expected: Vec<Picture> = mixed.iter().map(one).collect();
    for in_flight in [0, 1, 2, 5, 100] {
        let playback = model.play(mixed.iter().copied());
        let played = playback.options(SEEDED).in_flight(in_flight);
        let mut count = 0;
        for (played, expected) in played.zip(&expected) {
            let (frame, picture) = played.unwrap();
            assert_eq!(*picture, expected.rgba, "{in_flight} in flight");
            // Later frames have been submitted: this one's memory is still its own.
            assert_eq!(Picture::of(&frame, gpu()), *expected);
            count += 1;
        }
        assert_eq!(count, mixed.len());
    }
    // One avatar, on black; drives by reference and by value.
    let one = |drive: &Drive| Picture::render(&people[0], drive).rgba;
    let expected: Vec<_> = drives.iter().map(one).collect();
    let by_reference = people[0].play(&drives).map(|p| p.unwrap().1.into_raw());
    assert_eq!(by_reference.collect::<Vec<_>>(), expected);
    let by_value = people[0].play(drives).map(|p| p.unwrap().1.into_raw());
    assert_eq!(by_value.collect::<Vec<_>>(), expected);
    assert!(people[0].play(Vec::<Drive>::new()).next().is_none());
}

#[test]
fn playing_takes_no_more_drives_than_are_in_flight() {
    let avatar = tiny::avatar(&tiny::model());
    let drives = drives(3);
    for in_flight in [1, 2, 4] {
        let taken = std::cell::Cell::new(0);
        let count = |_: &&Drive| taken.set(taken.get() + 1);
        let endless = drives.iter().cycle().inspect(count);
        let mut playback = avatar.play(endless).in_flight(in_flight);
        assert_eq!(taken.get(), 0, "nobody has asked for a frame");
        for handed_out in 0..6 {
            playback.next().unwrap().unwrap();
            assert_eq!(taken.get(), handed_out + in_flight);
        }
    }
}

#[test]
fn playing_waits_for_its_own_frame_only() {
    let gpu = tiny::open();
    let avatar = tiny::avatar(&Model::new(&gpu, tiny::weights(&tiny::config())).unwrap());
    let drives: Vec<Drive> = drives(4).into_iter().cycle().take(300).collect();
    let mut playback = avatar.play(&drives).in_flight(300);
    playback.next().unwrap().unwrap();
    let (sender, done) = std::sync::mpsc::channel();
    gpu.queue()
        .on_submitted_work_done(move || sender.send(()).unwrap());
    gpu.device().poll(wgpu::PollType::Poll).unwrap();
    // 299 frames take longer than this check.
    assert!(done.try_recv().is_err(), "all of the queue was waited for");
    assert_eq!(playback.count(), 299);
    assert!(done.try_recv().is_ok());
}

#[test]
fn avatars_built_together_are_those_built_one_by_one() {
    let model = tiny::model();
    let pictures = [0, 1, 2].map(|seed| tiny::picture(32, 32, seed));
    let other = [tiny::picture(50, 70, 0).tracked(Camera::orbit(9.0, 0.0, 10.0))];
    let noises = [Noise::Stored, Noise::Seeded(3), Noise::Zero];
    let mut inputs = Vec::new();
    // More than two submissions.
    for noise in noises {
        let options = AvatarOptions {
            noise,
            ..AvatarOptions::default()
        };
        let some: [&[SourceImage]; 6] = [
            &pictures[..1],
            &pictures,
            &other,
            &pictures[1..],
            &pictures[2..],
            &pictures[1..2],
        ];
        inputs.extend(some.map(|pictures| (pictures, options.clone())));
    }
    let built = Avatar::build_many(&model, &inputs).unwrap();
    assert_eq!(built.len(), 18);
    for (i, (avatar, (pictures, options))) in built.iter().zip(&inputs).enumerate() {
        let alone = Avatar::with_options(&model, pictures, options).unwrap();
        assert_eq!(planes(avatar), planes(&alone), "avatar {i}");
        let [found, expected] = [avatar, &alone].map(|a| Picture::render(a, &tiny::drive()));
        assert_eq!(found, expected);
    }
    assert_ne!(planes(&built[0]), planes(&built[1]));
    assert_ne!(planes(&built[0]), planes(&built[6]));
    assert!(Avatar::build_many(&model, &[]).unwrap().is_empty());
}

#[test]
fn avatars_built_together_have_shapes_of_their_own() {
    let template = tiny::points(tiny::config().points);
    let wider = template.iter().map(|p| [0.3 * p[0], 0.0, 0.0]);
    let parts = HeadModelParts {
        shape_basis: wider.collect(),
        template,
        ..HeadModelParts::default()
    };
    let head = HeadModel::new(parts).unwrap();
    let model = tiny::model_with(gpu(), &tiny::config(), |options| options.head = Some(head));
    let model = model.unwrap();
    let picture = [tiny::picture(32, 32, 0)];
    let inputs = [vec![], vec![1.0], vec![-1.0]].map(|shape| (&picture[..], tiny::shaped(shape)));
    let drive = Drive::neutral().camera(Camera::orbit(10.0, 10.0, 25.0));
    let built = Avatar::build_many(&model, &inputs).unwrap();
    let pictures: Vec<_> = built.iter().map(|a| Picture::render(a, &drive)).collect();
    for (found, (sources, options)) in pictures.iter().zip(&inputs) {
        let alone = Avatar::with_options(&model, sources, options).unwrap();
        assert_eq!(*found, Picture::render(&alone, &drive));
    }
    assert!(pictures[1].distance(&pictures[2]) > 0.01);
}

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
    let misspelt = ["expression of frame 11", "found \"jawopen\""];
    for (bad, parts) in [
        ((&avatar, &unknown), misspelt),
        ((&other, &good), ["avatar of frame 11", "of this model"]),
    ] {
        let mut frames = vec![(&avatar, &nod); 11];
        frames.push(bad);
        refused::argument(model.render_many(&frames, &options), &parts);
        refused::argument(atlas.render(&frames, &options), &parts);
        let mut encoder = gpu().device().create_command_encoder(&Default::default());
        let result = atlas.record(&mut encoder, &frames, &options);
        refused::argument(result, &parts);
        gpu().queue().submit([encoder.finish()]);
        let unchanged = atlas.to_image().unwrap() == before;
        assert!(unchanged, "something was rendered");

        // A sequence is taken one by one: frames before the error are played, later ones are not.
        let mut playback = model.play(frames.into_iter().chain([(&avatar, &good)]));
        for _ in 0..11 {
            playback.next().unwrap().unwrap();
        }
        refused::argument(playback.next().unwrap(), &parts);
        assert!(playback.next().is_none() && playback.next().is_none());
    }
    let mut playback = other.play([&unknown]);
    let parts = ["drive of frame 0", "explicit points"];
    refused::argument(playback.next().unwrap(), &parts);
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
    let shaped = |shape: &[f32]| tiny::shaped(shape);
    let built = |bad: &[SourceImage], options: AvatarOptions| {
        let mut avatars = vec![(&good[..], shaped(&[0.5, 1.0])); 9];
        avatars.push((bad, options));
        Avatar::build_many(&model, &avatars)
    };
    assert_eq!(built(&good, shaped(&[])).unwrap().len(), 10);
    let parts = ["sources of avatar 9", "at least one picture"];
    refused::argument(built(&[], shaped(&[])), &parts);
    let parts = ["camera of the source picture of avatar 9", "quadrilateral"];
    refused::argument(built(&edge_on, shaped(&[])), &parts);
    let parts = ["shape of avatar 9", "2 coefficients or none", "1"];
    refused::argument(built(&good, shaped(&[0.5])), &parts);
    let parts = ["shape of avatar 9", "finite", "NaN"];
    refused::argument(built(&good, shaped(&[f32::NAN, 0.0])), &parts);
    let without = [(&good[..], shaped(&[0.5]))];
    let result = Avatar::build_many(&tiny::model(), &without);
    refused::argument(result, &["shape of avatar 0", "no head model"]);
}
