//! Buffers of numbers on the device.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::Gpu;
use super::downloads::{self, Mapping};
use crate::error::{Error, Result};
use crate::options::Format;

/// A range of a device buffer, with a format and a shape. Cloning shares the buffer.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Empty until a program's workspace is allocated.
    buffer: Arc<OnceLock<wgpu::Buffer>>,
    offset: u64,
    bytes: u64,
    format: Format,
    pub(crate) shape: [u32; 3],
}

/// Buffers are bound and copied in whole vec4s.
const GRANULE: u64 = 16;

enum Contents<'a> {
    Undefined,
    /// NaN everywhere.
    Poison,
    Copy(&'a [u8]),
}

/// Rounds a size up to whole vec4s and checks it against the device's limits.
fn size(gpu: &Gpu, label: &str, bytes: u64) -> Result<u64> {
    let bytes = bytes.max(1).next_multiple_of(GRANULE);
    let limits = gpu.device().limits();
    let found = limits
        .max_storage_buffer_binding_size
        .min(limits.max_buffer_size);
    let what = format_args!("the tensor {label}");
    Error::within(what, "max_storage_buffer_binding_size", bytes, found)?;
    Ok(bytes)
}

/// Elements of a pixel in memory: more than one channel is padded to whole vec4s.
fn stride(channels: u32) -> u32 {
    match channels {
        1 => 1,
        _ => channels.next_multiple_of(4),
    }
}

fn elements([height, width, channels]: [u32; 3]) -> u64 {
    u64::from(height) * u64::from(width) * u64::from(stride(channels))
}

/// The elements of each pixel without padding, from memory that has so many `units` for an element.
fn pixels<T>(
    memory: &[T],
    [height, width, channels]: [u32; 3],
    units: usize,
) -> impl Iterator<Item = &[T]> {
    let stride = units * stride(channels) as usize;
    let pixels = memory.chunks_exact(stride);
    let pixels = pixels.take(height as usize * width as usize);
    pixels.map(move |pixel| &pixel[..units * channels as usize])
}

impl Tensor {
    const USAGE: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE
        .union(wgpu::BufferUsages::COPY_SRC)
        .union(wgpu::BufferUsages::COPY_DST);

    /// Uninitialised storage.
    ///
    /// # Errors
    /// [`Error::Limit`] if the device binds no buffer of that size.
    pub(crate) fn empty(gpu: &Gpu, label: &str, format: Format, shape: [u32; 3]) -> Result<Self> {
        let contents = if gpu.poison() {
            Contents::Poison
        } else {
            Contents::Undefined
        };
        let bytes = format.bytes(elements(shape));
        let tensor = Self::create(gpu, label, bytes, Self::USAGE, contents)?;
        Ok(Self {
            format,
            shape,
            ..tensor
        })
    }

    /// Storage holding a copy of `data`.
    ///
    /// # Errors
    /// See [`Tensor::empty`].
    pub(crate) fn from_slice<T: bytemuck::Pod>(gpu: &Gpu, label: &str, data: &[T]) -> Result<Self> {
        let data = bytemuck::cast_slice(data);
        let contents = Contents::Copy(data);
        Self::create(gpu, label, data.len() as u64, Self::USAGE, contents)
    }

    /// Storage holding `values` in a format, clamped to its range.
    ///
    /// # Errors
    /// See [`Tensor::empty`].
    pub(crate) fn from_values(
        gpu: &Gpu,
        label: &str,
        format: Format,
        values: &[f32],
    ) -> Result<Self> {
        let tensor = match format {
            Format::F32 => Self::from_slice(gpu, label, values),
            Format::F16 => {
                let largest = f16::MAX.to_f32();
                let values: Vec<f32> = values.iter().map(|v| v.clamp(-largest, largest)).collect();
                let mut halves = vec![f16::ZERO; values.len()];
                halves.convert_from_f32_slice(&values);
                Self::from_slice(gpu, label, &halves)
            }
            Format::Snorm16 => {
                // Conversions to integers saturate.
                let integer = |value: &f32| (value * f32::from(i16::MAX)).round() as i16;
                let integers: Vec<_> = values.iter().map(integer).collect();
                Self::from_slice(gpu, label, &integers)
            }
        };
        let shape = [1, values.len() as u32, 1];
        Ok(Self {
            format,
            shape,
            ..tensor?
        })
    }

    /// A uniform buffer holding a copy of `data`.
    ///
    /// # Errors
    /// See [`Tensor::empty`].
    pub(crate) fn uniform<T: bytemuck::Pod>(gpu: &Gpu, label: &str, data: &[T]) -> Result<Self> {
        let data = bytemuck::cast_slice(data);
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        Self::create(gpu, label, data.len() as u64, usage, Contents::Copy(data))
    }

