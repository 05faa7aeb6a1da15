//! Staging memory for results on their way to the host.

use std::sync::{Arc, Mutex};

use futures_channel::oneshot;
use image::RgbaImage;

use super::{Gpu, Tensor, locked};
use crate::{Error, Result};

pub(super) const WHAT: &str = "reading back";

/// Signals that a staging buffer is mapped for reading, once its submission is done.
pub(crate) struct Mapping(oneshot::Receiver<Result<(), wgpu::BufferAsyncError>>);

impl Mapping {
    /// Requests that `staging` is mapped once the encoder's submission is done.
    pub(super) fn on_submit(encoder: &mut wgpu::CommandEncoder, staging: &wgpu::Buffer) -> Self {
        let (sender, receiver) = oneshot::channel();
        encoder.map_buffer_on_submit(staging, wgpu::MapMode::Read, .., move |result| {
            // The receiver is gone only if the result is not wanted any more.
            let _ = sender.send(result);
        });
        Self(receiver)
    }

    /// Completes when the buffer is mapped. It does not wait for work submitted later.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device failed.
    pub(super) async fn done(&mut self, gpu: &Gpu) -> Result<()> {
        let reason = match (&mut self.0).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => Error::gpu(WHAT, error),
            Err(_) => Error::gpu(WHAT, "the device dropped the request"),
        };
        // What the device says explains more.
        Err(gpu.looked_after(WHAT).err().unwrap_or(reason))
    }
}

/// A view of a buffer that has been mapped.
///
/// # Errors
/// [`Error::Gpu`] if the device failed.
pub(super) fn view(staging: &wgpu::Buffer) -> Result<wgpu::BufferView> {
    let view = staging.get_mapped_range(..);
    view.map_err(|error| Error::gpu(WHAT, error))
}

/// Staging buffers for pictures of one size. Cloning shares them.
///
/// A buffer returns when its picture has been read, so nothing is allocated once there are as many
/// buffers as pictures in flight.
#[derive(Clone)]
pub(crate) struct Downloads {
    width: u32,
    height: u32,
    free: Arc<Mutex<Vec<wgpu::Buffer>>>,
}

/// A picture on its way to the host.
pub(crate) struct Download {
    staging: wgpu::Buffer,
    mapping: Mapping,
    downloads: Downloads,
}

impl Downloads {
    /// Most free buffers to keep; hosts rarely have more pictures in flight.
    const KEPT: usize = 8;

    /// For `rgba8unorm` textures of this size.
    pub(crate) fn new(width: u32, height: u32) -> Self {
        Self {
            width,
            height,
            free: Arc::default(),
        }
    }

    /// Bytes of a tensor that a picture brings with it.
    const BESIDE: u64 = 16;

    /// Bytes of the rows in a staging buffer.
    fn pixel_bytes(&self) -> u64 {
        u64::from(self.stride()) * u64::from(self.height)
    }

    /// Bytes between rows of a staging buffer.
    fn stride(&self) -> u32 {
        (4 * self.width).next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT)
    }

    /// Records a copy of the texture, and of a tensor of [`Downloads::BESIDE`] bytes.
    ///
    /// # Errors
    /// [`Error::Limit`] if the device has no buffer of that size.
    pub(crate) fn record(
        &self,
        gpu: &Gpu,
        encoder: &mut wgpu::CommandEncoder,
        texture: &wgpu::Texture,
        beside: Option<&Tensor>,
    ) -> Result<Download> {
        let found = gpu.device().limits().max_buffer_size;
        let bytes = self.pixel_bytes() + Self::BESIDE;
        Error::within("reading a picture back", "max_buffer_size", bytes, found)?;
        let staging = self.staging(gpu);
        if let Some(tensor) = beside {
            let at = self.pixel_bytes();
            encoder.copy_buffer_to_buffer(tensor.buffer(), 0, &staging, at, Self::BESIDE);
        }
        encoder.copy_texture_to_buffer(
            texture.as_image_copy(),
            wgpu::TexelCopyBufferInfo {
                buffer: &staging,
                layout: wgpu::TexelCopyBufferLayout {
                    offset: 0,
                    bytes_per_row: Some(self.stride()),
                    rows_per_image: None,
                },
            },
            texture.size(),
        );
        Ok(Download {
            mapping: Mapping::on_submit(encoder, &staging),
            staging,
            downloads: self.clone(),
        })
    }

    /// Copies the texture and the words of a tensor to the host.
    ///
    /// # Errors
    /// [`Error::Limit`] if the device has no buffer of that size, [`Error::Gpu`] if it failed.
    pub(crate) async fn read(
        &self,
        gpu: &Gpu,
        texture: &wgpu::Texture,
        beside: Option<&Tensor>,
    ) -> Result<(RgbaImage, [u32; 4])> {
        let (downloads, texture, beside) = (self.clone(), texture.clone(), beside.cloned());
        let submitted = gpu.submitted(WHAT, move |gpu| {
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            let download = downloads.record(gpu, &mut encoder, &texture, beside.as_ref())?;
            Ok((download, gpu.queue().submit([encoder.finish()])))
        });
        let mut download = submitted.await?;
        download.done(gpu).await?;
        download.image()
    }

    /// Gives up the free buffers.
    pub(crate) fn trim(&self) {
        locked(&self.free).clear();
    }

    fn staging(&self, gpu: &Gpu) -> wgpu::Buffer {
        let free = locked(&self.free).pop();
        free.unwrap_or_else(|| {
            gpu.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some("read-back"),
                size: self.pixel_bytes() + Self::BESIDE,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        })
    }
}

impl Download {
    /// Completes when the picture has arrived. It does not wait for work submitted later.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device failed.
    pub(crate) async fn done(&mut self, gpu: &Gpu) -> Result<()> {
        self.mapping.done(gpu).await
    }

    /// The picture and the words of the tensor beside it, once they have arrived.
    ///
    /// # Errors
    /// [`Error::Gpu`] if they have not.
    pub(crate) fn image(self) -> Result<(RgbaImage, [u32; 4])> {
        let Downloads { width, height, .. } = self.downloads;
        let bytes = view(&self.staging)?;
        let (rows, beside) = bytes.split_at(self.downloads.pixel_bytes() as usize);
        let beside = bytemuck::pod_read_unaligned(beside);
        let rows = rows.chunks_exact(self.downloads.stride() as usize);
        let mut pixels = Vec::with_capacity(4 * width as usize * height as usize);
        for row in rows {
            pixels.extend_from_slice(&row[..4 * width as usize]);
        }
        drop(bytes);
        self.staging.unmap();
        let mut free = locked(&self.downloads.free);
        if free.len() < Downloads::KEPT {
            free.push(self.staging);
        }
        let picture = RgbaImage::from_raw(width, height, pixels);
        let picture = picture.ok_or_else(|| Error::gpu(WHAT, "the device returned too few bytes"));
        Ok((picture?, beside))
    }
}
