//! Arguments that commands share.

use std::ops;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use gpavatar::{AdapterKind, Gpu, GpuOptions, Precision, ShaderChecks, Tuning};

/// Where and how the kernels run.
#[derive(clap::Args)]
#[command(next_help_heading = "Adapter")]
pub struct GpuArgs {
    /// Adapter whose name contains this [default: GPAVATAR_ADAPTER, else the best]
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
    /// Backend [default: GPAVATAR_BACKEND, else the best with an adapter]
    #[arg(long, value_parser = ["vulkan", "metal", "dx12", "gl"])]
    backend: Option<String>,
    /// Shaders without or with run-time checks [default: GPAVATAR_SHADERS, else trusted]
    #[arg(long, value_parser = PossibleValuesParser::new(["trusted", "checked"]).map(shaders))]
    mode: Option<ShaderChecks>,
    /// Kernels for a kind of processor [default: GPAVATAR_KERNELS, else the adapter's kind]
    #[arg(long, value_parser = PossibleValuesParser::new(["gpu", "cpu"]).map(kernels))]
    kernels: Option<AdapterKind>,
    /// Variants of kernels: estimate, measure, measure=FILE, or a FILE that pins them [default:
    /// GPAVATAR_TUNING, else measured on GPUs]
    #[arg(long, value_name = "HOW")]
    tuning: Option<Tuning>,
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
}

impl GpuArgs {
    pub fn options(&self) -> GpuOptions {
        GpuOptions {
            adapter: self.adapter.clone(),
            backend: self.backend.clone(),
            shaders: self.mode,
            kernels: self.kernels,
            tuning: self.tuning.clone(),
            ..GpuOptions::default()
        }
    }

    pub fn open(&self) -> gpavatar::Result<Gpu> {
        Gpu::with_options(&self.options())
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
