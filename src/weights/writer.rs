//! Writing safetensors files.
//!
//! The crate safetensors wants all tensors in memory at once; this writes one at a time.

use std::borrow::Cow;
use std::collections::BTreeMap;

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use serde_json::{Value, json};

use super::TensorFile;
use crate::error::{Error, Result};
#[cfg(not(target_arch = "wasm32"))]
use crate::file;

/// The type of floats in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FloatFormat {
    /// 32 bits: exact.
    #[default]
    F32,
    /// 16 bits, 11 of them significant: up to ±65504.
    F16,
    /// The upper 16 of 32 bits, 8 of them significant.
    Bf16,
}

impl FloatFormat {
    fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::BF16,
        }
    }

    /// The values as little-endian bytes.
    ///
    /// # Errors
    /// The first finite value that would become infinite.
    fn encode(self, values: &[f32]) -> Result<Vec<u8>, f32> {
        let narrow = |to_bits: fn(f32) -> (u16, bool)| {
            let mut bytes = Vec::with_capacity(2 * values.len());
            for &value in values {
                let (bits, finite) = to_bits(value);
                if value.is_finite() && !finite {
                    return Err(value);
                }
                bytes.extend(bits.to_le_bytes());
            }
            Ok(bytes)
        };
        match self {
            Self::F32 => Ok(values.iter().flat_map(|x| x.to_le_bytes()).collect()),
            Self::F16 => narrow(|x| {
                let x = f16::from_f32(x);
                (x.to_bits(), x.is_finite())
            }),
            Self::Bf16 => narrow(|x| {
                let x = bf16::from_f32(x);
                (x.to_bits(), x.is_finite())
            }),
        }
    }
}

/// An unfinished safetensors file.
///
/// Tensors are added one by one. Their values are asked for when the file is written, one tensor at
/// a time, so that a file needs no more memory than its largest tensor. The same tensors and metadata
/// always give the same bytes.
///
/// ```
/// use gpavatar::{FloatFormat, TensorFile, TensorWriter};
///
/// let mut writer = TensorWriter::new([("licence".into(), "CC0-1.0".into())].into());
/// writer.floats("planes", &[1, 2], FloatFormat::F16, || Ok(vec![0.5, 2.0].into()));
/// let file = TensorFile::from_bytes("example", writer.into_bytes()?)?;
/// assert_eq!(file.metadata()["licence"], "CC0-1.0");
/// assert_eq!(file.f32("planes")?, [0.5, 2.0].as_slice());
/// # Ok::<(), gpavatar::Error>(())
/// ```
pub struct TensorWriter<'a> {
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) tensors: BTreeMap<String, Entry<'a>>,
    progress: Box<dyn FnMut(usize, usize) + 'a>,
}

pub(super) struct Entry<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Box<dyn FnOnce() -> Result<Cow<'a, [u8]>> + 'a>,
}

impl<'a> TensorWriter<'a> {
    /// A file with `metadata` and no tensors.
    #[must_use]
    pub fn new(metadata: BTreeMap<String, String>) -> Self {
        Self {
            metadata,
            tensors: BTreeMap::new(),
            progress: Box::new(|_, _| {}),
        }
    }

    /// Calls `progress` after each tensor, with the bytes written and the bytes of all tensors.
    pub fn on_progress(&mut self, progress: impl FnMut(usize, usize) + 'a) {
        self.progress = Box::new(progress);
    }

    /// Adds a metadata entry, or replaces the one of that key.
    pub fn metadata(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.metadata.insert(key.into(), value.into());
    }

    /// Adds a tensor of floats, in place of an earlier one of that name. `values` gives its
    /// elements, row-major; an error from it, or a finite element too large for the format, ends
    /// the writing.
    pub fn floats(
        &mut self,
        name: impl Into<String>,
        shape: &[usize],
        format: FloatFormat,
        values: impl FnOnce() -> Result<Cow<'a, [f32]>> + 'a,
    ) {
        let name = name.into();
        let tensor = name.clone();
        let bytes = move || {
            let bytes = format.encode(&values()?).map_err(|value| {
                let kind = format.dtype();
                let expected = format_args!("values within the range of {kind}");
                Error::argument(format_args!("tensor {tensor}"), expected, value)
            })?;
            Ok(bytes.into())
        };
        self.add(name, format.dtype(), shape, bytes);
    }

