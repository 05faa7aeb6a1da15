//! What drives an avatar: one frame of expression, pose and camera, or a sequence of them.

#[cfg(not(target_arch = "wasm32"))]
use crate::file;
use crate::{
    Camera, Error, FloatFormat, HeadModel, Result, TensorFile, TensorWriter,
    camera::FARTHEST,
    head::{check_coefficients, check_finite, first_repeated},
    json,
};
use glam::{Mat3, Quat, Vec3};
use serde::{Deserialize, Serialize};
use serde_json::ser::{CompactFormatter, Formatter};
use std::{collections::BTreeMap, io, sync::Arc};

const FORMAT: &str = "motion";
const VERSION: u32 = 1;
/// Metadata key in a safetensors file.
const KEY: &str = "motion";

/// What one frame shows: expression, pose and camera.
///
/// ```
/// use gpavatar::{Camera, Drive};
///
/// let drive = Drive::neutral()
///     .expression("jawOpen", 0.6)
///     .pose([0.0, 0.2, 0.0, 0.0, 0.0, 0.0])
///     .camera(Camera::orbit(10.0, 5.0, 10.0));
/// ```
///
/// A drive knows no model; names and counts are checked against one when it is rendered, or
/// beforehand by [`Drive::resolve`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drive {
    /// Names of `coefficients`, shared by the frames of a motion; without them they are the head
    /// model's channels in order.
    channels: Option<Arc<[String]>>,
    coefficients: Vec<f32>,
    named: Vec<(String, f32)>,
    pose: Vec<f32>,
    points: Option<Vec<[f32; 3]>>,
    camera: Camera,
}

impl Drive {
    /// The head at rest before the default camera.
    pub fn neutral() -> Self {
        Self::default()
    }

    /// Explicit points, for hosts with a morphable model of their own.
    ///
    /// They take the place of expression and pose: as many as the model has points, in the meaning
    /// and order it was trained with, in world coordinates (see [`Camera`]) within ±10⁶.
    pub fn points(points: Vec<[f32; 3]>) -> Self {
        Self {
            points: Some(points),
            ..Self::default()
        }
    }

    /// Sets one expression channel of the head model, usually between 0 and 1.
    ///
    /// It overrides what [`Drive::coefficients`] says, and an earlier call for the same channel.
    pub fn expression(mut self, channel: impl Into<String>, value: f32) -> Self {
        self.named.push((channel.into(), value));
        self
    }

    /// Sets the coefficients of all expression channels, in the head model's order.
    pub fn coefficients(mut self, coefficients: impl Into<Vec<f32>>) -> Self {
        self.channels = None;
        self.coefficients = coefficients.into();
        self
    }

    /// Sets the pose: an axis-angle triple (axis times angle in radians) for each joint that the
    /// head model lets a pose drive, or for each of its joints.
    ///
    /// With FLAME that is the global rotation, then the jaw's: `[gx, gy, gz, jx, jy, jz]`.
    pub fn pose(mut self, pose: impl Into<Vec<f32>>) -> Self {
        self.pose = pose.into();
        self
    }

    /// Sets the camera.
    pub fn camera(mut self, camera: impl Into<Camera>) -> Self {
        self.camera = camera.into();
        self
    }

    /// Checks this drive against a model and puts names in their places.
    ///
    /// `head` is the model's head, if it has one; `points` is the model's number of points.
    ///
    /// # Errors
    /// [`Error::Argument`] if a channel is unknown (with the most similar names), a count does not
    /// fit, a value is not finite, a point lies beyond ±10⁶, the camera is
    /// [no camera](Camera::validate), or points are given together with an expression or pose.
    pub fn resolve(&self, head: Option<&HeadModel>, points: usize) -> Result<ResolvedDrive<'_>> {
        self.camera.validate()?;
        let at_rest = self.coefficients.is_empty() && self.named.is_empty() && self.pose.is_empty();
        let geometry = match (&self.points, head) {
            (Some(_), _) if !at_rest => {
                return Err(Error::argument(
                    "drive",
                    "either points or expression and pose",
                    "both",
                ));
            }
            (Some(found), _) => {
                if found.len() != points {
                    return Err(Error::argument(
                        "points of the drive",
                        format!("{points} points"),
                        found.len().to_string(),
                    ));
                }
                check_points(found)?;
                Geometry::Points(found)
            }
            (None, Some(head)) => {
                head.check_pose(&self.pose)?;
                Geometry::Coefficients {
                    expression: self.resolve_expression(head)?,
                    pose: &self.pose,
                }
            }
            (None, None) => {
                return Err(Error::argument(
                    "drive",
                    format!("{points} explicit points, as the model has no head model"),
                    "none",
                ));
            }
        };
        Ok(ResolvedDrive {
            geometry,
            camera: &self.camera,
        })
    }

    fn resolve_expression(&self, head: &HeadModel) -> Result<Vec<f32>> {
        let mut expression = vec![0.0; head.expression_count()];
        match &self.channels {
            Some(channels) if **channels != *head.parts().channels => {
                check_finite("expression", &self.coefficients)?;
                for (channel, &value) in channels.iter().zip(&self.coefficients) {
                    expression[head.channel(channel)?] = value;
                }
            }
            _ => {
                check_coefficients("expression", &self.coefficients, expression.len())?;
                if !self.coefficients.is_empty() {
                    expression.copy_from_slice(&self.coefficients);
                }
            }
        }
        for (channel, value) in &self.named {
            check_finite(&format!("expression {channel:?}"), &[*value])?;
            expression[head.channel(channel)?] = *value;
        }
        Ok(expression)
    }
}

