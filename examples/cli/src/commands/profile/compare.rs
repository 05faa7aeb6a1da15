//! Two reports side by side.

use std::error::Error;
use std::fmt::{self, Write};
use std::path::Path;

use serde_json::Value;

use super::Report;
use crate::costs::Times;
use crate::header::Header;
use crate::tracked::read_json;

/// A file that cannot be compared: which, and what is wrong with it.
#[derive(Debug)]
pub(super) struct NoReport(String);

impl Error for NoReport {}

impl fmt::Display for NoReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(reason) = self;
        write!(f, "{reason}; expected a report of gpavatar profile --json")
    }
}

/// Reads what `--json` has written.
pub(super) fn read(path: &Path) -> Result<Report, NoReport> {
    read_json(path).map_err(NoReport)
}

/// A table of the stages' medians, under what differs between the conditions.
pub(super) fn text(names: [&str; 2], [a, b]: [&Report; 2]) -> Result<String, fmt::Error> {
    let mut out = String::new();
    for (letter, name, header) in [("A", names[0], &a.header), ("B", names[1], &b.header)] {
        let (origin, runs) = (header.origin(), header.repeat);
        writeln!(out, "{letter}: {name}, {origin}, runs: {runs}")?;
    }
    for difference in differences(&a.header, &b.header) {
        writeln!(out, "warning: {difference}")?;
    }
    let (rows, others) = (rows(a), rows(b));
    let mut pairs: Vec<(&str, [Option<&Times>; 2])> = Vec::new();
    for (name, times) in &rows {
        let other = others.iter().find(|(other, _)| other == name);
        pairs.push((name, [Some(*times), other.map(|(_, times)| *times)]));
    }
    for (name, times) in &others {
        if rows.iter().all(|(row, _)| row != name) {
            pairs.push((name, [None, Some(*times)]));
        }
    }
    let title = "median milliseconds";
    let widths = pairs.iter().map(|(name, _)| name.len());
    let width = widths.fold(title.len(), usize::max);
    writeln!(
        out,
        "\n{title:width$} {:>10} {:>10} {:>8} {:>10}",
        "A", "B", "B / A", "spread"
    )?;
    for (name, times) in pairs {
        let number = |times: Option<&Times>| match times {
            Some(times) => format!("{:.3}", times.median),
            None => "-".into(),
        };
        let [of_a, of_b] = times.map(number);
        write!(out, "{name:width$} {of_a:>10} {of_b:>10}")?;
        if let [Some(a), Some(b)] = times {
            let ratio = format!("{:.3}", b.median / a.median.max(1e-6));
            let spread = spread(a, b).map_or("-".into(), |spread| format!("{spread:.3}"));
            write!(out, " {ratio:>8} {spread:>10}  {}", verdict(a, b))?;
        }
        writeln!(out)?;
    }
    writeln!(
        out,
        "\nfaster, slower: the medians differ by more than the spread, which is the larger \
         interquartile\nrange of the two reports' runs. It takes three runs of both."
    )?;
    Ok(out)
}

/// The larger of the two interquartile ranges.
fn spread(a: &Times, b: &Times) -> Option<f64> {
    Some(a.spread()?.max(b.spread()?))
}

/// What the second times are, compared with the first.
pub(super) fn verdict(a: &Times, b: &Times) -> &'static str {
    let difference = b.median - a.median;
    match spread(a, b) {
        None => "too few runs",
        Some(spread) if difference.abs() <= spread => "same",
        Some(_) if difference < 0.0 => "faster",
        Some(_) => "slower",
    }
}

/// All medians of a report that another one can have, too.
fn rows(report: &Report) -> Vec<(String, &Times)> {
    let whole = report.whole.rows().into_iter();
    let mut rows: Vec<_> = whole
        .filter_map(|(name, times)| Some((name.to_owned(), times?)))
        .collect();
    let sections = [
        ("avatar", Some(&report.avatar)),
        ("frame", Some(&report.frame)),
        ("tracker", report.tracker.as_ref().map(|t| &t.kernels)),
    ];
    for (name, section) in sections {
        let Some(section) = section else { continue };
        for stage in &section.stages {
            rows.push((format!("{name}: {}", stage.stage), &stage.cost.times));
        }
        rows.push((format!("{name}: all kernels"), &section.total.times));
    }
    rows
}

/// Conditions that are not the same, a line each. Time and code are not among them: those are what
/// is compared.
pub(super) fn differences(a: &Header, b: &Header) -> Vec<String> {
    /// Not conditions; and what says the same as other values.
    const LEFT_OUT: [&str; 5] = [
        "date",
        "versions",
        "commit",
        "repeat",
        "adapter.description",
    ];
    let values = [a, b].map(|header| serde_json::to_value(header).unwrap_or_default());
    let mut found = Vec::new();
    differing("", &values[0], &values[1], &mut found);
    found.retain(|(name, _)| {
        let within = |out: &&str| name == *out || name.starts_with(&format!("{out}."));
        !LEFT_OUT.iter().any(within)
    });
    found.into_iter().map(|(_, line)| line).collect()
}

fn differing(name: &str, a: &Value, b: &Value, found: &mut Vec<(String, String)>) {
    match (a, b) {
        (Value::Object(of_a), Value::Object(of_b)) => {
            let more = of_b.keys().filter(|key| !of_a.contains_key(*key));
            for key in of_a.keys().chain(more) {
                let name = match name {
                    "" => key.clone(),
                    name => format!("{name}.{key}"),
                };
                differing(&name, &a[key], &b[key], found);
            }
        }
        _ if a != b => found.push((name.into(), format!("{name} differs: {a} in A, {b} in B"))),
        _ => {}
    }
}
