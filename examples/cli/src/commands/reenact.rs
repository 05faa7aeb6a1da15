//! Makes a head avatar from pictures and plays a motion on it.

use std::error::Error;
use std::path::{Path, PathBuf};

use gpavatar::import::{self, MotionOptions, RateSource};
use gpavatar::{HeadModel, Motion};

use crate::album::OutputArgs;
use crate::args::{GpuArgs, Range};
use crate::avatar::{self, AvatarArgs};
use crate::demo;
use crate::report;
use crate::sheet::Cell;

/// Plays a motion on a head made from pictures: PNGs, an animated GIF, a contact sheet.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  gpavatar reenact                                  what ships with the repository, into out/reenact
  gpavatar reenact --sample pink --motion weights/motions/emotions.json
  gpavatar reenact -s me.png --frames 0..24         another face, one second of the motion
  gpavatar reenact -s me --motion face.csv          what import sources wrote, and a recording
  gpavatar reenact --model gpavatar.safetensors -s left.png -s right.png --tracked cameras.json \\
          --motion talk.safetensors --stride 2 --background '#ffffff' -o talk")]
pub struct Args {
    #[command(flatten)]
    avatar: AvatarArgs,
    /// Motion file, JSON or safetensors, or a recording that import motion reads [default: talking]
    #[arg(short, long, value_name = "FILE", help_heading = "Motion")]
    motion: Option<PathBuf>,
    /// Frames of the motion to render, counted from 0: FROM..TO without TO, either may be left out
    #[arg(short, long, value_name = "FROM..TO", default_value = "..")]
    #[arg(help_heading = "Motion")]
    frames: Range,
    /// Render every Nth frame
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Motion",
          value_parser = clap::value_parser!(u32).range(1..))]
    stride: u32,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    gpu: GpuArgs,
}

/// A motion, or what importing a recording gives, which it says.
fn open(path: &Path) -> gpavatar::Result<Motion> {
    if path
        .extension()
        .is_some_and(|extension| extension == "safetensors")
    {
        return Motion::open(path);
    }
    let imported = import::motion(path, &MotionOptions::default())?;
    if imported.rate != RateSource::Own {
        eprintln!("{}: {imported}", path.display());
    }
    Ok(imported.motion)
}

/// The motion with as many coefficients as the head has, which it says.
fn fitted(motion: Motion, head: Option<&HeadModel>) -> Motion {
    let (found, count) = (
        motion.frames()[0].expression.len(),
        head.map(HeadModel::expression_count),
    );
    match count {
        Some(count) if motion.channels().is_empty() && found > count => {
            eprintln!(
                "the head has {count} expression directions: the first of the motion's {found}"
            );
            motion.with_first_coefficients(count)
        }
        _ => motion,
    }
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    if args.avatar.list_samples {
        return avatar::list_samples();
    }
    let motion = open(&args.motion.clone().unwrap_or_else(demo::motion))?;
    let indices = args.frames.of(motion.len())?.step_by(args.stride as usize);
    let indices: Vec<usize> = indices.collect();
    let gpu = args.gpu.open()?;
    let (avatar, sources) = args.avatar.open(&gpu)?;
    let motion = fitted(motion, avatar.model().head());

    let mut album = args.output.album("reenact")?;
    let drives: Vec<_> = motion.drives().collect();
    let bar = report::progress("rendering", indices.len());
    let playback = avatar.play(indices.iter().map(|index| &drives[*index]));
    for played in args.output.background.play(playback) {
        let (_, picture) = played?;
        album.push(&picture)?;
        bar.inc(1);
    }
    let rate = bar.elapsed().as_secs_f64() / indices.len() as f64;
    bar.finish_and_clear();

    let delay = f64::from(args.stride) / f64::from(motion.fps());
    album.animate("reenact.gif", 0..indices.len(), delay)?;
    let mut cells = Vec::new();
    for i in args.output.on_sheet(indices.len()) {
        cells.push(Cell::new(indices[i].to_string(), album.picture(i)?));
    }
    let sources = avatar::cells(&sources);
    album.save("sheet.png", &args.output.sheet(&[&sources, &cells]))?;
    println!("{} pictures, {rate:.3} s each", indices.len());
    report::list(&album.finish()?);
    Ok(())
}
