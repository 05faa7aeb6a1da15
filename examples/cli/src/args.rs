//! Arguments that commands share.

use std::ops;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use gpavatar::{AdapterKind, Gpu, GpuOptions, PipelineCache, ShaderChecks, Tuning, wgpu};

/// Where and how the kernels run.
#[derive(clap::Args)]
#[command(next_help_heading = "Adapter")]
pub struct GpuArgs {
    /// Adapter whose name contains this [default: GPAVATAR_ADAPTER, else the best]
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
    /// Backend [default: GPAVATAR_BACKEND, else the best with an adapter]
    #[arg(long, value_parser = PossibleValuesParser::new(["vulkan", "metal", "dx12", "gl"])
              .map(|name| wgpu::Backends::from_comma_list(&name)))]
    backend: Option<wgpu::Backends>,
    /// Shaders without or with run-time checks [default: GPAVATAR_SHADERS, else trusted]
    #[arg(long, value_parser = PossibleValuesParser::new(["trusted", "checked"])
              .map(|name| if name == "checked" { ShaderChecks::Checked } else { ShaderChecks::Trusted }))]
    shaders: Option<ShaderChecks>,
    /// Kernels for a kind of processor [default: GPAVATAR_KERNELS, else the adapter's kind]
    #[arg(long, value_parser = PossibleValuesParser::new(["gpu", "cpu"])
              .map(|name| if name == "cpu" { AdapterKind::Cpu } else { AdapterKind::Gpu }))]
    kernels: Option<AdapterKind>,
}

impl GpuArgs {
    /// The arguments, completed from the environment.
    pub fn options(&self) -> gpavatar::Result<GpuOptions> {
        let environment = GpuOptions::from_env()?;
        Ok(GpuOptions {
            adapter: self.adapter.clone().or(environment.adapter),
            backends: self.backend.unwrap_or(environment.backends),
            shaders: self.shaders.unwrap_or(environment.shaders),
            kernels: self.kernels.or(environment.kernels),
            pipeline_cache: pipeline_cache().map(PipelineCache::Folder),
            ..environment
        })
    }

    /// Opens the adapter and prints its description.
    pub fn open(&self) -> gpavatar::Result<Gpu> {
        let gpu = Gpu::with_options(&self.options()?)?;
        eprintln!("{}", gpu.description());
        Ok(gpu)
    }
}

/// Where compiled kernels are kept.
pub fn pipeline_cache() -> Option<PathBuf> {
    Some(dirs::cache_dir()?.join("gpavatar"))
}

/// How kernels are chosen.
#[derive(clap::Args)]
#[command(next_help_heading = "Adapter")]
pub struct TuningArgs {
    /// Variants of kernels: estimate, measure, measure=FILE, or a FILE that pins them [default:
    /// GPAVATAR_TUNING, else measured on GPUs, once for each adapter]
    #[arg(long, value_name = "HOW")]
    tuning: Option<Tuning>,
}

impl TuningArgs {
    /// The argument, else the environment's, else measuring on GPUs, which it announces.
    pub fn choose(&self, gpu: &Gpu) -> Tuning {
        let environment = || {
            let how = std::env::var("GPAVATAR_TUNING").ok()?;
            how.parse().ok().filter(|_| !how.is_empty())
        };
        match self.tuning.clone().or_else(environment) {
            Some(tuning) => tuning,
            None if gpu.kind() == AdapterKind::Gpu => {
                eprintln!(
                    "kernels are timed once for this adapter and network, and the choice is kept in \
                     the user's folder for caches (--tuning estimate does neither)"
                );
                Tuning::Measure { file: None }
            }
            None => Tuning::Estimate,
        }
    }
}

/// Part of a sequence, `FROM..TO` without `TO`; the defaults are the sequence's ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    from: usize,
    to: Option<usize>,
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let end = |text: &str| match text {
            "" => Some(None),
            digits => digits.parse().ok().map(Some),
        };
        let range = text.split_once("..").and_then(|(from, to)| {
            let (from, to) = (end(from)?.unwrap_or(0), end(to)?);
            Some(Self { from, to })
        });
        range.ok_or_else(|| "expected FROM..TO, such as 0..24 or 12..".into())
    }
}

impl Range {
    /// The first one.
    pub fn from(self) -> usize {
        self.from
    }

    /// The one behind the last, if it was given.
    pub fn to(self) -> Option<usize> {
        self.to
    }

    /// The chosen ones of `count`, as indices.
    ///
    /// # Errors
    /// If there are none.
    pub fn of(self, count: usize) -> Result<ops::Range<usize>, String> {
        let (from, to) = (self.from, self.to.unwrap_or(count).min(count));
        if from >= to {
            return Err(format!("{from}..{to} selects none of the {count} frames"));
        }
        Ok(from..to)
    }
}

#[cfg(test)]
mod tests;
