//! What the columns of a recording mean: channels of the head model by any of their spellings,
//! visemes, angles of the head.

use std::collections::HashSet;

use super::MotionOptions;
use crate::head::ARKIT;

/// The columns of Live Link Face and NeuroSync in their order, for lists of numbers without names.
pub(super) const LIVE_LINK: [&str; 68] = [
    "eyeBlinkLeft",
    "eyeLookDownLeft",
    "eyeLookInLeft",
    "eyeLookOutLeft",
    "eyeLookUpLeft",
    "eyeSquintLeft",
    "eyeWideLeft",
    "eyeBlinkRight",
    "eyeLookDownRight",
    "eyeLookInRight",
    "eyeLookOutRight",
    "eyeLookUpRight",
    "eyeSquintRight",
    "eyeWideRight",
    "jawForward",
    "jawRight",
    "jawLeft",
    "jawOpen",
    "mouthClose",
    "mouthFunnel",
    "mouthPucker",
    "mouthRight",
    "mouthLeft",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthDimpleLeft",
    "mouthDimpleRight",
    "mouthStretchLeft",
    "mouthStretchRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    "mouthPressLeft",
    "mouthPressRight",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
    "browDownLeft",
    "browDownRight",
    "browInnerUp",
    "browOuterUpLeft",
    "browOuterUpRight",
    "cheekPuff",
    "cheekSquintLeft",
    "cheekSquintRight",
    "noseSneerLeft",
    "noseSneerRight",
    "tongueOut",
    "headYaw",
    "headPitch",
    "headRoll",
    "leftEyeYaw",
    "leftEyePitch",
    "leftEyeRoll",
    "rightEyeYaw",
    "rightEyePitch",
    "rightEyeRoll",
    "angry",
    "disgusted",
    "fearful",
    "happy",
    "neutral",
    "sad",
    "surprised",
];

/// A shape of the mouth as weights of channels; a name without side stands for both.
pub(super) type Shape = &'static [(&'static str, f32)];

const CLOSED: Shape = &[
    ("mouthPress", 0.5),
    ("mouthRollLower", 0.3),
    ("mouthRollUpper", 0.3),
];
const LIP_ON_TEETH: Shape = &[
    ("jawOpen", 0.08),
    ("mouthRollLower", 0.6),
    ("mouthUpperUp", 0.2),
];
const ROUNDED: Shape = &[
    ("jawOpen", 0.15),
    ("mouthPucker", 0.7),
    ("mouthFunnel", 0.25),
];
const TONGUE_UP: Shape = &[
    ("jawOpen", 0.25),
    ("mouthLowerDown", 0.25),
    ("mouthUpperUp", 0.1),
];
const SPREAD: Shape = &[("jawOpen", 0.2), ("mouthStretch", 0.3), ("mouthSmile", 0.3)];
const OPEN_ROUNDED: Shape = &[("jawOpen", 0.4), ("mouthFunnel", 0.55)];
const WIDE_OPEN: Shape = &[
    ("jawOpen", 0.6),
    ("mouthLowerDown", 0.3),
    ("mouthUpperUp", 0.2),
];

/// The 15 visemes of Oculus and OpenFaceFX.
pub(super) const VISEMES: [(&str, Shape); 18] = [
    ("sil", &[]),
    ("PP", CLOSED),
    ("FF", LIP_ON_TEETH),
    (
        "TH",
        &[
            ("jawOpen", 0.2),
            ("mouthLowerDown", 0.2),
            ("tongueOut", 0.3),
        ],
    ),
    (
        "DD",
        &[
            ("jawOpen", 0.15),
            ("mouthLowerDown", 0.25),
            ("mouthUpperUp", 0.15),
        ],
    ),
    (
        "kk",
        &[
            ("jawOpen", 0.2),
            ("mouthLowerDown", 0.25),
            ("mouthStretch", 0.15),
        ],
    ),
    (
        "CH",
        &[("jawOpen", 0.1), ("mouthFunnel", 0.5), ("mouthPucker", 0.2)],
    ),
    (
        "SS",
        &[
            ("jawOpen", 0.05),
            ("mouthStretch", 0.35),
            ("mouthLowerDown", 0.2),
        ],
    ),
    ("nn", TONGUE_UP),
    (
        "RR",
        &[
            ("jawOpen", 0.1),
            ("mouthPucker", 0.35),
            ("mouthFunnel", 0.2),
        ],
    ),
    ("aa", WIDE_OPEN),
    (
        "E",
        &[
            ("jawOpen", 0.35),
            ("mouthStretch", 0.3),
            ("mouthSmile", 0.15),
        ],
    ),
    ("I", SPREAD),
    ("O", OPEN_ROUNDED),
    ("U", ROUNDED),
    // What Meta's own manual calls I, O and U.
    ("ih", SPREAD),
    ("oh", OPEN_ROUNDED),
    ("ou", ROUNDED),
];

