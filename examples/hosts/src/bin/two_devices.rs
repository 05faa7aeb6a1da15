//! An avatar for an application whose device cannot be shared: every picture goes through the host's memory.
//! Prints what that costs.
//!
//! `cargo run --release -p gpavatar-hosts --bin two_devices`

use std::error::Error;
use std::time::{Duration, Instant};

use gpavatar::{Atlas, Avatar, Camera, Drive, Gpu, Model, SourceImage, Weights, wgpu};

const FRAMES: usize = 51;

fn main() -> Result<(), Box<dyn Error>> {
    let gpu = Gpu::new()?;
    let model = Model::new(&gpu, Weights::from_bytes(gpavatar_demo::NETWORK)?)?;
    let picture = SourceImage::from_bytes(gpavatar_demo::PICTURE)?;
    let avatar = Avatar::from_images(&model, &[picture.tracked(Camera::orbit(10.6, 2.0, 8.0))])?;

    // Its device stands for the application's.
    let other = Gpu::new()?;
    println!("{}, medians of {FRAMES} frames", gpu.description());
    for grid in [1, 4] {
        let atlas = Atlas::new(&model, [grid, grid])?;
        let size = atlas.texture().size();
        let texture = other.device().create_texture(&wgpu::TextureDescriptor {
            label: Some("the application's"),
            size,
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba8Unorm,
            usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
            view_formats: &[],
        });
        let layout = wgpu::TexelCopyBufferLayout {
            bytes_per_row: Some(4 * size.width),
            ..Default::default()
        };
        let [mut rendered, mut read, mut uploaded] = [const { Vec::new() }; 3];
        for frame in 0..FRAMES {
            let drive = Drive::neutral().expression("jawOpen", (frame % 10) as f32 / 10.0);
            let began = Instant::now();
            atlas.render(&[(&avatar, &drive)], &Default::default())?;
            finish(&gpu)?;
            rendered.push(began.elapsed());
            let began = Instant::now();
            let pixels = atlas.to_image()?;
            read.push(began.elapsed());
            let began = Instant::now();
            let target = texture.as_image_copy();
            other.queue().write_texture(target, &pixels, layout, size);
            other.queue().submit([]);
            finish(&other)?;
            uploaded.push(began.elapsed());
        }
        let [rendered, read, uploaded] = [rendered, read, uploaded].map(median);
        println!(
            "{} x {} pixels: a rendering of 128 x 128 {rendered:.2?}, reading {read:.2?}, upload {uploaded:.2?}",
            size.width, size.height
        );
    }
    Ok(())
}

/// Waits until the device is idle.
fn finish(gpu: &Gpu) -> Result<wgpu::PollStatus, wgpu::PollError> {
    gpu.device().poll(wgpu::PollType::wait_indefinitely())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
