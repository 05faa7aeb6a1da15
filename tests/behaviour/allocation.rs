//! Frames after the first allocate nothing.

use std::collections::BTreeMap;

use gpavatar::track::{Net, Nets, Picture, Region};
use gpavatar::{Atlas, Model, RenderOptions, ShaderChecks, wgpu};

use crate::common::tiny::{self, KEPT, SEEDED, drives, mix, people};
use crate::common::{host_gpu, net_files};

/// All objects that wgpu holds for a device, except for those of submitting itself.
fn held(device: &wgpu::Device) -> BTreeMap<&'static str, isize> {
    let hal = device.get_internal_counters().hal;
    BTreeMap::from([
        ("buffers", hal.buffers.read()),
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
    let seeded = RenderOptions {
        tensors: false,
        ..SEEDED
    };
    let options = [RenderOptions::default(), seeded];
    drop(avatar.render(&drives[0]).unwrap());
    gpu.wait("rendering").unwrap();
    let before = held(gpu.device());
    let counted = before["buffers"] > 0 && before["bind groups"] > 0;
    assert!(counted, "{before:?}");
    for i in 0..50 {
        let frame = avatar.render_with(&drives[i % 5], &options[i % 2]).unwrap();
        assert_eq!(held(gpu.device()), before, "while frame {i} is in flight");
        drop(frame);
        gpu.wait("rendering").unwrap();
        assert_eq!(held(gpu.device()), before, "after frame {i}");
    }
}

#[test]
fn tracking_allocates_nothing_after_the_first_frame() {
    let gpu = tiny::open();
    let nets = Nets::new(&gpu, &net_files()).unwrap();
    let mut picture = Picture::new(&gpu, 300, 200, &[100; 4 * 300 * 200]).unwrap();
    let run = |picture: &Picture, angle: f32| {
        for net in [Net::Detector, Net::Landmarks, Net::Segmentation] {
            let region = Region {
                angle,
                ..Region::whole(300, 200)
            };
            pollster::block_on(nets.run(net, picture, &region)).unwrap();
        }
    };
    for _ in 0..2 {
        picture.replace(&gpu, &[50; 4 * 300 * 200]).unwrap();
        run(&picture, 0.0);
    }
    let before = held(gpu.device());
    for frame in 0..10 {
        picture.replace(&gpu, &[frame; 4 * 300 * 200]).unwrap();
        run(&picture, f32::from(frame));
        assert_eq!(held(gpu.device()), before, "after frame {frame}");
    }
}

#[test]
fn a_burst_of_frames_gives_its_memory_back() {
    let gpu = tiny::open();
    let avatar = tiny::avatar(&Model::new(&gpu, tiny::weights(&tiny::config())).unwrap());
    let burst = |count: u32| {
        for _ in 0..count {
            // No frame is waited for or kept.
            drop(avatar.render(&tiny::drive()).unwrap());
        }
        gpu.wait("rendering").unwrap();
        held(gpu.device())
    };
    let few = burst(10);
    let many = burst(40);
    // One staging buffer for each frame in flight; eight are kept.
    assert!(many["buffers"] <= few["buffers"] + 8, "{few:?} {many:?}");
    for (what, count) in few {
        if !what.contains("buffer") && what != "memory allocations" {
            assert_eq!(many[what], count, "{what}");
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
        // Three times the number in flight.
        let several = || mixed.iter().chain(&mixed).copied();
        for played in model.play(several()).in_flight(4) {
            played.unwrap();
        }
        // Dropped with frames in flight.
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
fn a_hosts_frames_allocate_nothing_either() {
    let gpu = host_gpu(wgpu::Limits::default(), ShaderChecks::Trusted).unwrap();
    let avatar = tiny::avatar(&Model::new(&gpu, tiny::weights(&tiny::config())).unwrap());
    let frame = || {
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        let frame = avatar.record(&mut encoder, &tiny::drive(), &SEEDED);
        gpu.queue().submit([encoder.finish()]);
        frame.unwrap()
    };
    // A host shows the last frame while the next is rendered.
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

#[test]
fn trimming_gives_the_memory_of_dropped_frames_back() {
    let gpu = tiny::open();
    let model = Model::new(&gpu, tiny::weights(&tiny::config())).unwrap();
    let avatar = tiny::avatar(&model);
    drop(avatar.render(&tiny::drive()).unwrap().to_image().unwrap());
    gpu.wait("rendering").unwrap();
    model.trim();
    gpu.wait("trimming").unwrap();
    let least = held(gpu.device());
    let kept = avatar.render_with(&tiny::drive(), &KEPT).unwrap();
    let frames: Vec<_> = (0..5)
        .map(|_| avatar.render(&tiny::drive()).unwrap())
        .collect();
    for frame in &frames {
        frame.to_image().unwrap();
    }
    drop(frames);
    let most = held(gpu.device());
    model.trim();
    gpu.wait("trimming").unwrap();
    // What is in use stays.
    let expected = kept.to_image().unwrap();
    let textures = |held: &BTreeMap<_, isize>| held["texture memory"] - least["texture memory"];
    let [most, one] = [textures(&most), textures(&held(gpu.device()))];
    assert!(one > 0 && most == 6 * one, "{most} {one}");
    drop(kept);
    model.trim();
    gpu.wait("trimming").unwrap();
    assert_eq!(held(gpu.device()), least);
    assert_eq!(
        avatar.render(&tiny::drive()).unwrap().to_image().unwrap(),
        expected
    );
}
