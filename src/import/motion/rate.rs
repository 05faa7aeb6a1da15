//! The rate of a recording from the times of its frames.

use std::cmp::Ordering;
use std::fmt;
use std::ops::RangeInclusive;

/// Frames per second that a recording may have.
pub(super) const PLAUSIBLE: RangeInclusive<f64> = 1.0..=240.0;

/// Rates that cameras and programs have.
const USUAL: [f64; 15] = [
    24.0, 25.0, 30.0, 50.0, 60.0, 48.0, 90.0, 100.0, 120.0, 240.0, 15.0, 20.0, 23.976_024,
    29.970_03, 59.940_06,
];

/// Where the rate of an imported motion is from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RateSource {
    /// [`MotionOptions::fps`](super::MotionOptions::fps).
    Given,
    /// The file is a motion of this crate.
    Own,
    /// The file says it, or its format has only one.
    Stated,
    /// The times of its frames, in these units or codes.
    Measured(&'static str),
    /// Nothing tells it; it is the usual one of such files.
    Assumed,
}

impl fmt::Display for RateSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given => f.write_str("as given"),
            Self::Own => f.write_str("as in the motion"),
            Self::Stated => f.write_str("as the file says"),
            Self::Measured(unit) => write!(f, "by its times in {unit}"),
            Self::Assumed => f.write_str("assumed, as the file does not say"),
        }
    }
}

/// A time code: its second of the day, and its frame number, whose rate the file does not say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Code {
    pub second: u32,
    pub frame: u32,
}

/// What a file says about the times of its frames.
#[derive(Clone, Debug, Default)]
pub(super) enum Clock {
    #[default]
    None,
    Stated(f64),
    Assumed(f64),
    Codes(Vec<Code>),
    Times {
        /// Of a unit, in seconds, if the file says it.
        unit: Option<f64>,
        times: Vec<f64>,
    },
}

/// How a file names its frames in messages: "row" 2, 3, …; or "frame" 0, 1, ….
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbering {
    pub word: &'static str,
    pub first: usize,
}

impl Numbering {
    pub const FRAMES: Self = Self {
        word: "frame",
        first: 0,
    };

    fn of(self, i: usize) -> String {
        format!("{} {}", self.word, self.first + i)
    }
}

/// What to do where nothing tells the rate.
pub(super) const GIVE: &str = "give the rate with --fps";

impl Clock {
    /// The rate of `frames` frames.
    pub fn rate(&self, frames: usize, number: Numbering) -> Result<(f64, RateSource), String> {
        match self {
            Self::Stated(fps) => Ok((plausible(*fps)?, RateSource::Stated)),
            Self::Assumed(fps) => Ok((plausible(*fps)?, RateSource::Assumed)),
            // Any rate fits a single frame.
            _ if frames < 2 => Ok((30.0, RateSource::Assumed)),
            Self::None => Err(format!("expected times of its frames, found none: {GIVE}")),
            Self::Codes(codes) => {
                let fps = of_codes(codes, number)?;
                Ok((plausible(fps)?, RateSource::Measured("time codes")))
            }
            Self::Times { unit, times } => of_times(*unit, times, number),
        }
    }
}

/// # Errors
/// If frames are not from 1 to 240 per second.
pub(super) fn plausible(fps: f64) -> Result<f64, String> {
    match PLAUSIBLE.contains(&fps) {
        true => Ok(fps),
        false => Err(format!(
            "expected 1 to 240 frames per second, found {fps}: {GIVE}"
        )),
    }
}

/// Units that times without one may have.
const UNITS: [(f64, &str); 4] = [
    (1.0, "seconds"),
    (1e-3, "milliseconds"),
    (1e-6, "microseconds"),
    (1e-9, "nanoseconds"),
];

