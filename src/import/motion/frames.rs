//! JSON of many programs: lists of frames, of curves or of cues, whatever their keys are called.

use std::collections::HashMap;

use glam::{Mat3, Quat, Vec3};

use super::channels::{Columns, LIVE_LINK};
use super::curves::{self, Cue, Curve};
use super::rate::{self, Clock, Numbering};
use super::{MotionOptions, Recording, Turn};
use crate::json::Value;

/// Names of all frames together.
const MAX_NAMES: usize = 1 << 12;

// Keys are compared in small letters and without separators.
const NAMES: &[&str] = &[
    "names",
    "blendshapenames",
    "facsnames",
    "channelnames",
    "channels",
    "blendshapes",
];
const RATES: &[&str] = &["fps", "exportfps", "framerate", "framespersecond"];
const FRAMES: &[&str] = &[
    "frames",
    "weightmat",
    "blendshapeweights",
    "animation",
    "blendshapes",
    "faceblendshapes",
    "results",
    "weights",
    "values",
    "data",
];
const WEIGHTS: &[&str] = &[
    "weights",
    "values",
    "blendshapes",
    "faceblendshapes",
    "blendshapeweights",
    "categories",
    "coefficients",
    "scores",
    "data",
    "channels",
];
const ROTATIONS: &[&str] = &[
    "rotation",
    "headrotation",
    "head",
    "headpose",
    "transform",
    "matrix",
    "transformationmatrix",
    "facialtransformationmatrix",
    "facialtransformationmatrixes",
    "transformationmatrixes",
    "facialtransformationmatrices",
];

/// Reads JSON that is not of this crate.
pub(super) fn parse(
    root: &Value,
    options: &MotionOptions,
    size: usize,
) -> Result<Recording, String> {
    if let Some(cues) = field(root, &["mouthcues"]) {
        return of_cues(cues, options, size);
    }
    let stated = search(root, RATES, |value| value.number().is_some()).and_then(Value::number);
    let is_curve = |value: &Value| field(value, &["keys"]).is_some();
    let are_curves = |value: &Value| value.list().is_some_and(|list| list.iter().any(is_curve));
    if let Some(list) = search(root, &["channels", "curves"], are_curves) {
        return of_curves(list.list().unwrap_or_default(), stated, options, size);
    }
    if let Some(recording) = columnar(root, stated, options, size)? {
        return Ok(recording);
    }
    let frames = frames(root).ok_or_else(|| {
        format!(
            "expected a list of frames, of curves or of mouthCues, found {}",
            root.describe()
        )
    })?;
    let is_text = |value: &Value| value.text().is_some();
    let are_names = |value: &Value| {
        value
            .list()
            .is_some_and(|l| !l.is_empty() && l.iter().all(is_text))
    };
    let names = search(root, NAMES, are_names)
        .and_then(Value::list)
        .unwrap_or_default();
    let names = names.iter().filter_map(Value::text).collect();
    of_frames(&frames, names, stated, options, size)
}

/// True for a document with a list of frames, of curves or of cues.
pub(super) fn has_frames(root: &Value) -> bool {
    let named = search(root, FRAMES, |value| value.list().is_some()).is_some();
    named || field(root, &["mouthcues", "curves"]).is_some()
}

/// The frames of a document in order.
fn frames(root: &Value) -> Option<Vec<&Value>> {
    let is_frames = |value: &Value| value.list().is_some_and(|list| !list.is_empty());
    if is_frames(root) {
        return Some(root.list()?.iter().collect());
    }
    // An object with a key for each frame.
    let entries = root.entries()?;
    let number = |name: &str| super::tracked::number_of(name);
    let mut numbered: Vec<(u64, &Value)> = entries
        .iter()
        .map(|(name, value)| Some((number(name)?, value.entries().map(|_| value)?)))
        .collect::<Option<_>>()
        .unwrap_or_default();
    if !numbered.is_empty() {
        numbered.sort_by_key(|(number, _)| *number);
        return Some(numbered.into_iter().map(|(_, frame)| frame).collect());
    }
    let are_frames = |value: &Value| {
        let list = value.list().unwrap_or_default();
        list.first().is_some_and(|first| first.text().is_none())
    };
    Some(search(root, FRAMES, are_frames)?.list()?.iter().collect())
}

