//! A description of a file's content, for people.

use std::fmt;

use super::archive::Archive;
use super::array::Array;
use super::budget::{Budget, opened};
use super::document::Document;
use super::motion::{MotionOptions, motion_from_bytes};
use super::numpy;
use super::pickle::{Node, beginning};
use crate::error::{Error, Result};
use crate::motion::Motion;
use crate::sniff::{self, Kind};
use crate::weights::{CONFIG, TensorFile};

const FORMAT: &str = "GPAvatar file";

/// Largest number of entries listed.
const MAX_ENTRIES: usize = 1 << 16;

/// Largest depth of nested containers listed.
const MAX_DEPTH: usize = 8;

/// A description of a file's content, for files that this module reads or this crate writes.
///
/// ```no_run
/// use gpavatar::import::Contents;
///
/// print!("{}", Contents::open("gpavatar.safetensors")?);
/// # Ok::<(), gpavatar::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Contents {
    /// The kind of file.
    pub kind: String,
    /// Its metadata: configuration, licence, names, …
    pub metadata: Vec<(String, String)>,
    /// Its entries, in order.
    pub entries: Vec<ContentsEntry>,
    /// True if not all entries are listed.
    pub truncated: bool,
}

/// An entry of a file.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ContentsEntry {
    /// Its name, after those of its containers.
    pub name: String,
    /// Its value.
    pub value: ContentsValue,
}

/// The value of a [`ContentsEntry`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ContentsValue {
    /// Numbers.
    Tensor {
        /// Type of the numbers.
        dtype: String,
        /// Dimensions, outermost first.
        shape: Vec<usize>,
        /// Statistics of the numbers, if one is finite.
        statistics: Option<Statistics>,
    },
    /// A description of any other value.
    Other(String),
}

/// Statistics of the numbers of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// Smallest finite value.
    pub minimum: f32,
    /// Largest finite value.
    pub maximum: f32,
    /// Mean of the finite values.
    pub mean: f32,
    /// Standard deviation of the finite values.
    pub deviation: f32,
    /// Number of values that are NaN or infinite.
    pub not_finite: usize,
}

impl Statistics {
    /// The statistics of `values`, if one is finite.
    pub fn of(values: &[f32]) -> Option<Self> {
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        let count = finite().count();
        if count == 0 {
            return None;
        }
        let mean = finite().map(f64::from).sum::<f64>() / count as f64;
        let squares = finite().map(|value| (f64::from(value) - mean).powi(2));
        Some(Self {
            minimum: finite().fold(f32::INFINITY, f32::min),
            maximum: finite().fold(f32::NEG_INFINITY, f32::max),
            mean: mean as f32,
            deviation: (squares.sum::<f64>() / count as f64).sqrt() as f32,
            not_finite: values.len() - count,
        })
    }
}

impl Contents {
    /// Describes the file at `path`.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; and see [`from_bytes`](Self::from_bytes).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::from_bytes(&path.display().to_string(), crate::file::read(path)?)
    }

    /// Describes the content of a file; `what` names it in error messages.
    ///
    /// # Errors
    /// [`Error::Format`] if its kind is unknown or it is damaged.
    pub fn from_bytes(what: &str, bytes: Vec<u8>) -> Result<Self> {
        let invalid = |reason| Error::format(what, FORMAT, reason);
        let (content, budget) = opened(bytes.into()).map_err(invalid)?;
        let bytes = &*content;
        let mut listing = Listing {
            contents: Self::default(),
            statistics: bytes.len().max(MAX_ENTRIES),
            budget,
        };
        let kind = match sniff::kind(bytes) {
            Kind::TorchLegacy => "PyTorch file in the format before version 1.6",
            Kind::Pickle | Kind::TorchArchive => listing.document(bytes).map_err(invalid)?,
            Kind::Npy => {
                let array = numpy::npy(bytes, &listing.budget).map_err(invalid)?;
                listing.array("array".into(), Ok(array));
                "numpy array"
            }
            Kind::NumpyArchive | Kind::Zip => listing.npz(bytes).map_err(invalid)?,
            Kind::Safetensors => {
                listing.safetensors(&TensorFile::from_bytes(what, content.into_owned())?)?
            }
            Kind::Json => {
                let json = sniff::text(bytes).map_err(invalid)?;
                match Motion::from_json(&json) {
                    Ok(motion) => {
                        listing.motion(&motion);
                        "motion of this crate"
                    }
                    Err(_) => listing.recording(what, bytes)?,
                }
            }
            Kind::Table => listing.recording(what, bytes)?,
            _ => return Err(sniff::refused(what, FORMAT, bytes)),
        };
        listing.contents.kind = kind.to_owned();
        Ok(listing.contents)
    }
}

