//! Arguments that commands share.

use std::ops;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use gpavatar::{AdapterKind, Gpu, GpuOptions, ShaderChecks, Tuning, wgpu};

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
    #[arg(long, value_parser = PossibleValuesParser::new(["trusted", "checked"]).map(checks))]
    shaders: Option<ShaderChecks>,
    /// Kernels for a kind of processor [default: GPAVATAR_KERNELS, else the adapter's kind]
    #[arg(long, value_parser = PossibleValuesParser::new(["gpu", "cpu"]).map(kernels))]
    kernels: Option<AdapterKind>,
}

fn checks(name: String) -> ShaderChecks {
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

impl GpuArgs {
    /// The arguments, completed from the environment.
    ///
    /// # Errors
    /// As for [`GpuOptions::from_env`].
    pub fn options(&self) -> gpavatar::Result<GpuOptions> {
        let environment = GpuOptions::from_env()?;
        Ok(GpuOptions {
            adapter: self.adapter.clone().or(environment.adapter),
            backends: self.backend.unwrap_or(environment.backends),
            shaders: self.shaders.unwrap_or(environment.shaders),
            kernels: self.kernels.or(environment.kernels),
            ..environment
        })
    }

    /// Opens the adapter and prints its description.
    ///
    /// # Errors
    /// As for [`Gpu::with_options`] and [`GpuArgs::options`].
    pub fn open(&self) -> gpavatar::Result<Gpu> {
        let gpu = Gpu::with_options(&self.options()?)?;
        eprintln!("{}", gpu.description());
        Ok(gpu)
    }
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
    /// The chosen ones of `count`, as indices.
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
