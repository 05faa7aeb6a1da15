//! What a user can rely on: determinism, sharing between threads, no allocation from frame to
//! frame, embedding, files, options, and agreement with the scalar network wherever inputs differ
//! from those of the golden cases.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use common::tiny::{self, Picture, gpu, largest_difference};
use common::{Within, difference, golden, vectors};
use glam::{Mat3, Vec3};
use gpavatar::reference::pipeline::{Rendering, build, prepare, render};
use gpavatar::reference::{Tensor, head, output, style_unet};
use gpavatar::{
    AdapterKind, Atlas, Attention, Avatar, AvatarOptions, Background, Camera, Drive, FloatFormat,
    Frame, Gpu, GpuOptions, HeadModel, HeadModelParts, Model, ModelConfig, ModelOptions, Noise,
    PointWeighting, Precision, RenderOptions, ShaderChecks, SourceImage, SyntheticRules, Tuning,
    Weights, wgpu,
};

const SEEDED: RenderOptions = RenderOptions {
    noise: Noise::Seeded(1),
    background: Background::Transparent,
};

/// Views of [`tiny::points`] that differ in every pixel.
fn drives(count: u32) -> Vec<Drive> {
    (0..count)
        .map(|i| {
            let mut points = tiny::points(tiny::config().points);
            for point in &mut points {
                point[1] *= 1.0 - 0.1 * i as f32;
            }
            Drive::points(points).camera(Camera::orbit(10.0, 5.0, 20.0 * i as f32 - 30.0))
        })
        .collect()
}

/// The planes that the scalar network makes of these pictures.
fn reference_planes(config: &ModelConfig, sources: &[SourceImage]) -> Tensor {
    let sources: Vec<Tensor> = sources
        .iter()
        .map(|s| prepare(config, s).unwrap())
        .collect();
    let noise = style_unet::Noise::Stored;
    build(&tiny::weights(config), &sources, noise)
        .unwrap()
        .fused
}

/// The frame that the scalar network renders of [`tiny::avatar`].
fn reference_frame(config: &ModelConfig, points: &[[f32; 3]], camera: &Camera) -> Rendering {
    let planes = reference_planes(config, &[tiny::picture(32, 32, 0)]);
    let points: Vec<Vec3> = points.iter().map(|p| Vec3::from(*p)).collect();
    let noise = style_unet::Noise::Stored;
    render(&tiny::weights(config), &planes, &points, camera, noise).unwrap()
}

fn planes(avatar: &Avatar) -> Vec<f32> {
    pollster::block_on(avatar.planes().read(avatar.model().gpu())).unwrap()
}

// ---- precision -----------------------------------------------------------------------------

#[test]
fn precisions_are_read() {
    for (text, precision) in [
        ("full", Precision::Full),
        ("half", Precision::Half),
        ("fastest", Precision::Fastest),
    ] {
        assert_eq!(text.parse::<Precision>().unwrap(), precision);
    }
    let error = "Half".parse::<Precision>().unwrap_err().to_string();
    for part in ["precision", "full, half or fastest", "\"Half\""] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn avatars_of_every_precision_are_saved_and_loaded() {
    let config = tiny::config();
    let mut bytes = Vec::new();
    for precision in [Precision::Full, Precision::Half, Precision::Fastest] {
        let options = ModelOptions {
            precision,
            ..ModelOptions::default()
        };
        let model = Model::with_options(gpu(), tiny::weights(&config), options).unwrap();
        assert_eq!(model.precision(), precision);
        bytes.push(model.device_bytes());
        // One picture is copied into the planes, several are fused into them.
        for count in [1, 3] {
            let pictures = [0, 1, 2].map(|seed| tiny::picture(32, 32, seed));
            let avatar = Avatar::from_images(&model, &pictures[..count]).unwrap();
            let file = pollster::block_on(avatar.to_bytes(FloatFormat::F32)).unwrap();
            let loaded = Avatar::from_bytes(&model, file).unwrap();
            let drive = tiny::drive();
            assert_eq!(
                Picture::render(&loaded, &drive),
                Picture::render(&avatar, &drive),
                "{precision:?}, {count} pictures"
            );
        }
    }
    assert!(bytes.is_sorted_by(|a, b| a > b), "{bytes:?}");
}

// ---- determinism and sharing ---------------------------------------------------------------

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
        (
            planes(&avatar),
            drives(3).iter().map(of).collect::<Vec<_>>(),
        )
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
fn what_is_left_out_of_empty_space_changes_no_picture() {
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
        let options = GpuOptions {
            poison: true,
            kernels: Some(kind),
            subgroups,
            ..GpuOptions::from_env().unwrap()
        };
        let gpu = Gpu::with_options(&options).unwrap();
        for config in [tiny::config(), tiny::released()] {
            // What is kept for inspection is computed everywhere.
            let [left_out, whole] = [false, true].map(|trace| {
                let options = ModelOptions {
                    trace,
                    ..ModelOptions::default()
                };
                let model = Model::with_options(&gpu, tiny::weights(&config), options).unwrap();
                tiny::avatar(&model)
            });
            for camera in &views {
                let drive = drive.clone().camera(*camera);
                let [found, expected] =
                    [&left_out, &whole].map(|avatar| Picture::render(avatar, &drive));
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
                    let of = |drive: &Drive| avatar.render(drive).unwrap();
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
                let (frame, _) = avatar
                    .profile(&drives[1], &RenderOptions::default())
                    .unwrap();
                assert_eq!(Picture::of(&frame, gpu()), pictures[1]);
            });
        }
    });
}

