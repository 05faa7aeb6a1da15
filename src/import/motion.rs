//! Motions of trackers, recorders of faces and programs that make faces speak.

mod channels;
mod curves;
mod frames;
mod rate;
mod table;
mod tracked;

use std::fmt;

use glam::{EulerRot, Mat3, Quat};

use super::numpy;
use crate::camera::Camera;
use crate::error::{Error, Result};
use crate::head::ARKIT;
#[cfg(not(target_arch = "wasm32"))]
use crate::import::budget::Budget;
use crate::import::budget::opened;
use crate::json::Value;
use crate::motion::{Motion, MotionFrame};
use crate::sniff::{self, Kind};

use channels::{Column, Columns};
pub use rate::RateSource;
use rate::{Clock, Numbering};
use tracked::Tracked;

const TRACKED: &str = "tracked video";
const RECORDING: &str = "recording of a face";
const MOTION: &str = "tracked video or recording of a face";

/// Options of [`motion`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MotionOptions {
    /// Frames per second, from 1 to 240. By default what the file says or the times of its frames
    /// tell; 25 for tracked videos, as in GPAvatar's training; 30 for cues.
    pub fps: Option<f32>,
    /// Smooths the motion with this `alpha` (see [`Motion::smooth`]); GPAvatar's is 0.9.
    pub smoothing: Option<f32>,
    /// Leaves out the head rotation of a recording.
    pub still_head: bool,
    /// The channels to keep of a recording, for a head model with other names than ARKit's 52, which
    /// are kept if this is empty.
    pub channels: Vec<String>,
}

/// A motion, and what became of the file's content. [`Display`](fmt::Display) writes it as a line.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ImportedMotion {
    /// The motion. Its channels are those that were kept.
    pub motion: Motion,
    /// Where its rate is from.
    pub rate: RateSource,
    /// Names of the columns or entries that were left out.
    pub dropped: Vec<String>,
    /// What became of the head's rotation.
    pub head_rotation: HeadRotation,
}

/// What became of the rotation of the head in a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadRotation {
    /// There is none in the file.
    Absent,
    /// It turns the head: the camera moves around it, as in GPAvatar's training, whose heads always
    /// look straight ahead.
    Camera,
    /// It is in the pose and the cameras that the tracker found.
    Tracked,
    /// It was left out, see [`MotionOptions::still_head`].
    LeftOut,
}

