//! Tracked videos and recordings of faces.

use super::document::Document;
use super::live_link;
use super::pickle::Node;
use crate::camera::Camera;
use crate::error::{Error, Result};
use crate::motion::{Motion, MotionFrame};
use crate::sniff;

const FORMAT: &str = "tracked video";

/// Frames per second of the videos that GPAvatar was trained with.
const TRACKED_FPS: f32 = 25.0;

/// Options of [`motion`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MotionOptions {
    /// Frames per second. The default is 25 for tracked videos, as in GPAvatar's training, and is
    /// told by the time codes for recordings.
    pub fps: Option<f32>,
    /// Smooths the motion with this `alpha` (see [`Motion::smooth`]); GPAvatar's is 0.9.
    pub smoothing: Option<f32>,
    /// Keeps a recording's angles of head and eyes (`headYaw` …) as expression channels, in the
    /// file's unit, for head models that have such channels.
    pub rotations: bool,
}

/// Reads a tracked video or a recording of a face.
///
/// - A tracked video of GPAvatar's tools (`lightning.pkl`, `smoothed.pkl`), pickled or saved by
///   PyTorch: a dictionary of frames, each with `emoca_expression`, `emoca_pose` and
///   `transform_matrix` (a [`Camera`]'s matrix) as tensors, arrays or lists. Frames are sorted by the
///   number after the last underscore of their keys.
/// - A recording of ARKit's face tracking as comma-separated values, such as Live Link Face makes:
///   a column `Timecode` and one for each expression. Channels get ARKit's names: `JawOpen` becomes
///   `jawOpen`.
///
/// ```no_run
/// use gpavatar::import::{MotionOptions, motion};
///
/// motion("smoothed.pkl", &MotionOptions::default())?.write("motion.json")?;
/// # Ok::<(), gpavatar::Error>(())
/// ```
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; and see [`motion_from_bytes`].
#[cfg(not(target_arch = "wasm32"))]
pub fn motion(path: impl AsRef<std::path::Path>, options: &MotionOptions) -> Result<Motion> {
    let path = path.as_ref();
    let bytes = crate::file::read(path)?;
    let motion = motion_from_bytes(path.display().to_string(), &bytes, options)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok(motion.with_name(name, ""))
}

/// Reads a file in memory, see [`motion`]; `what` names it in error messages.
///
/// # Errors
/// [`Error::Format`] if it is neither kind of file or a frame has another form,
/// [`Error::Argument`] if [`Motion::new`] or [`Motion::smooth`] refuses the frames.
pub fn motion_from_bytes(
    what: impl Into<String>,
    bytes: &[u8],
    options: &MotionOptions,
) -> Result<Motion> {
    let invalid = |format| {
        let what = what.into();
        move |reason: String| Error::format(what, format, reason)
    };
    let motion = match sniff::kind(bytes) {
        kind if kind.is_text() => {
            let recording = sniff::text(bytes)
                .and_then(|text| live_link::parse(text.as_bytes(), options.rotations));
            let recording = recording.map_err(invalid(live_link::FORMAT))?;
            Motion::new(options.fps.unwrap_or(recording.fps), recording.frames)?
                .with_channels(recording.channels)?
        }
        _ => {
            let frames = tracked(bytes).map_err(invalid(FORMAT))?;
            Motion::new(options.fps.unwrap_or(TRACKED_FPS), frames)?
        }
    };
    match options.smoothing {
        Some(alpha) => motion.smooth(alpha),
        None => Ok(motion),
    }
}

fn tracked(bytes: &[u8]) -> Result<Vec<MotionFrame>, String> {
    let document = Document::parse(bytes)?;
    let root = document.root();
    let entries = (root.entries())
        .ok_or_else(|| format!("expected a dictionary of frames, found {}", root.describe()))?;
    // Frames may share their values. They may not have more values than the file has bytes, so that
    // a small file takes little memory.
    let mut budget = bytes.len();
    let mut frames = Vec::new();
    for (key, node) in entries {
        let named = |reason| format!("frame {}: {reason}", key.describe());
        let number = frame_number(key)
            .ok_or_else(|| named("expected a key that ends in a number".to_owned()))?;
        let frame = tracked_frame(&document, node).map_err(named)?;
        budget = (budget.checked_sub(1 + frame.expression.len() + frame.pose.len()))
            .ok_or_else(|| named("more values than the file has bytes".into()))?;
        frames.push((number, frame));
    }
    frames.sort_by_key(|(number, _)| *number);
    Ok(frames.into_iter().map(|(_, frame)| frame).collect())
}

/// The number after the last underscore of a frame's key, up to an extension.
pub(super) fn frame_number(key: Node) -> Option<u64> {
    if let Some(number) = key.int() {
        return number.try_into().ok();
    }
    let key = key.text()?;
    let (_, number) = key.rsplit_once('_').unwrap_or(("", key));
    let (number, _extension) = number.split_once('.').unwrap_or((number, ""));
    number.parse().ok()
}

fn tracked_frame(document: &Document, node: Node) -> Result<MotionFrame, String> {
    let values = |name: &str| -> Result<Vec<f32>, String> {
        let node = (node.get(name))
            .ok_or_else(|| format!("expected an entry {name}, found {}", node.describe()))?;
        let array = document.numbers(node);
        array.map_err(|reason| format!("{name}: {reason}"))?.f32()
    };
    let transform = values("transform_matrix")?;
    let (&[a, b, c], []) = transform.as_chunks() else {
        let found = transform.len();
        return Err(format!(
            "transform_matrix: expected 3 rows of 4, found {found} values"
        ));
    };
    Ok(MotionFrame {
        expression: values("emoca_expression")?,
        pose: values("emoca_pose")?,
        camera: Camera::from_transform([a, b, c]),
    })
}

#[cfg(test)]
mod tests;