#[test]
fn frames_that_are_kept_keep_their_pictures() {
    let avatar = tiny::avatar(&tiny::model());
    let drives = drives(4);
    let kept: Vec<Frame> = drives.iter().map(|d| avatar.render(d).unwrap()).collect();
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

// ---- allocation ----------------------------------------------------------------------------

/// Everything that wgpu holds for a device, except for what it needs to submit at all.
fn held(device: &wgpu::Device) -> BTreeMap<&'static str, isize> {
    let hal = device.get_internal_counters().hal;
    BTreeMap::from([
        ("buffers", hal.buffers.read()),
        ("textures", hal.textures.read()),
        ("texture views", hal.texture_views.read()),
        ("bind groups", hal.bind_groups.read()),
        ("bind group layouts", hal.bind_group_layouts.read()),
        ("compute pipelines", hal.compute_pipelines.read()),
        ("pipeline layouts", hal.pipeline_layouts.read()),
        ("shader modules", hal.shader_modules.read()),
        ("query sets", hal.query_sets.read()),
        ("buffer memory", hal.buffer_memory.read()),
        ("texture memory", hal.texture_memory.read()),
        ("memory allocations", hal.memory_allocations.read()),
    ])
}

#[test]
fn frames_after_the_first_allocate_nothing() {
    // A device of its own: other tests allocate on the shared one.
    let gpu = tiny::open();
    let model = Model::new(&gpu, tiny::weights(&tiny::released())).unwrap();
    let avatar = tiny::avatar(&model);
    let drives = drives(5);
    let options = [RenderOptions::default(), SEEDED];
    drop(avatar.render(&drives[0]).unwrap());
    gpu.wait("rendering").unwrap();
    let before = held(gpu.device());
    assert!(
        before["buffers"] > 0 && before["bind groups"] > 0,
        "{before:?}"
    );
    for i in 0..50 {
        let frame = avatar.render_with(&drives[i % 5], &options[i % 2]).unwrap();
        assert_eq!(held(gpu.device()), before, "while frame {i} is in flight");
        drop(frame);
        gpu.wait("rendering").unwrap();
        assert_eq!(held(gpu.device()), before, "after frame {i}");
    }
}

#[test]
fn a_burst_of_frames_gives_its_memory_back() {
    let gpu = tiny::open();
    let avatar = tiny::avatar(&Model::new(&gpu, tiny::weights(&tiny::config())).unwrap());
    let burst = |count: u32| {
        for _ in 0..count {
            // Nobody waits and nobody keeps a frame.
            drop(avatar.render(&tiny::drive()).unwrap());
        }
        gpu.wait("rendering").unwrap();
        held(gpu.device())
    };
    let few = burst(10);
    let many = burst(40);
    // One staging buffer for each frame in flight, of which eight are kept.
    assert!(many["buffers"] <= few["buffers"] + 8, "{few:?} {many:?}");
    for (what, count) in few {
        if !what.contains("buffer") && what != "memory allocations" {
            assert_eq!(many[what], count, "{what}");
        }
    }
}

// ---- many at a time ------------------------------------------------------------------------

