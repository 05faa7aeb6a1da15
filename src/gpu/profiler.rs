//! Time per kernel: GPU timestamps where the device has them, else the wall clock.

use super::Gpu;
#[cfg(any(feature = "profiler", target_arch = "wasm32"))]
use crate::Error;
use crate::Result;

/// Times of all dispatches of a recording.
#[derive(Clone, Debug)]
pub struct Profile {
    /// In order of execution.
    pub kernels: Vec<KernelTime>,
    /// Whether times are GPU timestamps. Otherwise they are wall-clock times of one submission per
    /// dispatch.
    pub timestamps: bool,
}

impl Profile {
    /// Milliseconds on the GPU from the start of the first dispatch to the end of the last, with what
    /// lies between dispatches. `None` without GPU timestamps.
    #[must_use]
    pub fn gpu_milliseconds(&self) -> Option<f64> {
        let ends = self.kernels.iter().map(KernelTime::end);
        let last = ends.reduce(f64::max).filter(|_| self.timestamps)?;
        let starts = self.kernels.iter().map(|time| time.start);
        Some(last - starts.fold(last, f64::min))
    }
}

/// The cost of one dispatch.
#[derive(Clone, Debug)]
pub struct KernelTime {
    /// Stage of the pipeline.
    pub stage: &'static str,
    /// Layer or step.
    pub label: String,
    /// Kernel that ran.
    pub kernel: &'static str,
    /// Milliseconds from the start of the profile's first dispatch to this one's.
    pub start: f64,
    /// Duration. Without GPU timestamps it includes a submission (see [`Profile::timestamps`]).
    pub milliseconds: f64,
    /// Floating-point operations of the algorithm (a multiply-add counts as two).
    pub flops: f64,
    /// Bytes that have to be read and written once.
    pub bytes: f64,
}

impl KernelTime {
    /// Milliseconds from the start of the profile's first dispatch to this one's end.
    #[must_use]
    pub fn end(&self) -> f64 {
        self.start + self.milliseconds
    }
}

/// Times the dispatches of one recording.
pub(crate) struct Timer {
    gpu: Gpu,
    clock: Clock,
    times: Vec<KernelTime>,
}

/// What is timed of a recording.
#[derive(Default)]
pub(crate) enum Times<'a> {
    #[default]
    None,
    /// All of it, by timestamps of the host.
    Pass(wgpu::ComputePassTimestampWrites<'a>),
    /// Each dispatch, in a pass of its own.
    Kernels(&'a mut Timer),
}

impl<'a> Times<'a> {
    /// The host's timestamps that the next pass writes: the beginning once, the end in the `last`.
    pub(super) fn of_pass(&mut self, last: bool) -> Option<wgpu::ComputePassTimestampWrites<'a>> {
        let Self::Pass(writes) = self else {
            return None;
        };
        let of_pass = wgpu::ComputePassTimestampWrites {
            beginning_of_pass_write_index: writes.beginning_of_pass_write_index.take(),
            end_of_pass_write_index: match last {
                true => writes.end_of_pass_write_index.take(),
                false => None,
            },
            ..writes.clone()
        };
        let begin = of_pass.beginning_of_pass_write_index;
        begin.or(of_pass.end_of_pass_write_index)?;
        Some(of_pass)
    }
}

impl<'a> From<Option<&'a mut Timer>> for Times<'a> {
    fn from(timer: Option<&'a mut Timer>) -> Self {
        timer.map_or(Self::None, Self::Kernels)
    }
}

enum Clock {
    #[cfg(feature = "profiler")]
    Timestamps(Box<wgpu_profiler::GpuProfiler>),
    /// Submits every dispatch by itself and waits for it. Starts are measured from this instant.
    #[cfg(not(target_arch = "wasm32"))]
    Wall(std::time::Instant),
}

const WHAT: &str = "profiling";

/// How often a browser is polled for timestamps.
#[cfg(feature = "profiler")]
const PATIENCE: u32 = 100;

impl Timer {
    /// # Errors
    /// [`Error::Gpu`] in a browser without timestamps, where nothing can wait.
    pub(crate) fn new(gpu: &Gpu) -> Result<Self> {
        Ok(Self {
            gpu: gpu.clone(),
            clock: Clock::new(gpu)?,
            times: Vec::new(),
        })
    }

