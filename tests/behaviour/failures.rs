//! What goes wrong on a device is the caller's error, on any device, and no wrong picture.

use gpavatar::{
    AdapterKind, Atlas, Avatar, FloatFormat, Frame, Gpu, GpuOptions, Model, ModelOptions,
    Precision, RenderOptions, TensorWriter, wgpu,
};

use crate::common::refused;
use crate::common::tiny::{self, KEPT, Picture, drives};

/// Two devices of one host, which handles no errors: wgpu then panics.
fn careless_hosts(limits: &wgpu::Limits) -> [Gpu; 2] {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default())).unwrap();
    [(), ()].map(|()| {
        let descriptor = wgpu::DeviceDescriptor {
            required_limits: limits.clone(),
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
        Gpu::from_device(&adapter, device, queue, &GpuOptions::default()).unwrap()
    })
}

fn model(gpu: &Gpu) -> Model {
    Model::new(gpu, tiny::weights(&tiny::config())).unwrap()
}

#[test]
fn a_hosts_device_that_is_destroyed() {
    let [gpu, other] = careless_hosts(&wgpu::Limits::default());
    let model_before = model(&gpu);
    let avatar = tiny::avatar(&model_before);
    let frame = avatar.render_with(&tiny::drive(), &KEPT).unwrap();
    let atlas = Atlas::new(&model_before, [2, 1]).unwrap();
    gpu.device().destroy();
    let parts = &["GPU failure during "];
    refused::gpu(frame.to_image(), parts);
    refused::gpu(pollster::block_on(frame.depth()), parts);
    refused::gpu(pollster::block_on(frame.low_res()), parts);
    refused::gpu(atlas.to_image(), parts);
    refused::gpu(pollster::block_on(avatar.to_bytes(FloatFormat::F32)), parts);
    refused::gpu(avatar.play([tiny::drive()]).next().unwrap(), parts);
    // Others report at the latest when they are read.
    let again = avatar
        .render(&tiny::drive())
        .and_then(|frame| frame.to_image());
    refused::gpu(again, parts);
    let anew = Model::new(&gpu, tiny::weights(&tiny::config()));
    let anew = anew.and_then(|model| tiny::avatar(&model).render(&tiny::drive())?.to_image());
    refused::gpu(anew, parts);
    Picture::render(&tiny::avatar(&model(&other)), &tiny::drive());
}

#[test]
fn a_hosts_device_that_is_too_small() {
    let limits = wgpu::Limits {
        max_buffer_size: 1 << 20,
        max_storage_buffer_binding_size: 1 << 20,
        max_uniform_buffer_binding_size: 1 << 16,
        ..wgpu::Limits::default()
    };
    let [gpu, _] = careless_hosts(&limits);
    let model = model(&gpu);
    let avatar = tiny::avatar(&model);
    // A texture of that size is fine.
    let side = 4096 / model.config().output_size;
    let atlas = Atlas::new(&model, [side, side]).unwrap();
    atlas
        .render(&[(&avatar, &tiny::drive())], &RenderOptions::default())
        .unwrap();
    refused::limit(
        atlas.to_image(),
        &["reading a picture back", "max_buffer_size", "1048576"],
    );
    Picture::render(&avatar, &tiny::drive());
}

#[test]
fn an_encoder_of_another_device() {
    let [gpu, other] = careless_hosts(&wgpu::Limits::default());
    let avatar = tiny::avatar(&model(&gpu));
    let expected = Picture::render(&avatar, &tiny::drive());
    let mut encoder = other.device().create_command_encoder(&Default::default());
    let options = RenderOptions::default();
    let recorded = avatar.record(&mut encoder, &tiny::drive(), &options);
    let scope = other
        .device()
        .push_error_scope(wgpu::ErrorFilter::Validation);
    drop(encoder.finish());
    let refused = pollster::block_on(scope.pop());
    // Either call may be the one that is refused.
    if let Ok(frame) = recorded {
        refused.expect("it should have been refused");
        refused::gpu(frame.to_image(), &["have not been executed"]);
    }
    assert_eq!(Picture::render(&avatar, &tiny::drive()), expected);
}

/// A frame whose commands the device refuses: the host copies a buffer onto itself.
fn refused_frame(avatar: &Avatar) -> Frame {
    let device = avatar.model().gpu().device();
    let mut encoder = device.create_command_encoder(&Default::default());
    let frame = avatar.record(&mut encoder, &tiny::drive(), &RenderOptions::default());
    let buffer = avatar.planes().buffer();
    encoder.copy_buffer_to_buffer(buffer, 0, buffer, 0, 16);
    let commands = encoder.finish();
    avatar.model().gpu().queue().submit([commands]);
    frame.unwrap()
}

