//! Memory for the results of frames.

use std::sync::{Arc, Mutex};

use crate::error::{Error, Result};
use crate::gpu::{Bindings, Gpu, Program, Resource, Tensor, locked};

/// Memory for the results of one frame.
pub(crate) struct Slot {
    pub(crate) texture: wgpu::Texture,
    pub(crate) view: wgpu::TextureView,
    pub(crate) srgb_view: Option<wgpu::TextureView>,
    /// The low-resolution image and the picture, of frames that keep them.
    pub(crate) tensors: Option<Tensors>,
    pub(crate) depth: Tensor,
    pub(crate) surface: wgpu::Texture,
    pub(crate) surface_view: wgpu::TextureView,
    /// Two words: the number of the recording that all this is of, and whether one of its numbers is
    /// not finite.
    pub(crate) stamp: Tensor,
    /// The display's target.
    pub(crate) bindings: Bindings,
}

/// The low-resolution image and the picture in f32.
pub(crate) struct Tensors {
    pub(crate) low_res: Tensor,
    pub(crate) image: Tensor,
}

/// All slots. A slot is free if only the pool holds it.
#[derive(Default)]
pub(crate) struct SlotPool(Mutex<Vec<Arc<Slot>>>);

impl SlotPool {
    /// A free slot, with tensors or without, or a new one.
    pub(super) fn take(
        &self,
        tensors: bool,
        new: impl FnOnce() -> Result<Slot>,
    ) -> Result<Arc<Slot>> {
        let mut slots = locked(&self.0);
        let free = slots
            .iter()
            .find(|slot| Arc::strong_count(slot) == 1 && slot.tensors.is_some() == tensors);
        if let Some(slot) = free {
            return Ok(slot.clone());
        }
        let slot = Arc::new(new()?);
        slots.push(slot.clone());
        Ok(slot)
    }

    /// Gives up the free ones.
    pub(super) fn trim(&self) {
        locked(&self.0).retain(|slot| Arc::strong_count(slot) > 1);
    }
}

impl Slot {
    /// A slot for results of the workspace's sizes.
    pub(super) fn new(
        gpu: &Gpu,
        program: &Program,
        [image, low_res, depth, stamp]: [&Tensor; 4],
        tensors: bool,
    ) -> Result<Self> {
        let tensors = tensors.then(|| {
            Ok::<_, Error>(Tensors {
                low_res: low_res.twin(gpu, "low-resolution image")?,
                image: image.twin(gpu, "image")?,
            })
        });
        let usage = wgpu::TextureUsages::STORAGE_BINDING;
        let texture = gpu.picture("picture", [image.width(); 2], usage);
        let view = texture.create_view(&Default::default());
        let surface = gpu.depths("depth", [depth.width(), depth.height()]);
        let bindings = program.bind(gpu, &[("output", Resource::Texture(&view))]);
        Ok(Self {
            tensors: tensors.transpose()?,
            depth: depth.twin(gpu, "depth")?,
            surface_view: surface.create_view(&Default::default()),
            surface,
            stamp: stamp.twin(gpu, "stamp")?,
            srgb_view: gpu.srgb_view(&texture),
            texture,
            view,
            bindings,
        })
    }
}
