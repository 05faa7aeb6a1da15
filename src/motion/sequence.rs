//! A sequence of frames, sampled and smoothed.

use std::sync::Arc;

use glam::{Mat3, Quat, Vec3};

use crate::camera::Camera;
use crate::drive::Drive;
use crate::error::{Error, Result};
use crate::head::{check_finite, first_repeated};

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
    pub(super) fn values(&self) -> impl Iterator<Item = &f32> {
        self.expression.iter().chain(&self.pose)
    }

    /// Fails if `frames` of them, of so many values each, might take more memory than 6 times the
    /// `size` of the file that they are read from and 40 MiB.
    pub(crate) fn affordable(frames: usize, values: usize, size: usize) -> Result<(), String> {
        // With what an allocator adds to two lists.
        let frame = size_of::<Self>() + 32 + values.saturating_mul(size_of::<f32>());
        let limit = size.saturating_mul(6).saturating_add(40 << 20);
        match frames.saturating_mul(frame) <= limit {
            true => Ok(()),
            false => Err(format!(
                "{frames} frames of {values} values are more than a file of {size} bytes should \
                 become"
            )),
        }
    }
}

/// A sequence of frames at a fixed rate: a performance to play on an avatar.
///
/// There is at least one frame, and all frames have the same number of expression coefficients and
/// of pose values. Expression channels are matched with those of the head model by name if they have
/// names, otherwise by position.
///
/// # JSON
/// The format suits writing by hand. Each of `expression`, `pose`, `orbit`, `transform`, `focal` and
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
/// | `name`       | a title                                                      | empty          |
/// | `licence`    | terms of use                                                 | empty          |
/// | `channels`   | names of the expression coefficients                         | no names       |
/// | `expression` | coefficients                                                 | neutral        |
/// | `pose`       | axis-angle triples in radians, as for [`Drive::pose`]        | at rest        |
/// | `orbit`      | `[distance, elevation°, azimuth°]` of [`Camera::orbit`]      | `[10, 0, 0]`   |
/// | `transform`  | instead of `orbit`: the camera's matrix, 3 or 4 rows of 4    |                |
/// | `focal`      | the camera's focal length                                    | 12             |
/// | `clamp_near` | [`Camera::clamp_near`]                                       | `false`        |
///
/// Other keys are an error, so that misspelt ones are noticed.
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
    /// A motion of `frames`, `fps` per second.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no frame, frames differ in size, a pose is not made of
    /// triples, a value is not finite, a camera is [no camera](Camera::validate), or `fps` is not
    /// positive.
    pub fn new(fps: f32, frames: Vec<MotionFrame>) -> Result<Self> {
        let positive = fps.is_finite() && fps > 0.0;
        Error::unless(positive, "frames per second", "a positive number", fps)?;
        let Some(first) = frames.first() else {
            return Err(Error::argument("motion", "at least one frame", "none"));
        };
        for (i, frame) in frames.iter().enumerate() {
            for (what, found, expected) in [
                ("expression", &frame.expression, &first.expression),
                ("pose", &frame.pose, &first.pose),
            ] {
                let what = format!("{what} of frame {i}");
                let (ok, expected) = (found.len() == expected.len(), expected.len());
                let expected = format_args!("{expected} values, as in the first frame");
                Error::unless(ok, &what, expected, found.len())?;
                check_finite(&what, found)?;
            }
            let valid = frame.camera.validate();
            valid.map_err(|error| error.of(format_args!("frame {i}")))?;
        }
        let count = first.pose.len();
        let found = format_args!("{count} values");
        Error::unless(count.is_multiple_of(3), "pose", "axis-angle triples", found)?;
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
    /// [`Error::Argument`] if the numbers of names and coefficients differ or a name is repeated.
    pub fn with_channels(mut self, channels: Vec<String>) -> Result<Self> {
        let expected = self.frames[0].expression.len();
        let ok = channels.len() == expected;
        let expected = format_args!("{expected} names, as there are expression coefficients");
        Error::unless(ok, "channels", expected, channels.len())?;
        if let Some(name) = first_repeated(&channels) {
            let found = format_args!("{name:?} twice");
            return Err(Error::argument("channels", "different names", found));
        }
        self.channels = (!channels.is_empty()).then(|| channels.into());
        Ok(self)
    }

    /// The motion with at most the first `count` expression coefficients, if they have no names.
    ///
    /// The directions of FLAME come in the order of how much they explain: a head model that has
    /// fewer of them than a tracker has the first ones.
    #[must_use]
    pub fn with_first_coefficients(mut self, count: usize) -> Self {
        if self.channels.is_none() {
            for frame in &mut self.frames {
                frame.expression.truncate(count);
            }
        }
        self
    }

    /// The same motion with a title and terms of use.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>, licence: impl Into<String>) -> Self {
        self.name = name.into();
        self.licence = licence.into();
        self
    }

    /// Its title.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Terms of use.
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

    /// The frames as drives.
    pub fn drives(&self) -> impl ExactSizeIterator<Item = Drive> {
        self.frames.iter().map(|frame| self.drive(frame.clone()))
    }

    /// The drive at `seconds` after the first frame, interpolated between the frames around it. The
    /// first frame extends to all earlier times, the last to all later ones.
    ///
    /// Coefficients, the camera's translation and its focal length are interpolated linearly, its
    /// rotation and the joints' spherically.
    ///
    /// # Errors
    /// [`Error::Argument`] if `seconds` is not a number.
    pub fn sample(&self, seconds: f32) -> Result<Drive> {
        Error::unless(!seconds.is_nan(), "time", "a number of seconds", seconds)?;
        // f64 keeps the fraction exact far into a long motion.
        let last = (self.len() - 1) as f64;
        let position = (f64::from(seconds) * f64::from(self.fps)).clamp(0.0, last);
        let frame = &self.frames[position as usize];
        let fraction = position.fract() as f32;
        Ok(self.drive(match fraction {
            0.0 => frame.clone(),
            _ => interpolate(frame, &self.frames[position as usize + 1], fraction),
        }))
    }

    fn drive(&self, frame: MotionFrame) -> Drive {
        let mut drive = Drive::neutral()
            .coefficients(frame.expression)
            .pose(frame.pose)
            .camera(frame.camera);
        drive.channels = self.channels.clone();
        drive
    }

    /// The motion with its jitter smoothed, as GPAvatar does with tracked videos.
    ///
    /// Smooths every number exponentially, `y_0 = x_0` and `y_i = y_{i-1} + alpha (x_i -
    /// y_{i-1})`, with a rotation represented by the first two rows of its matrix, made
    /// orthonormal only for output (Zhou et al., "On the Continuity of Rotation Representations in
    /// Neural Networks", 2019). GPAvatar's `alpha` is 0.9; 1 changes nothing.
    ///
    /// # Errors
    /// [`Error::Argument`] if `alpha` is not in `(0, 1]`, or two opposite rotations average to
    /// none.
    pub fn smooth(&self, alpha: f32) -> Result<Self> {
        let (ok, expected) = (alpha > 0.0 && alpha <= 1.0, "more than 0 and at most 1");
        Error::unless(ok, "smoothing factor alpha", expected, alpha)?;
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
