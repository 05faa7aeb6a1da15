//! Everything that touches wgpu: device, kernels, tensors, recorded programs and their timing.

mod context;
mod downloads;
mod kernel;
mod memory;
mod profiler;
mod program;
mod tensor;
mod tuning;
mod uploads;

pub use context::{AdapterKind, Gpu, GpuOptions, ShaderChecks};
pub(crate) use downloads::{Download, Downloads};
pub use kernel::{BindingInfo, BindingKind, Kernel, KernelSource, kernels};
pub use profiler::KernelTime;
pub(crate) use profiler::Timer;
pub use program::Tap;
pub(crate) use program::{
    Bindings, Conditions, Dispatch, Program, ProgramBuilder, Recording, Resource, When, linear_grid,
};
pub(crate) use tensor::Format;
pub use tensor::{Storage, Tensor};
pub use tuning::{Choice, Tuning};
pub(crate) use uploads::Uploads;
