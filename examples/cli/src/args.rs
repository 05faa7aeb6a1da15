//! Arguments that commands share.

use std::ops;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use gpavatar::{AdapterKind, Gpu, GpuOptions, Precision, ShaderChecks, Tuning, wgpu};

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
    #[arg(long, value_parser = PossibleValuesParser::new(["trusted", "checked"]).map(shaders))]
    mode: Option<ShaderChecks>,
    /// Kernels for a kind of processor [default: GPAVATAR_KERNELS, else the adapter's kind]
    #[arg(long, value_parser = PossibleValuesParser::new(["gpu", "cpu"]).map(kernels))]
    kernels: Option<AdapterKind>,
}

fn shaders(name: String) -> ShaderChecks {
    match name.as_str() {
        "checked" => ShaderChecks::Checked,
        _ => ShaderChecks::Trusted,
    }
}

fn kernels(name: String) -> AdapterKind {
    match name.as_str() {
        "cpu" => AdapterKind::Cpu,
        _ => AdapterKind::Gpu,
    }
}

/// How the network is kept on the device.
#[derive(clap::Args)]
pub struct PrecisionArgs {
    /// Numbers of 16 bits in the super-resolver (half) or everywhere (fastest)
    #[arg(long, default_value = "full",
          value_parser = PossibleValuesParser::new(["full", "half", "fastest"])
              .try_map(|name| name.parse::<Precision>()))]
    pub precision: Precision,
    /// Variants of kernels: estimate, measure, measure=FILE, or a FILE that pins them [default:
    /// GPAVATAR_TUNING, else measured on GPUs, once for each adapter]
    #[arg(long, value_name = "HOW")]
    tuning: Option<Tuning>,
}

impl PrecisionArgs {
    pub fn tuning(&self, gpu: &Gpu) -> Tuning {
        self.tuning.clone().unwrap_or_else(|| tuning(gpu))
    }
}

/// How variants of kernels are chosen unless an argument says: by GPAVATAR_TUNING, else measured on
/// GPUs.
pub fn tuning(gpu: &Gpu) -> Tuning {
    match std::env::var("GPAVATAR_TUNING") {
        Ok(how) if !how.is_empty() => match how.parse() {
            Ok(tuning) => tuning,
            Err(infallible) => match infallible {},
        },
        _ if gpu.kind() == AdapterKind::Gpu => Tuning::Measure { file: None },
        _ => Tuning::Estimate,
    }
}

impl GpuArgs {
    /// What the environment says, but for what is given.
    pub fn options(&self) -> gpavatar::Result<GpuOptions> {
        let environment = GpuOptions::from_env()?;
        Ok(GpuOptions {
            adapter: self.adapter.clone().or(environment.adapter),
            backends: self.backend.unwrap_or(environment.backends),
            shaders: self.mode.unwrap_or(environment.shaders),
            kernels: self.kernels.or(environment.kernels),
            ..environment
        })
    }

    pub fn open(&self) -> gpavatar::Result<Gpu> {
        Gpu::with_options(&self.options()?)
    }
}

/// Some of a sequence, as `FROM..TO` without `TO`; what is left out is the sequence's own end.
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
        let ends = text
            .split_once("..")
            .and_then(|(from, to)| Some((end(from)?, end(to)?)));
        match ends {
            Some((from, to)) => Ok(Self {
                from: from.unwrap_or(0),
                to,
            }),
            None => Err("expected FROM..TO, such as 0..24 or 12..".into()),
        }
    }
}

impl Range {
    /// The chosen ones of `count`.
    ///
    /// # Errors
    /// If there are none.
    pub fn of(self, count: usize) -> Result<ops::Range<usize>, String> {
        let to = self.to.unwrap_or(count).min(count);
        if self.from < to {
            Ok(self.from..to)
        } else {
            Err(format!(
                "{}..{to} selects none of the {count} frames",
                self.from
            ))
        }
    }
}

#[cfg(test)]
mod tests;