/// Different people, one of whom has three pictures.
fn people(model: &Model) -> Vec<Avatar> {
    [vec![0], vec![1, 2, 0], vec![2]]
        .iter()
        .map(|seeds: &Vec<u32>| {
            let pictures = seeds.iter().map(|seed| tiny::picture(32, 32, *seed));
            Avatar::from_images(model, &pictures.collect::<Vec<_>>()).unwrap()
        })
        .collect()
}

/// Everyone with every drive, more than two submissions of them.
fn mix<'a>(people: &'a [Avatar], drives: &'a [Drive]) -> Vec<(&'a Avatar, &'a Drive)> {
    let mixed = drives
        .iter()
        .flat_map(|drive| people.iter().map(move |avatar| (avatar, drive)));
    mixed.collect()
}

#[test]
fn many_frames_are_those_of_one_at_a_time() {
    for config in [tiny::config(), tiny::released()] {
        let model = Model::new(gpu(), tiny::weights(&config)).unwrap();
        let (people, drives) = (people(&model), drives(6));
        let mixed = mix(&people, &drives);
        for options in [RenderOptions::default(), SEEDED] {
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
        let endless = drives
            .iter()
            .cycle()
            .inspect(|_| taken.set(taken.get() + 1));
        let mut playback = avatar.play(endless).in_flight(in_flight);
        assert_eq!(taken.get(), 0, "nobody has asked for a frame");
        for handed_out in 0..6 {
            playback.next().unwrap().unwrap();
            assert_eq!(taken.get(), handed_out + in_flight);
        }
    }
}

#[test]
fn many_frames_again_and_again_allocate_nothing() {
    let gpu = tiny::open();
    let model = Model::new(&gpu, tiny::weights(&tiny::config())).unwrap();
    let (people, drives) = (people(&model), drives(2));
    let mixed = mix(&people, &drives);
    let atlas = Atlas::new(&model, [3, 2]).unwrap();
    let options = RenderOptions::default();
    let round = || {
        // Three times as many as are in flight.
        let several = || mixed.iter().chain(&mixed).copied();
        for played in model.play(several()).in_flight(4) {
            played.unwrap();
        }
        // Given up, with frames in flight.
        drop(model.play(several()).next());
        // Their memory comes back when they are done, which may be later than the next call.
        gpu.wait("giving up").unwrap();
        let frames = model.render_many(&mixed, &options).unwrap();
        for frame in &frames {
            frame.to_image().unwrap();
        }
        atlas.render(&mixed, &options).unwrap();
        atlas.to_image().unwrap();
        gpu.wait("rendering").unwrap();
    };
    for _ in 0..2 {
        round();
    }
    let before = held(gpu.device());
    for i in 0..10 {
        round();
        assert_eq!(held(gpu.device()), before, "round {i}");
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
    // 299 frames take longer than it takes to look.
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
        let drive = tiny::drive();
        assert_eq!(
            Picture::render(avatar, &drive),
            Picture::render(&alone, &drive)
        );
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
    let options = ModelOptions {
        head: Some(HeadModel::new(parts).unwrap()),
        ..ModelOptions::default()
    };
    let model = Model::with_options(gpu(), tiny::weights(&tiny::config()), options).unwrap();
    let picture = [tiny::picture(32, 32, 0)];
    let inputs = [vec![], vec![1.0], vec![-1.0]].map(|shape| {
        let options = AvatarOptions {
            shape,
            ..AvatarOptions::default()
        };
        (&picture[..], options)
    });
    let drive = Drive::neutral().camera(Camera::orbit(10.0, 10.0, 25.0));
    let built = Avatar::build_many(&model, &inputs).unwrap();
    let pictures: Vec<_> = built.iter().map(|a| Picture::render(a, &drive)).collect();
    for (found, (sources, options)) in pictures.iter().zip(&inputs) {
        let alone = Avatar::with_options(&model, sources, options).unwrap();
        assert_eq!(*found, Picture::render(&alone, &drive));
    }
    assert!(pictures[1].distance(&pictures[2]) > 0.01);
}

/// The tiles of an atlas's picture, of which there are `count`.
fn tiles(atlas: &Atlas, count: usize) -> Vec<Vec<u8>> {
    let picture = atlas.to_image().unwrap();
    let side = atlas.tile_size();
    assert_eq!(
        picture.dimensions(),
        (side * atlas.grid()[0], side * atlas.grid()[1])
    );
    let tile = |index| {
        let [x, y] = atlas.tile(index).unwrap();
        image::imageops::crop_imm(&picture, x, y, side, side)
            .to_image()
            .into_raw()
    };
    (0..count).map(tile).collect()
}

#[test]
fn tiles_of_an_atlas_are_the_frames_of_their_avatars() {
    let model = tiny::model();
    let (people, drives) = (people(&model), drives(5));
    let mixed = mix(&people, &drives);
    let atlas = Atlas::new(&model, [4, 4]).unwrap();
    assert_eq!((atlas.grid(), atlas.tile_size()), ([4, 4], 32));
    assert_eq!(atlas.tile(0), Some([0, 0]));
    assert_eq!(atlas.tile(6), Some([2 * 32, 32]));
    assert_eq!((atlas.tile(15), atlas.tile(16)), (Some([96, 96]), None));
    assert_eq!(atlas.tile(usize::MAX), None);
    let empty = vec![0; 32 * 32 * 4];
    assert!(tiles(&atlas, 16).iter().all(|tile| *tile == empty));

    let one = |(avatar, drive): &(&Avatar, &Drive)| {
        let frame = avatar.render_with(drive, &SEEDED).unwrap();
        frame.to_image().unwrap().into_raw()
    };
    let mut expected: Vec<_> = mixed.iter().map(one).collect();
    expected.push(empty);
    atlas.render(&mixed, &SEEDED).unwrap();
    assert_eq!(tiles(&atlas, 16), expected);

    // Others, into a command buffer of the host's: what is beyond them stays.
    let reversed: Vec<_> = mixed[..5].iter().rev().copied().collect();
    let mut encoder = gpu().device().create_command_encoder(&Default::default());
    atlas.record(&mut encoder, &reversed, &SEEDED).unwrap();
    atlas.record(&mut encoder, &[], &SEEDED).unwrap();
    gpu().queue().submit([encoder.finish()]);
    expected[..5].reverse();
    assert_eq!(tiles(&atlas, 16), expected);
}

// ---- embedding -----------------------------------------------------------------------------

/// A device that belongs to a host application.
fn host_device() -> (wgpu::Adapter, wgpu::Device, wgpu::Queue) {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default())).unwrap();
    let (device, queue) = pollster::block_on(adapter.request_device(&Default::default())).unwrap();
    device.on_uncaptured_error(Arc::new(|error| panic!("on the host's device: {error}")));
    (adapter, device, queue)
}

