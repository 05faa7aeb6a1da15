//! Recordings of ARKit's face tracking as comma-separated values.

use crate::motion::MotionFrame;

pub(super) const FORMAT: &str = "recording of a face";

/// Twice the number of ARKit's columns. It bounds the memory of rows without values.
const MAX_COLUMNS: usize = 128;

/// Frames per second of a recording that is too short to measure: Live Link Face's.
const USUAL_FPS: f32 = 60.0;

/// Columns that are angles, not expressions.
const ROTATIONS: [&str; 9] = [
    "headYaw",
    "headPitch",
    "headRoll",
    "leftEyeYaw",
    "leftEyePitch",
    "leftEyeRoll",
    "rightEyeYaw",
    "rightEyePitch",
    "rightEyeRoll",
];

pub(super) struct Recording {
    pub fps: f32,
    pub channels: Vec<String>,
    pub frames: Vec<MotionFrame>,
}

/// The meaning of a column.
enum Column {
    Time,
    /// Number of expressions that follow, 0 if the picture showed no face.
    Count,
    Channel,
    Dropped,
}

/// Reads a recording whose first row names the columns.
pub(super) fn parse(bytes: &[u8], rotations: bool) -> Result<Recording, String> {
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(bytes);
    let header = reader.headers().map_err(|error| error.to_string())?;
    let count = header.len();
    if count > MAX_COLUMNS {
        return Err(format!(
            "expected at most {MAX_COLUMNS} columns, found {count}"
        ));
    }
    let mut channels = Vec::new();
    let columns: Vec<Column> = header
        .iter()
        .map(|name| match &*channel_name(name) {
            "timecode" | "time" | "timestamp" => Column::Time,
            "blendShapeCount" | "blendshapeCount" => Column::Count,
            name if !rotations && ROTATIONS.contains(&name) => Column::Dropped,
            name => {
                channels.push(name.to_owned());
                Column::Channel
            }
        })
        .collect();
    if !matches!(columns.first(), Some(Column::Time)) || channels.is_empty() {
        let reason = "expected the columns Timecode and those of expressions in the first row";
        return Err(reason.into());
    }

    let (mut frames, mut times) = (Vec::<MotionFrame>::new(), Vec::new());
    for (row, record) in (2..).zip(reader.records()) {
        let record = record.map_err(|error| error.to_string())?;
        let invalid = |i: usize, found: &str| {
            let (name, column) = (expected_in(&columns[i]), i + 1);
            format!("row {row}: expected {name} in column {column}, found {found:?}")
        };
        let mut expression = Vec::with_capacity(channels.len());
        let mut is_blank = false;
        for (i, (column, field)) in columns.iter().zip(&record).enumerate() {
            let number = || field.parse::<f32>().map_err(|_| invalid(i, field));
            match column {
                Column::Time => times.push(seconds(field).ok_or_else(|| invalid(i, field))?),
                Column::Count => is_blank = number()? == 0.0,
                Column::Channel if !is_blank => expression.push(number()?),
                Column::Channel | Column::Dropped => {}
            }
        }
        if is_blank {
            let before = frames.last().map(|frame| frame.expression.clone());
            expression = before.unwrap_or_else(|| vec![0.0; channels.len()]);
        }
        if expression.len() != channels.len() {
            let (expected, found) = (columns.len(), record.len());
            return Err(format!(
                "row {row}: expected {expected} columns, found {found}"
            ));
        }
        frames.push(MotionFrame {
            expression,
            ..MotionFrame::default()
        });
    }
    Ok(Recording {
        fps: frames_per_second(&times).unwrap_or(USUAL_FPS),
        channels,
        frames,
    })
}

/// ARKit's name of a column: Live Link Face begins it with a capital letter.
fn channel_name(column: &str) -> String {
    let mut letters = column.chars();
    let first = letters.next().into_iter().flat_map(char::to_lowercase);
    first.chain(letters).collect()
}

fn expected_in(column: &Column) -> &'static str {
    match column {
        Column::Time => "a time as hours:minutes:seconds:frames or in seconds",
        _ => "a number",
    }
}

/// Time of a row: whole seconds of a time code, or seconds with a fraction.
#[derive(Clone, Copy, PartialEq)]
enum Time {
    Code(u32),
    Seconds(f64),
}

fn seconds(field: &str) -> Option<Time> {
    let mut parts = field.split([':', ';']);
    let (first, second) = (parts.next()?, parts.next());
    let Some(second) = second else {
        let seconds = first.parse().ok().filter(|t: &f64| t.is_finite());
        return seconds.map(Time::Seconds);
    };
    let (third, _frames) = (parts.next()?, parts.next()?);
    let number = |part: &str, end: u32| part.parse().ok().filter(|number: &u32| *number < end);
    let (hours, minutes, seconds) = (number(first, 24)?, number(second, 60)?, number(third, 60)?);
    let code = Time::Code((hours * 60 + minutes) * 60 + seconds);
    parts.next().is_none().then_some(code)
}

/// Counted from the rows of each second. Frame numbers of time codes do not help: the file lacks
/// their rate, and the recording's may differ.
fn frames_per_second(times: &[Time]) -> Option<f32> {
    match (times.first()?, times.last()?) {
        (Time::Seconds(first), Time::Seconds(last)) => {
            let fps = (times.len() - 1) as f64 / (last - first);
            (fps.is_finite() && fps > 0.0).then_some(fps as f32)
        }
        (Time::Code(_), Time::Code(_)) => {
            let mut changes = (1..times.len()).filter(|&row| times[row] != times[row - 1]);
            let first = changes.next()?;
            let last = changes.next_back()?;
            let (Time::Code(from), Time::Code(to)) = (times[first], times[last]) else {
                return None;
            };
            const DAY: u32 = 24 * 60 * 60;
            let seconds = (to + DAY - from) % DAY;
            (seconds > 0).then(|| (last - first) as f32 / seconds as f32)
        }
        _ => None,
    }
}
