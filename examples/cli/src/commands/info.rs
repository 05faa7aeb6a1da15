//! Shows what a file holds.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;

use gpavatar::import::{Contents, ContentsValue};

/// Shows what a file holds: kind, configuration, licence, tensors and their statistics.
#[derive(clap::Args)]
#[command(after_help = "\
Reads weights, head models, avatars and motions of this crate, the authors' checkpoints and tracked
videos, other pickles, .npz archives and recordings of faces.

Examples:
  gpavatar info weights/demo.safetensors
  gpavatar info one_model.ckpt style_tplane      only names with this in them")]
pub struct Args {
    /// File to read
    file: PathBuf,
    /// Lists only what has this in its name
    #[arg(default_value = "")]
    name: String,
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut contents = Contents::open(&args.file)?;
    let size = std::fs::metadata(&args.file)?.len();
    let (mut tensors, mut numbers) = (0, 0);
    for entry in &contents.entries {
        if let ContentsValue::Tensor { shape, .. } = &entry.value {
            tensors += 1;
            numbers += shape.iter().product::<usize>();
        }
    }
    let named = |name: &str| name.contains(&args.name);
    contents.entries.retain(|entry| named(&entry.name));
    let file = args.file.display();
    let text = format!("{file}: {size} bytes, {tensors} tensors of {numbers} numbers\n{contents}");
    match io::stdout().write_all(text.as_bytes()) {
        // The reader of a pipe may have seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}