#[test]
fn frames_that_were_not_executed_have_no_picture() {
    let gpu = tiny::open();
    let model = model(&gpu);
    let [avatar, other] =
        [0, 1].map(|seed| Avatar::from_images(&model, &[tiny::picture(32, 32, seed)]).unwrap());
    let parts = &["reading a frame", "have not been executed"];
    // Leaves its pictures in the memory that later frames get.
    drop(Picture::render(&other, &drives(2)[1]));
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    let frame = avatar.record(&mut encoder, &tiny::drive(), &KEPT);
    let frame = frame.unwrap();
    refused::gpu(frame.to_image(), parts);
    refused::gpu(pollster::block_on(frame.depth()), parts);
    refused::gpu(pollster::block_on(frame.low_res()), parts);
    gpu.queue().submit([encoder.finish()]);
    let found = Picture::of(&frame, &gpu);
    assert_eq!(found, Picture::render(&avatar, &tiny::drive()));
    // Every time, not only the first.
    let frame = refused_frame(&avatar);
    for _ in 0..3 {
        refused::gpu(frame.to_image(), parts);
    }
}

#[test]
fn a_threads_errors_are_its_own() {
    let gpu = tiny::open();
    let avatar = tiny::avatar(&model(&gpu));
    let expected = Picture::render(&avatar, &tiny::drive());
    let reads = 40;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..reads {
                refused::gpu(
                    refused_frame(&avatar).to_image(),
                    &["have not been executed"],
                );
            }
        });
        for _ in 0..reads {
            assert_eq!(Picture::render(&avatar, &tiny::drive()), expected);
        }
    });
    // The host made them on a device whose errors this crate handles: it tells once.
    refused::gpu(gpu.wait("waiting"), &["GPU failure during waiting"]);
    gpu.wait("waiting").unwrap();
    assert!(!gpu.is_lost());
}

#[test]
fn an_own_device_that_is_destroyed_is_lost_for_good() {
    let gpu = tiny::open();
    let avatar = tiny::avatar(&model(&gpu));
    assert!(!gpu.is_lost());
    gpu.wait("waiting").unwrap();
    gpu.device().destroy();
    let parts = &["device lost"];
    for _ in 0..3 {
        refused::gpu(gpu.wait("waiting"), parts);
        refused::gpu(pollster::block_on(gpu.idle("resting")), parts);
        refused::gpu(avatar.render(&tiny::drive()), parts);
        assert!(gpu.is_lost());
    }
}

/// An avatar whose planes are finite, and far too large.
fn huge(model: &Model) -> Avatar {
    let config = model.config();
    let (side, channels) = (config.plane_size as usize, config.plane_channels as usize);
    let metadata = [("gpavatar.avatar".to_string(), "1".to_string())];
    let config = ("config".to_string(), config.to_json().unwrap());
    let metadata = metadata.into_iter().chain([config]).collect();
    let mut writer = TensorWriter::new(metadata);
    let values = (0..side * side * 3 * channels).map(|i| 3e38 * (i as f32 * 0.37).sin());
    let values: Vec<f32> = values.collect();
    let shape = [side, side, 3, channels];
    writer.floats("planes", &shape, FloatFormat::F32, || Ok(values.into()));
    writer.floats("shape", &[0], FloatFormat::F32, || Ok(vec![].into()));
    Avatar::from_bytes(model, writer.into_bytes().unwrap()).unwrap()
}

#[test]
fn a_rendering_without_numbers_is_an_error_and_reads_no_foreign_memory() {
    let kinds = [AdapterKind::Gpu, AdapterKind::Cpu, AdapterKind::Cpu];
    for (kernels, subgroups) in kinds.into_iter().zip([false, false, true]) {
        let gpu = tiny::gpu_with(|options| {
            options.kernels = Some(kernels);
            options.subgroups = subgroups;
        });
        let gpu = gpu.unwrap();
        for (config, precision) in [
            (tiny::released(), Precision::F32),
            (tiny::config(), Precision::F16),
        ] {
            let options = ModelOptions {
                trace: true,
                precision,
                ..ModelOptions::default()
            };
            let weights = tiny::weights(&config);
            check_huge(&Model::with_options(&gpu, weights, options).unwrap());
        }
    }
}

fn check_huge(model: &Model) {
    let gpu = model.gpu();
    let frame = huge(model).render_with(&tiny::drive(), &KEPT).unwrap();
    let picture = frame.to_image();
    // In 16 bits numbers stop at the largest.
    if model.precision() == Precision::F32 {
        let parts = &["rendering", "not finite"];
        refused::gpu(picture, parts);
        refused::gpu(pollster::block_on(frame.depth()), parts);
        refused::gpu(pollster::block_on(frame.low_res()), parts);
        let played = huge(model).play([tiny::drive()]).next().unwrap();
        refused::gpu(played, parts);
    }
    for (name, tap) in model.taps() {
        if name.ends_with(".depths") {
            let depths = pollster::block_on(tap.read(gpu)).unwrap();
            assert!(depths.iter().all(|depth| depth.is_finite()), "{name}");
        }
        if name.ends_with(".neighbours") {
            let words: Vec<u32> = pollster::block_on(tap.read_as(gpu)).unwrap();
            let indices = words.iter().flat_map(|word| [word & 0xffff, word >> 16]);
            let largest = indices.max().unwrap();
            assert!(largest < model.config().points, "{name}: {largest}");
        }
    }
    // Others are none the worse.
    let avatar = tiny::avatar(model);
    assert!(Picture::render(&avatar, &tiny::drive()).is_finite());
}