fn check_points(points: &[[f32; 3]]) -> Result<()> {
    let within = |point: &[f32; 3]| point.iter().all(|v| v.abs() <= FARTHEST);
    match points.iter().position(|point| !within(point)) {
        None => Ok(()),
        Some(i) => Err(Error::argument(
            "points of the drive",
            format!("coordinates within ±{FARTHEST}"),
            format!("{:?} at index {i}", points[i]),
        )),
    }
}

/// A [`Drive`] that was found to fit a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedDrive<'a> {
    /// Where the head's points come from.
    pub geometry: Geometry<'a>,
    /// The camera, valid.
    pub camera: &'a Camera,
}

/// Where the points of a [`ResolvedDrive`] come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Geometry<'a> {
    /// From the head model.
    Coefficients {
        /// One coefficient for every expression direction.
        expression: Vec<f32>,
        /// What [`HeadModel::pose`] takes.
        pose: &'a [f32],
    },
    /// From the host.
    Points(&'a [[f32; 3]]),
}

/// One frame of a [`Motion`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MotionFrame {
    /// Expression coefficients, one for every channel of the motion.
    pub expression: Vec<f32>,
    /// Axis-angle triples, as for [`Drive::pose`].
    pub pose: Vec<f32>,
    /// The camera.
    pub camera: Camera,
}

impl MotionFrame {
    /// Every number of the expression and the pose.
    fn values(&self) -> impl Iterator<Item = &f32> {
        self.expression.iter().chain(&self.pose)
    }
}

/// A sequence of frames at a fixed rate: a performance to play on an avatar.
///
/// Every frame has the same number of expression coefficients and of pose values, and there is at
/// least one frame. If the expression channels have names, they are matched by name with those of
/// whatever head model plays the motion; otherwise by position.
///
/// # JSON
/// Made to be written by hand. Each of `expression`, `pose`, `orbit`, `transform`, `focal` and
/// `clamp_near` is either **one value** for the whole motion or **a list** with one value per
/// frame; all lists have the same length, and without any there is one frame. A motion of three
/// frames in which the camera and the pose stay the same:
///
/// ```
/// # let motion = gpavatar::Motion::from_json(r#"
/// {
///   "version": 1,
///   "name": "a smile",
///   "licence": "CC0-1.0",
///   "fps": 30,
///   "channels": ["jawOpen", "mouthSmileLeft", "mouthSmileRight"],
///   "orbit": [10, 5, 0],
///   "expression": [
///     [0.0, 0.1, 0.1],
///     [0.1, 0.5, 0.4],
///     [0.1, 0.7, 0.6]
///   ]
/// }
/// # "#)?;
/// # assert_eq!(motion.len(), 3);
/// # Ok::<(), gpavatar::Error>(())
/// ```
///
/// | key          | value                                                        | if absent      |
/// |--------------|--------------------------------------------------------------|----------------|
/// | `version`    | 1                                                            | error          |
/// | `fps`        | frames per second, more than 0                               | error          |
/// | `name`       | what it is                                                   | empty          |
/// | `licence`    | under what terms it may be used                              | empty          |
/// | `channels`   | names of the expression coefficients                         | no names       |
/// | `expression` | coefficients                                                 | neutral        |
/// | `pose`       | axis-angle triples in radians, as for [`Drive::pose`]        | at rest        |
/// | `orbit`      | `[distance, elevation°, azimuth°]` of [`Camera::orbit`]      | `[10, 0, 0]`   |
/// | `transform`  | instead of `orbit`: the camera's matrix, 3 rows of 4         |                |
/// | `focal`      | the camera's focal length                                    | 12             |
/// | `clamp_near` | [`Camera::clamp_near`]                                       | `false`        |
///
/// Other keys are an error, so that a misspelt one does not go unnoticed.
///
/// # safetensors
/// The same for programs: float tensors `expression` `[F, E]`, `pose` `[F, P]` (each may be
/// absent), `transform` `[F, 3, 4]`, `focal` `[F]` and, if set in any frame, `clamp_near` `[F]` of
/// U8. The metadata entry `motion` is the JSON above with only `version`, `name`, `licence`, `fps`
/// and `channels`.
#[derive(Clone, Debug, PartialEq)]
pub struct Motion {
    name: String,
    licence: String,
    fps: f32,
    channels: Option<Arc<[String]>>,
    frames: Vec<MotionFrame>,
}

impl Motion {
    /// A motion of these frames, `fps` of them per second.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no frame, frames differ in size, a pose is not made of
    /// triples, a value is not finite, a camera is [no camera](Camera::validate), or `fps` is not
    /// positive.
    pub fn new(fps: f32, frames: Vec<MotionFrame>) -> Result<Self> {
        if !(fps.is_finite() && fps > 0.0) {
            return Err(Error::argument(
                "frames per second",
                "a positive number",
                fps.to_string(),
            ));
        }
        let Some(first) = frames.first() else {
            return Err(Error::argument("motion", "at least one frame", "none"));
        };
        for (i, frame) in frames.iter().enumerate() {
            for (what, found, expected) in [
                ("expression", &frame.expression, &first.expression),
                ("pose", &frame.pose, &first.pose),
            ] {
                let what = format!("{what} of frame {i}");
                if found.len() != expected.len() {
                    return Err(Error::argument(
                        what,
                        format!("{} values, as in the first frame", expected.len()),
                        found.len().to_string(),
                    ));
                }
                check_finite(&what, found)?;
            }
            let valid = frame.camera.validate();
            valid.map_err(|error| error.of(format_args!("frame {i}")))?;
        }
        if !first.pose.len().is_multiple_of(3) {
            return Err(Error::argument(
                "pose",
                "axis-angle triples",
                format!("{} values", first.pose.len()),
            ));
        }
        Ok(Self {
            name: String::new(),
            licence: String::new(),
            fps,
            channels: None,
            frames,
        })
    }

