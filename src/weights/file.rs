//! Reading safetensors files.
//!
//! The crate safetensors parses and checks the header; decoding elements is left to its users.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::{fmt, iter};

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::error::{Error, Result};
use crate::sniff::{self, Kind};

const FORMAT: &str = "safetensors file";
const FLOATS: &str = "F16, BF16, F32 or F64";
const INTEGERS: &str = "U8, I32, U32 or I64";

/// A safetensors file: named tensors and a map of strings.
///
/// The whole file is read and its header checked when it is opened; its elements are decoded on
/// demand. What happens to the file afterwards makes no difference.
pub struct TensorFile {
    what: String,
    bytes: Box<dyn AsRef<[u8]> + Send + Sync>,
    data_start: usize,
    tensors: BTreeMap<String, TensorInfo>,
    metadata: BTreeMap<String, String>,
}

impl TensorFile {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read or is no regular file, [`Error::Format`] if it is not a complete
    /// safetensors file.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::from_bytes(path.display().to_string(), crate::file::read(path)?)
    }

    /// Takes the content of a file; `what` names it in error messages.
    ///
    /// # Errors
    /// [`Error::Format`] if it is not a complete safetensors file.
    pub fn from_bytes(what: impl Into<String>, bytes: Vec<u8>) -> Result<Self> {
        Self::parse(what.into(), Box::new(bytes))
    }

    pub(crate) fn parse(what: String, bytes: Box<dyn AsRef<[u8]> + Send + Sync>) -> Result<Self> {
        let (header, data) = split((*bytes).as_ref())
            .map_err(|reason| Error::format(what.as_str(), FORMAT, reason))?;
        let data_start = (*bytes).as_ref().len() - data.len();
        let tensors = header.tensors().into_iter();
        let metadata = header.metadata().clone().unwrap_or_default();
        Ok(Self {
            what,
            bytes,
            data_start,
            tensors: tensors.map(|(name, info)| (name, info.clone())).collect(),
            metadata: metadata.into_iter().collect(),
        })
    }

    /// The file's path, or its name in error messages.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The strings stored beside the tensors: licence, origin, configuration, …
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Names of all tensors, sorted.
    pub fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// True if there is a tensor `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Dimensions of tensor `name`, outermost first.
    ///
    /// # Errors
    /// [`Error::Tensors`] if there is no such tensor.
    pub fn shape(&self, name: &str) -> Result<&[usize]> {
        Ok(&self.tensor(name)?.0.shape)
    }

    /// Dimensions of tensor `name`, which has to be of this shape; `None` stands for any size.
    ///
    /// # Errors
    /// [`Error::Tensors`] if the tensor is missing or has another shape.
    pub(crate) fn expect_shape<const N: usize>(
        &self,
        name: &str,
        expected: [Option<usize>; N],
    ) -> Result<[usize; N]> {
        let found = self.tensors.get(name).map(|info| info.shape.as_slice());
        expect_shape(name, found, expected).map_err(|problem| self.problem(problem))
    }

    /// Values of tensor `name`, row-major: 16-bit floats are widened, 64-bit ones rounded, and
    /// 32-bit ones borrowed from the file where they are aligned, as in the files of
    /// [`TensorWriter`].
    ///
    /// [`TensorWriter`]: crate::TensorWriter
    ///
    /// # Errors
    /// [`Error::Tensors`] if the tensor is missing or its elements are not floats.
    pub fn f32(&self, name: &str) -> Result<Cow<'_, [f32]>> {
        let (info, bytes) = self.tensor(name)?;
        match info.dtype {
            Dtype::F16 => Ok(decode(bytes, |b| f16::from_le_bytes(b).to_f32()).into()),
            Dtype::BF16 => Ok(decode(bytes, |b| bf16::from_le_bytes(b).to_f32()).into()),
            Dtype::F32 => Ok(borrow_or_decode(bytes, f32::from_le_bytes)),
            Dtype::F64 => Ok(decode(bytes, |b| f64::from_le_bytes(b) as f32).into()),
            other => Err(self.problem(wrong_type(name, FLOATS, other))),
        }
    }

    /// Values of tensor `name`, row-major, widened to 64 bits.
    ///
    /// # Errors
    /// [`Error::Tensors`] if the tensor is missing or its elements are not of type U8, I32, U32 or
    /// I64.
    pub fn i64(&self, name: &str) -> Result<Cow<'_, [i64]>> {
        let (info, bytes) = self.tensor(name)?;
        match info.dtype {
            Dtype::U8 => Ok(decode(bytes, |[b]| b.into()).into()),
            Dtype::I32 => Ok(decode(bytes, |b| i32::from_le_bytes(b).into()).into()),
            Dtype::U32 => Ok(decode(bytes, |b| u32::from_le_bytes(b).into()).into()),
            Dtype::I64 => Ok(borrow_or_decode(bytes, i64::from_le_bytes)),
            other => Err(self.problem(wrong_type(name, INTEGERS, other))),
        }
    }

    /// Values of tensor `name`, row-major.
    ///
    /// # Errors
    /// [`Error::Tensors`] if the tensor is missing or its elements are not bytes.
    pub fn u8(&self, name: &str) -> Result<&[u8]> {
        match self.tensor(name)? {
            (info, bytes) if info.dtype == Dtype::U8 => Ok(bytes),
            (info, _) => Err(self.problem(wrong_type(name, "U8", info.dtype))),
        }
    }

    /// Header entry and bytes of tensor `name`.
    pub(crate) fn tensor(&self, name: &str) -> Result<(&TensorInfo, &[u8])> {
        let info = (self.tensors.get(name))
            .ok_or_else(|| self.problem(format!("{name}: expected a tensor, found nothing")))?;
        let (start, end) = info.data_offsets;
        let data = &(*self.bytes).as_ref()[self.data_start..];
        Ok((info, &data[start..end]))
    }

    /// Name and shape of all tensors.
    pub(super) fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        let tensors = self.tensors.iter();
        tensors.map(|(name, info)| (name.as_str(), info.shape.as_slice()))
    }

    /// The reason if tensor `name` does not consist of finite floats.
    pub(super) fn float_problem(&self, name: &str) -> Option<String> {
        let (info, bytes) = self.tensor(name).ok()?;
        let found = match info.dtype {
            Dtype::F16 => position(bytes, |b| !f16::from_le_bytes(b).is_finite()),
            Dtype::BF16 => position(bytes, |b| !bf16::from_le_bytes(b).is_finite()),
            Dtype::F32 => position(bytes, |b| !f32::from_le_bytes(b).is_finite()),
            // As read: values beyond the range of f32 become infinite.
            Dtype::F64 => position(bytes, |b| !(f64::from_le_bytes(b) as f32).is_finite()),
            other => return Some(wrong_type(name, FLOATS, other)),
        };
        let expected = "expected finite values";
        found.map(|i| format!("{name}: {expected}, found NaN or infinity at element {i}"))
    }

    fn problem(&self, problem: String) -> Error {
        Error::tensor(&self.what, problem)
    }
}

