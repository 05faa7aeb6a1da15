//! Everything that touches wgpu: device, kernels, tensors, recorded programs and their timing.

mod adapter;
mod background;
#[cfg(feature = "candidates")]
mod candidate;
mod context;
mod downloads;
mod failures;
mod kernel;
mod memory;
#[cfg(not(target_arch = "wasm32"))]
mod pipelines;
mod profiler;
mod program;
#[cfg(feature = "track")]
mod readings;
mod tensor;
mod tuning;
mod uploads;

pub(crate) use crate::options::{AdapterKind, ShaderChecks};
pub(crate) use background::Submitted;
#[cfg(feature = "candidates")]
pub use candidate::Candidate;
pub use context::Gpu;
pub(crate) use context::locked;
pub(crate) use downloads::{Download, Downloads};
pub(crate) use kernel::{Kernel, KernelSource, kernels};
pub use profiler::{KernelTime, Profile};
pub(crate) use profiler::{Timer, Times};
#[cfg(test)]
pub(crate) use program::Splits;
pub(crate) use program::{
    Bindings, Conditions, Dispatch, Program, ProgramBuilder, Recording, Resource, When,
};
#[cfg(feature = "track")]
pub(crate) use readings::Readings;
pub(crate) use tensor::Snapshot;
pub use tensor::Tensor;
pub use tuning::Choice;
pub(crate) use tuning::Tuner;
pub(crate) use uploads::Uploads;