/// Unfinished contents.
struct Listing {
    contents: Contents,
    /// Number of values that statistics may still read: files may refer to the same ones repeatedly.
    statistics: usize,
    budget: Budget,
}

impl Listing {
    fn add(&mut self, name: String, value: ContentsValue) {
        let affordable = self
            .budget
            .take(name.len() + size_of::<ContentsEntry>() + 64);
        match self.contents.entries.len() < MAX_ENTRIES && affordable.is_ok() {
            true => self.contents.entries.push(ContentsEntry { name, value }),
            false => self.contents.truncated = true,
        }
    }

    fn metadata(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.contents.metadata.push((key.into(), value.into()));
    }

    fn array(&mut self, name: String, array: Result<Array, String>) {
        let value = match array {
            Err(reason) => ContentsValue::Other(reason),
            Ok(array) => {
                let affordable = self.statistics.checked_sub(array.len());
                let values = affordable.and_then(|_| array.f32().ok());
                self.statistics = affordable.unwrap_or(self.statistics);
                ContentsValue::Tensor {
                    dtype: array.dtype().to_string(),
                    shape: array.shape().to_vec(),
                    statistics: values.as_deref().and_then(Statistics::of),
                }
            }
        };
        self.add(name, value);
    }

    fn floats(&mut self, name: &str, shape: Vec<usize>, values: &[f32]) {
        let value = ContentsValue::Tensor {
            dtype: "F32".into(),
            shape,
            statistics: Statistics::of(values),
        };
        self.add(name.into(), value);
    }

