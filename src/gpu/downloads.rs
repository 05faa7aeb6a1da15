//! Staging memory for results on their way to the host.

use std::sync::{Arc, Mutex};

use futures_channel::oneshot;
use image::RgbaImage;

use super::{Gpu, locked};
use crate::{Error, Result};

const WHAT: &str = "reading back";

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
    pub(super) async fn done(
        &mut self,
        gpu: &Gpu,
        submission: &wgpu::SubmissionIndex,
    ) -> Result<()> {
        // Browsers poll by themselves; a native device has to be polled.
        gpu.wait_for(WHAT, submission)?;
        (&mut self.0)
            .await
            .map_err(|_| Error::gpu(WHAT, "the device dropped the request"))?
            .map_err(|error| Error::gpu(WHAT, error))
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

    /// Bytes between rows of a staging buffer.
    fn stride(&self) -> u32 {
        (4 * self.width).next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT)
    }

    /// Records a copy of the texture.
    pub(crate) fn record(
        &self,
        gpu: &Gpu,
        encoder: &mut wgpu::CommandEncoder,
        texture: &wgpu::Texture,
    ) -> Download {
        let staging = self.staging(gpu);
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
        Download {
            mapping: Mapping::on_submit(encoder, &staging),
            staging,
            downloads: self.clone(),
        }
    }

    /// Copies the texture to the host.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device failed.
    pub(crate) async fn read(&self, gpu: &Gpu, texture: &wgpu::Texture) -> Result<RgbaImage> {
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        let mut download = self.record(gpu, &mut encoder, texture);
        let submission = gpu.queue().submit([encoder.finish()]);
        download.done(gpu, &submission).await?;
        download.image()
    }

    fn staging(&self, gpu: &Gpu) -> wgpu::Buffer {
        let free = locked(&self.free).pop();
        free.unwrap_or_else(|| {
            gpu.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some("read-back"),
                size: u64::from(self.stride()) * u64::from(self.height),
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
    pub(crate) async fn done(
        &mut self,
        gpu: &Gpu,
        submission: &wgpu::SubmissionIndex,
    ) -> Result<()> {
        self.mapping.done(gpu, submission).await
    }

    /// The picture, once it has arrived.
    ///
    /// # Errors
    /// [`Error::Gpu`] if it has not.
    pub(crate) fn image(self) -> Result<RgbaImage> {
        let Downloads { width, height, .. } = self.downloads;
        let bytes = view(&self.staging)?;
        let rows = bytes.chunks_exact(self.downloads.stride() as usize);
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
        RgbaImage::from_raw(width, height, pixels)
            .ok_or_else(|| Error::gpu(WHAT, "the device returned too few bytes"))
    }
}