/// Reads the motion of a tracker, a recorder of faces or a program that makes faces speak.
///
/// | file | of |
/// |---|---|
/// | `lightning.pkl`, `smoothed.pkl`, `optim.pkl` | GPAvatar's tracker and GAGAvatar_track |
/// | pickles, `torch.save`, `.npy` and `.npz` of FLAME coefficients | VHAP and NeRSemble (also a folder with a file for each frame), DECA, EMOCA, SMIRK |
/// | `.csv` with a column for each of ARKit's channels | Live Link Face, NVIDIA Audio2Face, NeuroSync, MediaPipe |
/// | `.json` with lists of frames, or a line for each | NVIDIA Audio2Face, LAM Audio2Expression, NeuroSync, MediaPipe |
/// | `.tsv`, `.xml`, `.json` of cues | Rhubarb Lip Sync |
/// | `.json` and `.csv` of curves | OpenFaceFX |
///
/// Frames of a tracked video are sorted by the number that ends their keys. They have an expression
/// of FLAME, `[T, E]`, a pose of head and jaw, and a [`Camera`]'s matrix of 3 or 4 rows, if the
/// tracker finds one; other entries are left out.
///
/// Columns of a recording are known by any spelling of ARKit's names (`JawOpen`, `jaw_open`,
/// `blendShapes.JawOpen`, `eyeBlink_L`); others are left out. Visemes of Oculus (`PP`, `viseme_aa`)
/// and the mouth shapes A to H and X of Rhubarb become channels of ARKit:
///
/// | viseme, shape     | channels                                                          |
/// |-------------------|-------------------------------------------------------------------|
/// | PP, A             | mouthPress 0.5, mouthRollLower 0.3, mouthRollUpper 0.3            |
/// | FF, G             | mouthRollLower 0.6, mouthUpperUp 0.2, jawOpen 0.08                |
/// | TH                | tongueOut 0.3, jawOpen 0.2, mouthLowerDown 0.2                    |
/// | DD                | mouthLowerDown 0.25, jawOpen 0.15, mouthUpperUp 0.15              |
/// | kk                | mouthLowerDown 0.25, jawOpen 0.2, mouthStretch 0.15               |
/// | CH                | mouthFunnel 0.5, mouthPucker 0.2, jawOpen 0.1                     |
/// | SS                | mouthStretch 0.35, mouthLowerDown 0.2, jawOpen 0.05               |
/// | nn, H             | jawOpen 0.25, mouthLowerDown 0.25, mouthUpperUp 0.1               |
/// | RR                | mouthPucker 0.35, mouthFunnel 0.2, jawOpen 0.1                    |
/// | aa, D             | jawOpen 0.6, mouthLowerDown 0.3, mouthUpperUp 0.2                 |
/// | E                 | jawOpen 0.35, mouthStretch 0.3, mouthSmile 0.15                   |
/// | I                 | mouthStretch 0.3, mouthSmile 0.3, jawOpen 0.2                     |
/// | O                 | mouthFunnel 0.55, jawOpen 0.4                                     |
/// | U, F              | mouthPucker 0.7, mouthFunnel 0.25, jawOpen 0.15                   |
/// | shape B           | mouthStretch 0.3, mouthLowerDown 0.25, jawOpen 0.05               |
/// | shape C           | jawOpen 0.35, mouthStretch 0.25, mouthLowerDown 0.2               |
/// | shape E           | jawOpen 0.35, mouthFunnel 0.35                                    |
/// | sil, X            | none                                                              |
///
/// The rate is what the file says, or measured by the times of its frames: time codes, seconds,
/// milliseconds and less are told apart; jumps of the clock do not count.
///
/// A head's rotation (`headYaw`, `headPitch`, `headRoll` in radians, or in degrees if one is beyond
/// 2π; a matrix or a quaternion) turns the head by moving the camera around it. With `yaw` to the
/// person's left, `pitch` downwards and `roll` towards the person's right it is
/// `R = R_y(yaw) · R_x(pitch) · R_z(roll)` in the axes of [`Camera`]'s world.
///
/// ```no_run
/// use gpavatar::import::{MotionOptions, motion};
///
/// let imported = motion("face.csv", &MotionOptions::default())?;
/// println!("{imported}");
/// imported.motion.write("motion.json")?;
/// # Ok::<(), gpavatar::Error>(())
/// ```
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; and see [`motion_from_bytes`].
#[cfg(not(target_arch = "wasm32"))]
pub fn motion(
    path: impl AsRef<std::path::Path>,
    options: &MotionOptions,
) -> Result<ImportedMotion> {
    let path = path.as_ref();
    let mut imported = match path.is_dir() {
        true => folder(path, options)?,
        false => {
            let bytes = crate::file::read(path)?;
            motion_from_bytes(path.display().to_string(), &bytes, options)?
        }
    };
    if imported.motion.name().is_empty() {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let licence = imported.motion.licence().to_owned();
        imported.motion = imported.motion.with_name(name, licence);
    }
    Ok(imported)
}

