//! Recording into a host's command encoders on a host's device.

use std::sync::{Arc, Mutex};

use gpavatar::{
    Atlas, Error, Frame, Gpu, GpuOptions, Model, PipelineCache, Progress, ShaderChecks, wgpu,
};

use crate::common::absent::absent;
use crate::common::tiny::{self, KEPT, Picture, drives};
use crate::common::{host_gpu, refused};

/// The host's own use of a frame, recorded after it: a copy of its texture, or of another of its size.
fn copy_of(texture: &wgpu::Texture, encoder: &mut wgpu::CommandEncoder, gpu: &Gpu) -> wgpu::Buffer {
    let row = wgpu::COPY_BYTES_PER_ROW_ALIGNMENT;
    assert!(texture.width() * 4 <= row);
    let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: u64::from(row * texture.height()),
        usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
        mapped_at_creation: false,
    });
    encoder.copy_texture_to_buffer(
        texture.as_image_copy(),
        wgpu::TexelCopyBufferInfo {
            buffer: &buffer,
            layout: wgpu::TexelCopyBufferLayout {
                offset: 0,
                bytes_per_row: Some(row),
                rows_per_image: None,
            },
        },
        texture.size(),
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
    let gpu = host_gpu(wgpu::Limits::default(), ShaderChecks::Checked).unwrap();
    let model = Model::new(&gpu, tiny::weights(&tiny::config())).unwrap();
    let avatar = tiny::avatar(&model);
    let drives = drives(5);
    let options = KEPT;
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
        let frame = avatar.record(&mut encoder, &drives[i % 5], &options);
        let frame = frame.unwrap();
        let copy = copy_of(frame.texture(), &mut encoder, &gpu);
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

/// The bytes that a frame's view leaves on a target of this format, drawn pixel by pixel.
fn drawn(gpu: &Gpu, view: &wgpu::TextureView, format: wgpu::TextureFormat, size: u32) -> Vec<u8> {
    let target = gpu.device().create_texture(&wgpu::TextureDescriptor {
        label: None,
        size: wgpu::Extent3d {
            width: size,
            height: size,
            depth_or_array_layers: 1,
        },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format,
        usage: wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC,
        view_formats: &[],
    });
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    let onto = target.create_view(&Default::default());
    let blitter = wgpu::util::TextureBlitter::new(gpu.device(), format);
    blitter.copy(gpu.device(), &mut encoder, view, &onto);
    let copy = copy_of(&target, &mut encoder, gpu);
    gpu.queue().submit([encoder.finish()]);
    pixels(&copy, gpu)
}

#[test]
fn views_for_targets_that_encode_srgb_and_for_those_that_do_not() {
    let avatar = tiny::avatar(&tiny::model());
    let gpu = avatar.model().gpu();
    let frame = avatar.render(&tiny::drive()).unwrap();
    let expected = frame.to_image().unwrap().into_raw();
    let stored = wgpu::TextureFormat::Rgba8Unorm;
    assert_eq!(drawn(gpu, frame.view(), stored, frame.size()), expected);
    let encoded = wgpu::TextureFormat::Rgba8UnormSrgb;
    let view = frame.srgb_view().expect("Vulkan has such views");
    let found = drawn(gpu, view, encoded, frame.size());
    let close = found
        .iter()
        .zip(&expected)
        .all(|(f, e)| f.abs_diff(*e) <= 1);
    assert!(close, "decoded and encoded again");
    // The plain view is brighter there.
    assert_ne!(drawn(gpu, frame.view(), encoded, frame.size()), expected);

    let atlas = Atlas::new(avatar.model(), [1, 1]).unwrap();
    for texture in [frame.texture(), atlas.texture()] {
        let hosts_ask_for = wgpu::TextureUsages::TEXTURE_BINDING
            | wgpu::TextureUsages::RENDER_ATTACHMENT
            | wgpu::TextureUsages::COPY_SRC;
        assert!(texture.usage().contains(hosts_ask_for));
    }
    assert!(atlas.srgb_view().is_some());
}

#[test]
fn adapters_of_the_hosts_instance() {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let options = GpuOptions {
        backends: wgpu::Backends::VULKAN,
        ..GpuOptions::default()
    };
    let gpu = pollster::block_on(Gpu::request_for(&instance, None, &options)).unwrap();
    assert_eq!(gpu.adapter().get_info().backend, wgpu::Backend::Vulkan);
    // Another device of the same adapter.
    let device = gpu.adapter().request_device(&Default::default());
    let (device, queue) = pollster::block_on(device).unwrap();
    let own = Gpu::from_device(gpu.adapter(), device, queue, &options).unwrap();
    let picture = |gpu: &Gpu| {
        let model = Model::new(gpu, tiny::weights(&tiny::config())).unwrap();
        Picture::render(&tiny::avatar(&model), &tiny::drive())
    };
    assert_eq!(picture(&gpu).rgba, picture(&own).rgba);

    let none = GpuOptions {
        adapter: Some("no such adapter".into()),
        ..options
    };
    let refused = pollster::block_on(Gpu::request_for(&instance, None, &none));
    assert!(
        matches!(refused, Err(Error::NoAdapter { .. })),
        "{refused:?}"
    );
}

#[test]
fn setting_a_model_up_tells_how_far_it_is() {
    let gpu = tiny::open();
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = {
        let told = told.clone();
        Progress::new(move |done, of| told.lock().unwrap().push((done, of)))
    };
    let set_up = || {
        tiny::model_with(&gpu, &tiny::config(), |options| {
            options.progress = Some(tell.clone());
        })
    };
    set_up().unwrap();
    let first = std::mem::take(&mut *told.lock().unwrap());
    let of = first[0].1;
    assert!(of > 10, "{first:?}");
    assert_eq!(first, (0..=of).map(|done| (done, of)).collect::<Vec<_>>());
    // Kernels are the device's.
    set_up().unwrap();
    assert!(told.lock().unwrap().is_empty());
}

/// A device of the host with these features, if there is one.
fn host_with(features: wgpu::Features) -> Option<(wgpu::Adapter, wgpu::Device, wgpu::Queue)> {
    let adapter = tiny::gpu().adapter();
    let descriptor = wgpu::DeviceDescriptor {
        required_features: features,
        ..Default::default()
    };
    let opened = pollster::block_on(adapter.request_device(&descriptor));
    opened
        .ok()
        .map(|(device, queue)| (adapter.clone(), device, queue))
}

#[test]
fn a_hosts_pipeline_cache_gets_the_kernels() {
    let Some((adapter, device, queue)) = host_with(wgpu::Features::PIPELINE_CACHE) else {
        return absent("pipeline cache", "the adapter has none");
    };
    let descriptor = wgpu::PipelineCacheDescriptor {
        label: None,
        data: None,
        fallback: true,
    };
    // SAFETY: there is no data.
    let cache = unsafe { device.create_pipeline_cache(&descriptor) };
    let options = GpuOptions {
        pipeline_cache: Some(PipelineCache::Host(cache.clone())),
        ..GpuOptions::default()
    };
    let length = || cache.get_data().map_or(0, |data| data.len());
    let before = length();
    let gpu = Gpu::from_device(&adapter, device, queue, &options).unwrap();
    let model = Model::new(&gpu, tiny::weights(&tiny::config())).unwrap();
    Picture::render(&tiny::avatar(&model), &tiny::drive());
    let parts = &["pipeline cache", "a folder"];
    refused::argument(Gpu::with_options(&options), parts);
    println!("{before} bytes, {} with the kernels", length());
    if length() == before {
        absent("pipelines", "the driver hands no compiled ones out");
    }
}

#[test]
fn a_hosts_timestamps_enclose_a_frame() {
    let Some((adapter, device, queue)) = host_with(wgpu::Features::TIMESTAMP_QUERY) else {
        return absent("timestamps", "the adapter has none");
    };
    let gpu = Gpu::from_device(&adapter, device, queue, &GpuOptions::default()).unwrap();
    let device = gpu.device();
    let queries = device.create_query_set(&wgpu::QuerySetDescriptor {
        label: None,
        ty: wgpu::QueryType::Timestamp,
        count: 2,
    });
    let buffer = |usage| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 16,
            usage: usage | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    };
    let resolved = buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
    let read = buffer(wgpu::BufferUsages::MAP_READ);
    // Traces split a frame into many passes.
    for trace in [false, true] {
        let config = tiny::config();
        let model = tiny::model_with(&gpu, &config, |options| options.trace = trace).unwrap();
        let avatar = tiny::avatar(&model);
        let expected = Picture::render(&avatar, &tiny::drive());
        let mut encoder = device.create_command_encoder(&Default::default());
        let timestamps = wgpu::ComputePassTimestampWrites {
            query_set: &queries,
            beginning_of_pass_write_index: Some(0),
            end_of_pass_write_index: Some(1),
        };
        let frame = avatar.record_timed(&mut encoder, &tiny::drive(), &KEPT, timestamps);
        encoder.resolve_query_set(&queries, 0..2, &resolved, 0);
        encoder.copy_buffer_to_buffer(&resolved, 0, &read, 0, 16);
        gpu.queue().submit([encoder.finish()]);
        assert_eq!(Picture::of(&frame.unwrap(), &gpu), expected);
        read.map_async(wgpu::MapMode::Read, .., |result| result.unwrap());
        gpu.wait("timing").unwrap();
        let ticks: Vec<u64> = {
            let view = read.get_mapped_range(..).unwrap();
            view.chunks_exact(8)
                .map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
                .collect()
        };
        read.unmap();
        let milliseconds = (ticks[1] - ticks[0]) as f32 * gpu.queue().get_timestamp_period() / 1e6;
        println!("traced: {trace}, {milliseconds} ms");
        assert!(ticks[0] > 0 && milliseconds > 0.01, "{ticks:?}");
    }
}
