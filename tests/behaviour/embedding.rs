//! Recording into a host's command encoders on a host's device.

use gpavatar::{Frame, Gpu, Model, RenderOptions, ShaderChecks, wgpu};

use crate::common::host_gpu;
use crate::common::tiny::{self, Picture, drives};

/// The host's own use of a frame, recorded after it: a copy of its texture.
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
    let gpu = host_gpu(wgpu::Limits::default(), ShaderChecks::Checked).unwrap();
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
        let frame = avatar.record(&mut encoder, &drives[i % 5], &options);
        let frame = frame.unwrap();
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