fn of_times(
    unit: Option<f64>,
    times: &[f64],
    number: Numbering,
) -> Result<(f64, RateSource), String> {
    let steps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let mut forward: Vec<f64> = steps.iter().copied().filter(|step| *step > 0.0).collect();
    let standing = |i: usize| {
        let (frame, time) = (number.of(i + 1), times[i + 1]);
        format!(
            "{frame}: expected a time after {}, found {time}: {GIVE}",
            times[i]
        )
    };
    let Some(last) = forward.len().checked_sub(1) else {
        return Err(standing(0));
    };
    // The lower one of the two in the middle: a jump does not decide for two steps.
    let (_, &mut usual, _) = forward.select_nth_unstable_by(last / 2, f64::total_cmp);

    // A step back, or over several frames, is a jump of the clock.
    let regular = |step: f64| step > 0.0 && step < 3.5 * usual;
    let (mut sum, mut count) = (0.0, 0usize);
    for step in steps.iter().copied().filter(|step| regular(*step)) {
        sum += step;
        count += 1;
    }
    if (steps.len() - count) * 4 > steps.len()
        && let Some(i) = steps.iter().position(|step| !regular(*step))
    {
        let (frame, step) = (number.of(i + 1), steps[i]);
        return Err(format!(
            "{frame}: expected times about {usual} apart, found {step}: {GIVE}"
        ));
    }
    let step = sum / count as f64;
    let whole = times.iter().all(|time| time.fract() == 0.0);
    if whole && step == 1.0 && unit.is_none() {
        return Err(format!(
            "expected times, found whole numbers that count the frames: {GIVE}"
        ));
    }
    let fits = |&&(unit, _): &&(f64, &str)| PLAUSIBLE.contains(&(1.0 / (step * unit)));
    let of_unit = |unit: f64| UNITS.iter().find(|(size, _)| *size == unit);
    let found = unit.and_then(of_unit).or_else(|| UNITS.iter().find(fits));
    let (size, name) = *found.unwrap_or(&UNITS[0]);
    let fps = 1.0 / (step * size);
    if !PLAUSIBLE.contains(&fps) {
        let frame = number.of(1);
        return Err(format!(
            "{frame}: expected 1 to 240 frames per second, found steps of {step} {name}, {fps:.3} per \
             second: {GIVE}"
        ));
    }
    // The nearest usual rate, if it is as good as the measured one: the two ends of the times may
    // be rounded, together by one step of their last digit.
    let grain = grain(times) / count as f64;
    let near = |usual: &f64| {
        let difference = (1.0 / (usual * size) - step).abs();
        difference <= grain.clamp(step * 2e-4, step * 0.05)
    };
    let candidates = USUAL.into_iter().filter(near);
    // Times of few digits fit 30 and 29.97 alike.
    let order = |usual: &f64| (usual.fract() != 0.0, (usual - fps).abs());
    let usual =
        candidates.min_by(|a, b| order(a).partial_cmp(&order(b)).unwrap_or(Ordering::Equal));
    Ok((usual.unwrap_or(fps), RateSource::Measured(name)))
}

/// The value of the last digit that times have, down to a ten-millionth.
fn grain(times: &[f64]) -> f64 {
    let digits = [1.0, 0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-6];
    let exact = |grain: &f64| {
        times
            .iter()
            .all(|time| (time / grain - (time / grain).round()).abs() < 1e-6)
    };
    digits.into_iter().find(exact).unwrap_or(1e-7)
}

/// Counted from the rows of each second. Frame numbers of time codes help only with the first
/// second: the file lacks their rate, and the recording's may differ.
fn of_codes(codes: &[Code], number: Numbering) -> Result<f64, String> {
    const DAY: u32 = 24 * 60 * 60;
    let turns: Vec<usize> = (1..codes.len())
        .filter(|&i| codes[i].second != codes[i - 1].second)
        .collect();
    // To the next second, and not over several or back.
    let regular = |i: &usize| (codes[*i - 1].second + 1) % DAY == codes[*i].second;
    let whole_seconds = turns.windows(2).filter(|turns| turns.iter().all(regular));
    let mut counts: Vec<usize> = whole_seconds.map(|turns| turns[1] - turns[0]).collect();
    if !counts.is_empty() {
        counts.sort_unstable();
        let usual = counts[counts.len() / 2];
        // A second with a gap is none to count.
        counts.retain(|&count| count.abs_diff(usual) <= 1 + usual / 10);
        return Ok(counts.iter().sum::<usize>() as f64 / counts.len() as f64);
    }
    // Within seconds, and from the only one to the next.
    let step = |i: usize| f64::from(codes[i].frame) - f64::from(codes[i - 1].frame);
    let within = (1..codes.len()).filter(|&i| codes[i].second == codes[i - 1].second);
    let steps: Vec<f64> = within.map(step).filter(|step| *step > 0.0).collect();
    if let Some(&turn) = turns.iter().find(|turn| regular(turn))
        && !steps.is_empty()
    {
        let mean = steps.iter().sum::<f64>() / steps.len() as f64;
        let second = mean - step(turn);
        let fps = second / mean;
        return Ok(match (fps - fps.round()).abs() < 0.02 * fps {
            true => fps.round(),
            false => fps,
        });
    }
    Err(match turns.first() {
        Some(&i) => {
            let [from, to] = [i - 1, i].map(|i| codes[i].second);
            let frame = number.of(i);
            format!("{frame}: expected the second after {from} of the day, found {to}: {GIVE}")
        }
        None => {
            let count = codes.len();
            format!("expected time codes of more than a second, found {count} within one: {GIVE}")
        }
    })
}