/// The host's own use of a frame, recorded behind it: a copy of its texture.
fn copy_of(frame: &Frame, encoder: &mut wgpu::CommandEncoder, gpu: &Gpu) -> wgpu::Buffer {
    let row = wgpu::COPY_BYTES_PER_ROW_ALIGNMENT;
    assert!(frame.size() * 4 <= row);
    let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: u64::from(row * frame.size()),
        usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
        mapped_at_creation: false,
    });
    encoder.copy_texture_to_buffer(
        frame.texture().as_image_copy(),
        wgpu::TexelCopyBufferInfo {
            buffer: &buffer,
            layout: wgpu::TexelCopyBufferLayout {
                offset: 0,
                bytes_per_row: Some(row),
                rows_per_image: None,
            },
        },
        frame.texture().size(),
    );
    buffer
}

fn pixels(copy: &wgpu::Buffer, gpu: &Gpu) -> Vec<u8> {
    copy.map_async(wgpu::MapMode::Read, .., |result| result.unwrap());
    gpu.wait("reading").unwrap();
    let bytes = copy.get_mapped_range(..).unwrap();
    let size = tiny::config().output_size as usize * 4;
    let rows = bytes.chunks_exact(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT as usize);
    rows.flat_map(|row| &row[..size]).copied().collect()
}

