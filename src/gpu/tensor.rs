//! Buffers of numbers on the device.

use std::sync::{Arc, OnceLock};

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::Gpu;
use super::downloads::{self, Mapping};
use crate::{Error, Result};

/// How the numbers of a stage are kept on the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Storage {
    /// All in 32 bits.
    #[default]
    Full,
    /// The networks' weights as integers of 16 bits, in units of their output channel's largest, and
    /// the values of the radiance field's samples as halves. All else, which samples' places depend
    /// on more than on weights, in 32 bits.
    Mixed,
    /// As before, and maps, tri-planes and the radiance field's weights as halves: 11 bits of
    /// precision, up to 65,504.
    Half,
}

impl Storage {
    /// Of maps, planes and the radiance field's weights.
    pub(crate) fn maps(self) -> Format {
        match self {
            Self::Full | Self::Mixed => Format::F32,
            Self::Half => Format::F16,
        }
    }

    /// Of samples' values.
    pub(crate) fn values(self) -> Format {
        match self {
            Self::Full => Format::F32,
            Self::Mixed | Self::Half => Format::F16,
        }
    }
}

/// How floating-point numbers are kept on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// 32 bits.
    F32,
    /// 16 bits: 11 of precision, up to 65,504.
    F16,
}

#[cfg(test)]
impl From<Format> for Storage {
    /// The one with maps of this format and least else of 16 bits.
    fn from(maps: Format) -> Self {
        match maps {
            Format::F32 => Self::Full,
            Format::F16 => Self::Half,
        }
    }
}

impl Format {
    /// Bytes of so many numbers.
    pub(crate) fn bytes(self, elements: u64) -> u64 {
        match self {
            Self::F32 => 4 * elements,
            Self::F16 => 2 * elements,
        }
    }
}

/// A range of a buffer on the device. Cloning shares the buffer.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// A program's working memory is planned before it is there.
    pub(super) buffer: Arc<OnceLock<wgpu::Buffer>>,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// Buffers are bound and copied in whole vec4s.
const GRANULE: u64 = 16;

enum Contents<'a> {
    Undefined,
    /// NaN everywhere.
    Poison,
    Copy(&'a [u8]),
}

/// Bytes of a buffer for so many, if the device binds one of that size.
fn size(gpu: &Gpu, label: &str, bytes: u64) -> Result<u64> {
    let bytes = bytes.max(1).next_multiple_of(GRANULE);
    let limits = gpu.device().limits();
    let found = limits
        .max_storage_buffer_binding_size
        .min(limits.max_buffer_size);
    if bytes > found {
        return Err(Error::Limit {
            what: format!("the tensor {label}"),
            limit: "max_storage_buffer_binding_size",
            expected: bytes,
            found,
        });
    }
    Ok(bytes)
}

impl Tensor {
    const USAGE: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE
        .union(wgpu::BufferUsages::COPY_SRC)
        .union(wgpu::BufferUsages::COPY_DST);

    /// Uninitialised storage for `bytes` bytes.
    ///
    /// # Errors
    /// [`Error::Limit`] if the device binds no buffer of that size.
    pub(crate) fn empty(gpu: &Gpu, label: &str, bytes: u64) -> Result<Self> {
        let contents = if gpu.poison() {
            Contents::Poison
        } else {
            Contents::Undefined
        };
        Self::create(gpu, label, bytes, Self::USAGE, contents)
    }

    /// Storage holding a copy of `data`.
    ///
    /// # Errors
    /// See [`Tensor::empty`].
    pub(crate) fn from_slice<T: bytemuck::Pod>(gpu: &Gpu, label: &str, data: &[T]) -> Result<Self> {
        let data = bytemuck::cast_slice(data);
        Self::create(
            gpu,
            label,
            data.len() as u64,
            Self::USAGE,
            Contents::Copy(data),
        )
    }

    /// Storage holding `values` in a format. What is larger than the largest half becomes that
    /// one.
    ///
    /// # Errors
    /// See [`Tensor::empty`].
    pub(crate) fn stored(gpu: &Gpu, label: &str, values: &[f32], format: Format) -> Result<Self> {
        if format == Format::F32 {
            return Self::from_slice(gpu, label, values);
        }
        let largest = f16::MAX.to_f32();
        let values: Vec<f32> = values.iter().map(|v| v.clamp(-largest, largest)).collect();
        let mut halves = vec![f16::ZERO; values.len()];
        halves.convert_from_f32_slice(&values);
        Self::from_slice(gpu, label, &halves)
    }