/// The shape that was found for `name`, if it is the expected one; `None` stands for any size.
pub(crate) fn expect_shape<const N: usize>(
    name: &str,
    found: Option<&[usize]>,
    expected: [Option<usize>; N],
) -> Result<[usize; N], String> {
    if let Some(shape) = found.and_then(|found| <[usize; N]>::try_from(found).ok())
        && iter::zip(shape, expected).all(|(size, expected)| expected.is_none_or(|e| e == size))
    {
        return Ok(shape);
    }
    let expected = expected.map(|size| size.map_or("any".into(), |size| size.to_string()));
    let expected = expected.join(", ");
    let found = found.map_or("nothing".into(), |shape| format!("{shape:?}"));
    Err(format!(
        "{name}: expected shape [{expected}], found {found}"
    ))
}

fn wrong_type(name: &str, expected: &str, found: Dtype) -> String {
    format!("{name}: expected type {expected}, found {found}")
}

impl fmt::Debug for TensorFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TensorFile")
            .field("what", &self.what)
            .field("tensors", &self.tensors)
            .field("metadata", &self.metadata)
            .finish_non_exhaustive()
    }
}

/// Splits a file into its header and the data, which the header has to describe to the byte.
fn split(file: &[u8]) -> Result<(Metadata, &[u8]), String> {
    let importable = match sniff::kind(file) {
        Kind::Safetensors => {
            let (length, rest) = file.split_first_chunk().unwrap_or((&[0; 8], &[]));
            let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
            let (header, data) = rest.split_at_checked(length).unwrap_or_default();
            return Ok((described(header, data.len())?, data));
        }
        Kind::TorchArchive | Kind::TorchLegacy | Kind::Pickle => true,
        Kind::Npy | Kind::NumpyArchive | Kind::Table => true,
        _ => false,
    };
    let advice = match importable {
        true => ", which `gpavatar import` reads",
        false => "",
    };
    Err(sniff::reason(file) + advice)
}

/// The header of a file with this many bytes of data.
fn described(header: &[u8], follow: usize) -> Result<Metadata, String> {
    // Reading the header alone also checks that the tensors follow each other without gaps, each as
    // long as its shape and type make it.
    let header: Metadata =
        serde_json::from_slice(header).map_err(|error| format!("header: {error}"))?;
    match (header.data_len(), follow) {
        (described, follow) if described > follow => Err(format!(
            "the header describes {described} bytes of data, {follow} follow it: the download or \
             the copy was cut, get the file again"
        )),
        (described, follow) if described < follow => Err(format!(
            "the header describes {described} bytes of data, {follow} follow it"
        )),
        _ => Ok(header),
    }
}

fn borrow_or_decode<const N: usize, T: bytemuck::AnyBitPattern>(
    bytes: &[u8],
    from_le_bytes: impl Fn([u8; N]) -> T,
) -> Cow<'_, [T]> {
    match bytemuck::try_cast_slice(bytes) {
        Ok(values) if cfg!(target_endian = "little") => values.into(),
        _ => decode(bytes, from_le_bytes).into(),
    }
}

fn decode<const N: usize, T>(bytes: &[u8], element: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (elements, _) = bytes.as_chunks();
    elements.iter().map(|&bytes| element(bytes)).collect()
}

/// Index of the first element that `wanted` holds for.
fn position<const N: usize>(bytes: &[u8], wanted: impl Fn([u8; N]) -> bool) -> Option<usize> {
    const BLOCK: usize = 4096;
    let (elements, _) = bytes.as_chunks();
    // Without an exit from the inner loop the compiler vectorises it.
    let any = |block: &[[u8; N]]| block.iter().fold(false, |any, &bytes| any | wanted(bytes));
    let block = elements.chunks(BLOCK).position(any)? * BLOCK;
    let within = elements[block..].iter().position(|&bytes| wanted(bytes))?;
    Some(block + within)
}

#[cfg(test)]
impl TensorFile {
    /// A file of the golden data.
    pub(crate) fn golden(name: &str) -> Self {
        Self::open(Self::golden_path(name)).unwrap()
    }

    /// The path of a file of the golden data.
    pub(crate) fn golden_path(name: &str) -> std::path::PathBuf {
        [env!("CARGO_MANIFEST_DIR"), "tests/golden", name]
            .iter()
            .collect()
    }
}

#[cfg(test)]
mod tests;