/// The mouth shapes of Rhubarb Lip Sync, which are Hanna-Barbera's.
pub(super) const RHUBARB: [(&str, Shape); 9] = [
    ("A", CLOSED),
    (
        "B",
        &[
            ("jawOpen", 0.05),
            ("mouthStretch", 0.3),
            ("mouthLowerDown", 0.25),
        ],
    ),
    (
        "C",
        &[
            ("jawOpen", 0.35),
            ("mouthStretch", 0.25),
            ("mouthLowerDown", 0.2),
        ],
    ),
    ("D", WIDE_OPEN),
    ("E", &[("jawOpen", 0.35), ("mouthFunnel", 0.35)]),
    ("F", ROUNDED),
    ("G", LIP_ON_TEETH),
    ("H", TONGUE_UP),
    ("X", &[]),
];

/// The channels of a shape, with their weights.
pub(super) fn weights(shape: Shape) -> impl Iterator<Item = (&'static str, f32)> {
    shape.iter().flat_map(|&(name, weight)| {
        let sided = move |channel: &&&str| {
            let side = channel.strip_prefix(name);
            side.is_some_and(|side| ["", "Left", "Right"].contains(&side))
        };
        let channels = ARKIT.iter().filter(sided);
        channels.map(move |channel| (*channel, weight))
    })
}

/// The meaning of a column.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Column {
    /// A channel of the motion, by index.
    Channel(usize),
    /// A viseme: channels by index, with their weights.
    Viseme(Vec<(usize, f32)>),
    /// An angle of the head: yaw, pitch, roll.
    Angle(usize),
    Dropped,
}

/// The meaning of all columns of a recording.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    pub columns: Vec<Column>,
    /// Names of the channels.
    pub channels: Vec<String>,
    /// Names of the columns that are left out.
    pub dropped: Vec<String>,
    /// True if some columns are angles of the head.
    pub has_angles: bool,
}

/// Names of the head's angles, in small letters: yaw to the person's left, pitch downwards, roll
/// towards the person's right, as Live Link Face has them.
const ANGLES: [(&str, usize); 6] = [
    ("headyaw", 0),
    ("headpitch", 1),
    ("headroll", 2),
    ("yaw", 0),
    ("pitch", 1),
    ("roll", 2),
];