    /// Adds a tensor of 32-bit integers, row-major, or replaces the one of that name.
    pub fn ints(&mut self, name: impl Into<String>, shape: &[usize], values: &[i32]) {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.add(name.into(), Dtype::I32, shape, || Ok(bytes.into()));
    }

    /// Adds a tensor of bytes, row-major, or replaces the one of that name.
    pub fn bytes(&mut self, name: impl Into<String>, shape: &[usize], values: &[u8]) {
        let bytes = values.to_vec();
        self.add(name.into(), Dtype::U8, shape, || Ok(bytes.into()));
    }

    /// Copies tensor `name` of another file.
    ///
    /// # Errors
    /// [`Error::Tensors`] if the tensor is missing.
    pub fn copy(&mut self, file: &'a TensorFile, name: &str) -> Result<()> {
        let (info, bytes) = file.tensor(name)?;
        self.add(name.into(), info.dtype, &info.shape, || Ok(bytes.into()));
        Ok(())
    }

    /// Drops the tensors whose names `keep` refuses.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.tensors.retain(|name, _| keep(name));
    }

    /// The whole file in memory.
    ///
    /// # Errors
    /// An error from a tensor's values; [`Error::Argument`] if their number differs from the
    /// tensor's shape or one is too large for its format.
    pub fn into_bytes(self) -> Result<Vec<u8>> {
        let mut file = Vec::new();
        self.encode(|bytes| {
            file.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(file)
    }

    /// Writes the file at `path`, in place of one that is there. It is written beside its place
    /// and moved when complete: whatever fails, an earlier file stays as it was.
    ///
    /// # Errors
    /// [`Error::Io`]; and see [`into_bytes`](Self::into_bytes).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn write(self, path: impl AsRef<std::path::Path>) -> Result<()> {
        file::replace(path.as_ref(), |write| self.encode(write))
    }

    fn add(
        &mut self,
        name: String,
        dtype: Dtype,
        shape: &[usize],
        bytes: impl FnOnce() -> Result<Cow<'a, [u8]>> + 'a,
    ) {
        let entry = Entry {
            dtype,
            shape: shape.to_vec(),
            bytes: Box::new(bytes),
        };
        self.tensors.insert(name, entry);
    }

    fn encode(mut self, mut write: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        // Wide elements first: then all are aligned, whatever the sizes of the narrow ones.
        let mut tensors: Vec<(String, Entry)> = self.tensors.into_iter().collect();
        tensors.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.dtype));

        let mut header = BTreeMap::from([("__metadata__", json!(self.metadata))]);
        let mut sizes = Vec::with_capacity(tensors.len());
        let mut end = 0usize;
        for (name, entry) in &tensors {
            let start = end;
            let after = entry.size().and_then(|size| start.checked_add(size));
            end = after.ok_or_else(|| {
                let what = format_args!("shape of tensor {name}");
                let expected = "a size in bytes that fits the address space";
                Error::argument(what, expected, format_args!("{:?}", entry.shape))
            })?;
            sizes.push(end - start);
            header.insert(name, entry.describe((start, end)));
        }
        let mut header = json!(header).to_string();
        header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));

        write(&(header.len() as u64).to_le_bytes())?;
        write(header.as_bytes())?;
        let mut written = 0;
        for ((name, entry), size) in tensors.into_iter().zip(sizes) {
            let bytes = (entry.bytes)()?;
            let expected = format_args!("{size} bytes, for shape {:?}", entry.shape);
            let what = format_args!("values of tensor {name}");
            Error::unless(bytes.len() == size, what, expected, bytes.len())?;
            write(&bytes)?;
            written += size;
            (self.progress)(written, end);
        }
        Ok(())
    }
}

impl Entry<'_> {
    fn size(&self) -> Option<usize> {
        let mut factors = self.shape.iter().copied().chain([self.dtype.bitsize()]);
        let bits = factors.try_fold(1usize, usize::checked_mul);
        Some(bits? / 8)
    }

    fn describe(&self, data_offsets: (usize, usize)) -> Value {
        json!(TensorInfo {
            dtype: self.dtype,
            shape: self.shape.clone(),
            data_offsets,
        })
    }
}

#[cfg(test)]
mod tests;
