//! Times of programs that are compared, all at the clock of a busy device.
//!
//! An idle device lowers its clock, by a factor of up to six, and takes a while to raise it again.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::{Duration, Instant};

use super::super::downloads::{Mapping, view};
use super::super::kernel::compile;
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Program, ProgramBuilder};
use crate::options::Formats;

/// Times variants, and knows what time its load takes on a busy device.
#[derive(Default)]
pub(super) struct Timing {
    load: Option<Load>,
}

/// Work whose time tells the device's clock.
struct Load {
    program: Program,
    milliseconds: f64,
}

/// A variant that takes part.
struct Run<V> {
    variant: V,
    program: Program,
    /// Of one repetition, the best so far.
    milliseconds: f64,
}

/// A variant replaces the first one only if it takes less than this fraction of its time.
const GAIN: f64 = 0.97;

/// Variants that first take this many times as long as the best are not timed again.
const HOPELESS: f64 = 2.0;

/// Rounds of single repetitions that tell which variants are hopeless.
const FIRST_ROUNDS: usize = 3;

/// Rounds in which each of the others has a turn.
const ROUNDS: usize = 4;

/// A variant is repeated this often at most in its turn.
const MOST_REPETITIONS: f64 = 100.0;

const WHAT: &str = "timing variants";

impl Timing {
    /// The fastest candidate, and the time of each one.
    ///
    /// # Errors
    /// See [`Tuner::choose`](super::Tuner::choose).
    pub(super) fn measure<V: Copy + Display>(
        &mut self,
        gpu: &Gpu,
        formats: Formats,
        candidates: &[V],
        plan: impl Fn(V, &mut ProgramBuilder<'_>) -> Result<()>,
    ) -> Result<(V, BTreeMap<String, Option<u64>>)> {
        let mut nanoseconds = BTreeMap::new();
        let mut runs: Vec<Run<V>> = Vec::new();
        for &variant in candidates {
            let mut builder = ProgramBuilder::new(gpu, formats);
            if let Some(run) = runs.last() {
                builder.share(&run.program);
            }
            match plan(variant, &mut builder).and_then(|()| builder.finish()) {
                Ok(program) => runs.push(Run {
                    variant,
                    program,
                    milliseconds: f64::INFINITY,
                }),
                Err(Error::Limit { .. }) => {
                    nanoseconds.insert(variant.to_string(), None);
                }
                Err(error) => return Err(error),
            }
        }
        compile(
            runs.iter().flat_map(|run| run.program.kernels_of_steps()),
            None,
        );
        // First touch of the memory and of the code.
        round(gpu, &mut runs.iter_mut().collect::<Vec<_>>(), 1)?;
        runs.iter_mut()
            .for_each(|run| run.milliseconds = f64::INFINITY);
        if let Some(run) = runs.first() {
            self.warm_up(gpu, &run.program)?;
        }
        // More than once: other work on the machine may hold any of them up.
        for _ in 0..FIRST_ROUNDS {
            round(gpu, &mut runs.iter_mut().collect::<Vec<_>>(), 1)?;
        }
        let best = runs.iter().map(|run| run.milliseconds);
        let best = best.fold(f64::INFINITY, f64::min);
        let mut hopeful: Vec<_> = runs.iter_mut().collect();
        hopeful.retain(|run| run.milliseconds <= HOPELESS * best);
        let times = repetitions(turn(gpu), best);
        for _ in 0..ROUNDS {
            round(gpu, &mut hopeful, times)?;
        }
        let mut best = (candidates[0], f64::INFINITY);
        for run in &runs {
            if run.milliseconds < GAIN * best.1 {
                best = (run.variant, run.milliseconds);
            }
            let time = Some((run.milliseconds * 1e6) as u64);
            nanoseconds.insert(run.variant.to_string(), time);
        }
        if self.load.is_none() {
            self.load = runs.into_iter().next().map(|run| Load {
                program: run.program,
                milliseconds: 0.0,
            });
        }
        Ok((best.0, nanoseconds))
    }

    /// Keeps the device busy until its clock is steady. `first` is the load until there is one.
    fn warm_up(&mut self, gpu: &Gpu, first: &Program) -> Result<()> {
        // Software adapters have no clock of their own.
        if gpu.is_software() {
            return Ok(());
        }
        let (program, known) = match &self.load {
            Some(load) => (&load.program, load.milliseconds),
            None => (first, 0.0),
        };
        let start = Instant::now();
        let mut milliseconds = time(gpu, &[program], 1)?[0];
        milliseconds = steady(
            known,
            || start.elapsed(),
            |duration| {
                let times = repetitions(duration, milliseconds);
                milliseconds = time(gpu, &[program], times)?[0];
                Ok(milliseconds)
            },
        )?;
        if let Some(load) = &mut self.load {
            load.milliseconds = milliseconds;
        }
        Ok(())
    }
}

/// Calls `run` with the milliseconds of work that it shall do, until the time of a repetition,
/// which it returns, is the one that is `known` for a busy device, or is steady.
fn steady(
    known: f64,
    elapsed: impl Fn() -> Duration,
    mut run: impl FnMut(f64) -> Result<f64>,
) -> Result<f64> {
    /// Times that differ by less count as the same.
    const TOLERANCE: f64 = 0.05;
    /// Enough to see that the clock is still high.
    const GLANCE: f64 = 2.0;
    /// So long that a rising clock shows between one and the next.
    const BATCH: f64 = 25.0;
    /// Devices do not raise their clocks at once.
    const SHORTEST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_millis(500);

    let now = run(GLANCE)?;
    if now < (1.0 + TOLERANCE) * known {
        return Ok(now.min(known));
    }
    let mut before = f64::INFINITY;
    loop {
        let now = run(BATCH)?;
        let same = (now - before).abs() < TOLERANCE * now;
        if (same && elapsed() > SHORTEST) || elapsed() > LONGEST {
            return Ok(now);
        }
        before = now;
    }
}

/// Repetitions of work that takes `milliseconds` to fill a `duration`.
fn repetitions(duration: f64, milliseconds: f64) -> u32 {
    (duration / milliseconds).clamp(1.0, MOST_REPETITIONS) as u32
}

/// Milliseconds of a turn: the cost of beginning and ending it is negligible.
fn turn(gpu: &Gpu) -> f64 {
    match gpu.times_passes() {
        true => 1.0,
        false => 4.0,
    }
}

/// One turn of every program, one after the other.
fn round<V>(gpu: &Gpu, runs: &mut [&mut Run<V>], times: u32) -> Result<()> {
    let programs: Vec<_> = runs.iter().map(|run| &run.program).collect();
    let milliseconds = time(gpu, &programs, times)?;
    for (run, milliseconds) in runs.iter_mut().zip(milliseconds) {
        run.milliseconds = run.milliseconds.min(milliseconds);
    }
    Ok(())
}

/// Milliseconds of a repetition of every program.
fn time(gpu: &Gpu, programs: &[&Program], times: u32) -> Result<Vec<f64>> {
    let mut milliseconds = match gpu.times_passes() {
        true => timestamps(gpu, programs, times)?,
        false => wall_clock(gpu, programs, times)?,
    };
    milliseconds
        .iter_mut()
        .for_each(|time| *time /= f64::from(times));
    Ok(milliseconds)
}

/// All programs in one submission, so that the device is never idle in between.
fn timestamps(gpu: &Gpu, programs: &[&Program], times: u32) -> Result<Vec<f64>> {
    let device = gpu.device();
    let count = 2 * programs.len() as u32;
    let queries = device.create_query_set(&wgpu::QuerySetDescriptor {
        label: Some(WHAT),
        ty: wgpu::QueryType::Timestamp,
        count,
    });
    let buffer = |usage| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(WHAT),
            size: u64::from(count) * u64::from(wgpu::QUERY_SIZE),
            usage,
            mapped_at_creation: false,
        })
    };
    let resolved = buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
    let staging = buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
    let mut encoder = device.create_command_encoder(&Default::default());
    for (begin, program) in (0..).step_by(2).zip(programs) {
        let writes = wgpu::ComputePassTimestampWrites {
            query_set: &queries,
            beginning_of_pass_write_index: Some(begin),
            end_of_pass_write_index: Some(begin + 1),
        };
        program.repeat(&mut encoder, times, Some(writes))?;
    }
    encoder.resolve_query_set(&queries, 0..count, &resolved, 0);
    encoder.copy_buffer_to_buffer(&resolved, 0, &staging, 0, None);
    let mut mapping = Mapping::on_submit(&mut encoder, &staging);
    gpu.queue().submit([encoder.finish()]);
    gpu.wait(WHAT)?;
    pollster::block_on(mapping.done(gpu))?;
    let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&view(&staging)?);
    let period = f64::from(gpu.queue().get_timestamp_period());
    let passes = ticks.chunks_exact(2);
    let milliseconds = passes.map(|pass| pass[1].saturating_sub(pass[0]) as f64 * period * 1e-6);
    Ok(milliseconds.collect())
}

/// Every program in a submission of its own.
fn wall_clock(gpu: &Gpu, programs: &[&Program], times: u32) -> Result<Vec<f64>> {
    let mut milliseconds = Vec::with_capacity(programs.len());
    for program in programs {
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        program.repeat(&mut encoder, times, None)?;
        let commands = encoder.finish();
        gpu.wait(WHAT)?;
        let start = Instant::now();
        gpu.queue().submit([commands]);
        gpu.wait(WHAT)?;
        milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(milliseconds)
}

#[cfg(test)]
mod tests;