    /// The same motion with names for its expression coefficients.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are not as many names as coefficients or one comes twice.
    pub fn with_channels(mut self, channels: Vec<String>) -> Result<Self> {
        let expected = self.frames[0].expression.len();
        if channels.len() != expected {
            return Err(Error::argument(
                "channels",
                format!("{expected} names, as there are expression coefficients"),
                channels.len().to_string(),
            ));
        }
        if let Some(name) = first_repeated(&channels) {
            return Err(Error::argument(
                "channels",
                "different names",
                format!("{name:?} twice"),
            ));
        }
        self.channels = (!channels.is_empty()).then(|| channels.into());
        Ok(self)
    }

    /// The same motion with a name and the terms under which it may be used.
    pub fn with_name(mut self, name: impl Into<String>, licence: impl Into<String>) -> Self {
        self.name = name.into();
        self.licence = licence.into();
        self
    }

    /// Reads a motion from a `.json` or `.safetensors` file (see [`Motion`]).
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::Argument`] for another extension, else those of
    /// [`Motion::from_json`] and [`Motion::from_safetensors`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self> {
        let path = path.as_ref();
        match Encoding::of(path)? {
            Encoding::Json => {
                let (what, bytes) = (path.display().to_string(), file::read(path)?);
                match str::from_utf8(&bytes) {
                    Ok(json) => Self::parse_json(&what, json),
                    Err(error) => Err(Error::format(what, FORMAT, error.to_string())),
                }
            }
            Encoding::Safetensors => Self::from_file(&TensorFile::open(path)?),
        }
    }

    /// Reads a motion from JSON (see [`Motion`]).
    ///
    /// # Errors
    /// [`Error::Format`] if it is no such JSON, of an unknown version, or what [`Motion::new`]
    /// refuses.
    pub fn from_json(json: &str) -> Result<Self> {
        Self::parse_json("motion data", json)
    }

    /// Reads a motion from the content of a safetensors file (see [`Motion`]).
    ///
    /// # Errors
    /// [`Error::Format`] if it is no such file, else those of [`Motion::from_file`].
    pub fn from_safetensors(bytes: Vec<u8>) -> Result<Self> {
        Self::from_file(&TensorFile::from_bytes("motion data", bytes)?)
    }

    /// Reads a motion from a safetensors file (see [`Motion`]).
    ///
    /// # Errors
    /// [`Error::Format`] if it holds no motion, one of an unknown version, or what [`Motion::new`]
    /// refuses; [`Error::Tensors`] if a tensor is missing, misshapen or of a wrong type.
    pub fn from_file(file: &TensorFile) -> Result<Self> {
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
        document.into_motion(what)
    }

    /// Writes a `.json` or `.safetensors` file, replacing an older one as a whole.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written, [`Error::Argument`] for another extension.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn write(&self, path: impl AsRef<std::path::Path>) -> Result<()> {
        let path = path.as_ref();
        match Encoding::of(path)? {
            Encoding::Json => file::replace(path, |write| write(self.to_json().as_bytes())),
            Encoding::Safetensors => self.writer().write(path),
        }
    }

    /// The motion as JSON, one line per frame and value; what never changes is written once.
    pub fn to_json(&self) -> String {
        let frames = &self.frames;
        let MotionFrame {
            expression, pose, ..
        } = &frames[0];
        let clamped = frames.iter().any(|f| f.camera.clamp_near);
        let transforms = frames.iter().map(|f| f.camera.transform).collect();
        let document = Document {
            expression: (!expression.is_empty())
                .then(|| PerFrame::compact(frames, |f| f.expression.clone())),
            pose: (!pose.is_empty()).then(|| PerFrame::compact(frames, |f| f.pose.clone())),
            // In full even if it never changes: some list has to tell the number of frames.
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
    /// Those of [`TensorWriter::into_bytes`], of which a motion that is valid gives none.
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        self.writer().into_bytes()
    }

    fn writer(&self) -> TensorWriter<'static> {
        let (frames, count) = (&self.frames, self.len());
        let expression: Vec<_> = frames.iter().flat_map(|f| f.expression.clone()).collect();
        let pose: Vec<_> = frames.iter().flat_map(|f| f.pose.clone()).collect();
        let transform: Vec<_> = frames.iter().map(|f| f.camera.transform).collect();
        let focal: Vec<_> = frames.iter().map(|f| f.camera.focal).collect();
        let clamp_near: Vec<_> = (frames.iter())
            .map(|f| u8::from(f.camera.clamp_near))
            .collect();
        let mut writer = TensorWriter::new(BTreeMap::new());
        writer.metadata(KEY, self.header().to_json(CompactFormatter));
        for (name, shape, values) in [
            (
                "expression",
                &[count, expression.len() / count][..],
                expression,
            ),
            ("pose", &[count, pose.len() / count], pose),
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

    fn parse_json(what: &str, json: &str) -> Result<Self> {
        let document: Document = json::versioned(what, FORMAT, json, VERSION)?;
        document.into_motion(what)
    }

    /// Everything but the frames.
    fn header(&self) -> Document {
        Document {
            version: VERSION,
            name: self.name.clone(),
            licence: self.licence.clone(),
            fps: self.fps,
            channels: self.channels().to_vec(),
            ..Document::default()
        }
    }

    /// What it is, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Under what terms it may be used.
    pub fn licence(&self) -> &str {
        &self.licence
    }

    /// Frames per second.
    pub fn fps(&self) -> f32 {
        self.fps
    }

    /// Names of the expression coefficients; empty if they have none.
    pub fn channels(&self) -> &[String] {
        self.channels.as_deref().unwrap_or_default()
    }

    /// Number of frames, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "there is no empty motion")]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Seconds from the first to the last frame.
    pub fn duration(&self) -> f32 {
        (self.len() - 1) as f32 / self.fps
    }

    /// All frames.
    pub fn frames(&self) -> &[MotionFrame] {
        &self.frames
    }

    /// Frame `i`, counted from 0, if there are so many.
    pub fn frame(&self, i: usize) -> Option<&MotionFrame> {
        self.frames.get(i)
    }

    /// What each frame asks of an avatar.
    pub fn drives(&self) -> impl ExactSizeIterator<Item = Drive> {
        self.frames.iter().map(|frame| self.drive(frame.clone()))
    }

    /// What the motion asks of an avatar at `seconds` after its first frame, interpolated between
    /// the frames around it; before the first and after the last frame these stay.
    ///
    /// Coefficients, the camera's translation and its focal length are interpolated linearly, its
    /// rotation and the joints' spherically.
    ///
    /// # Errors
    /// [`Error::Argument`] if `seconds` is not a number.
    pub fn sample(&self, seconds: f32) -> Result<Drive> {
        if seconds.is_nan() {
            return Err(Error::argument("time", "a number of seconds", "NaN"));
        }
        // f64 keeps the fraction exact far into a long motion.
        let last = (self.len() - 1) as f64;
        let position = (f64::from(seconds) * f64::from(self.fps)).clamp(0.0, last);
        let frame = &self.frames[position as usize];
        let fraction = position.fract() as f32;
        if fraction == 0.0 {
            return Ok(self.drive(frame.clone()));
        }
        Ok(self.drive(interpolate(
            frame,
            &self.frames[position as usize + 1],
            fraction,
        )))
    }

    fn drive(&self, frame: MotionFrame) -> Drive {
        Drive {
            channels: self.channels.clone(),
            coefficients: frame.expression,
            pose: frame.pose,
            camera: frame.camera,
            ..Drive::default()
        }
    }

    /// The motion with its jitter smoothed, as GPAvatar does with tracked videos.
    ///
    /// Exponential smoothing of every number, `y_0 = x_0` and `y_i = y_{i-1} + alpha (x_i -
    /// y_{i-1})`, where a rotation takes part as the first two rows of its matrix and is made
    /// orthonormal only for output (Zhou et al., "On the Continuity of Rotation Representations in
    /// Neural Networks", 2019). GPAvatar's `alpha` is 0.9; 1 changes nothing.
    ///
    /// # Errors
    /// [`Error::Argument`] if `alpha` is not in `(0, 1]`, or two opposite rotations average to
    /// none.
    pub fn smooth(&self, alpha: f32) -> Result<Self> {
        if !(alpha > 0.0 && alpha <= 1.0) {
            return Err(Error::argument(
                "smoothing factor alpha",
                "more than 0 and at most 1",
                alpha.to_string(),
            ));
        }
        let approach = |state: &mut f32, value: &f32| *state += alpha * (value - *state);
        let mut state = self.frames[0].clone();
        let mut frames = Vec::with_capacity(self.len());
        for frame in &self.frames {
            let values = frame.values().chain(frame.camera.transform.as_flattened());
            let state_values = (state.expression.iter_mut().chain(&mut state.pose))
                .chain(state.camera.transform.as_flattened_mut());
            for (state, value) in state_values.zip(values) {
                approach(state, value);
            }
            approach(&mut state.camera.focal, &frame.camera.focal);
            state.camera.clamp_near = frame.camera.clamp_near;
            frames.push(MotionFrame {
                camera: orthonormalised(&state.camera),
                ..state.clone()
            });
        }
        Ok(Self {
            frames: Self::new(self.fps, frames)?.frames,
            ..self.clone()
        })
    }
}

/// The camera with the first two rows of its rotation made orthonormal by Gram and Schmidt, and the
/// third their cross product; not a number where they do not span a plane.
fn orthonormalised(camera: &Camera) -> Camera {
    let [a, b] = [0, 1].map(|i| Vec3::from_slice(&camera.transform[i]));
    let first = a.normalize_or(Vec3::NAN);
    let second = (b - first * first.dot(b)).normalize_or(Vec3::NAN);
    let rows = [first, second, first.cross(second)];
    let mut result = *camera;
    for (row, values) in rows.into_iter().zip(&mut result.transform) {
        values[..3].copy_from_slice(&row.to_array());
    }
    result
}

fn interpolate(from: &MotionFrame, to: &MotionFrame, fraction: f32) -> MotionFrame {
    let mix = |a: f32, b: f32| a + fraction * (b - a);
    let triples = |pose: &[f32]| -> Vec<Quat> {
        let (triples, _) = pose.as_chunks::<3>();
        (triples.iter())
            .map(|&r| Quat::from_scaled_axis(r.into()))
            .collect()
    };
    // Normalised, because a valid camera's matrix may be a rotation only to a few digits.
    let rotation = |f: &MotionFrame| Quat::from_mat3(&f.camera.rotation()).normalize();
    let axes = Mat3::from_quat(rotation(from).slerp(rotation(to), fraction));
    let [translation, next] = [from, to].map(|f| f.camera.translation());
    MotionFrame {
        expression: (from.expression.iter().zip(&to.expression))
            .map(|(&a, &b)| mix(a, b))
            .collect(),
        pose: (triples(&from.pose).into_iter().zip(triples(&to.pose)))
            .flat_map(|(a, b)| a.slerp(b, fraction).to_scaled_axis().to_array())
            .collect(),
        camera: Camera {
            focal: mix(from.camera.focal, to.camera.focal),
            clamp_near: from.camera.clamp_near,
            ..Camera::from_axes(axes, translation.lerp(next, fraction))
        },
    }
}

/// How a file is written.
#[cfg(not(target_arch = "wasm32"))]
enum Encoding {
    Json,
    Safetensors,
}

#[cfg(not(target_arch = "wasm32"))]
impl Encoding {
    fn of(path: &std::path::Path) -> Result<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => Ok(Self::Json),
            Some("safetensors") => Ok(Self::Safetensors),
            _ => Err(Error::argument(
                "motion file",
                "a name that ends in .json or .safetensors",
                path.display().to_string(),
            )),
        }
    }
}

