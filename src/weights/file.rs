//! Reading safetensors files: named tensors and a map of strings.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::{fmt, iter};

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::{Error, Result};

const FORMAT: &str = "safetensors file";
const FLOATS: &str = "F16, BF16, F32 or F64";
const INTEGERS: &str = "U8, I32, U32 or I64";

/// A safetensors file, its header checked: every tensor it lists lies where and as large as listed.
///
/// Elements are decoded when asked for. A file that was [opened](Self::open) is mapped into memory,
/// not read: it costs no memory of its own, but must not be changed while it is open.
pub struct TensorFile {
    what: String,
    bytes: Box<dyn AsRef<[u8]> + Send + Sync>,
    data_start: usize,
    tensors: BTreeMap<String, TensorInfo>,
    metadata: BTreeMap<String, String>,
}

impl TensorFile {
    /// Maps the file at `path` into memory.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be opened or mapped, [`Error::Format`] if it is not a complete
    /// safetensors file.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::parse(path.display().to_string(), crate::file::map(path)?)
    }

    /// Takes the content of a file; `what` names it in error messages.
    ///
    /// # Errors
    /// [`Error::Format`] if it is not a complete safetensors file.
    pub fn from_bytes(what: impl Into<String>, bytes: Vec<u8>) -> Result<Self> {
        Self::parse(what.into(), Box::new(bytes))
    }

    pub(super) fn parse(what: String, bytes: Box<dyn AsRef<[u8]> + Send + Sync>) -> Result<Self> {
        let (header, data) = split((*bytes).as_ref())
            .map_err(|reason| Error::format(what.as_str(), FORMAT, reason))?;
        let data_start = (*bytes).as_ref().len() - data.len();
        let tensors = header
            .tensors()
            .into_iter()
            .map(|(name, info)| (name, info.clone()))
            .collect();
        let metadata = header.metadata().clone().unwrap_or_default();
        Ok(Self {
            what,
            bytes,
            data_start,
            tensors,
            metadata: metadata.into_iter().collect(),
        })
    }

    /// Path of the file, or what else it was called.
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

    /// Whether there is a tensor `name`.
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
    /// [`Error::Tensors`] if there is no such tensor, or it has another shape.
    pub(crate) fn expect_shape<const N: usize>(
        &self,
        name: &str,
        expected: [Option<usize>; N],
    ) -> Result<[usize; N]> {
        let found = self.tensors.get(name).map(|info| info.shape.as_slice());
        if let Some(&shape) = found.and_then(<[usize]>::as_array)
            && iter::zip(shape, expected).all(|(size, expected)| expected.is_none_or(|e| e == size))
        {
            return Ok(shape);
        }
        let expected = expected.map(|size| size.map_or("any".into(), |size| size.to_string()));
        let found = found.map_or("nothing".into(), |shape| format!("{shape:?}"));
        Err(self.problem(format!(
            "{name}: expected shape [{}], found {found}",
            expected.join(", ")
        )))
    }

    /// Values of tensor `name`, row-major: 16-bit floats are widened, 64-bit ones rounded. 32-bit
    /// ones are borrowed from the file where they are aligned in it, as they are in files that
    /// [`TensorWriter`] wrote.
    ///
    /// [`TensorWriter`]: crate::TensorWriter
    ///
    /// # Errors
    /// [`Error::Tensors`] if there is no such tensor, or its elements are no floats.
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

    /// Values of tensor `name`, row-major: smaller integers than 64-bit ones are widened.
    ///
    /// # Errors
    /// [`Error::Tensors`] if there is no such tensor, or its elements are no integers of type U8,
    /// I32, U32 or I64.
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
    /// [`Error::Tensors`] if there is no such tensor, or its elements are no bytes.
    pub fn u8(&self, name: &str) -> Result<&[u8]> {
        match self.tensor(name)? {
            (info, bytes) if info.dtype == Dtype::U8 => Ok(bytes),
            (info, _) => Err(self.problem(wrong_type(name, "U8", info.dtype))),
        }
    }

    /// What the header says of tensor `name`, and its bytes.
    pub(super) fn tensor(&self, name: &str) -> Result<(&TensorInfo, &[u8])> {
        let info = (self.tensors.get(name))
            .ok_or_else(|| self.problem(format!("{name}: expected a tensor, found nothing")))?;
        let (start, end) = info.data_offsets;
        let data = &(*self.bytes).as_ref()[self.data_start..];
        Ok((info, &data[start..end]))
    }

    /// Name and shape of all tensors.
    pub(super) fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors
            .iter()
            .map(|(name, info)| (name.as_str(), info.shape.as_slice()))
    }

    /// What keeps tensor `name` from being one of finite floats, if anything does.
    pub(super) fn float_problem(&self, name: &str) -> Option<String> {
        let (info, bytes) = self.tensor(name).ok()?;
        let found = match info.dtype {
            Dtype::F16 => position(bytes, |b| !f16::from_le_bytes(b).is_finite()),
            Dtype::BF16 => position(bytes, |b| !bf16::from_le_bytes(b).is_finite()),
            Dtype::F32 => position(bytes, |b| !f32::from_le_bytes(b).is_finite()),
            // As it is read: what is beyond an f32 becomes infinite.
            Dtype::F64 => position(bytes, |b| !(f64::from_le_bytes(b) as f32).is_finite()),
            other => return Some(wrong_type(name, FLOATS, other)),
        };
        found.map(|i| {
            format!("{name}: expected finite values, found NaN or infinity at element {i}")
        })
    }

    fn problem(&self, problem: String) -> Error {
        Error::Tensors {
            what: self.what.clone(),
            problems: vec![problem],
        }
    }
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

