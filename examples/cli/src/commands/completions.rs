//! Prints completions for a shell.

use std::error::Error;
use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;

/// Prints the completions of a shell.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  gpavatar completions bash > ~/.local/share/bash-completion/completions/gpavatar
  gpavatar completions zsh > ~/.zfunc/_gpavatar
  gpavatar completions fish > ~/.config/fish/completions/gpavatar.fish")]
pub struct Args {
    shell: Shell,
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "gpavatar", &mut script);
    Ok(io::stdout().write_all(&script)?)
}
