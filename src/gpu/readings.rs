//! Staging memory for numbers on their way to the host.

use std::sync::Mutex;

use super::downloads::{self, Mapping};
use super::{Gpu, Tensor, locked};
use crate::Result;
use crate::options::Format;

/// Staging buffers for the same tensors of `f32`, read again and again.
///
/// A buffer returns when it has been read, so nothing is allocated on the device once there are as
/// many buffers as readings in flight.
pub(crate) struct Readings {
    tensors: Vec<Tensor>,
    free: Mutex<Vec<wgpu::Buffer>>,
}

/// Tensors on their way to the host.
pub(crate) struct Reading<'r> {
    staging: wgpu::Buffer,
    mapping: Mapping,
    readings: &'r Readings,
}

impl Readings {
    /// Most free buffers to keep.
    const KEPT: usize = 4;

    pub(crate) fn new(tensors: Vec<Tensor>) -> Self {
        debug_assert!(tensors.iter().all(|tensor| tensor.format() == Format::F32));
        Self {
            tensors,
            free: Mutex::default(),
        }
    }

    /// Records copies of the tensors.
    pub(crate) fn record(&self, gpu: &Gpu, encoder: &mut wgpu::CommandEncoder) -> Reading<'_> {
        let free = locked(&self.free).pop();
        let staging = free.unwrap_or_else(|| {
            gpu.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some("read-back"),
                size: self.tensors.iter().map(Tensor::bytes).sum(),
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        });
        let mut at = 0;
        for tensor in &self.tensors {
            let bytes = tensor.bytes();
            tensor.copy_into(encoder, &staging, at);
            at += bytes;
        }
        Reading {
            mapping: Mapping::on_submit(encoder, &staging),
            staging,
            readings: self,
        }
    }
}

impl Reading<'_> {
    /// Shows the memory of each tensor, by its index, once it has arrived: see [`Tensor::unpad`].
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device failed.
    pub(crate) async fn read(
        mut self,
        gpu: &Gpu,
        mut show: impl FnMut(usize, &Tensor, &[u8]),
    ) -> Result<()> {
        self.mapping.done(gpu).await?;
        let bytes = downloads::view(&self.staging)?;
        let mut rest = &bytes[..];
        for (index, tensor) in self.readings.tensors.iter().enumerate() {
            let (memory, others) = rest.split_at(tensor.bytes() as usize);
            show(index, tensor, memory);
            rest = others;
        }
        drop(bytes);
        self.staging.unmap();
        let mut free = locked(&self.readings.free);
        if free.len() < Readings::KEPT {
            free.push(self.staging);
        }
        Ok(())
    }
}