/// Reads a file in memory, see [`motion`]; `what` names it in error messages.
///
/// # Errors
/// [`Error::Format`] if it is no such file, a frame has another form, or nothing tells its rate;
/// [`Error::Argument`] if the rate given is not from 1 to 240, or [`Motion::new`] or
/// [`Motion::smooth`] refuses the frames.
pub fn motion_from_bytes(
    what: impl Into<String>,
    bytes: &[u8],
    options: &MotionOptions,
) -> Result<ImportedMotion> {
    let what = what.into();
    check(options)?;
    let tracked = |tracked: Result<Tracked, String>| {
        let tracked = tracked.map_err(|reason| Error::format(&what, TRACKED, reason))?;
        tracked.finish(options)
    };
    let opened = opened(bytes.into());
    let (bytes, budget) = opened.map_err(|reason| Error::format(&what, MOTION, reason))?;
    let bytes = &*bytes;
    let imported = match sniff::kind(bytes) {
        Kind::Pickle | Kind::TorchArchive => tracked(Tracked::of_document(bytes, &budget))?,
        Kind::NumpyArchive => tracked(Tracked::of_archive(bytes, &budget))?,
        Kind::Npy => tracked(
            numpy::npy_pickle(bytes).and_then(|pickle| Tracked::of_document(pickle, &budget)),
        )?,
        kind if kind.is_text() || kind == Kind::Xml => {
            let text = sniff::text(bytes);
            let text = text.map_err(|reason| Error::format(&what, RECORDING, reason))?;
            if kind == Kind::Xml && !text.contains(curves::XML) {
                return Err(sniff::refused(what, RECORDING, bytes));
            }
            of_text(&what, &text, options)?
        }
        // The reader of archives knows old ones.
        Kind::TorchLegacy => tracked(Tracked::of_document(bytes, &budget))?,
        _ => return Err(sniff::refused(what, MOTION, bytes)),
    };
    smoothed(imported, options)
}

/// Reads a folder with a file of one frame each, such as VHAP's `flame_param`.
#[cfg(not(target_arch = "wasm32"))]
fn folder(path: &std::path::Path, options: &MotionOptions) -> Result<ImportedMotion> {
    check(options)?;
    let failed = crate::file::failed("read", path);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if let Some(number) = name.strip_suffix(".npz").and_then(tracked::number_of) {
            files.push((number, file));
        }
    }
    if files.is_empty() {
        let reason = "expected files 00000.npz, 00001.npz, …, found none";
        return Err(Error::format(path.display().to_string(), TRACKED, reason));
    }
    files.sort();
    let mut all = Tracked::default();
    for (_, file) in files {
        let bytes = crate::file::read(&file)?;
        let frame = Tracked::of_archive(&bytes, &Budget::of(bytes.len()))
            .map_err(|reason| Error::format(file.display().to_string(), TRACKED, reason))?;
        all.extend(frame);
    }
    smoothed(all.finish(options)?, options)
}

fn check(options: &MotionOptions) -> Result<()> {
    let Some(fps) = options.fps else {
        return Ok(());
    };
    let ok = rate::PLAUSIBLE.contains(&f64::from(fps));
    Error::unless(ok, "frames per second", "1 to 240", fps)
}

fn smoothed(mut imported: ImportedMotion, options: &MotionOptions) -> Result<ImportedMotion> {
    if let Some(alpha) = options.smoothing {
        imported.motion = imported.motion.smooth(alpha)?;
    }
    Ok(imported)
}

fn of_text(what: &str, text: &str, options: &MotionOptions) -> Result<ImportedMotion> {
    let invalid = |reason: String| Error::format(what, RECORDING, reason);
    let recording = if text.trim_start().starts_with(['{', '[']) {
        let root = Value::parse(text).map_err(invalid)?;
        if is_of_this_crate(&root) {
            return of_this_crate(Motion::parse_json(what, text)?, options);
        }
        frames::parse(&root, options, text.len())
    } else if text.contains(curves::XML) {
        curves::xml(text).and_then(|(cues, end)| curves::of_cues(&cues, end, options, text.len()))
    } else if let Some(cues) = curves::lines(text) {
        cues.and_then(|mut cues| {
            // The last line is the end.
            let end = cues.last().map_or(0.0, |cue| cue.start);
            if cues.len() > 1 {
                cues.pop();
            }
            curves::of_cues(&cues, end, options, text.len())
        })
    } else {
        table::parse(text, options)
    };
    let recording = recording.map_err(invalid)?;
    recording.finish(options).map_err(|error| match error {
        Failure::Text(reason) => invalid(reason),
        Failure::Error(error) => error,
    })
}

