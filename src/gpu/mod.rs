//! Everything that touches wgpu: device, kernels, tensors, recorded programs and their timing.

mod context;
mod kernel;
mod profiler;
mod program;
mod tensor;

pub use context::{AdapterKind, Gpu, GpuOptions, ShaderChecks};
pub use kernel::{BindingInfo, BindingKind, Kernel, KernelSource, kernels};
pub use profiler::KernelTime;
pub(crate) use profiler::Timer;
pub(crate) use program::{Bindings, Conditions, Program, ProgramBuilder, Recording, When};
pub(crate) use program::{Dispatch, linear_grid};
pub use tensor::Tensor;