    fn create(
        gpu: &Gpu,
        label: &str,
        bytes: u64,
        usage: wgpu::BufferUsages,
        contents: Contents<'_>,
    ) -> Result<Self> {
        let bytes = size(gpu, label, bytes)?;
        let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes,
            usage,
            mapped_at_creation: !matches!(contents, Contents::Undefined),
        });
        if !matches!(contents, Contents::Undefined) {
            let mapped = buffer.get_mapped_range_mut(..);
            let failed = |error| Error::gpu(&format!("uploading {label}"), error);
            let mut view = mapped.map_err(failed)?;
            match contents {
                Contents::Copy(data) => view.slice(..data.len()).copy_from_slice(data),
                _ => view.slice(..).fill(0xff),
            }
            drop(view);
            buffer.unmap();
        }
        Ok(Self {
            buffer: Arc::new(buffer.into()),
            offset: 0,
            bytes,
            format: Format::F32,
            shape: [1, (bytes / 4) as u32, 1],
        })
    }

    /// Storage in a buffer that is [placed](Self::place) later.
    ///
    /// # Errors
    /// See [`Tensor::empty`].
    pub(super) fn planned(gpu: &Gpu, label: &str, format: Format, shape: [u32; 3]) -> Result<Self> {
        Ok(Self {
            buffer: Arc::default(),
            offset: 0,
            bytes: size(gpu, label, format.bytes(elements(shape)))?,
            format,
            shape,
        })
    }

    /// Puts a planned tensor into a buffer.
    pub(super) fn place(&self, buffer: &wgpu::Buffer) {
        debug_assert!(buffer.size() >= self.bytes);
        self.buffer.get_or_init(|| buffer.clone());
    }

    /// Whether both share a buffer, or will.
    pub(super) fn shares(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.buffer, &other.buffer)
    }

    /// Height, width and channels of `[y][x][channel]`. In memory, more than one channel is padded
    /// to a multiple of four.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        self.shape.map(|size| size as usize)
    }

    /// The same elements in another shape.
    pub(crate) fn shaped(self, shape: [u32; 3]) -> Self {
        debug_assert!(self.format.bytes(elements(shape)) <= self.bytes);
        Self { shape, ..self }
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    pub(crate) fn height(&self) -> u32 {
        self.shape[0]
    }

    pub(crate) fn width(&self) -> u32 {
        self.shape[1]
    }

    pub(crate) fn channels(&self) -> u32 {
        self.shape[2]
    }

    /// Elements in memory.
    pub(crate) fn elements(&self) -> u64 {
        elements(self.shape)
    }

    /// Size in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The wgpu buffer.
    #[must_use]
    pub fn buffer(&self) -> &wgpu::Buffer {
        (self.buffer.get()).expect("programs are finished before their memory is used")
    }

    /// A byte range of a uniform buffer.
    pub(super) fn part(&self, offset: u64, bytes: u64) -> Self {
        Self {
            offset,
            bytes,
            ..self.clone()
        }
    }

    /// A range of rows. The first begins at a multiple of 256 bytes.
    pub(crate) fn rows(&self, rows: Range<u32>) -> Self {
        let [height, width, channels] = self.shape;
        debug_assert!(rows.end <= height);
        let bytes = |rows| self.format.bytes(elements([rows, width, channels]));
        debug_assert!(bytes(rows.start).is_multiple_of(256));
        Self {
            buffer: self.buffer.clone(),
            offset: self.offset + bytes(rows.start),
            bytes: bytes(rows.len() as u32).next_multiple_of(GRANULE),
            format: self.format,
            shape: [rows.len() as u32, width, channels],
        }
    }

    pub(super) fn binding(&self) -> wgpu::BindingResource<'_> {
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: self.buffer(),
            offset: self.offset,
            size: wgpu::BufferSize::new(self.bytes),
        })
    }

    /// Uninitialised storage of the same shape and format.
    ///
    /// # Errors
    /// See [`Tensor::empty`].
    pub(crate) fn twin(&self, gpu: &Gpu, label: &str) -> Result<Self> {
        Self::empty(gpu, label, self.format, self.shape)
    }

    /// Records a copy of this tensor's bytes into the beginning of `target`.
    pub(crate) fn copy_to(&self, encoder: &mut wgpu::CommandEncoder, target: &Tensor) {
        let bytes = self.bytes.min(target.bytes);
        let (from, to) = (self.buffer(), target.buffer());
        encoder.copy_buffer_to_buffer(from, self.offset, to, target.offset, bytes);
    }

    /// Reads the values back as `[y][x][channel]` without padding, after all work submitted before.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device failed.
    pub async fn read(&self, gpu: &Gpu) -> Result<Vec<f32>> {
        let [snapshot] = Snapshot::take(gpu, [self]).await?;
        snapshot.read(gpu).await
    }

    /// Reads the memory back as `T`, after all work submitted before.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device failed.
    pub async fn read_as<T: bytemuck::Pod>(&self, gpu: &Gpu) -> Result<Vec<T>> {
        let [snapshot] = Snapshot::take(gpu, [self]).await?;
        snapshot.read_as(gpu).await
    }

    /// Records a copy of the tensor's memory into a buffer, from byte `at` on.
    #[cfg(feature = "track")]
    pub(super) fn copy_into(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        buffer: &wgpu::Buffer,
        at: u64,
    ) {
        encoder.copy_buffer_to_buffer(self.buffer(), self.offset, buffer, at, self.bytes);
    }

    /// Writes the elements, from the tensor's whole memory, into `values`.
    #[cfg(feature = "track")]
    pub(crate) fn unpad(&self, memory: &[u8], values: &mut Vec<f32>) {
        // The memory may lie anywhere.
        let number = |bytes: &[u8]| bytemuck::pod_read_unaligned::<f32>(bytes);
        let pixels = pixels(memory, self.shape, size_of::<f32>());
        let numbers = pixels.flat_map(|pixel| pixel.chunks_exact(size_of::<f32>()).map(number));
        values.clear();
        values.extend(numbers);
    }

    /// Records a copy of `[y][x]`, whose rows are whole [`wgpu::COPY_BYTES_PER_ROW_ALIGNMENT`], into an
    /// `r32float` texture.
    pub(crate) fn copy_to_texture(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        texture: &wgpu::Texture,
    ) {
        encoder.copy_buffer_to_texture(
            wgpu::TexelCopyBufferInfo {
                buffer: self.buffer(),
                layout: wgpu::TexelCopyBufferLayout {
                    offset: self.offset,
                    bytes_per_row: Some(4 * self.width()),
                    rows_per_image: None,
                },
            },
            texture.as_image_copy(),
            texture.size(),
        );
    }

    /// Records a copy of the tensor, to be read after the submission.
    pub(crate) fn snapshot(&self, gpu: &Gpu, encoder: &mut wgpu::CommandEncoder) -> Snapshot {
        let staging = gpu.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some("read-back"),
            size: self.bytes,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        encoder.copy_buffer_to_buffer(self.buffer(), self.offset, &staging, 0, self.bytes);
        Snapshot {
            mapping: Mapping::on_submit(encoder, &staging),
            staging,
            format: self.format,
            shape: self.shape,
        }
    }
}