#[test]
fn recordings_into_a_hosts_encoders() {
    let (adapter, device, queue) = host_device();
    let gpu = Gpu::from_device(&adapter, device, queue, ShaderChecks::Checked).unwrap();
    let model = Model::new(&gpu, tiny::weights(&tiny::config())).unwrap();
    let avatar = tiny::avatar(&model);
    let drives = drives(5);
    let options = RenderOptions::default();
    let expected: Vec<Picture> = drives.iter().map(|d| Picture::render(&avatar, d)).collect();
    assert_ne!(expected[0].rgba, expected[1].rgba);

    // Several frames in one command buffer.
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    let mut record = |drive| avatar.record(&mut encoder, drive, &options).unwrap();
    let frames: Vec<Frame> = drives.iter().map(&mut record).collect();
    gpu.queue().submit([encoder.finish()]);
    for (frame, expected) in frames.iter().zip(&expected) {
        assert_eq!(Picture::of(frame, &gpu), *expected);
    }

    // Many command buffers pending at a time, their frames dropped, every third of them never
    // submitted, the others in reverse order, with a frame and an avatar of our own in between.
    let mut pending = Vec::new();
    for i in 0..30 {
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        let frame = avatar
            .record(&mut encoder, &drives[i % 5], &options)
            .unwrap();
        let copy = copy_of(&frame, &mut encoder, &gpu);
        if i % 3 != 2 {
            pending.push((i, copy, encoder.finish()));
        }
    }
    pending.reverse();
    let mut copies = Vec::new();
    for (i, copy, commands) in pending {
        gpu.queue().submit([commands]);
        copies.push((i, copy));
        if i % 6 == 0 {
            let between = Picture::render(&tiny::avatar(&model), &drives[1]);
            assert_eq!(between, expected[1]);
        }
    }
    for (i, copy) in copies {
        assert_eq!(pixels(&copy, &gpu), expected[i % 5].rgba, "recording {i}");
    }
}

#[test]
fn a_hosts_frames_allocate_nothing_either() {
    let (adapter, device, queue) = host_device();
    let gpu = Gpu::from_device(&adapter, device, queue, ShaderChecks::Trusted).unwrap();
    let avatar = tiny::avatar(&Model::new(&gpu, tiny::weights(&tiny::config())).unwrap());
    let frame = || {
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        let frame = avatar
            .record(&mut encoder, &tiny::drive(), &SEEDED)
            .unwrap();
        gpu.queue().submit([encoder.finish()]);
        frame
    };
    // As a host does: the last frame is shown while the next is rendered.
    let mut shown = frame();
    shown = std::mem::replace(&mut shown, frame());
    gpu.wait("rendering").unwrap();
    let before = held(gpu.device());
    for i in 0..10 {
        shown = std::mem::replace(&mut shown, frame());
        gpu.wait("rendering").unwrap();
        assert_eq!(held(gpu.device()), before, "frame {i}");
    }
}

// ---- files ---------------------------------------------------------------------------------

#[test]
fn avatars_survive_their_files() {
    let model = tiny::model();
    let sources = [tiny::picture(32, 32, 0), tiny::picture(32, 32, 1)];
    let avatar = Avatar::from_images(&model, &sources).unwrap();
    let expected = Picture::render(&avatar, &tiny::drive());

    let path = std::env::temp_dir().join(format!("gpavatar-behaviour-{}", std::process::id()));
    avatar.save(&path).unwrap();
    let loaded = Avatar::load(&model, &path);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(Picture::render(&loaded.unwrap(), &tiny::drive()), expected);

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
            // Rounded planes, behind a field that magnifies differences by about ten.
            let difference = found.distance(&expected);
            let most = 10.0 / (1 << digits) as f32;
            assert!(
                difference > 0.0 && difference < most,
                "{format:?}: {difference}"
            );
        }
    }
}

#[test]
fn weights_survive_their_files() {
    let weights = tiny::weights(&tiny::config());
    let bytes = weights
        .writer(FloatFormat::F16)
        .unwrap()
        .into_bytes()
        .unwrap();
    let half = Model::new(gpu(), Weights::from_bytes(bytes).unwrap()).unwrap();
    let expected = Picture::render(&tiny::avatar(&tiny::model()), &tiny::drive());
    let found = Picture::render(&tiny::avatar(&half), &tiny::drive());
    let difference = found.distance(&expected);
    // Eleven bits for each weight, through two networks and a steep field.
    assert!(difference > 0.0 && difference < 0.05, "{difference}");
}

// ---- options -------------------------------------------------------------------------------

