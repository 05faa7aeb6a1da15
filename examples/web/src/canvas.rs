//! Pictures onto a canvas, without leaving the device.

use std::cell::Cell;

use gpavatar::wgpu;
use wasm_bindgen::prelude::*;
use web_sys::{HtmlCanvasElement, OffscreenCanvas};

use crate::Gpu;
use crate::error::{self, Result};

/// A canvas that shows pictures of a device. Its size becomes theirs.
#[wasm_bindgen]
pub struct Canvas {
    gpu: gpavatar::Gpu,
    surface: wgpu::Surface<'static>,
    /// The size that the canvas was set up for.
    size: Cell<Option<wgpu::Extent3d>>,
}

#[wasm_bindgen]
impl Canvas {
    /// Takes an `OffscreenCanvas` or a `<canvas>` without another context.
    #[wasm_bindgen(constructor)]
    pub fn new(gpu: &Gpu, canvas: JsValue) -> Result<Canvas> {
        let target = match canvas.dyn_into::<OffscreenCanvas>() {
            Ok(canvas) => wgpu::SurfaceTarget::OffscreenCanvas(canvas),
            Err(canvas) => match canvas.dyn_into::<HtmlCanvasElement>() {
                Ok(canvas) => wgpu::SurfaceTarget::Canvas(canvas),
                Err(_) => return Err(error::new("argument", "canvas: expected a canvas")),
            },
        };
        let surface = crate::instance()
            .create_surface(target)
            .map_err(|error| error::new("argument", &format!("canvas: {error}")))?;
        Ok(Self {
            gpu: gpu.0.clone(),
            surface,
            size: Cell::default(),
        })
    }
}

impl Canvas {
    /// Submits the copy of a picture.
    pub fn show(&self, picture: &wgpu::Texture) -> Result<()> {
        use wgpu::CurrentSurfaceTexture::{Suboptimal, Success};
        let size = picture.size();
        if self.size.get() != Some(size) {
            self.configure(size);
        }
        let (Success(target) | Suboptimal(target)) = self.surface.get_current_texture() else {
            let message = "the canvas has no texture to show a frame in";
            return Err(error::new("gpu", message));
        };
        let mut encoder = (self.gpu.device()).create_command_encoder(&Default::default());
        encoder.copy_texture_to_texture(
            picture.as_image_copy(),
            target.texture.as_image_copy(),
            size,
        );
        self.gpu.queue().submit([encoder.finish()]);
        self.gpu.queue().present(target);
        Ok(())
    }

    fn configure(&self, size: wgpu::Extent3d) {
        self.surface.configure(
            self.gpu.device(),
            &wgpu::SurfaceConfiguration {
                // The format of the pictures' textures, so that a copy is enough; every browser
                // offers both.
                format: wgpu::TextureFormat::Rgba8Unorm,
                usage: wgpu::TextureUsages::COPY_DST,
                width: size.width,
                height: size.height,
                present_mode: wgpu::PresentMode::Fifo,
                desired_maximum_frame_latency: 2,
                // Opaque frames are opaque all the same.
                alpha_mode: wgpu::CompositeAlphaMode::PreMultiplied,
                color_space: wgpu::SurfaceColorSpace::Auto,
                view_formats: Vec::new(),
            },
        );
        self.size.set(Some(size));
    }
}
