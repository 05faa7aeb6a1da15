//! Staging memory for inputs that change from recording to recording.

use std::sync::{Arc, Mutex};

use super::{Gpu, Tensor, locked};
use crate::{Error, Result};

/// Staging buffers of one size.
///
/// Every recording copies from its own buffer, which returns, mapped, when the device has executed
/// it. Any number of recordings may be pending and be submitted in any order. Nothing is allocated
/// once there are as many buffers as recordings in flight.
#[derive(Debug)]
pub(crate) struct Uploads {
    bytes: u64,
    /// Mapped buffers that no recording uses.
    free: Arc<Mutex<Vec<wgpu::Buffer>>>,
}

impl Uploads {
    /// Most free buffers to keep; hosts rarely have more frames in flight.
    const KEPT: usize = 8;

    pub(crate) fn new(bytes: u64) -> Self {
        Self {
            bytes,
            free: Arc::default(),
        }
    }

    /// Records the upload of `parts`, each `(data, target)`, through a buffer that is not kept.
    ///
    /// # Errors
    /// See [`Uploads::record`].
    pub(crate) fn once(
        gpu: &Gpu,
        encoder: &mut wgpu::CommandEncoder,
        parts: &[(&[u8], &Tensor)],
    ) -> Result<()> {
        let bytes: usize = parts.iter().map(|(data, _)| data.len()).sum();
        Self::new(bytes as u64).record(gpu, encoder, parts)
    }

    /// Records the upload of `parts`, each `(data, target)`.
    ///
    /// # Errors
    /// [`Error::Gpu`] if there is no memory to stage the data in.
    pub(crate) fn record(
        &self,
        gpu: &Gpu,
        encoder: &mut wgpu::CommandEncoder,
        parts: &[(&[u8], &Tensor)],
    ) -> Result<()> {
        let staging = self.mapped(gpu);
        let mapped = staging.get_mapped_range_mut(..);
        let mut view = mapped.map_err(|error| Error::gpu("staging an upload", error))?;
        let mut offset = 0;
        for (data, target) in parts {
            let mut part = view.slice(offset..offset + data.len());
            part.copy_from_slice(data);
            let bytes = data.len() as u64;
            encoder.copy_buffer_to_buffer(&staging, offset as u64, target.buffer(), 0, bytes);
            offset += data.len();
        }
        drop(view);
        staging.unmap();
        let (free, returned) = (self.free.clone(), staging.clone());
        encoder.map_buffer_on_submit(&staging, wgpu::MapMode::Write, .., move |result| {
            let mut free = locked(&free);
            if result.is_ok() && free.len() < Self::KEPT {
                free.push(returned);
            }
        });
        Ok(())
    }

    /// Gives up the free buffers.
    pub(crate) fn trim(&self) {
        locked(&self.free).clear();
    }

    fn mapped(&self, gpu: &Gpu) -> wgpu::Buffer {
        let free = locked(&self.free).pop();
        free.unwrap_or_else(|| {
            gpu.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some("upload"),
                size: self.bytes,
                usage: wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::MAP_WRITE,
                mapped_at_creation: true,
            })
        })
    }
}
