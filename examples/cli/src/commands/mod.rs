//! The sub-commands, a file each.

mod batch;
mod completions;
mod evaluate;
mod gallery;
mod import;
mod info;
mod orbit;
mod parity;
mod profile;
mod reenact;
mod track;

use std::error::Error;

use clap::Parser;

/// Animatable 3D head avatars from one or a few photos.
#[derive(Parser)]
#[command(
    name = "gpavatar",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  gpavatar reenact                    the defaults: somebody talks, into out/reenact
  gpavatar orbit --sample pink        a walk around somebody else
  gpavatar track me.jpg -o me         a photograph, found, cropped and matted
  gpavatar profile                    where the time of a frame goes
  gpavatar help reenact               all that a command can do"
)]
pub enum Cli {
    Reenact(reenact::Args),
    Batch(batch::Args),
    Track(track::Args),
    Orbit(orbit::Args),
    Gallery(gallery::Args),
    Info(info::Args),
    #[command(subcommand)]
    Import(import::Args),
    Evaluate(evaluate::Args),
    Profile(profile::Args),
    Parity(parity::Args),
    Completions(completions::Args),
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> Result<(), Box<dyn Error>> {
        match self {
            Self::Reenact(args) => reenact::run(&args),
            Self::Batch(args) => batch::run(&args),
            Self::Track(args) => track::run(&args),
            Self::Orbit(args) => orbit::run(&args),
            Self::Gallery(args) => gallery::run(&args),
            Self::Info(args) => info::run(&args),
            Self::Import(args) => import::run(args),
            Self::Evaluate(args) => evaluate::run(&args),
            Self::Profile(args) => profile::run(&args),
            Self::Parity(args) => parity::run(&args),
            Self::Completions(args) => completions::run(&args),
        }
    }
}
