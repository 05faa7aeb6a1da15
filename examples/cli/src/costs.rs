//! Costs of work: times of repeated runs, and the dispatches of a profile by stage and kernel.

use std::fmt::{self, Write};
use std::time::Instant;

use gpavatar::{KernelTime, Profile, Result};
use serde::{Deserialize, Serialize};

/// Milliseconds of the same work, done several times.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Times {
    #[serde(rename = "median_milliseconds")]
    pub median: f64,
    #[serde(rename = "best_milliseconds")]
    pub best: f64,
    #[serde(rename = "worst_milliseconds")]
    pub worst: f64,
    /// Each time, in the order in which they were measured.
    #[serde(rename = "milliseconds")]
    pub all: Vec<f64>,
}

impl Times {
    /// Zeros if there are none.
    pub fn new(milliseconds: Vec<f64>) -> Self {
        let [best, median, worst] = [0.0, 0.5, 1.0].map(|share| quantile(&milliseconds, share));
        Self {
            median,
            best,
            worst,
            all: milliseconds,
        }
    }

    /// Median, best and worst.
    pub fn columns(&self) -> [f64; 3] {
        [self.median, self.best, self.worst]
    }

    /// The interquartile range: how far apart the middle half of the times lies. `None` if there are
    /// too few.
    pub fn spread(&self) -> Option<f64> {
        let apart = || quantile(&self.all, 0.75) - quantile(&self.all, 0.25);
        (self.all.len() >= 3).then(apart)
    }
}

/// The value below which a share of the values lies, interpolated linearly. Zero if there are none.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = share * sorted.len().saturating_sub(1) as f64;
    let at = |place: f64| sorted.get(place as usize).copied().unwrap_or_default();
    let (below, above) = (at(place.floor()), at(place.ceil()));
    below + (above - below) * place.fract()
}

/// The dispatches of an avatar or of a frame.
#[derive(Deserialize, Serialize)]
pub struct Section {
    pub total: Cost,
    pub stages: Vec<Stage>,
    pub dispatches: Vec<Dispatch>,
}

#[derive(Deserialize, Serialize)]
pub struct Stage {
    pub stage: String,
    #[serde(flatten)]
    pub cost: Cost,
    pub kernels: Vec<Kernel>,
}

#[derive(Deserialize, Serialize)]
pub struct Kernel {
    pub kernel: String,
    #[serde(flatten)]
    pub cost: Cost,
}

#[derive(Deserialize, Serialize)]
pub struct Dispatch {
    pub stage: String,
    pub kernel: String,
    pub label: String,
    #[serde(flatten)]
    pub cost: Cost,
}

/// The cost of some dispatches together.
#[derive(Clone, Default, Deserialize, Serialize)]
pub struct Cost {
    pub dispatches: usize,
    #[serde(flatten)]
    pub times: Times,
    pub flops: f64,
    pub bytes: f64,
}

impl Cost {
    /// The cost of the dispatches that are `chosen`, in each of the runs.
    fn new(runs: &[Profile], chosen: impl Fn(&KernelTime) -> bool) -> Self {
        let mut cost = Self::default();
        let mut milliseconds = vec![0.0; runs.len()];
        for (i, run) in runs.iter().enumerate() {
            for time in run.kernels.iter().filter(|time| chosen(time)) {
                milliseconds[i] += time.milliseconds;
                if i == 0 {
                    cost.dispatches += 1;
                    cost.flops += time.flops;
                    cost.bytes += time.bytes;
                }
            }
        }
        cost.times = Times::new(milliseconds);
        cost
    }

    /// A row of a table whose names are `width` letters wide.
    fn write(&self, out: &mut String, name: &str, width: usize, total: f64) -> fmt::Result {
        let [median, best, worst] = self.times.columns();
        // Floating-point operations in a millisecond are millions of them in a second.
        let rate = |amount: f64| amount / median.max(1e-6) / 1e6;
        let share = 100.0 * median / total.max(1e-6);
        writeln!(
            out,
            "{name:width$} {:10} {median:10.3} {best:10.3} {worst:10.3} {:9.1} {:8.2} {share:6.1} %",
            self.dispatches,
            rate(self.flops),
            rate(self.bytes),
        )
    }
}