/// True for JSON of this crate, also if it is not quite right.
fn is_of_this_crate(root: &Value) -> bool {
    let has = |key: &&str| root.get(key).is_some();
    let own = ["expression", "orbit", "clamp_near"].iter().any(has);
    let version = root.get("version").is_some() && root.get("format").is_none();
    (own || version) && !frames::has_frames(root)
}

/// A motion that needs no import.
fn of_this_crate(motion: Motion, options: &MotionOptions) -> Result<ImportedMotion> {
    let motion = match options.fps {
        Some(fps) => {
            let (name, licence) = (motion.name().to_owned(), motion.licence().to_owned());
            let channels = motion.channels().to_vec();
            let changed = Motion::new(fps, motion.frames().to_vec())?;
            let changed = changed.with_name(name, licence);
            match channels.is_empty() {
                true => changed,
                false => changed.with_channels(channels)?,
            }
        }
        None => motion,
    };
    Ok(ImportedMotion {
        motion,
        rate: match options.fps {
            Some(_) => RateSource::Given,
            None => RateSource::Own,
        },
        dropped: Vec::new(),
        head_rotation: HeadRotation::Tracked,
    })
}

/// The rotation of the head in a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Turn {
    #[default]
    None,
    /// Yaw, pitch and roll in radians or degrees.
    Angles([f32; 3]),
    By(Quat),
}

/// What the readers make of a file without cameras.
struct Recording {
    columns: Columns,
    frames: Vec<MotionFrame>,
    turns: Vec<Turn>,
    clock: Clock,
    numbering: Numbering,
    /// Length of the file.
    size: usize,
}