/// The copy of a tensor on its way to the host.
pub(crate) struct Snapshot {
    staging: wgpu::Buffer,
    mapping: Mapping,
    format: Format,
    shape: [u32; 3],
}

impl Snapshot {
    /// Submits copies of tensors.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device failed.
    pub(crate) fn take<const N: usize>(
        gpu: &Gpu,
        tensors: [&Tensor; N],
    ) -> impl Future<Output = Result<[Self; N]>> + use<N> {
        let tensors = tensors.map(Tensor::clone);
        gpu.submitted(downloads::WHAT, move |gpu| {
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            let snapshots = tensors.map(|tensor| tensor.snapshot(gpu, &mut encoder));
            Ok((snapshots, gpu.queue().submit([encoder.finish()])))
        })
    }

    /// The values as `[y][x][channel]` without padding.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device failed.
    pub(crate) async fn read(self, gpu: &Gpu) -> Result<Vec<f32>> {
        let (format, shape) = (self.format, self.shape);
        let mut values: Vec<f32> = match format {
            Format::F32 => self.read_as(gpu).await?,
            Format::F16 => self.read_as::<f16>(gpu).await?.to_f32_vec(),
            Format::Snorm16 => {
                let integers: Vec<i16> = self.read_as(gpu).await?;
                let value = |integer: i16| f32::from(integer) / f32::from(i16::MAX);
                integers.into_iter().map(value).collect()
            }
        };
        // Without padding they are as they have to be.
        if stride(shape[2]) == shape[2] {
            values.truncate(elements(shape) as usize);
            return Ok(values);
        }
        Ok(pixels(&values, shape, 1).flatten().copied().collect())
    }

    /// # Errors
    /// [`Error::Gpu`] if the device failed.
    pub(crate) async fn read_as<T: bytemuck::Pod>(mut self, gpu: &Gpu) -> Result<Vec<T>> {
        self.mapping.done(gpu).await?;
        let view = downloads::view(&self.staging)?;
        Ok(bytemuck::pod_collect_to_vec(&view))
    }
}