#[test]
fn noise_of_the_super_resolver() {
    let avatar = tiny::avatar(&tiny::model());
    let with = |noise| {
        let options = RenderOptions {
            noise,
            ..RenderOptions::default()
        };
        Picture::of(
            &avatar.render_with(&tiny::drive(), &options).unwrap(),
            gpu(),
        )
    };
    let stored = with(Noise::Stored);
    assert_eq!(with(Noise::Stored), stored);
    let one = with(Noise::Seeded(1));
    assert_eq!(with(Noise::Seeded(1)), one);
    // Seeds that differ in one half or the other.
    let others = [
        Noise::Seeded(2),
        Noise::Seeded(1 + (1 << 32)),
        Noise::Zero,
        Noise::Stored,
    ];
    for noise in others {
        let other = with(noise);
        assert!(other.distance(&one) > 1e-3, "{noise:?}");
        assert_eq!(
            other.low_res, one.low_res,
            "only the super-resolver has noise"
        );
    }

    // Noise is as strong, and as centred, from a seed as it is in the weights.
    let zero = with(Noise::Zero);
    let strength = |picture: &Picture| {
        let squares = picture
            .image
            .iter()
            .zip(&zero.image)
            .map(|(a, b)| (a - b).powi(2));
        (squares.sum::<f32>() / picture.image.len() as f32).sqrt()
    };
    let mean = |picture: &Picture| picture.image.iter().sum::<f32>() / picture.image.len() as f32;
    let seeds: Vec<Picture> = (0..24).map(|seed| with(Noise::Seeded(seed))).collect();
    let average = |of: &dyn Fn(&Picture) -> f32| seeds.iter().map(of).sum::<f32>() / 24.0;
    let ratio = average(&strength) / strength(&stored);
    println!("strength of seeded noise over that of stored noise: {ratio}");
    // A few hundred pixels, which the network correlates, make up one sample of the strength.
    assert!((0.7..1.4).contains(&ratio), "{ratio}");
    let shift = average(&mean) - mean(&stored);
    println!("mean of seeded pictures less that of the stored one: {shift}");
    assert!(shift.abs() < strength(&stored), "{shift}");
}

#[test]
fn noise_of_the_encoder() {
    let model = tiny::model();
    let with = |noise| {
        let options = AvatarOptions {
            noise,
            ..AvatarOptions::default()
        };
        planes(&Avatar::with_options(&model, &[tiny::picture(32, 32, 0)], &options).unwrap())
    };
    let one = with(Noise::Seeded(1));
    assert_eq!(with(Noise::Seeded(1)), one);
    assert_eq!(with(Noise::Stored), planes(&tiny::avatar(&model)));
    for noise in [Noise::Seeded(2), Noise::Zero, Noise::Stored] {
        assert!(largest_difference(&with(noise), &one) > 1e-2, "{noise:?}");
    }
}

#[test]
fn transparent_pictures_have_straight_alpha() {
    let avatar = tiny::avatar(&tiny::model());
    let config = tiny::config();
    let camera = Camera::orbit(14.0, 10.0, 25.0);
    let points = tiny::points(config.points);
    let drive = Drive::points(points.clone()).camera(camera);
    let options = RenderOptions {
        background: Background::Transparent,
        ..RenderOptions::default()
    };
    let frame = avatar.render_with(&drive, &options).unwrap();
    let found = Picture::of(&frame, gpu());
    let opaque = Picture::render(&avatar, &drive);
    assert_eq!(found.image, opaque.image);
    assert!(opaque.rgba.chunks_exact(4).all(|pixel| pixel[3] == 255));

    let side = config.output_size as usize;
    let image = Tensor::new([side, side, 3], found.image.clone());
    let opacity = reference_frame(&config, &points, &camera).opacity;
    let expected = output::display(&image, Some(&opacity));
    let (mut clear, mut solid) = (0, 0);
    for (found, expected) in found.rgba.chunks_exact(4).zip(expected.chunks_exact(4)) {
        let alpha = expected[3];
        assert!(
            found[3].abs_diff(alpha) <= 1,
            "{found:?} instead of {expected:?}"
        );
        // Colours are divided by alpha, with what rounding has made of it.
        let most = 2 + (255 / u16::from(alpha.max(1))).min(253) as u8;
        if alpha > 8 {
            let close = found
                .iter()
                .zip(expected)
                .all(|(f, e)| f.abs_diff(*e) <= most);
            assert!(close, "{found:?} instead of {expected:?}");
        }
        clear += u32::from(alpha == 0);
        solid += u32::from(alpha > 128);
    }
    assert!(
        clear > 50 && solid > 50,
        "{clear} clear, {solid} solid pixels"
    );
}

#[test]
fn depth_runs_from_zero_to_one() {
    for config in [tiny::config(), tiny::released()] {
        let avatar = tiny::avatar(&Model::new(gpu(), tiny::weights(&config)).unwrap());
        let camera = Camera::orbit(13.0, -20.0, 40.0);
        let points = tiny::points(config.points);
        let found = Picture::render(&avatar, &Drive::points(points.clone()).camera(camera)).depth;
        assert!(found.iter().all(|d| (0.0..=1.0).contains(d)));
        assert!(found.contains(&0.0) && found.iter().any(|d| *d > 0.999));
        let expected = reference_frame(&config, &points, &camera).depth.data;
        // Depths of ten, f32 apart, over a range of about two.
        difference("depth", &found, &expected)
            .within(1e-4, 0.05)
            .all_within(1e-2);
    }
}

