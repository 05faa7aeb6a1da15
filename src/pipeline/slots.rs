//! Memory for the results of frames.

use std::sync::{Arc, Mutex};

use crate::error::Result;
use crate::gpu::{Bindings, Gpu, Program, Resource, Tensor, locked};

/// Memory for the results of one frame.
pub(crate) struct Slot {
    pub(crate) texture: wgpu::Texture,
    pub(crate) view: wgpu::TextureView,
    pub(crate) srgb_view: Option<wgpu::TextureView>,
    pub(crate) image: Tensor,
    pub(crate) low_res: Tensor,
    pub(crate) depth: Tensor,
    /// Two words: the number of the recording that all this is of, and whether one of its numbers is
    /// not finite.
    pub(crate) stamp: Tensor,
    /// The display's target.
    pub(crate) bindings: Bindings,
}

/// All slots. A slot is free if only the pool holds it.
#[derive(Default)]
pub(crate) struct SlotPool(Mutex<Vec<Arc<Slot>>>);

impl SlotPool {
    pub(super) fn take(&self, new: impl FnOnce() -> Result<Slot>) -> Result<Arc<Slot>> {
        let mut slots = locked(&self.0);
        let free = slots.iter().find(|slot| Arc::strong_count(slot) == 1);
        if let Some(slot) = free {
            return Ok(slot.clone());
        }
        let slot = Arc::new(new()?);
        slots.push(slot.clone());
        Ok(slot)
    }
}

impl Slot {
    /// A slot for results of the workspace's sizes.
    pub(super) fn new(
        gpu: &Gpu,
        program: &Program,
        [image, low_res, depth, stamp]: [&Tensor; 4],
    ) -> Result<Self> {
        let usage = wgpu::TextureUsages::STORAGE_BINDING;
        let texture = gpu.picture("picture", [image.width(); 2], usage);
        let view = texture.create_view(&Default::default());
        let bindings = program.bind(gpu, &[("output", Resource::Texture(&view))]);
        Ok(Self {
            image: image.twin(gpu, "image")?,
            low_res: low_res.twin(gpu, "low-resolution image")?,
            depth: depth.twin(gpu, "depth")?,
            stamp: stamp.twin(gpu, "stamp")?,
            srgb_view: gpu.srgb_view(&texture),
            texture,
            view,
            bindings,
        })
    }
}
