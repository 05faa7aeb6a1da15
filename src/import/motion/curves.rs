//! Curves of few keys, and cues for shapes of the mouth.

use std::collections::BTreeMap;

use super::channels::{Columns, RHUBARB, Shape};
use super::rate::{Clock, Numbering, plausible};
use super::{MotionOptions, Recording};
use crate::motion::MotionFrame;

/// Frames per second of cues, which have no rate of their own.
const USUAL_FPS: f64 = 30.0;

/// Seconds that a mouth takes from one shape to the next.
const TRANSITION: f64 = 0.08;

/// A channel's values at some times in seconds, in between linear.
#[derive(Default)]
pub(super) struct Curve {
    pub keys: Vec<(f64, f32)>,
    /// The last key that is not after the time sampled last.
    at: usize,
}

impl Curve {
    fn sample(&mut self, time: f64) -> f32 {
        let keys = &self.keys;
        while self.at + 1 < keys.len() && keys[self.at + 1].0 <= time {
            self.at += 1;
        }
        match (keys.get(self.at), keys.get(self.at + 1)) {
            (Some(&(start, from)), Some(&(end, to))) if time > start => {
                from + (to - from) * ((time - start) / (end - start)) as f32
            }
            (Some(&(_, value)), _) => value,
            (None, _) => 0.0,
        }
    }
}

/// Frames of curves, one for each of the `columns`, at a rate.
///
/// `size` is the length of their file.
pub(super) fn sample(
    columns: Columns,
    mut curves: Vec<Curve>,
    stated: Option<f64>,
    options: &MotionOptions,
    size: usize,
) -> Result<Recording, String> {
    for curve in &mut curves {
        if let Some((time, _)) = curve.keys.iter().find(|(time, _)| !time.is_finite()) {
            return Err(format!("expected times of keys, found {time}"));
        }
        curve.keys.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    }
    let ends = curves.iter().filter_map(|curve| curve.keys.last());
    let duration = ends.fold(0.0f64, |end, (time, _)| end.max(*time));
    let given = options.fps.map(f64::from);
    let fps = plausible(given.or(stated).unwrap_or(USUAL_FPS))?;
    // The last frame lies on the end, rounding aside.
    let count = ((duration * fps + 1e-3).floor() as usize).saturating_add(1);
    MotionFrame::affordable(count, columns.channels.len(), size)?;
    let mut recording = Recording::new(columns, Numbering::FRAMES, size);
    for frame in 0..count {
        let time = frame as f64 / fps;
        recording.push(curves.iter_mut().map(|curve| curve.sample(time)))?;
    }
    recording.clock = match stated {
        Some(fps) => Clock::Stated(fps),
        None => Clock::Assumed(fps),
    };
    Ok(recording)
}

/// From when on the mouth has a shape.
pub(super) struct Cue<'a> {
    pub start: f64,
    pub shape: &'a str,
}

/// Frames of cues, each of which lasts until the next one, the last until `end`.
pub(super) fn of_cues(
    cues: &[Cue],
    end: f64,
    options: &MotionOptions,
    size: usize,
) -> Result<Recording, String> {
    let mut curves: BTreeMap<&str, (Shape, Curve)> = BTreeMap::new();
    let known = |shape: &str| RHUBARB.iter().find(|(name, _)| *name == shape);
    let starts: Vec<f64> = cues.iter().map(|cue| cue.start).chain([end]).collect();
    if let Some(i) = (1..starts.len()).find(|&i| starts[i] < starts[i - 1]) {
        let (before, after) = (starts[i - 1], starts[i]);
        return Err(format!(
            "cue {i}: expected a time from {before} on, found {after}"
        ));
    }
    let length = |i: usize| starts[i + 1] - starts[i];
    // Half a transition at the start of a cue.
    let fade = |i: usize| match i {
        0 => 0.0,
        i if i == cues.len() => 0.0,
        i => (length(i - 1).min(length(i)) / 2.0).min(TRANSITION / 2.0),
    };
    for (i, cue) in cues.iter().enumerate() {
        let Some(&(name, shape)) = known(cue.shape) else {
            let found: String = cue.shape.chars().take(20).collect();
            return Err(format!(
                "cue {i}: expected a shape of A to H or X, found {found:?}"
            ));
        };
        let (_, curve) = curves.entry(name).or_insert((shape, Curve::default()));
        let (start, end) = (starts[i], starts[i + 1]);
        let (up, down) = (fade(i), fade(i + 1));
        let keys = &mut curve.keys;
        if i > 0 {
            keys.push((start - up, 0.0));
        }
        keys.extend([(start + up, 1.0), (end - down, 1.0)]);
        if i + 1 < cues.len() {
            keys.push((end + down, 0.0));
        }
    }
    let columns = Columns::of_shapes(curves.values().map(|(shape, _)| *shape));
    let curves = curves.into_values().map(|(_, curve)| curve).collect();
    sample(columns, curves, None, options, size)
}

/// Cues of Rhubarb's lines: seconds, white space, shape. None if the first line is none. The last
/// one says when the sound ends.
pub(super) fn lines<'a>(text: &'a str) -> Option<Result<Vec<Cue<'a>>, String>> {
    let cue = |line: &'a str| {
        let (start, shape) = line.split_once(char::is_whitespace)?;
        let (start, shape) = (start.parse().ok()?, shape.trim());
        let is_shape = shape.len() == 1 && shape.bytes().all(|b| b.is_ascii_uppercase());
        is_shape.then_some(Cue { start, shape })
    };
    let mut lines = (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty());
    let first = cue(lines.next()?.1.trim())?;
    let rest = lines.map(|(number, line)| {
        let found: String = line.chars().take(40).collect();
        let expected = "expected seconds and a shape of the mouth";
        cue(line.trim()).ok_or_else(|| format!("line {number}: {expected}, found {found:?}"))
    });
    Some([Ok(first)].into_iter().chain(rest).collect())
}

/// How a cue of Rhubarb's XML begins.
pub(super) const XML: &str = "<mouthCue ";

/// Cues of Rhubarb's XML, and where the last one ends. It is written by one program in one way:
/// `<mouthCue start="0.00" end="0.05">X</mouthCue>`.
pub(super) fn xml(text: &str) -> Result<(Vec<Cue<'_>>, f64), String> {
    let mut cues = Vec::new();
    let mut last = 0.0;
    for (i, element) in text.split(XML).skip(1).enumerate() {
        let read = || {
            let (attributes, rest) = element.split_once('>')?;
            let (shape, _) = rest.split_once("</mouthCue>")?;
            let attribute = |name: &str| {
                let (_, value) = attributes.split_once(name)?;
                let value = value.trim_start().strip_prefix('=')?.trim_start();
                let quote = value.chars().next()?;
                value[quote.len_utf8()..]
                    .split(quote)
                    .next()?
                    .parse::<f64>()
                    .ok()
            };
            let (start, end) = (attribute("start")?, attribute("end")?);
            Some((
                Cue {
                    start,
                    shape: shape.trim(),
                },
                end,
            ))
        };
        let (cue, end) = read()
            .ok_or_else(|| format!("cue {i}: expected start, end and a shape of the mouth"))?;
        cues.push(cue);
        last = end;
    }
    Ok((cues, last))
}
