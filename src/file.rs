//! Files and the tensors in them, with this crate's errors.

use crate::{Error, Result};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::de::DeserializeOwned;
use std::{
    borrow::Cow,
    collections::HashMap,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Name of the safetensors format in errors.
pub(crate) const SAFETENSORS: &str = "safetensors file";

/// The whole content of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|source| Error::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })
}

/// Writes a whole file under a temporary name beside its destination and renames it, so that a
/// reader never sees half of it and a failure leaves an older file as it was.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |source| Error::Io {
        action: "write",
        path: path.to_owned(),
        source,
    };
    let (temporary, mut file) = create_beside(path).map_err(failed)?;
    let written = (file.write_all(bytes))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| {
        // Best effort: the error worth reporting is the first one.
        let _ = fs::remove_file(&temporary);
        failed(source)
    })
}

/// A new, empty file in the directory of `path`, under a name nobody else uses.
fn create_beside(path: &Path) -> io::Result<(PathBuf, fs::File)> {
    for attempt in 0u64.. {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{attempt}.tmp"));
        let temporary = path.with_file_name(name);
        match fs::File::create_new(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Parses JSON whose object carries a `version`, which is looked at before anything else: a file
/// from a later release is told apart from a broken one.
pub(crate) fn versioned_json<T: DeserializeOwned>(
    what: &str,
    format: &'static str,
    json: &str,
    version: u32,
) -> Result<T> {
    #[derive(serde::Deserialize)]
    struct Version {
        version: u32,
    }
    let invalid = |error: serde_json::Error| Error::format(what, format, error.to_string());
    let found = serde_json::from_str::<Version>(json).map_err(invalid)?;
    if found.version != version {
        return Err(Error::format(
            what,
            format,
            format!("expected version {version}, found {}", found.version),
        ));
    }
    serde_json::from_str(json).map_err(invalid)
}

/// The named tensors and metadata of a safetensors file.
pub(crate) struct Tensors<'a> {
    what: Cow<'a, str>,
    tensors: SafeTensors<'a>,
    metadata: HashMap<String, String>,
}

impl<'a> Tensors<'a> {
    /// `what` names the data in errors.
    pub fn parse(what: impl Into<Cow<'a, str>>, bytes: &'a [u8]) -> Result<Self> {
        let what = what.into();
        let parsed = SafeTensors::read_metadata(bytes)
            .and_then(|(_, header)| Ok((header, SafeTensors::deserialize(bytes)?)));
        match parsed {
            Ok((header, tensors)) => Ok(Self {
                what,
                tensors,
                metadata: header.metadata().clone().unwrap_or_default(),
            }),
            Err(error) => Err(Error::format(what, SAFETENSORS, error.to_string())),
        }
    }

    /// The name this data goes by in errors.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// A metadata entry.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.tensor(name).is_ok()
    }

    /// Shape of a tensor.
    pub fn shape(&self, name: &str) -> Result<Vec<usize>> {
        Ok(self.tensor(name)?.shape().to_vec())
    }

    /// Values of a floating-point tensor, row-major. `shape` is what it must look like, `None`
    /// standing for any size.
    pub fn f32(&self, name: &str, shape: &[Option<usize>]) -> Result<Vec<f32>> {
        let tensor = self.shaped(name, shape)?;
        let data = tensor.data();
        match tensor.dtype() {
            Dtype::F16 => Ok(decode(data, |b| half::f16::from_le_bytes(b).to_f32())),
            Dtype::BF16 => Ok(decode(data, |b| half::bf16::from_le_bytes(b).to_f32())),
            Dtype::F32 => Ok(decode(data, f32::from_le_bytes)),
            Dtype::F64 => Ok(decode(data, |b| f64::from_le_bytes(b) as f32)),
            other => Err(self.wrong_type(name, "F16, BF16, F32 or F64", other)),
        }
    }

    /// Values of an integer tensor.
    pub fn i64(&self, name: &str, shape: &[Option<usize>]) -> Result<Vec<i64>> {
        let tensor = self.shaped(name, shape)?;
        let data = tensor.data();
        match tensor.dtype() {
            Dtype::U8 => Ok(decode(data, |[b]| b.into())),
            Dtype::I32 => Ok(decode(data, |b| i32::from_le_bytes(b).into())),
            Dtype::U32 => Ok(decode(data, |b| u32::from_le_bytes(b).into())),
            Dtype::I64 => Ok(decode(data, i64::from_le_bytes)),
            other => Err(self.wrong_type(name, "U8, I32, U32 or I64", other)),
        }
    }

    fn tensor(&self, name: &str) -> Result<TensorView<'a>> {
        self.tensors
            .tensor(name)
            .map_err(|_| self.problem(format!("{name}: missing")))
    }

    fn shaped(&self, name: &str, shape: &[Option<usize>]) -> Result<TensorView<'a>> {
        let tensor = self.tensor(name)?;
        let found = tensor.shape();
        let fits = found.len() == shape.len()
            && (found.iter().zip(shape))
                .all(|(found, expected)| expected.is_none_or(|e| e == *found));
        if fits {
            return Ok(tensor);
        }
        let sizes: Vec<_> = (shape.iter())
            .map(|size| size.map_or_else(|| "any".to_owned(), |size| size.to_string()))
            .collect();
        Err(self.problem(format!(
            "{name}: expected shape [{}], found {found:?}",
            sizes.join(", ")
        )))
    }

    fn wrong_type(&self, name: &str, expected: &str, found: Dtype) -> Error {
        self.problem(format!("{name}: expected type {expected}, found {found:?}"))
    }

    fn problem(&self, problem: String) -> Error {
        Error::Tensors {
            what: self.what.to_string(),
            problems: vec![problem],
        }
    }
}