/// What a frame says about the expression.
enum Weights<'v> {
    Listed(&'v [f64]),
    Named(Vec<(&'v str, f64)>),
    /// There is no face.
    None,
}

fn weights(frame: &Value) -> Weights<'_> {
    if let Some(numbers) = frame.numbers() {
        return match numbers {
            [] => Weights::None,
            numbers => Weights::Listed(numbers),
        };
    }
    if let Some(list) = frame.list() {
        let score = |category: &'_ Value| -> Option<f64> {
            field(category, &["score", "value", "weight"])?.number()
        };
        let named = list.iter().map(|category| {
            let name =
                field(category, &["categoryname", "name", "displayname", "shape"])?.text()?;
            Some((name, score(category)?))
        });
        return match named.collect::<Option<Vec<_>>>() {
            Some(named) => Weights::Named(named),
            // The first face.
            None => list.first().map_or(Weights::None, weights),
        };
    }
    let Some(entries) = frame.entries() else {
        return Weights::None;
    };
    for (_, value) in fields(frame, WEIGHTS) {
        match value {
            Value::Null => return Weights::None,
            Value::Numbers(_) | Value::List(_) | Value::Object(_) => return weights(value),
            _ => {}
        }
    }
    let numbers = entries.iter();
    let numbers = numbers.filter_map(|(name, value)| Some((&**name, value.number()?)));
    Weights::Named(numbers.collect())
}

fn of_frames<'v>(
    frames: &[&'v Value],
    mut names: Vec<&'v str>,
    stated: Option<f64>,
    options: &MotionOptions,
    size: usize,
) -> Result<Recording, String> {
    let mut neurosync = false;
    if names.is_empty()
        && let Some(Weights::Listed(list)) = frames
            .iter()
            .map(|f| weights(f))
            .find(|w| !matches!(w, Weights::None))
    {
        // Nothing tells the order of 52 numbers.
        let known = [61, 68]
            .contains(&list.len())
            .then(|| &LIVE_LINK[..list.len()]);
        let known = known.ok_or_else(|| {
            let found = list.len();
            format!("expected names of the {found} numbers of a frame, found none")
        })?;
        neurosync = list.len() == 68;
        names = known.to_vec();
    }
    // Where the value of a name belongs; nowhere if it is a time or a number of frames.
    let is_value = |name: &str| rate::time_name(name).is_none() && !rate::counts_frames(name);
    let listed = names.iter().enumerate().map(|(i, name)| (*name, Some(i)));
    let mut index: HashMap<&str, Option<usize>> = listed.collect();
    for (i, frame) in frames.iter().enumerate() {
        if let Weights::Named(named) = weights(frame) {
            for (name, _) in named {
                index.entry(name).or_insert_with(|| {
                    is_value(name).then(|| {
                        names.push(name);
                        names.len() - 1
                    })
                });
            }
        }
        if index.len() > MAX_NAMES {
            return Err(format!(
                "frame {i}: expected at most {MAX_NAMES} names of channels"
            ));
        }
    }
    let columns = Columns::of(names.iter().copied(), options)?;
    if columns.is_empty() {
        let mut found = names.join(", ");
        found = found.chars().take(80).collect();
        return Err(format!(
            "expected channels of the head model, found {found:?}"
        ));
    }
    let mut recording = Recording::new(columns, Numbering::FRAMES, size);
    let (mut times, mut unit) = (Vec::new(), None);
    // The units of keys that are times.
    let mut known: HashMap<&str, Option<Option<f64>>> = HashMap::new();
    let mut row = vec![0.0; names.len()];
    for (i, frame) in frames.iter().enumerate() {
        let of_frame = |reason: String| format!("frame {i}: {reason}");
        match weights(frame) {
            Weights::None => recording.repeat()?,
            Weights::Listed(values) => {
                if values.len() != names.len() {
                    let (expected, found) = (names.len(), values.len());
                    return Err(of_frame(format!(
                        "expected {expected} values, found {found}"
                    )));
                }
                recording.push(values.iter().map(|value| *value as f32))?;
            }
            Weights::Named(named) => {
                row.fill(0.0);
                for (name, value) in named {
                    if let Some(place) = index[name] {
                        row[place] = value as f32;
                    }
                }
                recording.push(row.iter().copied())?;
            }
        }
        if let Some(turn) = field(frame, ROTATIONS)
            .map(turn)
            .transpose()
            .map_err(of_frame)?
        {
            recording.turn(turn);
        }
        let entries = frame.entries().unwrap_or_default().iter();
        let mut timed = entries.filter_map(|(name, value)| {
            let named = known.entry(name).or_insert_with(|| rate::time_name(name));
            Some(((*named)?, value.number()?))
        });
        if let Some((named, time)) = timed.next() {
            unit = unit.or(named);
            times.push(time);
        }
    }
    recording.clock = match stated {
        Some(fps) => Clock::Stated(fps),
        None if times.len() == frames.len() => Clock::Times { unit, times },
        None if neurosync => Clock::Stated(60.0),
        None => Clock::None,
    };
    Ok(recording)
}