impl Section {
    /// Stages and their kernels in the order in which they first run.
    pub fn new(runs: &[Profile]) -> Self {
        let mut section = Self {
            total: Cost::new(runs, |_| true),
            stages: Vec::new(),
            dispatches: Vec::new(),
        };
        let first = runs.first().map_or(&[][..], |run| &run.kernels[..]);
        for (i, time) in first.iter().enumerate() {
            let (stage, kernel) = (time.stage, time.kernel);
            let times = runs.iter().filter_map(|run| run.kernels.get(i));
            let milliseconds = times.map(|time| time.milliseconds).collect();
            section.dispatches.push(Dispatch {
                stage: stage.into(),
                kernel: kernel.into(),
                label: time.label.clone(),
                cost: Cost {
                    dispatches: 1,
                    times: Times::new(milliseconds),
                    flops: time.flops,
                    bytes: time.bytes,
                },
            });
            if !section.stages.iter().any(|s| s.stage == stage) {
                section.stages.push(Stage {
                    stage: stage.into(),
                    cost: Cost::new(runs, |time| time.stage == stage),
                    kernels: Vec::new(),
                });
            }
            for of_stage in section.stages.iter_mut().filter(|s| s.stage == stage) {
                if !of_stage.kernels.iter().any(|k| k.kernel == kernel) {
                    let same = |time: &KernelTime| (time.stage, time.kernel) == (stage, kernel);
                    let cost = Cost::new(runs, same);
                    let kernel = kernel.into();
                    of_stage.kernels.push(Kernel { kernel, cost });
                }
            }
        }
        section
    }

    /// Writes a table of the stages, and on demand one of all dispatches.
    pub fn write(&self, out: &mut String, title: &str, per_dispatch: bool) -> fmt::Result {
        let mut stages = Vec::new();
        for stage in &self.stages {
            stages.push((stage.stage.clone(), &stage.cost));
            let kernels = stage.kernels.iter();
            stages.extend(kernels.map(|k| (format!("  {}", k.kernel), &k.cost)));
        }
        stages.push(("total".into(), &self.total));
        let mut tables = vec![stages];
        if per_dispatch {
            let dispatches = self.dispatches.iter();
            let rows = dispatches.map(|d| (format!("{} [{}]", d.label, d.kernel), &d.cost));
            tables.push(rows.collect());
        }
        for rows in tables {
            let names = rows.iter().map(|(name, _)| name);
            let width = names.fold(title.len(), |width, name| width.max(name.len()));
            writeln!(
                out,
                "\n{title:width$} {:>10} {:>10} {:>10} {:>10} {:>9} {:>8} {:>8}",
                "dispatches", "median ms", "best", "worst", "GFLOP/s", "GB/s", "share"
            )?;
            for (name, cost) in rows {
                cost.write(out, &name, width, self.total.times.median)?;
            }
        }
        Ok(())
    }
}

/// The value of `run` and the milliseconds that it took.
///
/// # Errors
/// Those of `run`.
pub fn clocked<T>(run: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let start = Instant::now();
    let value = run()?;
    Ok((value, start.elapsed().as_secs_f64() * 1e3))
}

/// Repeats `run` until its time is steady: an idle device lowers its clock, and takes a while to
/// raise it again.
///
/// # Errors
/// Those of `run`.
pub fn warm_up<T>(mut run: impl FnMut() -> Result<T>) -> Result<()> {
    until_steady(|| Ok(clocked(&mut run)?.1))
}

/// Repeats `run`, which returns its milliseconds, until they are steady.
fn until_steady(mut run: impl FnMut() -> Result<f64>) -> Result<()> {
    /// So long that a rising clock shows between one batch and the next.
    const BATCH: f64 = 50.0;
    /// Times that differ by less count as the same.
    const TOLERANCE: f64 = 0.05;
    const SHORTEST: f64 = 200.0;
    const LONGEST: f64 = 2000.0;

    let (mut total, mut before) = (0.0, f64::INFINITY);
    loop {
        let (mut milliseconds, mut count) = (0.0, 0.0);
        while milliseconds < BATCH {
            milliseconds += run()?;
            count += 1.0;
        }
        total += milliseconds;
        let now = milliseconds / count;
        let same = (now - before).abs() < TOLERANCE * now;
        if (same && total > SHORTEST) || total > LONGEST {
            return Ok(());
        }
        before = now;
    }
}

/// How the kernels of a profile were timed, with or without GPU timestamps.
pub fn clock(timestamps: bool) -> &'static str {
    match timestamps {
        true => "GPU timestamps",
        false => "wall clock around every dispatch, submission included",
    }
}

#[cfg(test)]
mod tests;