enum Failure {
    Text(String),
    Error(Error),
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self::Text(reason)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Recording {
    fn new(columns: Columns, numbering: Numbering, size: usize) -> Self {
        Self {
            columns,
            frames: Vec::new(),
            turns: Vec::new(),
            clock: Clock::None,
            numbering,
            size,
        }
    }

    /// Whether something reads the column of this index.
    fn keeps(&self, column: usize) -> bool {
        self.columns.columns[column] != Column::Dropped
    }

    /// Adds a frame from the values of all columns.
    fn push(&mut self, row: impl IntoIterator<Item = f32>) -> Result<(), String> {
        let (expression, angles) = self.columns.read(row);
        let turn = match self.columns.has_angles {
            true => Turn::Angles(angles),
            false => Turn::None,
        };
        self.add(expression, turn)
    }

    /// Adds a frame without a face: the one before again, or a face at rest.
    fn repeat(&mut self) -> Result<(), String> {
        let at_rest = || vec![0.0; self.columns.channels.len()];
        let expression = self
            .frames
            .last()
            .map_or_else(at_rest, |frame| frame.expression.clone());
        let turn = self.turns.last().copied().unwrap_or_default();
        self.add(expression, turn)
    }

    fn add(&mut self, expression: Vec<f32>, turn: Turn) -> Result<(), String> {
        MotionFrame::affordable(self.frames.len(), expression.len(), self.size)?;
        self.turns.push(turn);
        self.frames.push(MotionFrame {
            expression,
            ..MotionFrame::default()
        });
        Ok(())
    }

    /// Sets the rotation of the last frame.
    fn turn(&mut self, turn: Turn) {
        if let Some(last) = self.turns.last_mut() {
            *last = turn;
        }
    }

    fn finish(mut self, options: &MotionOptions) -> Result<ImportedMotion, Failure> {
        let (fps, rate) = match options.fps {
            Some(fps) => (fps, RateSource::Given),
            None => {
                let (fps, rate) = self.clock.rate(self.frames.len(), self.numbering)?;
                (fps as f32, rate)
            }
        };
        let turned = self.turns.iter().any(|turn| *turn != Turn::None);
        let head_rotation = match (turned, options.still_head) {
            (false, _) => HeadRotation::Absent,
            (true, true) => HeadRotation::LeftOut,
            (true, false) => HeadRotation::Camera,
        };
        if head_rotation == HeadRotation::Camera {
            let largest = self.turns.iter().fold(0.0f32, |largest, turn| match turn {
                Turn::Angles(angles) => angles.iter().fold(largest, |l, a| l.max(a.abs())),
                _ => largest,
            });
            let unit = match largest > std::f32::consts::TAU {
                true => 1.0f32.to_radians(),
                false => 1.0,
            };
            for (frame, turn) in self.frames.iter_mut().zip(&self.turns) {
                frame.camera = seen(&frame.camera, turn.rotation(unit));
            }
        }
        let motion = Motion::new(fps, self.frames)?.with_channels(self.columns.channels)?;
        Ok(ImportedMotion {
            motion,
            rate,
            dropped: self.columns.dropped,
            head_rotation,
        })
    }
}

impl Turn {
    /// `unit`: radians of what the angles count.
    fn rotation(self, unit: f32) -> Quat {
        match self {
            Self::None => Quat::IDENTITY,
            Self::Angles(angles) => {
                let [yaw, pitch, roll] = angles.map(|angle| angle * unit);
                Quat::from_euler(EulerRot::YXZ, yaw, pitch, roll)
            }
            Self::By(rotation) => rotation,
        }
    }
}

/// The camera that sees a head at rest as `camera` sees one that is turned by `rotation`.
fn seen(camera: &Camera, rotation: Quat) -> Camera {
    let axes = Mat3::from_quat(rotation.inverse()) * camera.rotation();
    Camera {
        focal: camera.focal,
        clamp_near: camera.clamp_near,
        ..Camera::from_axes(axes, camera.translation())
    }
}

impl fmt::Display for ImportedMotion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frames = self.motion.len();
        let plural = if frames == 1 { "" } else { "s" };
        let fps = (self.motion.fps() * 1000.0).round() / 1000.0;
        write!(
            f,
            "{frames} frame{plural}, {fps} per second {}, ",
            self.rate
        )?;
        let channels = self.motion.channels();
        let missing: Vec<&str> = (ARKIT.into_iter())
            .filter(|name| !channels.iter().any(|channel| channel == name))
            .collect();
        let count = channels.len();
        match (channels, &*missing) {
            ([], _) => {
                let coefficients = self.motion.frames()[0].expression.len();
                write!(f, "{coefficients} expression coefficients")?;
            }
            (_, []) if count == ARKIT.len() => write!(f, "all {count} ARKit channels")?,
            (_, missing) if missing.len() <= 8 && count + missing.len() == ARKIT.len() => {
                write!(
                    f,
                    "{count} channels (all of ARKit but {})",
                    missing.join(", ")
                )?;
            }
            _ => write!(f, "{count} channels ({})", listed(channels))?,
        }
        if !self.dropped.is_empty() {
            write!(f, "; left out: {}", listed(&self.dropped))?;
        }
        f.write_str(match self.head_rotation {
            HeadRotation::Absent => "; no head rotation in it",
            HeadRotation::Camera => "; head rotation kept, by the camera",
            HeadRotation::Tracked => "; head rotation kept, as tracked",
            HeadRotation::LeftOut => "; head rotation left out",
        })
    }
}

/// The first names of a list, short.
fn listed(names: &[String]) -> String {
    const MOST: usize = 20;
    let short = |name: &String| match name.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.clone(),
    };
    let mut list: Vec<String> = names.iter().take(MOST).map(short).collect();
    if let Some(more @ 1..) = names.len().checked_sub(MOST) {
        list.push(format!("and {more} more"));
    }
    list.join(", ")
}

#[cfg(test)]
mod tests;