/// An object with a list of numbers for each channel, if it is one.
fn columnar(
    root: &Value,
    stated: Option<f64>,
    options: &MotionOptions,
    size: usize,
) -> Result<Option<Recording>, String> {
    let lists = |value: &Value| -> Vec<(String, Box<[f64]>)> {
        let entries = value.entries().unwrap_or_default().iter();
        let lists = entries.filter_map(|(n, v)| Some((n.to_string(), v.numbers()?.into())));
        lists.collect()
    };
    let found = [
        Some(root),
        field(root, WEIGHTS),
        field(root, &["animation", "curves"]),
    ];
    for lists in found.into_iter().flatten().map(lists) {
        let (times, lists): (Vec<_>, Vec<_>) = lists
            .into_iter()
            .partition(|(name, _)| rate::time_name(name).is_some());
        let columns = Columns::of(lists.iter().map(|(name, _)| &**name), options)?;
        if columns.channels.is_empty() {
            continue;
        }
        let count = lists[0].1.len();
        if let Some((name, list)) = lists.iter().chain(&times).find(|(_, l)| l.len() != count) {
            let found = list.len();
            return Err(format!(
                "{name}: expected {count} values as the others, found {found}"
            ));
        }
        let mut recording = Recording::new(columns, Numbering::FRAMES, size);
        for i in 0..count {
            recording.push(lists.iter().map(|(_, list)| list[i] as f32))?;
        }
        recording.clock = match (stated, times.into_iter().next()) {
            (Some(fps), _) => Clock::Stated(fps),
            (None, Some((name, times))) => Clock::Times {
                unit: rate::time_name(&name).flatten(),
                times: times.into_vec(),
            },
            (None, None) => Clock::None,
        };
        return Ok(Some(recording));
    }
    Ok(None)
}

fn of_curves(
    list: &[Value],
    stated: Option<f64>,
    options: &MotionOptions,
    size: usize,
) -> Result<Recording, String> {
    let (mut names, mut curves) = (Vec::new(), Vec::new());
    for (i, channel) in list.iter().take(MAX_NAMES).enumerate() {
        let keys = field(channel, &["keys"]).and_then(Value::list);
        let named = field(channel, &["name"]).and_then(Value::text).zip(keys);
        let (name, keys) =
            named.ok_or_else(|| format!("channel {i}: expected a name and a list of keys"))?;
        let mut curve = Curve::default();
        for (k, key) in keys.iter().enumerate() {
            let Some(&[time, value]) = key.numbers() else {
                let found = key.describe();
                return Err(format!(
                    "{name:?}: key {k}: expected time and value, found {found}"
                ));
            };
            curve.keys.push((time, value as f32));
        }
        names.push(name);
        curves.push(curve);
    }
    let columns = Columns::of(names, options)?;
    curves::sample(columns, curves, stated, options, size)
}

fn of_cues(cues: &Value, options: &MotionOptions, size: usize) -> Result<Recording, String> {
    let list = cues.list().unwrap_or_default();
    let mut end = 0.0;
    let cues = list.iter().enumerate().map(|(i, cue)| {
        let number = |name: &str| field(cue, &[name])?.number();
        let shape = field(cue, &["value"]).and_then(Value::text);
        let (start, shape) = number("start").zip(shape).ok_or_else(|| {
            format!(
                "cue {i}: expected start and value, found {}",
                cue.describe()
            )
        })?;
        end = number("end").unwrap_or(start);
        Ok(Cue { start, shape })
    });
    let cues = cues.collect::<Result<Vec<_>, String>>()?;
    curves::of_cues(&cues, end, options, size)
}

