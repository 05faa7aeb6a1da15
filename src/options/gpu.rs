//! How a device is opened.

use std::path::PathBuf;

use crate::error::{Error, Result};

/// How [`Gpu::request`](crate::Gpu::request) chooses and opens an adapter.
#[derive(Clone, Debug)]
pub struct GpuOptions {
    /// Part of the adapter's name, case-insensitive. Default: any.
    pub adapter: Option<String>,
    /// Backends to look for an adapter on. Default: all. GL is opened only if none of the others
    /// has a GPU.
    pub backends: wgpu::Backends,
    /// How shaders are compiled. Default: trusted.
    pub shaders: ShaderChecks,
    /// Which variants of the kernels run. Default: those for the adapter's kind.
    pub kernels: Option<AdapterKind>,
    /// Whether kernels may use subgroup operations, where they are faster. Default: yes.
    pub subgroups: bool,
    /// Whether kernels may use cooperative matrices (tensor cores), for networks stored in half
    /// precision ([`Precision`](crate::Precision)). Experimental: drivers and wgpu's support are
    /// young, and wgpu warns of undefined behaviour. Default: no.
    pub matrices: bool,
    /// Where compiled kernels are kept, so that the next process starts faster. Only on Vulkan, whose
    /// drivers can hand them out. Default: nowhere.
    pub pipeline_cache: Option<PipelineCache>,
    /// Fills uninitialised buffers with NaN, to expose kernels that read memory before it is
    /// written. For tests.
    pub poison: bool,
    /// Evicts the caches before every dispatch that a profile times. For benchmarks.
    pub cold: bool,
}

/// Where compiled kernels are kept.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PipelineCache {
    /// A file in this folder, which should be the user's own: a driver trusts its data. A file there
    /// that cannot be used is ignored and replaced.
    Folder(PathBuf),
    /// The host's, for [`Gpu::from_device`](crate::Gpu::from_device): it is of the same device, and the
    /// host keeps its data.
    Host(wgpu::PipelineCache),
}

/// How shaders are compiled on native backends. Browsers always check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShaderChecks {
    /// No bounds checks, loop bounds or zeroed workgroup memory: every index of these kernels
    /// follows from sizes that are validated when a model is loaded.
    #[default]
    Trusted,
    /// All of wgpu's run-time checks.
    Checked,
}

/// The kind of processor that executes the kernels; some kernels differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdapterKind {
    /// A graphics processor: workgroup memory is fast.
    Gpu,
    /// A software implementation on the CPU: workgroup memory and barriers are slow.
    Cpu,
}

impl Default for GpuOptions {
    fn default() -> Self {
        Self {
            adapter: None,
            backends: wgpu::Backends::all(),
            shaders: ShaderChecks::default(),
            kernels: None,
            subgroups: true,
            matrices: false,
            pipeline_cache: None,
            poison: false,
            cold: false,
        }
    }
}

impl GpuOptions {
    /// The defaults, overridden by these environment variables. Empty ones count as unset.
    ///
    /// | variable | values |
    /// | --- | --- |
    /// | `GPAVATAR_ADAPTER` | part of the adapter's name |
    /// | `GPAVATAR_BACKEND` | `vulkan`, `metal`, `dx12`, `gl`, `webgpu` |
    /// | `GPAVATAR_SHADERS` | `trusted`, `checked` |
    /// | `GPAVATAR_KERNELS` | `gpu`, `cpu` |
    /// | `GPAVATAR_SUBGROUPS` | `on`, `off` |
    /// | `GPAVATAR_MATRICES` | `on`, `off` |
    ///
    /// Nothing else in this crate reads the environment.
    ///
    /// # Errors
    /// [`Error::Argument`] for a value that is none of these.
    pub fn from_env() -> Result<Self> {
        Self::from_variables(|name| {
            let value = std::env::var_os(name)?;
            Some(value.to_string_lossy().into_owned())
        })
    }

    pub(super) fn from_variables(get: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let get = |name: &str| get(name).filter(|value| !value.is_empty());
        let switch = [("on", true), ("off", false)];
        let backends = [
            ("vulkan", wgpu::Backends::VULKAN),
            ("metal", wgpu::Backends::METAL),
            ("dx12", wgpu::Backends::DX12),
            ("gl", wgpu::Backends::GL),
            ("webgpu", wgpu::Backends::BROWSER_WEBGPU),
        ];
        let shaders = [
            ("trusted", ShaderChecks::Trusted),
            ("checked", ShaderChecks::Checked),
        ];
        let kernels = [("gpu", AdapterKind::Gpu), ("cpu", AdapterKind::Cpu)];
        let default = Self::default();
        Ok(Self {
            adapter: get("GPAVATAR_ADAPTER"),
            backends: one_of(&backends, "GPAVATAR_BACKEND", get)?.unwrap_or(default.backends),
            shaders: one_of(&shaders, "GPAVATAR_SHADERS", get)?.unwrap_or(default.shaders),
            kernels: one_of(&kernels, "GPAVATAR_KERNELS", get)?,
            subgroups: one_of(&switch, "GPAVATAR_SUBGROUPS", get)?.unwrap_or(default.subgroups),
            matrices: one_of(&switch, "GPAVATAR_MATRICES", get)?.unwrap_or(default.matrices),
            ..default
        })
    }
}

/// The value that the variable `name` stands for, regardless of case.
fn one_of<T: Copy>(
    known: &[(&str, T)],
    name: &str,
    get: impl Fn(&str) -> Option<String>,
) -> Result<Option<T>> {
    let Some(value) = get(name) else {
        return Ok(None);
    };
    let found = known
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(&value));
    match found {
        Some((_, meaning)) => Ok(Some(*meaning)),
        None => {
            let words: Vec<_> = known.iter().map(|(word, _)| *word).collect();
            let expected = format!("one of {}", words.join(", "));
            Err(Error::argument(name, expected, value))
        }
    }
}
