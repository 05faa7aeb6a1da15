//! How a device is opened.

use super::Tuning;

/// How [`Gpu::request`] chooses and opens an adapter.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Part of the adapter's name, case-insensitive. Default: the environment variable
    /// `GPAVATAR_ADAPTER`, else any.
    pub adapter: Option<String>,
    /// Backend: `vulkan`, `metal`, `dx12`, `gl` or `webgpu`. Default: the environment variable
    /// `GPAVATAR_BACKEND`, else the best that offers an adapter.
    pub backend: Option<String>,
    /// How shaders are compiled. Default: the environment variable `GPAVATAR_SHADERS`
    /// (`trusted` or `checked`), else trusted.
    pub shaders: Option<ShaderChecks>,
    /// Which variants of the kernels run. Default: the environment variable `GPAVATAR_KERNELS`
    /// (`gpu` or `cpu`), else those for the adapter's kind.
    pub kernels: Option<AdapterKind>,
    /// Whether kernels may use subgroup operations. Default: the environment variable
    /// `GPAVATAR_SUBGROUPS` (`on` or `off`), else wherever they are faster.
    pub subgroups: Option<bool>,
    /// How the variants of a model's kernels are chosen. Default: the environment variable
    /// `GPAVATAR_TUNING` (`estimate`, `measure`, `measure=FILE`, or a file that pins them), else they
    /// are measured on GPUs and estimated on CPU implementations and in browsers.
    pub tuning: Option<Tuning>,
    /// Whether kernels may use cooperative matrices (tensor cores), for networks that are stored in
    /// half precision ([`Precision`](crate::Precision)). Experimental: drivers and wgpu's support of
    /// them are young, and wgpu warns of undefined behaviour. Default: the environment variable
    /// `GPAVATAR_MATRICES` (`on` or `off`), else off.
    pub matrices: Option<bool>,
    /// Fills every new working buffer with NaN, so that a kernel which reads what nobody wrote
    /// shows. For tests.
    pub poison: bool,
    /// Empties the caches before every dispatch that a profile times. For benchmarks.
    pub cold: bool,
}

/// How shaders are compiled on native backends. Browsers always check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShaderChecks {
    /// No bounds checks, loop bounds or zeroed workgroup memory: every index of these kernels
    /// follows from sizes that are validated when a model is loaded.
    #[default]
    Trusted,
    /// All of wgpu's run-time checks.
    Checked,
}

/// What kind of processor executes the kernels; some kernels differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdapterKind {
    /// A graphics processor: workgroup memory is fast.
    Gpu,
    /// A software implementation on the CPU: workgroup memory and barriers are slow.
    Cpu,
}
