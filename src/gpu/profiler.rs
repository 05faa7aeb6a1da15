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

/// The cost of one dispatch.
#[derive(Clone, Debug)]
pub struct KernelTime {
    /// Stage of the pipeline.
    pub stage: &'static str,
    /// Layer or step.
    pub label: String,
    /// Kernel that ran.
    pub kernel: &'static str,
    /// Duration. Without GPU timestamps it includes a submission (see [`Profile::timestamps`]).
    pub milliseconds: f64,
    /// Floating-point operations of the algorithm (a multiply-add counts as two).
    pub flops: f64,
    /// Bytes that have to be read and written once.
    pub bytes: f64,
}

/// Times the dispatches of one recording.
pub(crate) struct Timer {
    gpu: Gpu,
    clock: Clock,
    times: Vec<KernelTime>,
}

enum Clock {
    #[cfg(feature = "profiler")]
    Timestamps(Box<wgpu_profiler::GpuProfiler>),
    /// Submits every dispatch by itself and waits for it.
    #[cfg(not(target_arch = "wasm32"))]
    Wall,
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
        let milliseconds = match self.clock {
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
                0.0
            }
            #[cfg(not(target_arch = "wasm32"))]
            Clock::Wall => {
                // Earlier commands are submitted first, so that they do not count.
                submit(&self.gpu, encoder);
                self.gpu.wait(WHAT)?;
                let start = std::time::Instant::now();
                dispatch(&mut encoder.begin_compute_pass(&Default::default()))?;
                submit(&self.gpu, encoder);
                self.gpu.wait(WHAT)?;
                start.elapsed().as_secs_f64() * 1e3
            }
        };
        self.times.push(KernelTime {
            milliseconds,
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
            Clock::Wall => {
                submit(&self.gpu, &mut encoder);
                Ok(())
            }
        }
    }

    /// Waits for the submitted work and reads the times.
    pub(crate) async fn profile(self) -> Result<Profile> {
        #[cfg_attr(not(feature = "profiler"), allow(unused_mut))]
        let mut kernels = self.times;
        self.gpu.idle(WHAT).await?;
        match self.clock {
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
                    time.milliseconds = (range.end - range.start) * 1e3;
                }
                Ok(Profile {
                    kernels,
                    timestamps: true,
                })
            }
            #[cfg(not(target_arch = "wasm32"))]
            Clock::Wall => Ok(Profile {
                kernels,
                timestamps: false,
            }),
        }
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
        return Ok(Self::Wall);
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