impl Columns {
    /// Finds the meaning of columns by their names.
    pub fn of<'a>(
        names: impl IntoIterator<Item = &'a str>,
        options: &MotionOptions,
    ) -> Result<Self, String> {
        let names: Vec<&str> = names.into_iter().collect();
        let wanted: Vec<&str> = match &*options.channels {
            [] => ARKIT.to_vec(),
            channels => channels.iter().map(String::as_str).collect(),
        };
        let keys: Vec<String> = wanted.iter().map(|name| key(name)).collect();
        let spelt = |name: &str| {
            let key = key(name);
            keys.iter().position(|known| *known == key)
        };
        // Single letters are visemes only among others.
        let is_viseme = |name: &&str| viseme(name).is_some();
        let has_visemes = names.iter().filter(|name| is_viseme(name)).count() >= 5;

        let spelt_out: HashSet<String> = names.iter().map(|name| key(name)).collect();

        let mut found = Self::default();
        for name in &names {
            // A name with a prefix stands back behind the same one without.
            let alone = || bare(name).filter(|bare| !spelt_out.contains(&key(bare)));
            let channel = spelt(name).or_else(|| spelt(alone()?));
            let angle = ANGLES.iter().find(|(angle, _)| *angle == key(name));
            let column = if let Some(channel) = channel {
                let channel = wanted[channel];
                if found.channels.iter().any(|known| known == channel) && !has_visemes {
                    return Err(format!(
                        "expected different channels, found {channel:?} twice"
                    ));
                }
                Column::Channel(index(&mut found.channels, channel))
            } else if let Some((_, angle)) = angle {
                found.has_angles = true;
                Column::Angle(*angle)
            } else if has_visemes && let Some(shape) = viseme(name) {
                let weights = weights(shape).filter(|(channel, _)| wanted.contains(channel));
                let weights = weights.map(|(channel, w)| (index(&mut found.channels, channel), w));
                Column::Viseme(weights.collect())
            } else {
                found.dropped.push((*name).to_owned());
                Column::Dropped
            };
            found.columns.push(column);
        }
        Ok(found)
    }

    /// True without any channel or angle.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty() && !self.has_angles
    }

    /// One column for each shape of the mouth.
    pub fn of_shapes(shapes: impl Iterator<Item = Shape>) -> Self {
        let mut found = Self::default();
        for shape in shapes {
            let weights = weights(shape);
            let weights = weights.map(|(channel, w)| (index(&mut found.channels, channel), w));
            let column = Column::Viseme(weights.collect());
            found.columns.push(column);
        }
        found
    }

    /// The expression and the angles of the head of a row, a value for each column.
    pub fn read(&self, row: impl IntoIterator<Item = f32>) -> (Vec<f32>, [f32; 3]) {
        let mut expression = vec![0.0f32; self.channels.len()];
        let mut angles = [0.0; 3];
        let mut blended = false;
        for (column, value) in self.columns.iter().zip(row) {
            match column {
                Column::Channel(channel) => expression[*channel] += value,
                Column::Viseme(weights) => {
                    blended = true;
                    for (channel, weight) in weights {
                        expression[*channel] += weight * value;
                    }
                }
                Column::Angle(angle) => angles[*angle] = value,
                Column::Dropped => {}
            }
        }
        if blended {
            // Visemes overlap.
            for value in &mut expression {
                *value = value.min(1.0);
            }
        }
        (expression, angles)
    }
}

/// The index of a channel, which is added if it is not there.
fn index(channels: &mut Vec<String>, name: &str) -> usize {
    let known = channels.iter().position(|channel| channel == name);
    known.unwrap_or_else(|| {
        channels.push(name.to_owned());
        channels.len() - 1
    })
}

/// The shape of a viseme's name, which may begin with `viseme_`.
fn viseme(name: &str) -> Option<Shape> {
    let name = name.strip_prefix("viseme_").unwrap_or(name);
    let named = VISEMES
        .iter()
        .find(|(viseme, _)| viseme.eq_ignore_ascii_case(name));
    named.map(|(_, shape)| *shape)
}

/// What the spellings of a name have in common: `JawOpen`, `jaw_open`, `EyeBlink_L`.
pub(super) fn key(name: &str) -> String {
    // No head model has a channel of such a name: what is longer has nothing in common with one.
    const MOST: usize = 1000;
    let letters = name.chars().take(MOST).filter(|c| !"_- ".contains(*c));
    let letters: String = letters.flat_map(char::to_lowercase).collect();
    for (side, letter) in [("left", "l"), ("right", "r")] {
        if let Some(stem) = letters.strip_suffix(side) {
            return format!("{stem}{letter}");
        }
    }
    letters
}

/// A name without the prefix before its last separator: `jawOpen` of `blendShapes.JawOpen`.
fn bare(name: &str) -> Option<&str> {
    let (_, bare) = name.rsplit_once(['.', ':', '/', '|', '['])?;
    Some(bare.trim_end_matches(']'))
}
