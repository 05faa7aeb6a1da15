//! Tables: a row that names the columns, and a row for each frame.

use super::channels::Columns;
use super::curves::{self, Curve};
use super::rate::{self, Clock, Code, GIVE, Numbering};
use super::{MotionOptions, Recording};

/// Columns may also be landmarks, of which there are more than a thousand.
const MAX_COLUMNS: usize = 1 << 12;

/// What to read of a column.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    Time,
    /// Number of expressions that follow, 0 if the picture showed no face.
    Count,
    /// One of the [`Columns`].
    Value,
    Ignored,
}

/// Reads a table of values separated by commas, semicolons or tabs.
pub(super) fn parse(text: &str, options: &MotionOptions) -> Result<Recording, String> {
    let size = text.len();
    // A line for spreadsheets.
    let text = match text.split_once('\n') {
        Some((first, rest)) if first.trim_end().trim_matches('"').starts_with("sep=") => rest,
        _ => text,
    };
    let header = text
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    let count = |delimiter: &u8| header.bytes().filter(|byte| byte == delimiter).count();
    let delimiter = [b'\t', b';', b',']
        .into_iter()
        .max_by_key(count)
        .unwrap_or(b',');
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| error.to_string())?.clone();
    if header.len() > MAX_COLUMNS {
        let count = header.len();
        return Err(format!(
            "expected at most {MAX_COLUMNS} columns, found {count}"
        ));
    }
    if header
        .iter()
        .map(str::to_lowercase)
        .eq(["time", "channel", "value"])
    {
        return keys(reader, options, size);
    }

    let time = time_column(&header);
    let role = |(i, name): (usize, &str)| match name {
        _ if time.is_some_and(|(time, _)| time == i) => Role::Time,
        name if name.eq_ignore_ascii_case("blendShapeCount") => Role::Count,
        name if rate::time_name(name).is_some() || rate::counts_frames(name) => Role::Ignored,
        _ => Role::Value,
    };
    let roles: Vec<Role> = header.iter().enumerate().map(role).collect();
    let valued = header
        .iter()
        .zip(&roles)
        .filter(|(_, role)| **role == Role::Value);
    let columns = Columns::of(valued.map(|(name, _)| name), options)?;
    if columns.is_empty() {
        let mut found: String = header.iter().collect::<Vec<_>>().join(", ");
        found = found.chars().take(80).collect();
        return Err(format!(
            "expected the columns Timecode, or another time, and those of expressions in the first \
             row, found {found:?}"
        ));
    }

    let mut recording = Recording::new(
        columns,
        Numbering {
            word: "row",
            first: 2,
        },
        size,
    );
    let (mut codes, mut times) = (Vec::<Code>::new(), Vec::<f64>::new());
    let mut values = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        let row = record.position().map_or(0, |position| position.line());
        let invalid = |i: usize, expected: &str| {
            let (column, found) = (i + 1, record.get(i).unwrap_or_default());
            format!("row {row}: expected {expected} in column {column}, found {found:?}")
        };
        if let Some((i, _)) = time.filter(|_| options.fps.is_none()) {
            let field = record.get(i).unwrap_or_default();
            let first = codes.is_empty() && times.is_empty();
            if let Some(code) = rate::code(field).filter(|_| first || !codes.is_empty()) {
                codes.push(code);
            } else if let Some(seconds) =
                rate::seconds(&decimal(field)).filter(|_| codes.is_empty())
            {
                times.push(seconds);
            } else {
                let expected = "a time as hours:minutes:seconds:frames or in seconds";
                return Err(format!("{}: {GIVE}", invalid(i, expected)));
            }
        }
        let fields = || record.iter().zip(&roles).enumerate();
        let counted = fields().find(|(_, (_, role))| **role == Role::Count);
        let count =
            counted.map(|(i, (field, _))| number(field).ok_or_else(|| invalid(i, "a number")));
        let mut of_values = fields().filter(|(_, (_, role))| **role == Role::Value);
        let is_blank = count.transpose()? == Some(0.0)
            || record.len() == roles.len() && of_values.all(|(_, (field, _))| field.is_empty());
        if is_blank {
            recording.repeat()?;
            continue;
        }
        if record.len() < roles.len() {
            let (expected, found) = (roles.len(), record.len());
            return Err(format!(
                "row {row}: expected {expected} columns, found {found}"
            ));
        }
        values.clear();
        for (i, (field, role)) in fields() {
            if *role == Role::Value {
                // What is left out may hold anything.
                let value = match recording.keeps(values.len()) {
                    true => number(field).ok_or_else(|| invalid(i, "a number"))?,
                    false => 0.0,
                };
                values.push(value);
            }
        }
        recording.push(values.iter().copied())?;
    }
    recording.clock = match time {
        Some(_) if !codes.is_empty() => Clock::Codes(codes),
        Some((_, unit)) => Clock::Times { unit, times },
        None => Clock::None,
    };
    Ok(recording)
}

/// The column of times and the unit that its name says: the first one that says a unit, or else
/// the first one.
fn time_column(header: &csv::StringRecord) -> Option<(usize, Option<f64>)> {
    let times = || {
        let named = header.iter().enumerate();
        named.filter_map(|(i, name)| Some((i, rate::time_name(name)?)))
    };
    times()
        .find(|(_, unit)| unit.is_some())
        .or_else(|| times().next())
}

/// A number with a point, or with a decimal comma.
fn decimal(field: &str) -> std::borrow::Cow<'_, str> {
    match field.bytes().filter(|byte| *byte == b',').count() {
        1 if !field.contains('.') => field.replace(',', ".").into(),
        _ => field.into(),
    }
}

fn number(field: &str) -> Option<f32> {
    decimal(field).parse().ok()
}

/// A table of curves: a row for each key, with its time, channel and value.
fn keys(
    mut reader: csv::Reader<&[u8]>,
    options: &MotionOptions,
    size: usize,
) -> Result<Recording, String> {
    let (mut names, mut curves) = (Vec::<String>::new(), Vec::<Curve>::new());
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        let row = record.position().map_or(0, |position| position.line());
        let field = |i: usize| record.get(i).unwrap_or_default();
        let key = decimal(field(0)).parse().ok().zip(number(field(2)));
        let key =
            key.ok_or_else(|| format!("row {row}: expected a time, a channel and a value"))?;
        let known = names.iter().position(|name| name == field(1));
        let channel = known.unwrap_or(names.len());
        if known.is_none() {
            if names.len() == MAX_COLUMNS {
                return Err(format!(
                    "row {row}: expected at most {MAX_COLUMNS} channels"
                ));
            }
            names.push(field(1).to_owned());
            curves.push(Curve::default());
        }
        curves[channel].keys.push(key);
    }
    let columns = Columns::of(names.iter().map(String::as_str), options)?;
    curves::sample(columns, curves, None, options, size)
}
