//! Pictures onto a canvas, without leaving the device.

use gpavatar::{Frame, wgpu};
use wasm_bindgen::prelude::*;
use web_sys::{HtmlCanvasElement, OffscreenCanvas};

use crate::error::{self, Result};
use crate::{Gpu, Model};

/// A canvas that shows frames of a model. Its size becomes theirs.
#[wasm_bindgen]
pub struct Canvas {
    gpu: gpavatar::Gpu,
    surface: wgpu::Surface<'static>,
}

#[wasm_bindgen]
impl Canvas {
    /// Takes an `OffscreenCanvas` or a `<canvas>` without another context.
    #[wasm_bindgen(constructor)]
    pub fn new(gpu: &Gpu, model: &Model, canvas: JsValue) -> Result<Canvas> {
        let target = match canvas.dyn_into::<OffscreenCanvas>() {
            Ok(canvas) => wgpu::SurfaceTarget::OffscreenCanvas(canvas),
            Err(canvas) => match canvas.dyn_into::<HtmlCanvasElement>() {
                Ok(canvas) => wgpu::SurfaceTarget::Canvas(canvas),
                Err(_) => return Err(error::new("argument", "canvas: expected a canvas")),
            },
        };
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::BROWSER_WEBGPU;
        let surface = wgpu::Instance::new(descriptor)
            .create_surface(target)
            .map_err(|error| error::new("argument", &format!("canvas: {error}")))?;
        let size = model.0.config().output_size;
        surface.configure(
            gpu.0.device(),
            &wgpu::SurfaceConfiguration {
                // The format of the frames' textures, so that a copy is enough; every browser
                // offers both.
                format: wgpu::TextureFormat::Rgba8Unorm,
                usage: wgpu::TextureUsages::COPY_DST,
                width: size,
                height: size,
                present_mode: wgpu::PresentMode::Fifo,
                desired_maximum_frame_latency: 2,
                // Opaque frames are opaque all the same.
                alpha_mode: wgpu::CompositeAlphaMode::PreMultiplied,
                color_space: wgpu::SurfaceColorSpace::Auto,
                view_formats: Vec::new(),
            },
        );
        Ok(Self {
            gpu: gpu.0.clone(),
            surface,
        })
    }
}

impl Canvas {
    pub fn show(&self, frame: &Frame) -> Result<()> {
        use wgpu::CurrentSurfaceTexture::{Suboptimal, Success};
        let (Success(target) | Suboptimal(target)) = self.surface.get_current_texture() else {
            let message = "the canvas has no texture to show a frame in";
            return Err(error::new("gpu", message));
        };
        let mut encoder = (self.gpu.device()).create_command_encoder(&Default::default());
        encoder.copy_texture_to_texture(
            frame.texture().as_image_copy(),
            target.texture.as_image_copy(),
            frame.texture().size(),
        );
        self.gpu.queue().submit([encoder.finish()]);
        self.gpu.queue().present(target);
        Ok(())
    }
}