    /// Storage holding a network's weights, which are in [-1, 1] unless they are stored in full.
    ///
    /// # Errors
    /// See [`Tensor::empty`].
    pub(crate) fn weights(
        gpu: &Gpu,
        label: &str,
        values: &[f32],
        storage: Storage,
    ) -> Result<Self> {
        if storage == Storage::Full {
            return Self::from_slice(gpu, label, values);
        }
        let largest = f32::from(i16::MAX);
        let integers: Vec<_> = (values.iter())
            .map(|value| (value * largest).round() as i16)
            .collect();
        Self::from_slice(gpu, label, &integers)
    }

    /// A uniform buffer holding a copy of `data`.
    ///
    /// # Errors
    /// See [`Tensor::empty`].
    pub(crate) fn uniform(gpu: &Gpu, label: &str, data: &[u8]) -> Result<Self> {
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
            let mut view = buffer
                .get_mapped_range_mut(..)
                .map_err(|error| Error::Gpu {
                    what: format!("uploading {label}"),
                    reason: error.to_string(),
                })?;
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
        })
    }

    /// What will be storage for `bytes` bytes.
    ///
    /// # Errors
    /// See [`Tensor::empty`].
    pub(super) fn planned(gpu: &Gpu, label: &str, bytes: u64) -> Result<Self> {
        Ok(Self {
            buffer: Arc::default(),
            offset: 0,
            bytes: size(gpu, label, bytes)?,
        })
    }

    /// Puts a planned tensor into a buffer.
    pub(super) fn place(&self, buffer: &wgpu::Buffer) {
        debug_assert!(buffer.size() >= self.bytes);
        self.buffer.get_or_init(|| buffer.clone());
    }

    /// Whether both are parts of the same, or will be.
    pub(super) fn shares(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.buffer, &other.buffer)
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

    /// The bytes `offset..offset + bytes`; `offset` is a multiple of 256.
    pub(crate) fn slice(&self, offset: u64, bytes: u64) -> Self {
        debug_assert!(offset.is_multiple_of(256) && offset + bytes <= self.bytes);
        Self {
            buffer: self.buffer.clone(),
            offset: self.offset + offset,
            bytes,
        }
    }

    pub(super) fn binding(&self) -> wgpu::BindingResource<'_> {
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: self.buffer(),
            offset: self.offset,
            size: wgpu::BufferSize::new(self.bytes),
        })
    }

    /// Records a copy of this tensor's bytes into the beginning of `target`.
    pub(crate) fn copy_to(&self, encoder: &mut wgpu::CommandEncoder, target: &Tensor) {
        let bytes = self.bytes.min(target.bytes);
        encoder.copy_buffer_to_buffer(
            self.buffer(),
            self.offset,
            target.buffer(),
            target.offset,
            bytes,
        );
    }

    /// Reads the tensor back as `T`, waiting for all work submitted before.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device failed.
    pub async fn read<T: bytemuck::Pod>(&self, gpu: &Gpu) -> Result<Vec<T>> {
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        let snapshot = self.snapshot(gpu, &mut encoder);
        let submission = gpu.queue().submit([encoder.finish()]);
        snapshot.read(gpu, &submission).await
    }

    /// Reads back the first `elements` numbers, which are kept in a format.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device failed.
    pub(crate) async fn read_stored(
        &self,
        gpu: &Gpu,
        format: Format,
        elements: usize,
    ) -> Result<Vec<f32>> {
        let mut values = match format {
            Format::F32 => self.read(gpu).await?,
            Format::F16 => self.read::<f16>(gpu).await?.to_f32_vec(),
        };
        values.truncate(elements);
        Ok(values)
    }

    /// Records a copy of what the tensor then holds, to be read after the submission.
    pub(crate) fn snapshot(&self, gpu: &Gpu, encoder: &mut wgpu::CommandEncoder) -> Snapshot {
        let staging = gpu.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some("read-back"),
            size: self.bytes,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        encoder.copy_buffer_to_buffer(self.buffer(), self.offset, &staging, 0, self.bytes);
        let mapping = Mapping::on_submit(encoder, &staging);
        Snapshot { staging, mapping }
    }
}

/// The copy of a tensor on its way to the host.
pub(crate) struct Snapshot {
    staging: wgpu::Buffer,
    mapping: Mapping,
}

impl Snapshot {
    /// # Errors
    /// [`Error::Gpu`] if the device failed.
    pub(crate) async fn read<T: bytemuck::Pod>(
        mut self,
        gpu: &Gpu,
        submission: &wgpu::SubmissionIndex,
    ) -> Result<Vec<T>> {
        self.mapping.done(gpu, submission).await?;
        Ok(bytemuck::pod_collect_to_vec(&downloads::view(
            &self.staging,
        )?))
    }
}