/// A motion as its JSON has it.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
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
#[derive(Clone, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected one value of the right size, or a list with one such value per frame"
)]
enum PerFrame<T> {
    Each(Vec<T>),
    All(T),
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

    fn len(&self) -> Option<usize> {
        match self {
            Self::Each(values) => Some(values.len()),
            Self::All(_) => None,
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
    fn to_json(&self, formatter: impl Formatter) -> String {
        let mut json = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut json, formatter);
        (self.serialize(&mut serializer)).expect("numbers and strings are always JSON");
        String::from_utf8(json).expect("JSON is UTF-8")
    }

    /// The length of the lists; without any, one frame.
    fn frame_count(&self) -> Result<usize, String> {
        let lengths = [
            (
                "expression",
                self.expression.as_ref().and_then(PerFrame::len),
            ),
            ("pose", self.pose.as_ref().and_then(PerFrame::len)),
            ("orbit", self.orbit.as_ref().and_then(PerFrame::len)),
            ("transform", self.transform.as_ref().and_then(PerFrame::len)),
            ("focal", self.focal.as_ref().and_then(PerFrame::len)),
            (
                "clamp_near",
                self.clamp_near.as_ref().and_then(PerFrame::len),
            ),
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

    fn into_motion(self, what: &str) -> Result<Motion> {
        let invalid = |reason: String| Error::format(what, FORMAT, reason);
        if self.orbit.is_some() && self.transform.is_some() {
            return Err(invalid(
                "expected \"orbit\" or \"transform\", found both".into(),
            ));
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
        let frames = (0..self.frame_count().map_err(invalid)?)
            .map(|i| MotionFrame {
                expression: values(&self.expression, i),
                pose: values(&self.pose, i),
                camera: camera(i),
            })
            .collect();
        let motion = Motion::new(self.fps, frames).and_then(|motion| {
            if self.channels.is_empty() {
                Ok(motion)
            } else {
                motion.with_channels(self.channels)
            }
        });
        match motion {
            Ok(motion) => Ok(motion.with_name(self.name, self.licence)),
            Err(error) => Err(invalid(error.to_string())),
        }
    }
}

/// JSON of an object whose lists of lists have a line per element, and everything else a line of
/// its own: neither one endless line nor one number per line.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HeadModelParts, file::Scratch};
    use std::fs;

    fn head() -> HeadModel {
        HeadModel::new(HeadModelParts {
            parents: vec![-1, 0],
            joint_regressor: vec![0.5; 4],
            skinning_weights: vec![0.5; 4],
            template: vec![[0.0; 3]; 2],
            expression_basis: vec![[0.0; 3]; 6],
            channels: ["jawOpen", "mouthSmileLeft", "mouthSmileRight"]
                .map(String::from)
                .into(),
            ..Default::default()
        })
        .unwrap()
    }

    fn expression(drive: &Drive, head: &HeadModel) -> Vec<f32> {
        match drive
            .resolve(Some(head), head.vertex_count())
            .unwrap()
            .geometry
        {
            Geometry::Coefficients { expression, .. } => expression,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_drive_resolves_names_and_coefficients() {
        let head = head();
        assert_eq!(expression(&Drive::neutral(), &head), [0.0; 3]);
        let by_name = Drive::neutral()
            .expression("mouthSmileRight", 0.5)
            .expression("jawOpen", 0.1)
            .expression("jawOpen", 0.2);
        assert_eq!(expression(&by_name, &head), [0.2, 0.0, 0.5]);
        let both = by_name.coefficients([0.7, 0.8, 0.9]);
        assert_eq!(expression(&both, &head), [0.2, 0.8, 0.5]);

        let drive = Drive::neutral()
            .pose([0.1, 0.2, 0.3, 0.0, 0.0, 0.0])
            .camera(Camera::orbit(9.0, 5.0, 0.0));
        let resolved = drive.resolve(Some(&head), 2).unwrap();
        assert_eq!(*resolved.camera, Camera::orbit(9.0, 5.0, 0.0));
        assert!(matches!(
            resolved.geometry,
            Geometry::Coefficients {
                pose: [0.1, 0.2, 0.3, ..],
                ..
            }
        ));
    }

    #[test]
    fn points_need_no_head_model() {
        let points = vec![[0.5; 3]; 4];
        let drive = Drive::points(points.clone());
        for head in [None, Some(&head())] {
            let resolved = drive.resolve(head, 4).unwrap();
            assert_eq!(resolved.geometry, Geometry::Points(&points));
        }
    }

    #[test]
    fn a_drive_that_fits_no_model_is_an_error() {
        let head = head();
        let neutral = Drive::neutral;
        let points = || Drive::points(vec![[0.0; 3]; 2]);
        let bad = [
            neutral().expression("jawOpn", 1.0),
            neutral().expression("jawOpen", f32::NAN),
            neutral().coefficients([1.0]),
            neutral().coefficients([1.0, f32::INFINITY, 0.0]),
            neutral().pose([0.0; 4]),
            neutral().pose([0.0; 9]),
            neutral().pose([f32::NAN; 6]),
            neutral().camera([[0.0; 4]; 3]),
            points().camera(Camera::default().with_focal(f32::NAN)),
            points().expression("jawOpen", 0.0),
            points().pose([0.0; 6]),
            points().coefficients([0.0; 3]),
            Drive::points(Vec::new()),
            Drive::points(vec![[0.0; 3]; 3]),
            Drive::points(vec![[0.0; 3], [0.0, f32::NAN, 0.0]]),
        ];
        for drive in bad {
            let error = drive.resolve(Some(&head), 2).unwrap_err();
            assert!(matches!(error, Error::Argument { .. }), "{error}");
        }
        let error = neutral().resolve(None, 2).unwrap_err();
        assert!(error.to_string().contains("no head model"), "{error}");
        let misspelt = neutral().expression("jawOpn", 1.0);
        let error = misspelt.resolve(Some(&head), 2).unwrap_err();
        assert!(
            error.to_string().contains("nearest: \"jawOpen\""),
            "{error}"
        );
    }

    /// Five frames in which everything changes, with values that are not exact in decimal.
    fn lively() -> Motion {
        let frames = (0..5)
            .map(|i| {
                let t = i as f32 / 7.0;
                MotionFrame {
                    expression: vec![t, 1.0 / 3.0, -t * t],
                    pose: vec![0.1 * t, 0.0, -0.3 * t, t, 0.5, 0.0],
                    camera: Camera::orbit(10.0 + t, 5.0 * t, 30.0 * t)
                        .with_focal(12.0 + t)
                        .with_clamp_near(i == 3),
                }
            })
            .collect();
        let channels = ["mouthSmileRight", "jawOpen", "mouthSmileLeft"].map(String::from);
        let motion = Motion::new(29.97, frames).unwrap();
        (motion.with_channels(channels.into()).unwrap()).with_name("lively", "CC0-1.0")
    }

    /// Nothing changes in its three frames, and there is no expression.
    fn still() -> Motion {
        Motion::new(25.0, vec![MotionFrame::default(); 3]).unwrap()
    }

    #[test]
    fn files_round_trip_exactly() {
        let scratch = Scratch::new("motion-files");
        for motion in [lively(), still()] {
            for name in ["motion.json", "motion.safetensors"] {
                let path = scratch.path(name);
                motion.write(&path).unwrap();
                assert_eq!(Motion::open(&path).unwrap(), motion, "{name}");
            }
        }
        for name in ["motion.txt", "motion", "json"] {
            let error = lively().write(scratch.path(name)).unwrap_err();
            assert!(matches!(error, Error::Argument { .. }), "{error}");
            let error = Motion::open(scratch.path(name)).unwrap_err();
            assert!(matches!(error, Error::Argument { .. }), "{error}");
        }
        let error = Motion::open(scratch.path("missing.json")).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
    }

    #[test]
    fn json_has_a_line_per_frame() {
        let frames = [0.0, 0.25].map(|x| MotionFrame {
            expression: vec![x, 1.0],
            pose: vec![0.5, 0.0, 0.0],
            camera: Camera::orbit(10.0, 0.0, 0.0),
        });
        let motion = Motion::new(30.0, frames.into()).unwrap();
        let motion = motion.with_channels(vec!["a".into(), "b".into()]).unwrap();
        let expected = r#"{
  "version": 1,
  "name": "",
  "licence": "",
  "fps": 30.0,
  "channels": ["a","b"],
  "focal": 12.0,
  "expression": [
    [0.0,1.0],
    [0.25,1.0]
  ],
  "pose": [0.5,0.0,0.0],
  "transform": [
    [[-1.0,0.0,0.0,0.0],[0.0,1.0,0.0,0.0],[0.0,0.0,-1.0,10.0]],
    [[-1.0,0.0,0.0,0.0],[0.0,1.0,0.0,0.0],[0.0,0.0,-1.0,10.0]]
  ]
}
"#;
        assert_eq!(motion.to_json().replace("-0.0", "0.0"), expected);
    }

    #[test]
    fn hand_written_json_may_leave_out_much() {
        let motion = Motion::from_json(
            r#"{"version": 1, "fps": 24, "expression": [[0], [1], [2]], "pose": [0, 0.5, 0],
                "orbit": [[10, 0, -30], [10, 0, 0], [10, 0, 30]], "focal": 11}"#,
        )
        .unwrap();
        assert_eq!((motion.len(), motion.fps(), motion.name()), (3, 24.0, ""));
        assert!(motion.channels().is_empty());
        let frame = motion.frame(2).unwrap();
        assert_eq!(
            (&*frame.expression, &*frame.pose),
            (&[2.0][..], &[0.0, 0.5, 0.0][..])
        );
        assert_eq!(
            frame.camera,
            Camera::orbit(10.0, 0.0, 30.0).with_focal(11.0)
        );
        assert_eq!(motion.frame(3), None);

        let neutral = Motion::from_json(r#"{"version": 1, "fps": 30}"#).unwrap();
        assert_eq!(neutral.frames(), [MotionFrame::default()]);
        let fixed = format!(
            r#"{{"version": 1, "fps": 30, "clamp_near": true, "transform": {:?}}}"#,
            Camera::orbit(8.0, 10.0, 20.0).transform
        );
        let expected = Camera::orbit(8.0, 10.0, 20.0).with_clamp_near(true);
        assert_eq!(
            Motion::from_json(&fixed).unwrap().frames()[0].camera,
            expected
        );
    }

    #[test]
    fn bad_json_is_an_error_that_says_why() {
        let with = |rest: &str| format!(r#"{{"version": 1, "fps": 30, {rest}}}"#);
        for (json, reason) in [
            (String::new(), "EOF"),
            ("3".into(), "invalid type"),
            (r#"{"fps": 30}"#.into(), "missing field `version`"),
            (
                r#"{"version": 2, "frames": []}"#.into(),
                "expected version 1, found 2",
            ),
            (r#"{"version": 1}"#.into(), "missing field `fps`"),
            (r#"{"version": 1, "fps": 0}"#.into(), "positive"),
            (r#"{"version": 1, "fps": -30}"#.into(), "positive"),
            (r#"{"version": 1, "fps": 1e39}"#.into(), "positive"),
            (with(r#""expresion": [[0]]"#), "unknown field `expresion`"),
            (with(r#""expression": []"#), "at least one frame"),
            (
                with(r#""expression": [[0, 1], [0]]"#),
                "expression of frame 1",
            ),
            (
                with(r#""expression": [[0, 1], 0]"#),
                "expected one value of the right size",
            ),
            (
                with(r#""expression": [[0], [null]]"#),
                "expected one value of the right size",
            ),
            (
                with(r#""expression": [[0], [NaN]]"#),
                "expected value at line 1",
            ),
            (with(r#""expression": [[0], [1e39]]"#), "inf at index 0"),
            (
                with(r#""expression": [[0], [1]], "pose": [[0, 0, 0]]"#),
                "2 values for \"expression\"",
            ),
            (
                with(r#""channels": ["a"], "expression": [0, 1]"#),
                "2 names",
            ),
            (
                with(r#""channels": ["a", "a"], "expression": [0, 1]"#),
                "\"a\" twice",
            ),
            (with(r#""pose": [0, 1]"#), "axis-angle triples"),
            (
                with(r#""orbit": [10, 0]"#),
                "expected one value of the right size",
            ),
            (with(r#""orbit": [0, 0, 0]"#), "camera transform of frame 0"),
            (with(r#""focal": [12, 0]"#), "focal length of frame 1"),
            (
                with(r#""orbit": [9, 0, 0], "transform": [[1,0,0,0],[0,1,0,0],[0,0,1,0]]"#),
                "found both",
            ),
        ] {
            let error = Motion::from_json(&json).unwrap_err();
            assert!(matches!(error, Error::Format { .. }), "{json}: {error}");
            assert!(error.to_string().contains(reason), "{json}: {error}");
        }
    }

    #[test]
    fn broken_files_name_themselves_and_never_panic() {
        let scratch = Scratch::new("motion-broken");
        let (json, tensors) = (lively().to_json(), lively().to_safetensors().unwrap());
        for cut in 0..json.trim_end().len() {
            assert!(matches!(
                Motion::from_json(&json[..cut]),
                Err(Error::Format { .. })
            ));
        }
        for cut in 0..tensors.len() {
            let error = Motion::from_safetensors(tensors[..cut].to_vec()).unwrap_err();
            assert!(matches!(error, Error::Format { .. }), "{error}");
        }
        for i in 0..tensors.len() {
            let mut flipped = tensors.clone();
            flipped[i] ^= 0x41;
            // Some bytes only change a value; that it returns is the test.
            let _ = Motion::from_safetensors(flipped);
        }
        for (name, bytes) in [
            ("cut.json", &json.as_bytes()[..99]),
            ("utf8.json", &[0xff, 0xfe][..]),
            ("cut.safetensors", &tensors[..99]),
        ] {
            fs::write(scratch.path(name), bytes).unwrap();
            let error = Motion::open(scratch.path(name)).unwrap_err();
            assert!(matches!(error, Error::Format { .. }), "{error}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn tensors_that_do_not_fit_are_errors() {
        let header = lively().header().to_json(CompactFormatter);
        let transform = [Camera::default().transform; 2];
        let nan = [f32::NAN; 2];
        let transform = transform.as_flattened().as_flattened();
        let file = |key, transforms: &[f32], focal: &[f32], expression: &[f32]| {
            let mut writer = TensorWriter::new(BTreeMap::new());
            writer.metadata(key, header.as_str());
            for (name, shape, values) in [
                ("transform", &[transforms.len() / 12, 3, 4][..], transforms),
                ("focal", &[focal.len()], focal),
                ("expression", &[2, expression.len() / 2], expression),
            ] {
                writer.floats(name, shape, FloatFormat::F32, || Ok(values.into()));
            }
            Motion::from_safetensors(writer.into_bytes().unwrap())
        };
        let good = file(KEY, transform, &[12.0; 2], &[0.0; 6]).unwrap();
        assert_eq!(good.len(), 2);
        for (bad, expected) in [
            (
                file("other", transform, &[12.0; 2], &[0.0; 6]),
                "no metadata entry",
            ),
            (
                file(KEY, transform, &[12.0; 3], &[0.0; 6]),
                "focal: expected shape [2]",
            ),
            (
                file(KEY, &transform[..12], &[12.0], &[0.0; 6]),
                "expression: expected shape [1, any]",
            ),
            (
                file(KEY, &[], &[], &[0.0; 6]),
                "expression: expected shape [0, any]",
            ),
            (
                file(KEY, transform, &nan, &[0.0; 6]),
                "focal length of frame 0",
            ),
            (file(KEY, transform, &[12.0; 2], &[0.0; 4]), "2 names"),
        ] {
            let error = bad.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn frames_that_do_not_fit_are_errors() {
        let good = lively().frames().to_vec();
        let damaged = |damage: fn(&mut MotionFrame)| {
            let mut frames = good.clone();
            damage(&mut frames[2]);
            frames
        };
        let bad = [
            (30.0, Vec::new()),
            (0.0, good.clone()),
            (f32::NAN, good.clone()),
            (f32::INFINITY, good.clone()),
            (30.0, damaged(|f| f.expression.clear())),
            (30.0, damaged(|f| f.expression[1] = f32::NAN)),
            (30.0, damaged(|f| f.pose.truncate(3))),
            (30.0, damaged(|f| f.pose[5] = f32::INFINITY)),
            (30.0, damaged(|f| f.camera.transform[0][0] = f32::NAN)),
            (30.0, damaged(|f| f.camera.focal = -1.0)),
        ];
        Motion::new(30.0, good.clone()).unwrap();
        for (fps, frames) in bad {
            let error = Motion::new(fps, frames).unwrap_err();
            assert!(matches!(error, Error::Argument { .. }), "{error}");
        }
    }

    #[test]
    fn channels_are_matched_by_name_if_there_are_names() {
        let (head, motion) = (head(), lively());
        let drives: Vec<Drive> = motion.drives().collect();
        assert_eq!(drives.len(), motion.len());
        let [smile_right, jaw, smile_left] = *motion.frames()[3].expression else {
            panic!("three channels")
        };
        assert_eq!(
            expression(&drives[3], &head),
            [jaw, smile_left, smile_right]
        );

        let frames = motion.frames().to_vec();
        let unnamed = Motion::new(30.0, frames.clone()).unwrap();
        let drive = unnamed.drives().nth(3).unwrap();
        assert_eq!(expression(&drive, &head), [smile_right, jaw, smile_left]);

        let unknown = ["jawOpen", "mouthSmileLeft", "elbow"].map(String::from);
        let unknown = Motion::new(30.0, frames)
            .unwrap()
            .with_channels(unknown.into())
            .unwrap();
        let error = unknown
            .drives()
            .next()
            .unwrap()
            .resolve(Some(&head), 2)
            .unwrap_err();
        assert!(error.to_string().contains("found \"elbow\""), "{error}");
    }

    #[test]
    fn sampling_meets_the_frames_and_moves_between_them() {
        let motion = lively();
        let drives: Vec<Drive> = motion.drives().collect();
        assert_eq!(motion.sample(0.0).unwrap(), drives[0]);
        assert_eq!(motion.sample(-1.0).unwrap(), drives[0]);
        assert_eq!(motion.sample(motion.duration() + 1.0).unwrap(), drives[4]);
        assert_eq!(motion.sample(f32::INFINITY).unwrap(), drives[4]);
        assert!(matches!(
            motion.sample(f32::NAN),
            Err(Error::Argument { .. })
        ));

        let turning = |angle: f32| MotionFrame {
            expression: vec![angle],
            pose: vec![0.0, angle.to_radians(), 0.0],
            camera: Camera::orbit(10.0 + angle / 10.0, 0.0, angle).with_focal(12.0 + angle),
        };
        let motion = Motion::new(2.0, vec![turning(0.0), turning(40.0)]).unwrap();
        assert_eq!(motion.duration(), 0.5);
        let quarter = motion.sample(0.125).unwrap();
        let expected = turning(10.0);
        // f32 rounding through quaternions, at the camera's distance of 10.
        let close = |a: f32, b: f32| (a - b).abs() < 1e-5;
        assert!(close(quarter.coefficients[0], 10.0));
        assert!(close(quarter.camera.focal, 22.0));
        assert!(
            quarter
                .pose
                .iter()
                .zip(&expected.pose)
                .all(|(&a, &b)| close(a, b))
        );
        let found = quarter.camera.transform.as_flattened();
        let expected = expected.camera.transform;
        assert!(
            found
                .iter()
                .zip(expected.as_flattened())
                .all(|(&a, &b)| close(a, b))
        );
        quarter.camera.validate().unwrap();
    }

    #[test]
    fn smoothing_matches_the_authors() {
        let golden = TensorFile::golden("geometry.safetensors");
        let read = |name: &str| golden.f32(name).unwrap();
        let motion = |expression: &str, transform: &str| {
            let expression = read(expression);
            let transform = read(transform);
            let transforms: &[[[f32; 4]; 3]] = bytemuck::cast_slice(&transform);
            let frames = (expression.chunks_exact(50).zip(transforms))
                .map(|(expression, &transform)| MotionFrame {
                    expression: expression.to_vec(),
                    pose: expression[..6].to_vec(),
                    camera: transform.into(),
                })
                .collect();
            Motion::new(25.0, frames).unwrap()
        };
        let alpha: f32 = golden.metadata()["smooth_alpha"].parse().unwrap();
        let found = motion("smooth.expression_in", "smooth.transform_in").smooth(alpha);
        let found = found.unwrap();
        let expected = motion("smooth.expression_out", "smooth.transform_out");
        assert_eq!((found.len(), expected.len()), (12, 12));
        for (found, expected) in found.frames().iter().zip(expected.frames()) {
            let pairs = (found.values().zip(expected.values())).chain(
                (found.camera.transform.as_flattened().iter())
                    .zip(expected.camera.transform.as_flattened()),
            );
            for (a, b) in pairs {
                // f32 rounding of the same recurrence, relative to distances of 10.
                assert!((a - b).abs() < 1e-6 * b.abs().max(1.0), "{a} {b}");
            }
            assert_eq!(found.camera.focal, Camera::FOCAL);
        }
    }

    #[test]
    fn smoothing_keeps_everything_else_and_checks_its_factor() {
        let motion = lively();
        let smooth = motion.smooth(0.5).unwrap();
        assert_eq!(
            (smooth.name(), smooth.licence()),
            (motion.name(), motion.licence())
        );
        assert_eq!(smooth.channels(), motion.channels());
        assert!(smooth.frames()[3].camera.clamp_near && !smooth.frames()[4].camera.clamp_near);
        for alpha in [0.0, -0.5, 1.1, f32::NAN] {
            let error = motion.smooth(alpha).unwrap_err();
            assert!(matches!(error, Error::Argument { .. }), "{error}");
        }
        let opposite = [10.0, -10.0].map(|z| MotionFrame {
            camera: Camera::look_at([0.0, 0.0, z], [0.0; 3], [0.0, 1.0, 0.0]),
            ..MotionFrame::default()
        });
        let error = Motion::new(30.0, opposite.into())
            .unwrap()
            .smooth(0.5)
            .unwrap_err();
        assert!(
            error.to_string().contains("camera transform of frame 1"),
            "{error}"
        );
    }
}
