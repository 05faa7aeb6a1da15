//! Output of the commands: progress, reports, files, errors.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// Ends a program, with the message of its error if there is one.
pub fn exit(result: Result<(), Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the names of written files, a line each.
pub fn list(paths: &[PathBuf]) {
    for path in paths {
        println!("{}", path.display());
    }
}

/// `1 picture`, `2 pictures`.
pub fn pictures(count: usize) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} picture{plural}")
}

/// Prints a report as text and the other files that were written, and writes it as JSON if asked to:
/// to a file, or for `-` to standard output in place of all else.
pub fn write(
    report: &impl Serialize,
    text: &str,
    json: Option<&Path>,
    others: &[PathBuf],
) -> Result<(), Box<dyn Error>> {
    if let Some(path) = json {
        let json = serde_json::to_string_pretty(report)?;
        if path.as_os_str() == "-" {
            println!("{json}");
            return Ok(());
        }
        std::fs::write(path, json).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    println!("{text}");
    list(others);
    Ok(())
}

/// A progress bar over `count` steps, as far as their number is known. Only terminals show it.
pub fn progress(what: &'static str, count: impl Into<Option<usize>>) -> ProgressBar {
    let (bar, template) = match count.into() {
        Some(count) => (
            ProgressBar::new(count as u64),
            "{msg} {wide_bar} {pos}/{len}, {eta} left",
        ),
        None => (ProgressBar::no_length(), "{msg} {pos}, {per_sec}"),
    };
    let style = ProgressStyle::with_template(template);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style).with_message(what)
}