    /// Runs `dispatch` in a pass of its own. `step` describes it.
    pub(super) fn pass(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        step: KernelTime,
        dispatch: impl FnOnce(&mut wgpu::ComputePass<'_>) -> Result<()>,
    ) -> Result<()> {
        if self.gpu.evict(encoder) {
            // Submitted separately: within one submission the copy could overlap the dispatch.
            submit(&self.gpu, encoder);
        }
        let [start, end] = match self.clock {
            #[cfg(feature = "profiler")]
            Clock::Timestamps(ref mut profiler) => {
                let query = profiler.begin_pass_query(step.label.as_str(), encoder);
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                    label: Some(&step.label),
                    timestamp_writes: query.compute_pass_timestamp_writes(),
                });
                dispatch(&mut pass)?;
                drop(pass);
                profiler.end_query(encoder, query);
                // Read back later.
                [0.0; 2]
            }
            #[cfg(not(target_arch = "wasm32"))]
            Clock::Wall(since) => {
                // Earlier commands are submitted first, so that they do not count.
                submit(&self.gpu, encoder);
                self.gpu.wait(WHAT)?;
                let start = since.elapsed();
                dispatch(&mut encoder.begin_compute_pass(&Default::default()))?;
                submit(&self.gpu, encoder);
                self.gpu.wait(WHAT)?;
                [start, since.elapsed()].map(|time| time.as_secs_f64() * 1e3)
            }
        };
        self.times.push(KernelTime {
            start,
            milliseconds: end - start,
            ..step
        });
        Ok(())
    }

    /// Submits the recording. [`Timer::profile`] reads its times.
    pub(crate) fn submit(&mut self, mut encoder: wgpu::CommandEncoder) -> Result<()> {
        match self.clock {
            #[cfg(feature = "profiler")]
            Clock::Timestamps(ref mut profiler) => {
                profiler.resolve_queries(&mut encoder);
                submit(&self.gpu, &mut encoder);
                profiler
                    .end_frame()
                    .map_err(|error| Error::gpu(WHAT, error))
            }
            #[cfg(not(target_arch = "wasm32"))]
            Clock::Wall(_) => {
                submit(&self.gpu, &mut encoder);
                Ok(())
            }
        }
    }

    /// Waits for the submitted work and reads the times.
    pub(crate) async fn profile(self) -> Result<Profile> {
        let mut kernels = self.times;
        self.gpu.idle(WHAT).await?;
        let timestamps = match self.clock {
            #[cfg(feature = "profiler")]
            Clock::Timestamps(mut profiler) => {
                let period = self.gpu.queue().get_timestamp_period();
                let mut results = profiler.process_finished_frame(period);
                // A browser maps the query buffers some time after the work is done.
                for _ in 0..PATIENCE {
                    if results.is_some() {
                        break;
                    }
                    self.gpu.idle(WHAT).await?;
                    results = profiler.process_finished_frame(period);
                }
                let late = || Error::gpu(WHAT, "the timestamps did not arrive");
                for (time, result) in kernels.iter_mut().zip(results.ok_or_else(late)?) {
                    let range = result.time.unwrap_or_default();
                    time.start = range.start * 1e3;
                    time.milliseconds = (range.end - range.start) * 1e3;
                }
                true
            }
            #[cfg(not(target_arch = "wasm32"))]
            Clock::Wall(_) => false,
        };
        let first = kernels.first().map_or(0.0, |time| time.start);
        for time in &mut kernels {
            time.start -= first;
        }
        Ok(Profile {
            kernels,
            timestamps,
        })
    }
}

impl Clock {
    #[cfg_attr(not(feature = "profiler"), allow(unused_variables))]
    fn new(gpu: &Gpu) -> Result<Self> {
        #[cfg(feature = "profiler")]
        if gpu.has_timestamps() {
            let settings = wgpu_profiler::GpuProfilerSettings {
                enable_debug_groups: false,
                ..Default::default()
            };
            let profiler = wgpu_profiler::GpuProfiler::new(gpu.device(), settings)
                .map_err(|error| Error::gpu(WHAT, error))?;
            return Ok(Self::Timestamps(Box::new(profiler)));
        }
        #[cfg(not(target_arch = "wasm32"))]
        return Ok(Self::Wall(std::time::Instant::now()));
        #[cfg(target_arch = "wasm32")]
        Err(Error::gpu(WHAT, "no timestamp queries"))
    }
}

/// Submits what has been recorded so far and leaves a fresh encoder.
fn submit(gpu: &Gpu, encoder: &mut wgpu::CommandEncoder) {
    let fresh = gpu.device().create_command_encoder(&Default::default());
    gpu.queue()
        .submit([std::mem::replace(encoder, fresh).finish()]);
}