/// The second and frame of a code `hours:minutes:seconds:frames`, with `;` before the frames in
/// drop-frame codes, and with a fraction of a frame or without.
pub(super) fn code(field: &str) -> Option<Code> {
    let mut parts = field.split([':', ';']);
    let mut number = |end: u32| {
        let part = parts.next()?.parse().ok();
        part.filter(|number: &u32| *number < end)
    };
    let (hours, minutes, seconds) = (number(24)?, number(60)?, number(60)?);
    let frame = parts.next()?;
    let frame = frame.split_once('.').map_or(frame, |(frame, _)| frame);
    let code = Code {
        second: (hours * 60 + minutes) * 60 + seconds,
        frame: frame.parse().ok()?,
    };
    parts.next().is_none().then_some(code)
}

/// Seconds of a number, or of `hours:minutes:seconds` or `minutes:seconds` with a fraction.
pub(super) fn seconds(field: &str) -> Option<f64> {
    let mut total = 0.0;
    let parts: Vec<&str> = field.split(':').collect();
    if parts.len() > 3 {
        return None;
    }
    for (i, part) in parts.iter().enumerate() {
        let value: f64 = part.parse().ok()?;
        let ok = value.is_finite() && (i == 0 || (0.0..60.0).contains(&value));
        if !ok {
            return None;
        }
        total = 60.0 * total + value;
    }
    Some(total)
}

/// True for names of columns of times, in small letters without separators, and the unit they say,
/// in seconds.
pub(super) fn time_name(name: &str) -> Option<Option<f64>> {
    let name = name.to_lowercase();
    let name = name
        .trim_end_matches([')', ']'])
        .replace([' ', '-', '(', '[', '.'], "_");
    let (stem, unit) = match name.rsplit_once('_') {
        Some((stem, "s" | "sec" | "secs" | "seconds")) => (stem, Some(1.0)),
        Some((stem, "ms" | "msec" | "millis" | "milliseconds")) => (stem, Some(1e-3)),
        Some((stem, "us" | "micros" | "microseconds")) => (stem, Some(1e-6)),
        Some((stem, "ns" | "nanos" | "nanoseconds")) => (stem, Some(1e-9)),
        _ => match &*name {
            "seconds" | "sec" => ("time", Some(1.0)),
            "ms" | "milliseconds" | "timestampms" | "timems" => ("time", Some(1e-3)),
            "timestampus" | "timeus" => ("time", Some(1e-6)),
            "timestampns" | "timens" => ("time", Some(1e-9)),
            _ => (&*name, None),
        },
    };
    let stem = stem.replace('_', "");
    let stem = stem.strip_prefix("frame").unwrap_or(&stem);
    let known = [
        "time",
        "timestamp",
        "timecode",
        "t",
        "pts",
        "elapsed",
        "elapsedtime",
        "timein",
        "ts",
    ];
    known.contains(&stem).then_some(unit)
}

/// True for names of columns that count frames.
pub(super) fn counts_frames(name: &str) -> bool {
    let name = name.to_lowercase().replace(['_', ' ', '-', '.'], "");
    let known = [
        "",
        "frame",
        "frames",
        "frameid",
        "frameidx",
        "frameindex",
        "framenumber",
        "framenum",
        "frameno",
        "index",
        "idx",
        "id",
        "row",
        "number",
        "unnamed:0",
    ];
    known.contains(&&*name)
}
