//! The super-resolver and the radiance field next to other frameworks.
//!
//! `compare` runs burn on the same adapter, with the same weights and inputs: its outputs are checked
//! first. `export` writes weights and a frame for peers in Python. See benches/README.md.

mod contest;
mod field;
mod parameters;
mod scene;
mod style_unet;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use contest::{Compare, Report};
use gpavatar_cli::args::GpuArgs;
use gpavatar_cli::report;
use scene::Scene;

/// The same work on this crate and on others.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
    /// The network that ships with the repository instead of the released sizes
    #[arg(long, global = true)]
    demo: bool,
    #[command(flatten)]
    gpu: GpuArgs,
}

#[derive(Subcommand)]
enum Verb {
    /// Time burn on the same adapter, once its outputs are the same
    Compare(Compare),
    /// Write weights.safetensors and case.safetensors, a frame with all of its inputs
    Export {
        /// Folder to write to
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    report::exit(run(&Args::parse()))
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let gpu = args.gpu.open()?;
    let scene = Scene::render(&gpu, args.demo)?;
    match &args.verb {
        Verb::Compare(compare) => {
            let report = Report::measure(&gpu, &scene, compare)?;
            report::write(&report, &report.text()?, compare.json.as_deref(), &[])
        }
        Verb::Export { folder } => scene.export(folder),
    }
}
