//! Plays one motion on everyone who ships with the repository. `gpavatar gallery --people 4 --stride 3`
//! makes the animation that the README opens with.

use std::error::Error;
use std::path::PathBuf;

use gpavatar::{Avatar, Model, Motion};
use image::imageops::{self, FilterType};
use image::{Rgba, RgbaImage};

use crate::album::OutputArgs;
use crate::args::GpuArgs;
use crate::avatar::{self, ModelArgs};
use crate::demo::{self, Sample};
use crate::report;

/// Plays a motion on several people, below their pictures: PNGs and an animated GIF.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  gpavatar gallery                                            talking
  gpavatar gallery --motion weights/motions/emotions.json --people 4 --size 192")]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Motion file, JSON or safetensors [default: talking]
    #[arg(short, long, value_name = "FILE", help_heading = "Motion")]
    motion: Option<PathBuf>,
    /// Render every Nth frame
    #[arg(long, value_name = "N", default_value_t = 2, help_heading = "Motion",
          value_parser = clap::value_parser!(u32).range(1..))]
    stride: u32,
    /// How many people
    #[arg(long, value_name = "N", default_value_t = 6,
          value_parser = clap::value_parser!(u32).range(1..=64))]
    people: u32,
    /// Width and height of one person in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 128,
          value_parser = clap::value_parser!(u32).range(16..=1024))]
    size: u32,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    gpu: GpuArgs,
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let motion = Motion::open(args.motion.clone().unwrap_or_else(demo::motion))?;
    let gpu = args.gpu.open()?;
    let model = args.model.open(&gpu)?;
    let samples = Sample::all()?;
    let people = people(&model, &samples[..samples.len().min(args.people as usize)])?;

    let mut album = args.output.album("gallery")?;
    let drives: Vec<_> = motion.drives().step_by(args.stride as usize).collect();
    let bar = report::progress("rendering", drives.len());
    let everyone = |drive| people.iter().map(move |(avatar, _)| (avatar, drive));
    let playback = model.play(drives.iter().flat_map(everyone));
    let mut heads = args.output.background.play(playback);
    for _ in &drives {
        let width = args.size * people.len() as u32;
        let mut picture = RgbaImage::from_pixel(width, args.size * 2, Rgba([0, 0, 0, 255]));
        for (column, ((_, source), played)) in people.iter().zip(&mut heads).enumerate() {
            let (_, head) = played?;
            for (row, cell) in [source, &head].into_iter().enumerate() {
                let cell = imageops::resize(cell, args.size, args.size, FilterType::CatmullRom);
                let (x, y) = (column as i64, row as i64);
                let side = i64::from(args.size);
                imageops::overlay(&mut picture, &cell, x * side, y * side);
            }
        }
        album.push(&picture)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let delay = f64::from(args.stride) / f64::from(motion.fps());
    album.animate("gallery.gif", 0..drives.len(), delay)?;
    report::list(&album.finish()?);
    Ok(())
}

/// Avatars, each with the first picture it is made from.
fn people(model: &Model, samples: &[Sample]) -> gpavatar::Result<Vec<(Avatar, RgbaImage)>> {
    let input = |sample| avatar::of_sample(model, sample);
    let inputs: Vec<_> = samples.iter().map(input).collect::<gpavatar::Result<_>>()?;
    let borrowed = inputs
        .iter()
        .map(|(sources, options)| (&sources[..], options.clone()));
    let avatars = Avatar::build_many(model, &borrowed.collect::<Vec<_>>())?;
    let first = |(sources, _): &(Vec<_>, _)| avatar::cells(sources).swap_remove(0).picture;
    Ok(avatars.into_iter().zip(inputs.iter().map(first)).collect())
}
