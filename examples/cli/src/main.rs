//! The command `gpavatar`.

use std::process::ExitCode;

use clap::Parser;
use gpavatar_cli::commands::Cli;
use gpavatar_cli::report;

fn main() -> ExitCode {
    report::exit(Cli::parse().run())
}
