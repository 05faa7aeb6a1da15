//! What the dispatches of a profile cost, by stage and kernel.

use std::fmt::{self, Write};

use gpavatar::{KernelTime, Profile};
use serde::Serialize;

/// The dispatches of an avatar or of a frame.
#[derive(Serialize)]
pub struct Section {
    pub total: Cost,
    pub stages: Vec<Stage>,
    pub dispatches: Vec<Dispatch>,
}

#[derive(Serialize)]
pub struct Stage {
    pub stage: &'static str,
    #[serde(flatten)]
    pub cost: Cost,
    pub kernels: Vec<Kernel>,
}

#[derive(Serialize)]
pub struct Kernel {
    pub kernel: &'static str,
    #[serde(flatten)]
    pub cost: Cost,
}

#[derive(Serialize)]
pub struct Dispatch {
    pub stage: &'static str,
    pub kernel: &'static str,
    pub label: String,
    #[serde(flatten)]
    pub cost: Cost,
}

/// What some dispatches cost together.
#[derive(Clone, Copy, Default, Serialize)]
pub struct Cost {
    pub dispatches: usize,
    pub milliseconds: f64,
    pub flops: f64,
    pub bytes: f64,
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.dispatches += other.dispatches;
        self.milliseconds += other.milliseconds;
        self.flops += other.flops;
        self.bytes += other.bytes;
    }

    /// A row of a table whose names are `width` letters wide.
    fn write(&self, out: &mut String, name: &str, width: usize, total: f64) -> fmt::Result {
        // Floating-point operations in a millisecond are millions of them in a second.
        let rate = |amount: f64| amount / self.milliseconds.max(1e-6) / 1e6;
        let share = 100.0 * self.milliseconds / total.max(1e-6);
        writeln!(
            out,
            "{name:width$} {:10} {:10.3} {:9.1} {:8.2} {share:6.1} %",
            self.dispatches,
            self.milliseconds,
            rate(self.flops),
            rate(self.bytes),
        )
    }
}

impl Section {
    /// Stages and their kernels in the order in which they first run; the times of each dispatch
    /// are the median over the runs.
    pub fn new(runs: &[Profile]) -> Self {
        let mut section = Self {
            total: Cost::default(),
            stages: Vec::new(),
            dispatches: Vec::new(),
        };
        let Some(first) = runs.first() else {
            return section;
        };
        for (i, dispatch) in first.kernels.iter().enumerate() {
            let times = runs.iter().filter_map(|run| run.kernels.get(i));
            let cost = Cost {
                dispatches: 1,
                milliseconds: median(times.map(|time| time.milliseconds)),
                flops: dispatch.flops,
                bytes: dispatch.bytes,
            };
            section.add(dispatch, cost);
        }
        section
    }

    fn add(&mut self, time: &KernelTime, cost: Cost) {
        self.total.add(cost);
        let (stage, kernel) = (time.stage, time.kernel);
        let at = position_or_push(
            &mut self.stages,
            |s| s.stage == stage,
            || Stage {
                stage,
                cost: Cost::default(),
                kernels: Vec::new(),
            },
        );
        let stage = &mut self.stages[at];
        stage.cost.add(cost);
        let at = position_or_push(
            &mut stage.kernels,
            |k| k.kernel == kernel,
            || Kernel {
                kernel,
                cost: Cost::default(),
            },
        );
        stage.kernels[at].cost.add(cost);
        self.dispatches.push(Dispatch {
            stage: time.stage,
            kernel,
            label: time.label.clone(),
            cost,
        });
    }

    /// Stages with their kernels, as rows of a table.
    fn stage_rows(&self) -> Vec<(String, Cost)> {
        let mut rows = Vec::new();
        for stage in &self.stages {
            rows.push((stage.stage.to_owned(), stage.cost));
            let kernels = stage.kernels.iter();
            rows.extend(kernels.map(|k| (format!("  {}", k.kernel), k.cost)));
        }
        rows.push(("total".into(), self.total));
        rows
    }

    fn dispatch_rows(&self) -> Vec<(String, Cost)> {
        let dispatches = self.dispatches.iter();
        let row = |d: &Dispatch| (format!("{} [{}]", d.label, d.kernel), d.cost);
        dispatches.map(row).collect()
    }

    /// Writes a table of the stages, and on demand one of all dispatches.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut String, title: &str, per_dispatch: bool) -> fmt::Result {
        let mut tables = vec![self.stage_rows()];
        if per_dispatch {
            tables.push(self.dispatch_rows());
        }
        for rows in tables {
            let names = rows.iter().map(|(name, _)| name);
            let width = names.fold(title.len(), |width, name| width.max(name.len()));
            writeln!(
                out,
                "\n{title:width$} {:>10} {:>10} {:>9} {:>8} {:>8}",
                "dispatches", "ms", "GFLOP/s", "GB/s", "share"
            )?;
            for (name, cost) in rows {
                cost.write(out, &name, width, self.total.milliseconds)?;
            }
        }
        Ok(())
    }
}

/// Index of the item that is wanted, which is added if there is none.
fn position_or_push<T>(
    items: &mut Vec<T>,
    wanted: impl Fn(&T) -> bool,
    new: impl FnOnce() -> T,
) -> usize {
    items.iter().position(wanted).unwrap_or_else(|| {
        items.push(new());
        items.len() - 1
    })
}

pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        even if even % 2 == 0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}
