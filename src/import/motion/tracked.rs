//! Coefficients of FLAME that trackers find: dictionaries of a frame, of all frames, and archives
//! of arrays.

use std::collections::BTreeSet;

use super::{HeadRotation, ImportedMotion, MotionOptions, RateSource};
use crate::camera::Camera;
use crate::error::Result as Checked;
use crate::import::archive::Archive;
use crate::import::array::Array;
use crate::import::budget::Budget;
use crate::import::document::Document;
use crate::import::numpy;
use crate::import::pickle::{Node, beginning};
use crate::motion::{Motion, MotionFrame};

/// Frames per second of the videos that GPAvatar was trained with.
const FPS: f32 = 25.0;

/// The names that trackers give to one thing.
///
/// | tracker             | expression          | pose of head (3) and jaw (3)       | camera           |
/// |---------------------|---------------------|------------------------------------|------------------|
/// | GPAvatar's          | `emoca_expression`  | `emoca_pose`                       | transform_matrix |
/// | GAGAvatar_track     | `expcode`           | `posecode`                         | transform_matrix |
/// | EMOCA               | `expcode`           | `posecode`                         |                  |
/// | DECA                | `exp`               | `pose`                             |                  |
/// | SMIRK               | `expression_params` | `pose_params` and `jaw_params`     |                  |
/// | VHAP, NeRSemble     | `expr`              | `rotation` and `jaw_pose`          |                  |
const EXPRESSIONS: &[&str] = &[
    "emoca_expression",
    "expcode",
    "expression_params",
    "expr",
    "exp",
    "expression",
];
const POSES: &[&str] = &[
    "emoca_pose",
    "posecode",
    "pose_params",
    "pose",
    "rotation",
    "global_pose",
];
const JAWS: &[&str] = &["jaw_params", "jaw_pose", "jaw"];
const CAMERAS: &[&str] = &["transform_matrix"];

/// The arrays of a dictionary or of an archive, by name.
trait Arrays {
    fn names(&self) -> Vec<String>;
    fn array(&self, name: &str) -> Result<Option<Array<'_>>, String>;
    fn describe(&self) -> String;
}

struct Dictionary<'p, 'a> {
    document: &'p Document<'a>,
    node: Node<'p, 'a>,
}

impl Arrays for Dictionary<'_, '_> {
    fn names(&self) -> Vec<String> {
        let entries = self.node.entries().into_iter().flatten();
        let names = entries.filter_map(|(key, _)| Some(beginning(key.text()?).to_owned()));
        names.take(MAX_NAMES).collect()
    }

    fn array(&self, name: &str) -> Result<Option<Array<'_>>, String> {
        let node = self.node.get(name);
        node.map(|node| self.document.numbers(node)).transpose()
    }

    fn describe(&self) -> String {
        self.node.describe()
    }
}

struct Archived<'a> {
    archive: Archive,
    bytes: &'a [u8],
}

impl Arrays for Archived<'_> {
    fn names(&self) -> Vec<String> {
        let names = self
            .archive
            .names()
            .filter_map(|name| name.strip_suffix(".npy"));
        names.take(MAX_NAMES).map(str::to_owned).collect()
    }

    fn array(&self, name: &str) -> Result<Option<Array<'_>>, String> {
        let Ok(entry) = self.archive.entry(&format!("{name}.npy")) else {
            return Ok(None);
        };
        let content = entry.content(self.bytes)?;
        numpy::npy(content, self.archive.budget()).map(Some)
    }

    fn describe(&self) -> String {
        "an archive of arrays".into()
    }
}

/// Names of entries that are listed as left out.
const MAX_NAMES: usize = 64;

/// Frames, and what was left out of them.
#[derive(Default)]
pub(super) struct Tracked {
    frames: Vec<MotionFrame>,
    dropped: BTreeSet<String>,
}

impl Tracked {
    /// Reads a pickled dictionary, or a list, of frames; or a dictionary of arrays for all frames.
    pub fn of_document(bytes: &[u8], budget: &Budget) -> Result<Self, String> {
        let document = &Document::within(bytes, budget)?;
        // What numpy saves is an array of one object.
        let root = numpy::only_object(document.root()).unwrap_or(document.root());
        let dictionary = |node| Dictionary { document, node };
        let mut tracked = Self::default();
        if EXPRESSIONS.iter().any(|name| root.get(name).is_some()) {
            tracked.add(&dictionary(root), None, budget)?;
            return Ok(tracked);
        }
        let mut frames: Vec<(Option<u64>, String, Node)> = Vec::new();
        if let Some(entries) = root.entries() {
            for (key, node) in entries {
                let frame = (frame_number(key), key.describe(), node);
                budget.take(size_of_val(&frame) + frame.1.len())?;
                frames.push(frame);
            }
        } else if let Some(elements) = root.elements() {
            for (i, node) in elements.enumerate() {
                let frame = (Some(i as u64), i.to_string(), node);
                budget.take(size_of_val(&frame) + frame.1.len())?;
                frames.push(frame);
            }
        } else {
            let found = root.describe();
            return Err(format!("expected a dictionary of frames, found {found}"));
        }
        // Pictures have names, frames numbers.
        if frames.iter().any(|(number, ..)| number.is_some())
            && let Some((_, key, _)) = frames.iter().find(|(number, ..)| number.is_none())
        {
            return Err(format!("frame {key}: expected a key that ends in a number"));
        }
        frames.sort_by_key(|(number, ..)| *number);
        for (_, key, node) in frames {
            let added = tracked.add(&dictionary(node), Some(1), budget);
            added.map_err(|reason| format!("frame {key}: {reason}"))?;
        }
        Ok(tracked)
    }

