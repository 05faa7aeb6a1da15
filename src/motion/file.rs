//! Motions in files.

use std::collections::BTreeMap;
use std::io;
#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::ser::{CompactFormatter, Formatter};

use super::sequence::{Motion, MotionFrame};
use crate::camera::Camera;
use crate::error::{Error, Result};
#[cfg(not(target_arch = "wasm32"))]
use crate::file;
use crate::json::{self, Value};
#[cfg(not(target_arch = "wasm32"))]
use crate::sniff::{self, Kind};
use crate::weights::{FloatFormat, TensorFile, TensorWriter};

const FORMAT: &str = "motion";
const VERSION: u32 = 1;
/// Metadata key in a safetensors file.
pub(super) const KEY: &str = "motion";

impl Motion {
    /// Reads a motion from a `.json` or `.safetensors` file (see [`Motion`]).
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::Argument`] for another extension; and see
    /// [`Motion::from_json`] and [`Motion::from_safetensors`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        match extension(path) {
            "json" => {
                let (what, bytes) = (path.display().to_string(), file::read(path)?);
                match sniff::kind(&bytes) {
                    Kind::Json => match sniff::text(&bytes) {
                        Ok(json) => Self::parse_json(&what, &json),
                        Err(reason) => Err(Error::format(what, FORMAT, reason)),
                    },
                    _ => Err(sniff::refused(what, FORMAT, &bytes)),
                }
            }
            "safetensors" => Self::from_file(&TensorFile::open(path)?),
            _ => Err(unknown_extension(path)),
        }
    }

    /// Reads a motion from JSON (see [`Motion`]).
    ///
    /// # Errors
    /// [`Error::Format`] if it is not such JSON, has an unknown version, or [`Motion::new`] refuses
    /// its content.
    pub fn from_json(json: &str) -> Result<Self> {
        Self::parse_json("motion data", json)
    }

    /// Reads a motion from the content of a safetensors file (see [`Motion`]).
    ///
    /// # Errors
    /// [`Error::Format`] if it is not a safetensors file, holds no motion, one of an unknown version,
    /// or one that [`Motion::new`] refuses; [`Error::Tensors`] if a tensor is missing or has a wrong
    /// shape or type.
    pub fn from_safetensors(bytes: Vec<u8>) -> Result<Self> {
        Self::from_file(&TensorFile::from_bytes("motion data", bytes)?)
    }

    pub(crate) fn from_file(file: &TensorFile) -> Result<Self> {
        let what = file.what();
        let header = (file.metadata().get(KEY))
            .ok_or_else(|| Error::format(what, FORMAT, format!("no metadata entry {KEY:?}")))?;
        let mut document: Document = json::versioned(what, FORMAT, header, VERSION)?;
        let [frames, ..] = file.expect_shape("transform", [None, Some(3), Some(4)])?;
        let rows = |name| -> Result<_> {
            if !file.contains(name) {
                return Ok(None);
            }
            let [_, columns] = file.expect_shape(name, [Some(frames), None])?;
            let values = file.f32(name)?;
            let row = |i| values[i * columns..][..columns].to_vec();
            Ok(Some(PerFrame::Each((0..frames).map(row).collect())))
        };
        document.expression = rows("expression")?;
        document.pose = rows("pose")?;
        let transform = file.f32("transform")?;
        document.transform = Some(PerFrame::Each(bytemuck::cast_slice(&transform).to_vec()));
        file.expect_shape("focal", [Some(frames)])?;
        document.focal = Some(PerFrame::Each(file.f32("focal")?.into_owned()));
        if file.contains("clamp_near") {
            file.expect_shape("clamp_near", [Some(frames)])?;
            let flags = file.u8("clamp_near")?.iter().map(|&flag| flag != 0);
            document.clamp_near = Some(PerFrame::Each(flags.collect()));
        }
        // Lists of tensors are as long as their values.
        document.into_motion(what, usize::MAX)
    }

    /// Writes a `.json` or `.safetensors` file, replacing an older one as a whole.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written, [`Error::Argument`] for another extension.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        match extension(path) {
            "json" => file::replace(path, |write| write(self.to_json().as_bytes())),
            "safetensors" => self.writer().write(path),
            _ => Err(unknown_extension(path)),
        }
    }

    /// The motion as JSON, one line per frame and value. Constant values are written once.
    pub fn to_json(&self) -> String {
        let frames = self.frames();
        let MotionFrame {
            expression, pose, ..
        } = &frames[0];
        let clamped = frames.iter().any(|f| f.camera.clamp_near);
        let transforms = frames.iter().map(|f| f.camera.transform).collect();
        let document = Document {
            expression: (!expression.is_empty())
                .then(|| PerFrame::compact(frames, |f| f.expression.clone())),
            pose: (!pose.is_empty()).then(|| PerFrame::compact(frames, |f| f.pose.clone())),
            // Always a list: one list has to give the number of frames.
            transform: Some(PerFrame::Each(transforms)),
            focal: Some(PerFrame::compact(frames, |f| f.camera.focal)),
            clamp_near: clamped.then(|| PerFrame::compact(frames, |f| f.camera.clamp_near)),
            ..self.header()
        };
        document.to_json(LineByLine::default())
    }

    /// The motion as the content of a safetensors file.
    ///
    /// # Errors
    /// None for a valid motion, and every [`Motion`] is valid.
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        self.writer().into_bytes()
    }

    fn writer(&self) -> TensorWriter<'static> {
        let (frames, count) = (self.frames(), self.len());
        let expression: Vec<_> = frames.iter().flat_map(|f| f.expression.clone()).collect();
        let pose: Vec<_> = frames.iter().flat_map(|f| f.pose.clone()).collect();
        let transform: Vec<_> = frames.iter().map(|f| f.camera.transform).collect();
        let focal: Vec<_> = frames.iter().map(|f| f.camera.focal).collect();
        let clamp_near: Vec<_> = (frames.iter())
            .map(|f| u8::from(f.camera.clamp_near))
            .collect();
        let mut writer = TensorWriter::new(BTreeMap::new());
        writer.metadata(KEY, self.header().to_json(CompactFormatter));
        let [channels, values] = [&expression, &pose].map(|rows| rows.len() / count);
        for (name, shape, values) in [
            ("expression", &[count, channels][..], expression),
            ("pose", &[count, values], pose),
            ("transform", &[count, 3, 4], transform.concat().concat()),
            ("focal", &[count], focal),
        ] {
            if !values.is_empty() {
                writer.floats(name, shape, FloatFormat::F32, || Ok(values.into()));
            }
        }
        if clamp_near.contains(&1) {
            writer.bytes("clamp_near", &[count], &clamp_near);
        }
        writer
    }

    pub(crate) fn parse_json(what: &str, json: &str) -> Result<Self> {
        let document: Document = json::versioned(what, FORMAT, json, VERSION)?;
        document.into_motion(what, json.len())
    }

    /// Everything but the frames.
    pub(super) fn header(&self) -> Document {
        Document {
            version: VERSION,
            name: self.name().into(),
            licence: self.licence().into(),
            fps: self.fps(),
            channels: self.channels().to_vec(),
            ..Document::default()
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn extension(path: &Path) -> &str {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.unwrap_or_default()
}

#[cfg(not(target_arch = "wasm32"))]
fn unknown_extension(path: &Path) -> Error {
    let expected = "a name that ends in .json or .safetensors";
    Error::argument("motion file", expected, path.display())
}

/// A motion as JSON.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    version: u32,
    #[serde(default)]
    name: String,
    #[serde(default)]
    licence: String,
    fps: f32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    channels: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    orbit: Option<PerFrame<[f32; 3]>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    focal: Option<PerFrame<f32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clamp_near: Option<PerFrame<bool>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expression: Option<PerFrame<Vec<f32>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pose: Option<PerFrame<Vec<f32>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transform: Option<PerFrame<[[f32; 4]; 3]>>,
}

/// One value for all frames, or one for each.
#[derive(Clone, Serialize)]
#[serde(untagged)]
enum PerFrame<T> {
    Each(Vec<T>),
    All(T),
}

impl<'de, T: Cell> Deserialize<'de> for PerFrame<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let each: Option<Vec<T>> = match &value {
            Value::Numbers(numbers) => {
                let numbers = numbers.iter().map(|number| Value::Number(*number));
                numbers.map(|number| T::read(&number)).collect()
            }
            Value::List(values) => values.iter().map(T::read).collect(),
            _ => None,
        };
        let read = each
            .map(Self::Each)
            .or_else(|| T::read(&value).map(Self::All));
        read.ok_or_else(|| {
            D::Error::custom(
                "expected one value of the right size, or a list with one such value per frame",
            )
        })
    }
}

/// The value of a frame.
trait Cell: Sized {
    fn read(value: &Value) -> Option<Self>;
}

impl Cell for bool {
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }
}

impl Cell for f32 {
    fn read(value: &Value) -> Option<Self> {
        value.number().map(|number| number as f32)
    }
}

impl Cell for Vec<f32> {
    fn read(value: &Value) -> Option<Self> {
        Some(
            value
                .numbers()?
                .iter()
                .map(|&number| number as f32)
                .collect(),
        )
    }
}

impl Cell for [f32; 3] {
    fn read(value: &Value) -> Option<Self> {
        let numbers: &[f64; 3] = value.numbers()?.try_into().ok()?;
        Some(numbers.map(|number| number as f32))
    }
}

/// 3 rows of 4, or 4 with the usual last one.
impl Cell for [[f32; 4]; 3] {
    fn read(value: &Value) -> Option<Self> {
        let rows = value.list()?.iter().map(|row| {
            let row: &[f64; 4] = row.numbers()?.try_into().ok()?;
            Some(row.map(|number| number as f32))
        });
        let rows: Vec<[f32; 4]> = rows.collect::<Option<_>>()?;
        Camera::rows(rows.as_flattened()).ok()
    }
}

impl<T: Clone + PartialEq> PerFrame<T> {
    /// One value if it is the same in all frames.
    fn compact(frames: &[MotionFrame], value: impl Fn(&MotionFrame) -> T) -> Self {
        let mut values: Vec<T> = frames.iter().map(value).collect();
        if values.iter().all(|value| *value == values[0]) {
            Self::All(values.swap_remove(0))
        } else {
            Self::Each(values)
        }
    }

    fn at(&self, i: usize) -> T {
        match self {
            Self::Each(values) => values[i].clone(),
            Self::All(value) => value.clone(),
        }
    }
}

impl Document {
    pub(super) fn to_json(&self, formatter: impl Formatter) -> String {
        let mut json = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut json, formatter);
        (self.serialize(&mut serializer)).expect("numbers and strings are always JSON");
        String::from_utf8(json).expect("JSON is UTF-8")
    }

    /// The length of the lists; without any, one frame.
    fn frame_count(&self) -> Result<usize, String> {
        fn length<T>(column: &Option<PerFrame<T>>) -> Option<usize> {
            match column {
                Some(PerFrame::Each(values)) => Some(values.len()),
                _ => None,
            }
        }
        let lengths = [
            ("expression", length(&self.expression)),
            ("pose", length(&self.pose)),
            ("orbit", length(&self.orbit)),
            ("transform", length(&self.transform)),
            ("focal", length(&self.focal)),
            ("clamp_near", length(&self.clamp_near)),
        ];
        let mut lists = (lengths.into_iter()).filter_map(|(key, length)| Some((key, length?)));
        let Some((first, count)) = lists.next() else {
            return Ok(1);
        };
        match lists.find(|(_, length)| *length != count) {
            None => Ok(count),
            Some((key, length)) => Err(format!(
                "expected lists of one length, found {count} values for {first:?} and {length} for \
                 {key:?}"
            )),
        }
    }

    /// `size` is the length of the text.
    fn into_motion(self, what: &str, size: usize) -> Result<Motion> {
        let invalid = |reason: String| Error::format(what, FORMAT, reason);
        if self.orbit.is_some() && self.transform.is_some() {
            let reason = "expected \"orbit\" or \"transform\", found both";
            return Err(invalid(reason.into()));
        }
        let camera = |i| {
            let default = Camera::default();
            let placed = match (&self.orbit, &self.transform) {
                (Some(orbit), _) => {
                    let [distance, elevation, azimuth] = orbit.at(i);
                    Camera::orbit(distance, elevation, azimuth)
                }
                (None, Some(transform)) => Camera::from_transform(transform.at(i)),
                (None, None) => default,
            };
            Camera {
                focal: self.focal.as_ref().map_or(default.focal, |v| v.at(i)),
                clamp_near: self.clamp_near.as_ref().is_some_and(|v| v.at(i)),
                ..placed
            }
        };
        let values = |column: &Option<PerFrame<Vec<f32>>>, i| {
            column.as_ref().map(|v| v.at(i)).unwrap_or_default()
        };
        let count = self.frame_count().map_err(invalid)?;
        // One value may stand for all frames.
        let shared = [&self.expression, &self.pose].map(|column| match column {
            Some(PerFrame::All(values)) => values.len(),
            _ => 0,
        });
        MotionFrame::affordable(count, shared.iter().sum(), size).map_err(invalid)?;
        let frames = (0..count)
            .map(|i| MotionFrame {
                expression: values(&self.expression, i),
                pose: values(&self.pose, i),
                camera: camera(i),
            })
            .collect();
        let motion = Motion::new(self.fps, frames).and_then(|motion| match self.channels {
            channels if channels.is_empty() => Ok(motion),
            channels => motion.with_channels(channels),
        });
        let motion = motion.map_err(|error| invalid(error.to_string()))?;
        Ok(motion.with_name(self.name, self.licence))
    }
}

/// JSON of an object with a line for each element of a list of lists and for each other value.
/// serde_json itself writes either one line or one number per line.
#[derive(Default)]
struct LineByLine {
    depth: usize,
    in_rows: bool,
}

impl Formatter for LineByLine {
    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"{")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"\n}\n")
    }

    fn begin_object_key<W>(&mut self, writer: &mut W, first: bool) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        writer.write_all(if first { b"\n  " } else { b",\n  " })
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        if self.depth == 3 {
            self.in_rows = true;
            writer.write_all(b"\n    ")?;
        }
        writer.write_all(b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        if self.depth == 1 && std::mem::take(&mut self.in_rows) {
            writer.write_all(b"\n  ")?;
        }
        writer.write_all(b"]")
    }
}