// ---- heads and sources ---------------------------------------------------------------------

#[test]
fn a_head_model_drives_the_points_that_it_computes() {
    let golden = golden("head_model_512.safetensors");
    let parents = golden.i64("parents").unwrap();
    let parents: Vec<i32> = parents.iter().map(|parent| *parent as i32).collect();
    let head = HeadModel::open(common::golden_path("head_model_512.safetensors")).unwrap();
    let config = ModelConfig {
        points: 512,
        ..tiny::config()
    };
    let options = ModelOptions {
        head: Some(head),
        ..ModelOptions::default()
    };
    let with_head = Model::with_options(gpu(), tiny::weights(&config), options).unwrap();
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
        let template = vectors(&golden.f32("v_template").unwrap());
        let vertices =
            head::blend_shapes(&template, &golden.f32("shapedirs").unwrap(), &coefficients);
        let joints = head::joints(&golden.f32("J_regressor").unwrap(), &vertices);
        let pose = vectors(&input("pose"));
        let pose = [pose[0], Vec3::ZERO, pose[1], Vec3::ZERO, Vec3::ZERO];
        let rotations: [Mat3; 5] = pose.map(head::rodrigues);
        let motions = head::joint_motions(&joints, &parents, &rotations);
        let points = head::skin(
            &vertices,
            &golden.f32("posedirs").unwrap(),
            &head::pose_feature(&rotations),
            &golden.f32("lbs_weights").unwrap(),
            &motions,
            golden.metadata()["scale"].parse().unwrap(),
        );
        let points = points.iter().map(|p| p.to_array()).collect();
        let expected = Picture::render(&given, &Drive::points(points).camera(camera));

        let options = AvatarOptions {
            shape: input("shape"),
            ..AvatarOptions::default()
        };
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
    assert!(
        pictures[0].distance(&pictures[1]) > 0.05,
        "the head does not move"
    );
}

#[test]
fn tracked_sources_and_sources_of_any_size_give_the_planes_of_the_reference() {
    let config = tiny::config();
    let model = tiny::model();
    let turned = Camera::orbit(14.0, 10.0, -30.0);
    for source in [
        tiny::picture(120, 120, 0).tracked(turned),
        // Corners outside of the picture.
        tiny::picture(80, 80, 1).tracked(Camera::orbit(9.0, -5.0, 20.0)),
        tiny::picture(32, 32, 2),
        tiny::picture(97, 45, 0),
        tiny::picture(13, 200, 1),
        tiny::picture(5, 3, 2),
        tiny::picture(1, 1, 0),
    ] {
        let avatar = Avatar::from_images(&model, std::slice::from_ref(&source)).unwrap();
        let expected = reference_planes(&config, std::slice::from_ref(&source));
        // Homographies in f32: positions in a picture of 200 pixels are good to 1e-5 of a pixel.
        difference(&format!("{source:?}"), &planes(&avatar), &expected.data).all_within_range(1e-4);
    }
}

#[test]
fn fusion_does_not_depend_on_the_order_of_sources() {
    let sources = [0, 1, 2].map(|seed| tiny::picture(32, 32, seed));
    let reversed: Vec<_> = sources.iter().rev().cloned().collect();
    for attention in [Attention::Softmax, Attention::Ratio] {
        let config = ModelConfig {
            attention,
            ..tiny::config()
        };
        let model = Model::new(gpu(), tiny::weights(&config)).unwrap();
        let of = |sources: &[SourceImage]| planes(&Avatar::from_images(&model, sources).unwrap());
        let found = of(&sources);
        let expected = reference_planes(&config, &sources).data;
        let [forth, back] = [found.clone(), of(&reversed)];
        let name = format!("{attention:?}");
        // A ratio of signed sums is ill-conditioned where they cancel.
        let outliers = if attention == Attention::Ratio {
            0.01
        } else {
            0.0
        };
        difference(&name, &found, &expected).within_range(3e-5, outliers);
        difference(&name, &forth, &back).within_range(3e-5, outliers);
        let single = of(&sources[..1]);
        assert!(
            largest_difference(&single, &found) > 0.01,
            "the other sources do not count"
        );
    }
}