/// The rotation of a head.
fn turn(value: &Value) -> Result<Turn, String> {
    let unknown = || {
        let expected = "3 angles, a quaternion or a matrix of 3 or 4 rows";
        Err(format!(
            "rotation: expected {expected}, found {}",
            value.describe()
        ))
    };
    let rows = |rows: &[f64], columns: usize| {
        let row = |i: usize| Vec3::from_array([0, 1, 2].map(|j| rows[i * columns + j] as f32));
        Mat3::from_cols(row(0), row(1), row(2)).transpose()
    };
    match value {
        Value::Null => Ok(Turn::None),
        Value::Numbers(numbers) => match **numbers {
            [] => Ok(Turn::None),
            // About x, y and z.
            [pitch, yaw, roll] => Ok(Turn::Angles([yaw, pitch, roll].map(|angle| angle as f32))),
            [x, y, z, w] => {
                let [x, y, z, w] = [x, y, z, w].map(|part| part as f32);
                let quaternion = Quat::from_xyzw(x, y, z, w);
                match (quaternion.length() - 1.0).abs() < 0.01 {
                    true => Ok(Turn::By(quaternion.normalize())),
                    false => unknown(),
                }
            }
            ref matrix if matrix.len() == 9 => rotation(rows(matrix, 3)).map_or_else(unknown, Ok),
            ref matrix if matrix.len() == 16 => {
                // A translation tells the order; without one it is MediaPipe's in browsers.
                let by_rows = [3, 7, 11].iter().any(|&i| matrix[i] != 0.0);
                let axes = rows(matrix, 4);
                let axes = if by_rows { axes } else { axes.transpose() };
                rotation(axes).map_or_else(unknown, Ok)
            }
            _ => unknown(),
        },
        Value::List(list) => {
            let rows_of = list
                .iter()
                .map(|row| row.numbers().filter(|row| [3, 4].contains(&row.len())));
            let found: Option<Vec<&[f64]>> = rows_of.collect();
            match found {
                Some(found) if [3, 4].contains(&found.len()) => {
                    let first: Vec<f64> = found.iter().flat_map(|row| row[..3].to_vec()).collect();
                    rotation(rows(&first, 3)).map_or_else(unknown, Ok)
                }
                // The first face.
                _ => list.first().map_or(Ok(Turn::None), turn),
            }
        }
        Value::Object(_) => {
            let number = |names: &[&str]| field(value, names)?.number().map(|v| v as f32);
            if let Some(data) = field(value, &["data", "matrix", "packeddata"]) {
                return turn(data);
            }
            let angles = [&["yaw"], &["pitch"], &["roll"]].map(|name| number(name));
            match angles {
                [None, None, None] => {
                    let [x, y, z, w] = [&["x"], &["y"], &["z"], &["w"]].map(|name| number(name));
                    match (x, y, z, w) {
                        (Some(x), Some(y), Some(z), None) => Ok(Turn::Angles([y, x, z])),
                        (Some(x), Some(y), Some(z), Some(w)) => {
                            turn(&Value::Numbers([x, y, z, w].map(f64::from).into()))
                        }
                        _ => unknown(),
                    }
                }
                angles => Ok(Turn::Angles(angles.map(|angle| angle.unwrap_or(0.0)))),
            }
        }
        _ => unknown(),
    }
}

/// The rotation of a matrix for column vectors, which may scale.
fn rotation(axes: Mat3) -> Option<Turn> {
    let columns = [axes.x_axis, axes.y_axis, axes.z_axis].map(Vec3::try_normalize);
    let [Some(x), Some(y), Some(z)] = columns else {
        return None;
    };
    let axes = Mat3::from_cols(x, y, z);
    let orthogonal = (axes * axes.transpose()).abs_diff_eq(Mat3::IDENTITY, 0.02);
    (orthogonal && axes.determinant() > 0.0).then(|| Turn::By(Quat::from_mat3(&axes).normalize()))
}

/// The value of one of some keys, the first ones before others, whatever its spelling.
fn field<'v>(value: &'v Value, names: &[&str]) -> Option<&'v Value> {
    fields(value, names).map(|(_, value)| value).next()
}

/// The values of some keys, in the order of the keys.
fn fields<'v>(value: &'v Value, names: &[&str]) -> impl Iterator<Item = (usize, &'v Value)> {
    let entries = value.entries().unwrap_or_default().iter();
    let rank = |key: &str| names.iter().position(|name| is_spelt(key, name));
    let ranked = entries.filter_map(|(key, value)| Some((rank(key)?, value)));
    let mut ranked: Vec<(usize, &Value)> = ranked.collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter()
}

/// The value of a key that is as wanted, in an object or in one of its objects.
fn search<'v>(
    root: &'v Value,
    names: &[&str],
    wanted: impl Fn(&Value) -> bool,
) -> Option<&'v Value> {
    let objects = root.entries()?.iter().map(|(_, value)| value);
    let mut all = [root].into_iter().chain(objects);
    all.find_map(|object| fields(object, names).map(|(_, v)| v).find(|v| wanted(v)))
}

/// True for a key that is `name` but for capital letters and separators.
fn is_spelt(key: &str, name: &str) -> bool {
    let letters = key.bytes().filter(|byte| !b"_- .".contains(byte));
    letters
        .map(|byte| byte.to_ascii_lowercase())
        .eq(name.bytes())
}
