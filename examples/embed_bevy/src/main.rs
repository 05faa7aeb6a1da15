//! An avatar as a sprite of bevy. It shares bevy's device, and turns with the pointer.
//!
//! `cargo run --release`, with a compiler that bevy 0.20 takes: 1.97.1 or newer.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use bevy::asset::RenderAssetUsages;
use bevy::prelude::*;
use bevy::render::extract_resource::{ExtractResource, ExtractResourcePlugin};
use bevy::render::render_asset::RenderAssets;
use bevy::render::render_resource::{Extent3d, TextureDimension, TextureFormat};
use bevy::render::renderer::{RenderAdapter, RenderDevice, RenderQueue};
use bevy::render::texture::GpuImage;
use bevy::render::{Render, RenderApp, RenderSystems};
use gpavatar::{
    Atlas, Avatar, Background, Drive, Gpu, GpuOptions, Model, RenderOptions, SourceImage, Weights,
};

/// Where the avatar arrives once it is made.
#[derive(Resource)]
struct Making(Mutex<Receiver<gpavatar::Result<(Avatar, Atlas)>>>);

/// An avatar, the texture that it is always drawn to, and bevy's image of that.
#[derive(Clone, Resource, ExtractResource)]
#[extract_app(RenderApp)]
struct Face {
    avatar: Avatar,
    atlas: Arc<Atlas>,
    image: Handle<Image>,
}

fn main() -> AppExit {
    let window = Window {
        resolution: (512, 512).into(),
        ..default()
    };
    let mut app = App::new();
    app.add_plugins(DefaultPlugins.set(WindowPlugin {
        primary_window: Some(window),
        ..default()
    }))
    .add_plugins(ExtractResourcePlugin::<Face>::default())
    .add_systems(Startup, begin)
    .add_systems(Update, (take, draw).chain());
    app.sub_app_mut(RenderApp)
        .add_systems(Render, copy.in_set(RenderSystems::PrepareResources));
    app.run()
}

/// Makes the avatar on a thread of its own, so that bevy draws on.
fn begin(
    mut commands: Commands,
    adapter: Res<RenderAdapter>,
    device: Res<RenderDevice>,
    queue: Res<RenderQueue>,
) -> Result {
    commands.spawn(Camera2d);
    let (device, queue) = (device.wgpu_device().clone(), (**queue).clone());
    let gpu = Gpu::from_device(&adapter, device, queue, &GpuOptions::default())?;
    let (made, making) = channel();
    std::thread::spawn(move || made.send(make(&gpu)).is_ok());
    commands.insert_resource(Making(Mutex::new(making)));
    Ok(())
}

fn make(gpu: &Gpu) -> gpavatar::Result<(Avatar, Atlas)> {
    let model = Model::new(gpu, Weights::from_bytes(gpavatar_demo::NETWORK)?)?;
    let picture = SourceImage::from_bytes(gpavatar_demo::PICTURE)?;
    let picture = picture.tracked(gpavatar::Camera::orbit(10.6, 2.0, 8.0));
    let avatar = Avatar::from_images(&model, &[picture])?;
    let atlas = Atlas::new(&model, [1, 1])?;
    Ok((avatar, atlas))
}

/// Shows the avatar when it is made.
fn take(making: Res<Making>, mut images: ResMut<Assets<Image>>, mut commands: Commands) -> Result {
    let Ok(made) = making.0.lock().unwrap().try_recv() else {
        return Ok(());
    };
    let (avatar, atlas) = made?;
    let side = atlas.tile_size();
    let size = Extent3d {
        width: side,
        height: side,
        depth_or_array_layers: 1,
    };
    // An avatar's colours are sRGB-encoded; bevy computes with linear light.
    let format = TextureFormat::Rgba8UnormSrgb;
    let usages = RenderAssetUsages::RENDER_WORLD;
    let image = Image::new_fill(size, TextureDimension::D2, &[0; 4], format, usages);
    let image = images.add(image);
    commands.spawn(Sprite {
        image: image.clone(),
        custom_size: Some(Vec2::splat(512.0)),
        ..default()
    });
    let atlas = Arc::new(atlas);
    commands.insert_resource(Face {
        avatar,
        atlas,
        image,
    });
    Ok(())
}

/// Renders the avatar when the pointer has moved. The work is submitted, not waited for.
fn draw(face: Option<Res<Face>>, window: Single<&Window>, mut last: Local<Option<Vec2>>) -> Result {
    let Some(face) = face else { return Ok(()) };
    let middle = window.size() / 2.0;
    let at = window.cursor_position().unwrap_or(middle);
    if last.replace(at) == Some(at) {
        return Ok(());
    }
    let turn = (at - middle) / middle;
    let camera = gpavatar::Camera::orbit(10.6, 15.0 * turn.y, -30.0 * turn.x);
    let options = RenderOptions {
        // As sprites are blended.
        background: Background::Straight,
        ..default()
    };
    let drive = Drive::neutral().camera(camera);
    face.atlas.render(&[(&face.avatar, &drive)], &options)?;
    Ok(())
}

/// Copies the avatar's texture to bevy's, on the device.
fn copy(
    face: Option<Res<Face>>,
    images: Res<RenderAssets<GpuImage>>,
    device: Res<RenderDevice>,
    queue: Res<RenderQueue>,
) {
    let Some(face) = face else { return };
    let Some(image) = images.get(&face.image) else {
        return;
    };
    let from = face.atlas.texture();
    let mut encoder = device.create_command_encoder(&default());
    encoder.copy_texture_to_texture(
        from.as_image_copy(),
        image.texture.as_image_copy(),
        from.size(),
    );
    queue.submit([encoder.finish()]);
}
