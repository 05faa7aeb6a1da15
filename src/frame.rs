//! The result of rendering.

use std::sync::{Arc, Mutex, PoisonError};

use crate::gpu::{Bindings, Resource, Tensor};
use crate::model::Renderer;
use crate::{Gpu, Model, Result};

/// A rendered picture on the device, with what was rendered on the way.
///
/// Its memory goes back to the model when it is dropped, for a later frame to be rendered into;
/// frames that are kept keep theirs.
pub struct Frame {
    model: Model,
    slot: Arc<FrameSlot>,
}

/// Memory for the results of one frame.
pub(crate) struct FrameSlot {
    pub(crate) texture: wgpu::Texture,
    view: wgpu::TextureView,
    image: Tensor,
    low_res: Tensor,
    depth: Tensor,
    /// The display's target.
    pub(crate) bindings: Bindings,
}

/// All slots there are, of which those are free that nothing but the pool holds.
#[derive(Default)]
pub(crate) struct FramePool(Mutex<Vec<Arc<FrameSlot>>>);

impl FramePool {
    pub(crate) fn take(&self, new: impl FnOnce() -> Result<FrameSlot>) -> Result<Arc<FrameSlot>> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let free = slots.iter().find(|slot| Arc::strong_count(slot) == 1);
        if let Some(slot) = free {
            return Ok(slot.clone());
        }
        let slot = Arc::new(new()?);
        slots.push(slot.clone());
        Ok(slot)
    }
}

impl FrameSlot {
    pub(crate) fn new(gpu: &Gpu, renderer: &Renderer) -> Result<Self> {
        let size = renderer.image.size;
        let texture = gpu.device().create_texture(&wgpu::TextureDescriptor {
            label: Some("picture"),
            size: wgpu::Extent3d {
                width: size,
                height: size,
                depth_or_array_layers: 1,
            },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba8Unorm,
            usage: wgpu::TextureUsages::STORAGE_BINDING
                | wgpu::TextureUsages::TEXTURE_BINDING
                | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        });
        let view = texture.create_view(&Default::default());
        let bindings = renderer
            .program
            .bind(gpu, &[("output", Resource::Texture(&view))]);
        let twin = |label: &str, of: &Tensor| Tensor::empty(gpu, label, of.bytes());
        Ok(Self {
            image: twin("image", &renderer.image.tensor)?,
            low_res: twin("low-resolution image", &renderer.low_res.tensor)?,
            depth: twin("depth", &renderer.depth)?,
            texture,
            view,
            bindings,
        })
    }

    /// Records what keeps the results when the working memory is used again.
    pub(crate) fn keep(&self, encoder: &mut wgpu::CommandEncoder, renderer: &Renderer) {
        renderer.image.tensor.copy_to(encoder, &self.image);
        renderer.low_res.tensor.copy_to(encoder, &self.low_res);
        renderer.depth.copy_to(encoder, &self.depth);
    }
}

impl Frame {
    pub(crate) fn new(model: &Model, slot: Arc<FrameSlot>) -> Self {
        Self {
            model: model.clone(),
            slot,
        }
    }

    /// Width and height in pixels.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.slot.texture.width()
    }

    /// The picture as an `rgba8unorm` texture, sRGB-encoded as the network was trained, row 0 on
    /// top.
    #[must_use]
    pub fn texture(&self) -> &wgpu::Texture {
        &self.slot.texture
    }

    /// A view of [`Frame::texture`], to draw with.
    #[must_use]
    pub fn view(&self) -> &wgpu::TextureView {
        &self.slot.view
    }

    /// The picture before it is clamped and rounded, on the device: `[y][x]` of red, green, blue
    /// and an unused element.
    #[must_use]
    pub fn image_tensor(&self) -> &Tensor {
        &self.slot.image
    }

    /// The radiance field's image on the device: `[y][x][channel]`, channels padded to a multiple
    /// of four; the first three are red, green and blue.
    #[must_use]
    pub fn low_res_tensor(&self) -> &Tensor {
        &self.slot.low_res
    }

    /// Waits for the picture and copies it to the host.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::Gpu) if the device failed.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn to_image(&self) -> Result<image::RgbaImage> {
        pollster::block_on(self.read())
    }

    /// Copies the picture to the host.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::Gpu) if the device failed.
    pub async fn read(&self) -> Result<image::RgbaImage> {
        let downloads = &self.model.renderer().downloads;
        downloads.read(self.model.gpu(), self.texture()).await
    }

    /// Copies the depth picture to the host: `[y][x]` at the low resolution, from 0 (nearest) to 1
    /// (farthest) over the image.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::Gpu) if the device failed.
    pub async fn depth(&self) -> Result<Vec<f32>> {
        let mut depth: Vec<f32> = self.slot.depth.read(self.model.gpu()).await?;
        let side = self.model.config().low_res_size as usize;
        depth.truncate(side * side);
        Ok(depth)
    }

    /// Copies the low-resolution image to the host: `[y][x][channel]`, channels as configured.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::Gpu) if the device failed.
    pub async fn low_res(&self) -> Result<Vec<f32>> {
        // Configured channels are a multiple of four: nothing is padded.
        self.slot.low_res.read(self.model.gpu()).await
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame")
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}
