//! Every option type. Nothing here runs anything.

mod gpu;
mod model;
mod precision;
mod render;

pub use gpu::{AdapterKind, GpuOptions, PipelineCache, ShaderChecks};
pub use model::{ModelOptions, Progress, Tuning};
pub use precision::Precision;
pub(crate) use precision::{Format, Formats};
pub use render::{AvatarOptions, Background, Noise, RenderOptions};

#[cfg(test)]
mod tests;
