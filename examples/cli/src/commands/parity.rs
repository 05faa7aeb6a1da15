//! Compares this crate with the authors' network, tensor by tensor.

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use gpavatar::Weights;
use gpavatar::reference::golden::Case;
use gpavatar::reference::parity;

use crate::args::GpuArgs;

/// Compares every tensor of a golden case with the authors' numbers; fails beyond a tolerance.
#[derive(clap::Args)]
#[command(after_help = "\
The table has the largest and the mean error, PSNR (peak 1), range and tolerance of every tensor.
Pictures past their tolerance are computed again in float64, on the CPU (a minute): they pass where
the authors' numbers are as far from that, and the table says how far both are.

Examples:
  gpavatar parity tests/golden/small_paper_one_source.safetensors
  gpavatar parity tests/golden/released_three_sources.safetensors --shaders checked
  gpavatar parity mine/case.safetensors --model gpavatar.safetensors")]
pub struct Args {
    /// Case file: what the authors' network computed, with the case's pictures beside it
    case: PathBuf,
    /// Weights that the case was computed with, instead of those that checkpoint_*.tsv makes up
    #[arg(long = "model", value_name = "FILE")]
    weights: Option<PathBuf>,
    #[command(flatten)]
    gpu: GpuArgs,
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let case = match &args.weights {
        Some(weights) => Case::with_weights(&args.case, Weights::open(weights)?)?,
        None => Case::open(&args.case)?,
    };
    let gpu = args.gpu.open()?;
    let start = Instant::now();
    let table = pollster::block_on(parity::compare(&gpu, case))?;
    eprintln!("computed in {:.1} s", start.elapsed().as_secs_f64());
    println!("{table}");
    match (table.failures(), table.0.len()) {
        (0, _) => Ok(()),
        (some, all) => Err(format!("{some} of {all} tensors are past their tolerance").into()),
    }
}