    /// Reads an `.npz` archive of arrays for all frames.
    pub fn of_archive(bytes: &[u8], budget: &Budget) -> Result<Self, String> {
        let archive = Archive::within(bytes, budget)?;
        let mut tracked = Self::default();
        tracked.add(&Archived { archive, bytes }, None, budget)?;
        Ok(tracked)
    }

    /// Adds the frames of another file.
    pub fn extend(&mut self, other: Self) {
        self.frames.extend(other.frames);
        self.dropped.extend(other.dropped);
    }

    /// Adds `rows` frames from arrays, or as many as the expression has rows.
    fn add(
        &mut self,
        arrays: &dyn Arrays,
        rows: Option<usize>,
        budget: &Budget,
    ) -> Result<(), String> {
        let mut used = Vec::new();
        let mut read = |names: &[&'static str]| -> Result<Option<(&'static str, Array)>, String> {
            for name in names {
                let array = arrays.array(name);
                if let Some(array) = array.map_err(|reason| format!("{name}: {reason}"))? {
                    used.push(*name);
                    return Ok(Some((name, array)));
                }
            }
            Ok(None)
        };
        let Some((name, expression)) = read(EXPRESSIONS)? else {
            let names = arrays.names();
            let found = match &*names {
                [] => arrays.describe(),
                names => names[..names.len().min(8)].join(", "),
            };
            return Err(format!(
                "expected an entry {}, found {found}",
                EXPRESSIONS.join(" or ")
            ));
        };
        // [50] or [1, 50] of a frame, [T, 50] of all.
        let count = rows.unwrap_or(match expression.shape() {
            [] | [_] => 1,
            [frames, ..] => *frames,
        });
        let table = |name: &str, array: &Array| -> Result<Vec<f32>, String> {
            let shape = array.shape();
            match count > 0 && array.len().is_multiple_of(count) {
                true => array.f32(),
                false => Err(format!(
                    "{name}: expected a row for {count} frames, found {shape:?}"
                )),
            }
        };
        // Frames may share their values.
        let frame = size_of::<MotionFrame>() + 6 * size_of::<f32>();
        let values = size_of::<f32>() * expression.len();
        budget.take(frame.saturating_mul(count).saturating_add(values))?;
        let expression = table(name, &expression)?;

        let mut pose = match read(POSES)? {
            Some((name, array)) => {
                budget.take(size_of::<f32>() * array.len())?;
                table(name, &array)?
            }
            None => vec![0.0; 3 * count],
        };
        if pose.len() == 3 * count {
            // Only the head's; the jaw has an entry of its own.
            let jaw = match read(JAWS)? {
                Some((name, array)) => table(name, &array)?,
                None => vec![0.0; 3 * count],
            };
            if jaw.len() != 3 * count {
                let found = jaw.len();
                return Err(format!(
                    "jaw: expected 3 values a frame, found {found} for {count}"
                ));
            }
            let rows = pose.chunks(3).zip(jaw.chunks(3));
            pose = rows.flat_map(|(head, jaw)| [head, jaw].concat()).collect();
        }
        if pose.len() != 6 * count {
            let found = pose.len();
            return Err(format!(
                "pose: expected 6 values a frame, of head and jaw, found {found} for {count}"
            ));
        }

        let cameras = match read(CAMERAS)? {
            Some((name, array)) => {
                let values = table(name, &array)?;
                let rows = values.chunks(values.len() / count);
                let camera = |rows: &[f32]| -> Result<Camera, String> {
                    let transform = Camera::rows(rows).map_err(|found| {
                        format!("{name}: expected {}, found {found}", Camera::EXPECTED_ROWS)
                    })?;
                    Ok(Camera::from_transform(transform))
                };
                Some(rows.map(camera).collect::<Result<Vec<_>, String>>()?)
            }
            None => None,
        };
        if cameras.is_none() && used.first() == Some(&"emoca_expression") {
            let found = arrays.describe();
            return Err(format!("expected an entry transform_matrix, found {found}"));
        }
        for i in 0..count {
            let row = |values: &[f32]| {
                let columns = values.len() / count;
                values[i * columns..][..columns].to_vec()
            };
            self.frames.push(MotionFrame {
                expression: row(&expression),
                pose: row(&pose),
                camera: cameras
                    .as_ref()
                    .map_or_else(Camera::default, |cameras| cameras[i]),
            });
        }
        if self.dropped.len() < MAX_NAMES {
            let names = arrays.names().into_iter();
            self.dropped
                .extend(names.filter(|name| !used.contains(&&**name)));
        }
        Ok(())
    }

    /// The motion of the frames.
    pub fn finish(self, options: &MotionOptions) -> Checked<ImportedMotion> {
        let turns = |frame: &MotionFrame| {
            frame.pose[..3].iter().any(|angle| *angle != 0.0)
                || frame.camera.transform != self.frames[0].camera.transform
        };
        let head_rotation = match self.frames.iter().any(turns) {
            true => HeadRotation::Tracked,
            false => HeadRotation::Absent,
        };
        Ok(ImportedMotion {
            motion: Motion::new(options.fps.unwrap_or(FPS), self.frames)?,
            rate: match options.fps {
                Some(_) => RateSource::Given,
                None => RateSource::Assumed,
            },
            dropped: self.dropped.into_iter().collect(),
            head_rotation,
        })
    }
}

/// The number at the end of a frame's key, up to an extension.
pub(super) fn frame_number(key: Node) -> Option<u64> {
    match key.int() {
        Some(number) => number.try_into().ok(),
        None => number_of(key.text()?),
    }
}

/// The number at the end of a name, up to an extension.
pub(super) fn number_of(name: &str) -> Option<u64> {
    let (stem, _extension) = name.split_once('.').unwrap_or((name, ""));
    let digits = stem.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    stem[digits..].parse().ok()
}

#[cfg(test)]
pub(super) mod tests;
