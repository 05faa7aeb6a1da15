//! An avatar inside an application with a wgpu device of its own: the head is rendered and drawn in
//! the application's command buffer, without a copy to the host.
//!
//! `cargo run --release --example embed`

use std::error::Error;

use gpavatar::wgpu::{self, util::TextureBlitter};
use gpavatar::{
    Avatar, Camera, Drive, Gpu, GpuOptions, Model, RenderOptions, SourceImage, Weights,
};

fn main() -> Result<(), Box<dyn Error>> {
    // The application's device, and a texture that stands for its window.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default()))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        required_features: adapter.features() & Gpu::optional_features(),
        required_limits: Gpu::required_limits(),
        ..Default::default()
    }))?;
    let size = wgpu::Extent3d {
        width: 640,
        height: 640,
        depth_or_array_layers: 1,
    };
    let window = device.create_texture(&wgpu::TextureDescriptor {
        label: Some("window"),
        size,
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::Rgba8Unorm,
        usage: wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC,
        view_formats: &[],
    });

    let options = GpuOptions::default();
    let gpu = Gpu::from_device(&adapter, device.clone(), queue.clone(), &options)?;
    let model = Model::new(&gpu, Weights::from_bytes(gpavatar_demo::NETWORK)?)?;
    let source = SourceImage::from_bytes(gpavatar_demo::PICTURE)?;
    let avatar = Avatar::from_images(&model, &[source.tracked(Camera::orbit(10.6, 2.0, 8.0))])?;

    // A frame: the network's dispatches, then a draw call that samples their picture.
    let mut encoder = device.create_command_encoder(&Default::default());
    let drive = Drive::neutral().camera(Camera::orbit(10.6, 0.0, 0.0));
    let frame = avatar.record(&mut encoder, &drive, &RenderOptions::default())?;
    let view = window.create_view(&Default::default());
    TextureBlitter::new(&device, window.format()).copy(&device, &mut encoder, frame.view(), &view);

    // The pixel in the middle proves it.
    let pixel = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("pixel"),
        size: 4,
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let mut middle = window.as_image_copy();
    (middle.origin.x, middle.origin.y) = (320, 320);
    let to = wgpu::TexelCopyBufferInfo {
        buffer: &pixel,
        layout: Default::default(),
    };
    encoder.copy_texture_to_buffer(middle, to, wgpu::Extent3d::default());
    queue.submit([encoder.finish()]);
    pixel.map_async(wgpu::MapMode::Read, .., |mapped| mapped.unwrap());
    device.poll(wgpu::PollType::wait_indefinitely())?;
    let rgba = pixel.get_mapped_range(..)?.to_vec();
    println!("{}: {rgba:?} in the middle", gpu.description());
    assert!(rgba[..3] != [0; 3], "nothing was drawn");
    Ok(())
}
