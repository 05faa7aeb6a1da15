//! Shows what a file holds: weights, head models, avatars and motions of this crate, the authors'
//! checkpoints and tracked videos, pickles, `.npz` archives, recordings of faces.
//!
//! ```sh
//! cargo run --release --example info -- gpavatar.safetensors
//! ```

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use gpavatar::import::{Contents, ContentsValue};

/// Shows what a file holds.
#[derive(Parser)]
struct Arguments {
    /// The file.
    file: PathBuf,
    /// Lists only entries whose names contain this.
    #[arg(default_value = "")]
    filter: String,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads the list may have seen enough.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let Arguments { file, filter } = Arguments::parse();
    let mut contents = Contents::open(&file)?;
    let size = std::fs::metadata(&file)?.len();
    let shapes = contents
        .entries
        .iter()
        .filter_map(|entry| match &entry.value {
            ContentsValue::Tensor { shape, .. } => Some(shape.iter().product::<usize>()),
            _ => None,
        });
    let (tensors, numbers) = shapes.fold((0, 0), |(n, sum), count| (n + 1, sum + count));
    contents
        .entries
        .retain(|entry| entry.name.contains(&filter));
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{}: {size} bytes, {tensors} tensors of {numbers} numbers",
        file.display()
    )?;
    write!(out, "{contents}")?;
    Ok(())
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