fn decode<T, const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (values, _) = bytes.as_chunks::<N>();
    values.iter().map(|bytes| value(*bytes)).collect()
}

/// A tensor to be written; `values` in row-major order.
pub(crate) fn view<'a, T: bytemuck::NoUninit>(
    dtype: Dtype,
    shape: Vec<usize>,
    values: &'a [T],
) -> Result<TensorView<'a>> {
    TensorView::new(dtype, shape, bytemuck::cast_slice(values)).map_err(unwritable)
}

/// The bytes of a safetensors file with one metadata entry (more would be written in random order,
/// and equal content should give equal files).
pub(crate) fn serialize(
    tensors: Vec<(String, TensorView<'_>)>,
    metadata_key: &str,
    metadata: String,
) -> Result<Vec<u8>> {
    let metadata = HashMap::from([(metadata_key.to_owned(), metadata)]);
    safetensors::serialize(tensors, Some(metadata)).map_err(unwritable)
}

fn unwritable(error: safetensors::SafeTensorError) -> Error {
    Error::format("data to be written", SAFETENSORS, error.to_string())
}

#[cfg(test)]
impl Tensors<'static> {
    /// A file of the golden data.
    pub fn golden(name: &'static str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(name);
        // Leaked so that tests need not hold the bytes; a test process is short.
        Self::parse(name, read(&path).unwrap().leak()).unwrap()
    }
}

/// A directory of its own for one test, removed when dropped.
#[cfg(test)]
pub(crate) struct Scratch(PathBuf);

#[cfg(test)]
impl Scratch {
    pub fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gpavatar-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

#[cfg(test)]
impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_replaces_the_file_and_leaves_nothing_else() {
        let scratch = Scratch::new("file-write");
        let path = scratch.path("data.bin");
        write(&path, b"first").unwrap();
        write(&path, b"second").unwrap();
        assert_eq!(read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_names_the_file_and_cleans_up() {
        let scratch = Scratch::new("file-failed");
        // A directory that is not empty cannot be renamed over.
        let path = scratch.path("taken");
        fs::create_dir(&path).unwrap();
        write(&path.join("inside"), b"x").unwrap();
        let error = write(&path, b"y").unwrap_err();
        assert!(matches!(error, Error::Io { action: "write", path: p, .. } if p == path));
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1);
        for unwritable in [
            Path::new(""),
            Path::new("/"),
            &scratch.path("no/such/directory"),
        ] {
            assert!(matches!(write(unwritable, b"z"), Err(Error::Io { .. })));
        }
    }

    #[test]
    fn a_missing_file_is_an_io_error() {
        let error = read(Path::new("no such file")).unwrap_err();
        assert!(error.to_string().contains("cannot read no such file"));
    }

    #[test]
    fn every_float_and_integer_type_is_decoded() {
        let values = [1.5f32, -0.25];
        let f16 = values.map(half::f16::from_f32);
        let bf16 = values.map(half::bf16::from_f32);
        let f64 = values.map(f64::from);
        let tensors = vec![
            ("f16".to_owned(), view(Dtype::F16, vec![2], &f16).unwrap()),
            (
                "bf16".to_owned(),
                view(Dtype::BF16, vec![2], &bf16).unwrap(),
            ),
            (
                "f32".to_owned(),
                view(Dtype::F32, vec![2], &values).unwrap(),
            ),
            ("f64".to_owned(), view(Dtype::F64, vec![2], &f64).unwrap()),
            (
                "u8".to_owned(),
                view(Dtype::U8, vec![2], &[7u8, 9]).unwrap(),
            ),
            (
                "i32".to_owned(),
                view(Dtype::I32, vec![2], &[7i32, 9]).unwrap(),
            ),
            (
                "u32".to_owned(),
                view(Dtype::U32, vec![2], &[7u32, 9]).unwrap(),
            ),
            (
                "i64".to_owned(),
                view(Dtype::I64, vec![2], &[7i64, 9]).unwrap(),
            ),
        ];
        let bytes = serialize(tensors, "key", "value".to_owned()).unwrap();
        let file = Tensors::parse("test", &bytes).unwrap();
        for name in ["f16", "bf16", "f32", "f64"] {
            assert_eq!(file.f32(name, &[Some(2)]).unwrap(), values);
            assert!(matches!(
                file.i64(name, &[None]),
                Err(Error::Tensors { .. })
            ));
        }
        for name in ["u8", "i32", "u32", "i64"] {
            assert_eq!(file.i64(name, &[Some(2)]).unwrap(), [7, 9]);
            assert!(matches!(
                file.f32(name, &[None]),
                Err(Error::Tensors { .. })
            ));
        }
        assert_eq!(file.metadata("key"), Some("value"));
        assert_eq!(file.metadata("other"), None);
        let error = file.f32("f32", &[None, Some(3)]).unwrap_err().to_string();
        assert!(
            error.contains("f32: expected shape [any, 3], found [2]"),
            "{error}"
        );
        let error = file.f32("absent", &[None]).unwrap_err().to_string();
        assert!(error.contains("absent: missing"), "{error}");
    }

    #[test]
    fn an_unknown_version_is_named_before_anything_else() {
        let parse = |json| versioned_json::<HashMap<String, u32>>("a.json", "test", json, 1);
        assert_eq!(parse(r#"{"version": 1}"#).unwrap()["version"], 1);
        let error = parse(r#"{"version": 2, "new": []}"#)
            .unwrap_err()
            .to_string();
        assert!(error.contains("a.json") && error.contains("expected version 1, found 2"));
        for bad in ["", "{}", "[1]", r#"{"version": "1"}"#, r#"{"version": 1"#] {
            assert!(matches!(parse(bad), Err(Error::Format { .. })), "{bad}");
        }
    }
}
