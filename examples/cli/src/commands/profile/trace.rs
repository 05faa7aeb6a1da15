//! A frame's dispatches as a trace that chrome://tracing and Perfetto show.

use std::path::Path;

use gpavatar::{KernelTime, Profile};
use serde_json::{Value, json};

use crate::costs;
use crate::header::Header;

/// The stages' track, and the kernels' below it.
const TRACKS: [&str; 2] = ["stages", "kernels"];

/// Writes the run whose time is in the middle.
pub fn write(path: &Path, header: &Header, runs: &[Profile]) -> Result<(), String> {
    let sum = |run: &&Profile| {
        run.kernels
            .iter()
            .map(|time| time.milliseconds)
            .sum::<f64>()
    };
    let mut sorted: Vec<_> = runs.iter().collect();
    sorted.sort_by(|a, b| sum(a).total_cmp(&sum(b)));
    let middle = sorted.len().saturating_sub(1) / 2;
    let kernels = sorted.get(middle).map_or(&[][..], |run| &run.kernels);
    std::fs::write(path, trace(header, kernels).to_string())
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// In Chrome's trace event format, whose times are microseconds.
pub(super) fn trace(header: &Header, kernels: &[KernelTime]) -> Value {
    let named = |what: &str, track: usize, name: &str| json!({"ph": "M", "pid": 0, "tid": track, "name": what, "args": {"name": name}});
    let mut events = vec![named("process_name", 0, &header.adapter.description)];
    let tracks = TRACKS.iter().enumerate();
    events.extend(tracks.map(|(track, name)| named("thread_name", track, name)));
    let span = |track: usize, name: &str, [start, end]: [f64; 2], args: Value| {
        json!({"ph": "X", "pid": 0, "tid": track, "cat": TRACKS[track], "name": name,
               "ts": start * 1e3, "dur": (end - start) * 1e3, "args": args})
    };
    for of_stage in kernels.chunk_by(|a, b| a.stage == b.stage) {
        let end = of_stage.iter().map(KernelTime::end).fold(0.0, f64::max);
        let args = json!({"dispatches": of_stage.len()});
        events.push(span(0, of_stage[0].stage, [of_stage[0].start, end], args));
    }
    for time in kernels {
        let args = json!({"layer": time.label, "flops": time.flops, "bytes": time.bytes});
        events.push(span(1, time.kernel, [time.start, time.end()], args));
    }
    json!({
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {"clock": costs::clock(header.timestamps), "header": header},
    })
}