/// Splits a file into its header and the data that this describes to the byte.
fn split(file: &[u8]) -> Result<(Metadata, &[u8]), String> {
    let (length, rest) = file
        .split_first_chunk()
        .ok_or_else(|| format!("expected at least 8 bytes, found {}", file.len()))?;
    let length = u64::from_le_bytes(*length);
    let (header, data) = usize::try_from(length)
        .ok()
        .and_then(|length| rest.split_at_checked(length))
        .ok_or_else(|| format!("a header of {length} bytes, but {} follow", rest.len()))?;
    // Reading the header alone also checks that the tensors follow each other without gaps, each as
    // long as its shape and type make it.
    let header: Metadata =
        serde_json::from_slice(header).map_err(|error| format!("header: {error}"))?;
    if header.data_len() != data.len() {
        return Err(format!(
            "the header describes {} bytes of data, {} follow it",
            header.data_len(),
            data.len()
        ));
    }
    Ok((header, data))
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
        let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
        Self::open(path).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::file::Scratch;
    use crate::{FloatFormat, TensorWriter};

    /// A file with this header, and this many zero bytes of data.
    fn file(header: &str, data: usize) -> Vec<u8> {
        let length = (header.len() as u64).to_le_bytes();
        [length.as_slice(), header.as_bytes(), &vec![0; data]].concat()
    }

    fn tensor(dtype: &str, shape: &[u64], start: u64, end: u64) -> serde_json::Value {
        json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]})
    }

    fn example() -> Vec<u8> {
        let mut writer = TensorWriter::new([("key".into(), "value".into())].into());
        writer.floats("a", &[2], FloatFormat::F32, || Ok(vec![1.0, 2.0].into()));
        writer.floats("b", &[3], FloatFormat::F16, || {
            Ok(vec![1.0, 2.0, 3.0].into())
        });
        writer.into_bytes().unwrap()
    }

    #[track_caller]
    fn refused(bytes: Vec<u8>) -> String {
        match TensorFile::from_bytes("test", bytes) {
            Err(error @ Error::Format { .. }) => error.to_string(),
            other => panic!("expected Error::Format, found {other:?}"),
        }
    }

    #[test]
    fn every_truncation_and_extension_is_refused() {
        let whole = example();
        for length in 0..whole.len() {
            refused(whole[..length].to_vec());
        }
        refused([whole, vec![0]].concat());
    }

    #[test]
    fn headers_that_lie_are_refused() {
        refused(u64::MAX.to_le_bytes().to_vec());
        refused([u64::MAX.to_le_bytes(), [b'{'; 8]].concat());
        let two = |a, b| file(&json!({"a": a, "b": b}).to_string(), 16);
        let fits = two(tensor("F32", &[2], 0, 8), tensor("F32", &[2], 8, 16));
        assert!(TensorFile::from_bytes("test", fits).is_ok());
        refused(two(tensor("F32", &[2], 0, 8), tensor("F32", &[1], 12, 16)));
        refused(two(tensor("F32", &[3], 0, 12), tensor("F32", &[2], 8, 16)));
        refused(two(tensor("F32", &[2], 0, 8), tensor("F32", &[3], 8, 16)));
        refused(two(tensor("F32", &[2], 0, 8), tensor("F32", &[3], 8, 20)));
        refused(two(tensor("F32", &[2], 8, 0), tensor("F32", &[2], 8, 16)));
        refused(two(tensor("F99", &[2], 0, 8), tensor("F32", &[2], 8, 16)));
        refused(file("{}", 1));
        refused(file("\u{0}", 0));
        refused(file(&"[".repeat(100_000), 0));
    }

    #[test]
    fn sizes_beyond_the_address_space_are_refused_without_overflow() {
        let huge = 1 << 62;
        refused(file(
            &json!({"a": tensor("F32", &[huge, huge], 0, 8)}).to_string(),
            8,
        ));
        // Each of these is possible, their sum is the end of the address space.
        let size = (1 << 61) - 1;
        let tensors = (0..8).map(|i| {
            (
                i.to_string(),
                tensor("U8", &[size], i * size, (i + 1) * size),
            )
        });
        let header: serde_json::Map<_, _> = tensors.collect();
        let error = refused(file(&json!(header).to_string(), 8));
        assert!(error.contains(&(8 * size).to_string()), "{error}");
    }

    #[test]
    fn unaligned_values_are_decoded() {
        // One of two neighbouring header lengths leaves the data unaligned.
        for padding in ["", " "] {
            let header = json!({"a": tensor("F32", &[2], 0, 8)}).to_string() + padding;
            let mut bytes = file(&header, 0);
            bytes.extend([1.5f32, -2.0].map(f32::to_le_bytes).as_flattened());
            let file = TensorFile::from_bytes("test", bytes).unwrap();
            assert_eq!(file.f32("a").unwrap(), [1.5, -2.0].as_slice());
        }
    }

    #[test]
    fn floats_and_integers_of_every_type_are_decoded() {
        let floats = [1.5f32, -0.25];
        let types = [
            (
                "F16",
                floats.map(|x| f16::from_f32(x).to_le_bytes()).concat(),
            ),
            (
                "BF16",
                floats.map(|x| bf16::from_f32(x).to_le_bytes()).concat(),
            ),
            ("F32", floats.map(f32::to_le_bytes).concat()),
            ("F64", floats.map(|x| f64::from(x).to_le_bytes()).concat()),
            ("U8", vec![7, 9]),
            ("I32", [7i32, 9].map(i32::to_le_bytes).concat()),
            ("U32", [7u32, 9].map(u32::to_le_bytes).concat()),
            ("I64", [7i64, 9].map(i64::to_le_bytes).concat()),
            ("BOOL", vec![0, 1]),
        ];
        let (mut tensors, mut data) = (serde_json::Map::new(), Vec::new());
        for (name, bytes) in &types {
            let start = data.len() as u64;
            data.extend(bytes);
            tensors.insert((*name).into(), tensor(name, &[2], start, data.len() as u64));
        }
        let bytes = [file(&json!(tensors).to_string(), 0), data].concat();
        let file = TensorFile::from_bytes("test", bytes).unwrap();
        #[track_caller]
        fn refused<T: fmt::Debug>(result: Result<T>) {
            assert!(matches!(result, Err(Error::Tensors { .. })), "{result:?}");
        }
        for (name, _) in types {
            if FLOATS.contains(name) {
                assert_eq!(file.f32(name).unwrap(), floats.as_slice(), "{name}");
            } else {
                refused(file.f32(name));
            }
            if INTEGERS.contains(name) {
                assert_eq!(file.i64(name).unwrap(), [7, 9].as_slice(), "{name}");
            } else {
                refused(file.i64(name));
            }
            if name == "U8" {
                assert_eq!(file.u8(name).unwrap(), [7, 9], "{name}");
            } else {
                refused(file.u8(name));
            }
        }
    }

    #[test]
    fn missing_and_misshapen_tensors_are_named() {
        let file = TensorFile::from_bytes("test", example()).unwrap();
        assert!(file.contains("a") && !file.contains("absent"));
        assert_eq!(file.expect_shape("a", [None]).unwrap(), [2]);
        assert_eq!(file.expect_shape("b", [Some(3)]).unwrap(), [3]);
        for (error, expected) in [
            (
                file.expect_shape("a", [Some(3)]).unwrap_err(),
                "a: expected shape [3], found [2]",
            ),
            (
                file.expect_shape("a", [Some(2), None]).unwrap_err(),
                "a: expected shape [2, any], found [2]",
            ),
            (
                file.expect_shape("absent", [Some(3)]).unwrap_err(),
                "absent: expected shape [3], found nothing",
            ),
            (
                file.f32("absent").unwrap_err(),
                "absent: expected a tensor, found nothing",
            ),
        ] {
            match error {
                Error::Tensors { what, problems } => {
                    assert_eq!(
                        (what.as_str(), problems),
                        ("test", vec![expected.to_owned()])
                    );
                }
                other => panic!("{expected}: {other}"),
            }
        }
    }

    #[test]
    fn the_first_value_that_is_not_finite_is_found() {
        let count = 10_000;
        for format in [FloatFormat::F32, FloatFormat::F16, FloatFormat::Bf16] {
            for (wrong, value) in [
                (0, f32::NAN),
                (4095, f32::INFINITY),
                (9_999, f32::NEG_INFINITY),
            ] {
                let mut values = vec![-1.0; count];
                values[wrong..].fill(value);
                let mut writer = TensorWriter::new(BTreeMap::new());
                writer.floats("t", &[count], format, || Ok(values.into()));
                writer.floats("finite", &[1], format, || Ok(vec![0.0].into()));
                let file = TensorFile::from_bytes("test", writer.into_bytes().unwrap()).unwrap();
                let problem = file.float_problem("t").unwrap();
                assert!(
                    problem.ends_with(&format!("at element {wrong}")),
                    "{problem}"
                );
                assert_eq!(file.float_problem("finite"), None);
            }
        }
    }

    #[test]
    fn a_number_too_large_for_32_bits_is_not_finite() {
        let mut bytes = file(&json!({"t": tensor("F64", &[2], 0, 16)}).to_string(), 0);
        bytes.extend(
            [f64::from(f32::MAX), 1e39]
                .map(f64::to_le_bytes)
                .as_flattened(),
        );
        let file = TensorFile::from_bytes("test", bytes).unwrap();
        assert_eq!(file.f32("t").unwrap(), [f32::MAX, f32::INFINITY].as_slice());
        let problem = file.float_problem("t").unwrap();
        assert!(problem.ends_with("at element 1"), "{problem}");
    }

    #[test]
    fn files_that_cannot_be_opened_or_are_empty_are_errors() {
        let missing = TensorFile::open("no such directory/file.safetensors");
        assert!(matches!(missing, Err(Error::Io { .. })), "{missing:?}");
        let directory = TensorFile::open(std::env::temp_dir());
        assert!(matches!(directory, Err(Error::Io { .. })), "{directory:?}");
        let scratch = Scratch::new("tensors-empty");
        let path = scratch.path("file.safetensors");
        std::fs::write(&path, []).unwrap();
        let empty = TensorFile::open(&path);
        assert!(matches!(empty, Err(Error::Format { .. })), "{empty:?}");
    }

    proptest! {
        #[test]
        fn damage_never_panics(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut bytes = example();
            for (place, byte) in damage {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            if let Ok(file) = TensorFile::from_bytes("test", bytes) {
                for (name, shape) in file.shapes() {
                    if let Ok(values) = file.f32(name) {
                        prop_assert_eq!(values.len(), shape.iter().product::<usize>());
                    }
                }
            }
        }
    }
}