/// The sizes of a network that was trained to be shipped: all differ from the released ones.
#[test]
fn a_small_trained_networks_sizes() {
    let channels = |widths: &[u32]| -> BTreeMap<u32, u32> {
        (2..)
            .map(|log| 1 << log)
            .zip(widths.iter().copied())
            .collect()
    };
    let encoder = channels(&[64, 64, 48, 32, 24, 8]);
    let super_resolver = channels(&[48, 48, 48, 32, 24, 12]);
    let doubled = |table: &BTreeMap<u32, u32>| table.iter().map(|(r, c)| (*r, 2 * c)).collect();
    let config = ModelConfig {
        source_size: 128,
        plane_size: 64,
        plane_channels: 16,
        points: 1024,
        neighbours: 4,
        point_feature: 32,
        point_hidden: 32,
        point_output: 32,
        feature_hidden: 64,
        rgb_hidden: 32,
        coarse_samples: 12,
        fine_samples: 12,
        low_res_size: 48,
        low_res_channels: 16,
        output_size: 128,
        style_size: 128,
        style_layers: 4,
        encoder_decoder_channels: doubled(&encoder),
        super_resolver_decoder_channels: doubled(&super_resolver),
        encoder_channels: encoder,
        super_resolver_channels: super_resolver,
        point_weighting: PointWeighting::Paper,
        ..ModelConfig::default()
    };
    let weights = || {
        let rules = SyntheticRules::new(&config).unwrap();
        Weights::synthetic(config.clone(), 2, rules).unwrap()
    };
    let picture = tiny::picture(128, 128, 0);
    let points = tiny::points(1024);
    let camera = Camera::orbit(10.0, 5.0, 20.0);

    let source = prepare(&config, &picture).unwrap();
    let noise = style_unet::Noise::Stored;
    let expected_planes = build(&weights(), &[source], noise).unwrap().fused;
    let given: Vec<Vec3> = points.iter().map(|p| Vec3::from(*p)).collect();
    let expected = render(&weights(), &expected_planes, &given, &camera, noise).unwrap();

    let model = Model::new(gpu(), weights()).unwrap();
    let avatar = Avatar::from_images(&model, &[picture]).unwrap();
    difference("planes", &planes(&avatar), &expected_planes.data).all_within_range(3e-5);
    let found = Picture::render(&avatar, &Drive::points(points).camera(camera));
    difference("low_res", &found.low_res, &expected.low_res.data)
        .within_range(1e-4, 1e-3)
        .all_within_range(1e-2);
    difference("depth", &found.depth, &expected.depth.data).within(1e-3, 1e-3);
    let image = difference("image", &found.image, &expected.image.data);
    image.within(1e-4, 1e-3).all_within(1e-3);
}

// ---- tuning --------------------------------------------------------------------------------

#[test]
fn measured_variants_give_the_same_pictures_and_can_be_pinned() {
    let file = std::env::temp_dir().join(format!("gpavatar-variants-{}.json", std::process::id()));
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
    std::fs::remove_file(&file).unwrap();
}

// ---- other adapters ------------------------------------------------------------------------

#[test]
fn another_backend_gives_the_same_pictures() {
    let options = GpuOptions {
        backends: wgpu::Backends::GL,
        poison: true,
        ..GpuOptions::from_env().unwrap()
    };
    let gl = match Gpu::with_options(&options) {
        Ok(gl) => gl,
        Err(gpavatar::Error::NoAdapter { reason, found }) => {
            return println!("no GL adapter ({reason}) among {found}: not compared");
        }
        Err(error) => panic!("{error}"),
    };
    println!("{} beside {}", gl.description(), gpu().description());
    let sources = [tiny::picture(32, 32, 0), tiny::picture(60, 50, 1)];
    for config in [tiny::config(), tiny::released()] {
        let [here, there] = [gpu(), &gl].map(|gpu| {
            let model = Model::new(gpu, tiny::weights(&config)).unwrap();
            Avatar::from_images(&model, &sources).unwrap()
        });
        difference("planes", &planes(&there), &planes(&here)).all_within_range(3e-5);
        for drive in drives(2) {
            let [here, there] = [&here, &there].map(|avatar| Picture::render(avatar, &drive));
            difference("low_res", &there.low_res, &here.low_res)
                .within_range(3e-4, 0.02)
                .all_within_range(1e-2);
            difference("image", &there.image, &here.image).all_within(1e-3);
        }
    }
}