    fn safetensors(&mut self, file: &TensorFile) -> Result<&'static str> {
        for (key, value) in file.metadata() {
            self.metadata(key, value);
        }
        for name in file.tensor_names() {
            let array = Array::of_file(file, name);
            let array = array.and_then(|array| array.ok_or_else(|| "nothing".into()));
            self.array(name.into(), array);
        }
        let has = |key: &str| file.metadata().contains_key(key);
        Ok(if file.contains("query_style_tplane") && has(CONFIG) {
            "weights of this crate"
        } else if has("gpavatar.avatar") {
            "avatar of this crate"
        } else if has("head_model") {
            "head model of this crate"
        } else if has("motion") {
            "motion of this crate"
        } else {
            "safetensors file"
        })
    }

    fn motion(&mut self, motion: &Motion) {
        self.metadata("name", motion.name());
        self.metadata("licence", motion.licence());
        self.metadata("frames per second", motion.fps().to_string());
        self.metadata("seconds", motion.duration().to_string());
        let (frames, count) = (motion.frames(), motion.len());
        for (i, channel) in motion.channels().iter().enumerate() {
            let column: Vec<f32> = frames.iter().map(|f| f.expression[i]).collect();
            self.floats(&format!("expression.{channel}"), vec![count], &column);
        }
        let expressions: Vec<f32> = frames.iter().flat_map(|f| f.expression.clone()).collect();
        let shape = vec![count, expressions.len() / count];
        self.floats("expression", shape, &expressions);
        let poses: Vec<f32> = frames.iter().flat_map(|f| f.pose.clone()).collect();
        self.floats("pose", vec![count, poses.len() / count], &poses);
        let transforms: Vec<_> = frames.iter().map(|f| f.camera.transform).collect();
        let transforms = transforms.as_flattened().as_flattened();
        self.floats("transform", vec![count, 3, 4], transforms);
    }

    fn recording(&mut self, what: &str, bytes: &[u8]) -> Result<&'static str> {
        let imported = motion_from_bytes(what, bytes, &MotionOptions::default())?;
        self.metadata("import", imported.to_string());
        self.motion(&imported.motion);
        Ok("recording of a face")
    }

    fn npz(&mut self, bytes: &[u8]) -> Result<&'static str, String> {
        let archive = Archive::within(bytes, &self.budget)?;
        for name in archive.names() {
            let content = archive.entry(name).and_then(|entry| entry.content(bytes));
            match (content, name.strip_suffix(".npy")) {
                (Ok(content), Some(name)) => {
                    let array = numpy::npy(content, archive.budget());
                    self.array(name.into(), array);
                }
                (Ok(content), None) => {
                    let description = format!("{} bytes", content.len());
                    self.add(name.into(), ContentsValue::Other(description));
                }
                (Err(reason), _) => self.add(name.into(), ContentsValue::Other(reason)),
            }
        }
        Ok("numpy archive")
    }

    fn document(&mut self, bytes: &[u8]) -> Result<&'static str, String> {
        let document = Document::within(bytes, &self.budget)?;
        let kind = match document.is_archive() {
            true => "PyTorch archive",
            false => "Python pickle",
        };
        let mut visits = MAX_ENTRIES;
        self.node(&document, document.root(), String::new(), 0, &mut visits);
        Ok(kind)
    }

    /// Lists a value, or its elements. Values may be shared and contain themselves, so the number of
    /// visits is limited.
    fn node<'a>(
        &mut self,
        document: &Document<'a>,
        node: Node<'_, 'a>,
        name: String,
        depth: usize,
        visits: &mut usize,
    ) {
        let Some(left) = visits.checked_sub(1) else {
            self.contents.truncated = true;
            return;
        };
        *visits = left;
        // A single number is shown as itself.
        if node.float().is_none() {
            match document.array(node) {
                Ok(Some(array)) => return self.array(name, Ok(array)),
                Err(_) if self.budget.is_spent() => {
                    self.contents.truncated = true;
                    return;
                }
                Err(reason) => return self.array(name, Err(reason)),
                Ok(None) => {}
            }
        }
        let child = |key: &str| match name.as_str() {
            "" => key.to_owned(),
            name => format!("{name}.{key}"),
        };
        if depth < MAX_DEPTH
            && let Some(entries) = node.entries()
        {
            for (key, value) in entries {
                let text = key.text().map(|text| beginning(text).to_owned());
                let key = text.unwrap_or_else(|| key.describe());
                self.node(document, value, child(&key), depth + 1, visits);
            }
        } else if depth < MAX_DEPTH
            && let Some(elements) = node.elements()
        {
            for (i, element) in elements.enumerate() {
                self.node(document, element, child(&i.to_string()), depth + 1, visits);
            }
        } else {
            self.add(name, ContentsValue::Other(node.describe()));
        }
    }
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.kind)?;
        for (key, value) in &self.metadata {
            writeln!(f, "  {key}: {value}")?;
        }
        for entry in &self.entries {
            writeln!(f, "  {}: {}", entry.name, entry.value)?;
        }
        match self.truncated {
            true => writeln!(f, "  … and more"),
            false => Ok(()),
        }
    }
}

impl fmt::Display for ContentsValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(text) => f.write_str(text),
            Self::Tensor {
                dtype,
                shape,
                statistics,
            } => {
                write!(f, "{dtype} {shape:?}")?;
                match statistics {
                    Some(statistics) => write!(f, ", {statistics}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.4} to {:.4}, ", self.minimum, self.maximum)?;
        write!(f, "mean {:.4} ± {:.4}", self.mean, self.deviation)?;
        match self.not_finite {
            0 => Ok(()),
            count => write!(f, ", {count} not finite"),
        }
    }
}
