//! Walks around a head avatar.

use std::error::Error;

use gpavatar::{Camera, Drive, Frame, Result};
use image::{Rgba, RgbaImage};

use crate::album::OutputArgs;
use crate::args::GpuArgs;
use crate::avatar::{self, AvatarArgs};
use crate::report;
use crate::sheet::Cell;

/// Walks around a head: PNGs, an animated GIF, contact sheets of pictures and depths.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  gpavatar orbit                              what ships with the repository, into out/orbit
  gpavatar orbit -s me.png --arc 360          another face, all around
  gpavatar orbit --model gpavatar.safetensors --avatar me.safetensors --views 72 \\
        --expression jawOpen=0.5 --background transparent -o me")]
pub struct Args {
    #[command(flatten)]
    avatar: AvatarArgs,
    /// How many pictures to take
    #[arg(long, value_name = "N", default_value_t = 24, help_heading = "Camera",
          value_parser = clap::value_parser!(u32).range(1..))]
    views: u32,
    /// Degrees to walk around the head, the face in the middle; 360 is all around
    #[arg(long, value_name = "DEGREES", default_value_t = 90.0)]
    #[arg(help_heading = "Camera")]
    arc: f32,
    /// Degrees to look down on the head
    #[arg(long, value_name = "DEGREES", default_value_t = 0.0)]
    #[arg(help_heading = "Camera", allow_negative_numbers = true)]
    elevation: f32,
    /// How far away to stand; half the head measures about 1
    #[arg(long, value_name = "DISTANCE", default_value_t = 10.6)]
    #[arg(help_heading = "Camera")]
    distance: f32,
    /// Expression of the face, a channel and mostly 0 to 1; may be given several times
    #[arg(short, long, value_name = "CHANNEL=VALUE", value_parser = expression)]
    expression: Vec<(String, f32)>,
    /// Pictures per second in the animation
    #[arg(long, value_name = "N", default_value_t = 12, help_heading = "Output",
          value_parser = clap::value_parser!(u32).range(1..=50))]
    fps: u32,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    gpu: GpuArgs,
}

fn expression(text: &str) -> Result<(String, f32), String> {
    let split = text.split_once('=');
    let parsed = split.and_then(|(name, value)| Some((name.to_owned(), value.parse().ok()?)));
    parsed.ok_or_else(|| "expected CHANNEL=VALUE, such as jawOpen=0.5".into())
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    if args.avatar.list_samples {
        return avatar::list_samples();
    }
    let gpu = args.gpu.open()?;
    let (avatar, sources) = args.avatar.open(&gpu)?;
    let mut drive = Drive::neutral();
    for (channel, value) in &args.expression {
        drive = drive.expression(channel, *value);
    }

    let azimuths = azimuths(args.views, args.arc);
    let mut album = args.output.album("orbit")?;
    let on_sheet = args.output.on_sheet(azimuths.len());
    let (mut pictures, mut depths) = (Vec::new(), Vec::new());
    let bar = report::progress("rendering", azimuths.len());
    let playback = avatar.play(azimuths.iter().map(|azimuth| {
        let camera = Camera::orbit(args.distance, args.elevation, *azimuth);
        drive.clone().camera(camera)
    }));
    let played = args.output.background.play(playback);
    for ((i, azimuth), played) in azimuths.iter().enumerate().zip(played) {
        let (frame, picture) = played?;
        album.push(&picture)?;
        if on_sheet.contains(&i) {
            let label = format!("{azimuth:.0}°");
            depths.push(Cell::new(&label, depth(&frame)?));
            pictures.push(Cell::new(label, picture));
        }
        bar.inc(1);
    }
    let rate = bar.elapsed().as_secs_f64() / azimuths.len() as f64;
    bar.finish_and_clear();

    let order = there_and_back(azimuths.len(), args.arc);
    album.animate("orbit.gif", order, 1.0 / f64::from(args.fps))?;
    let sources = avatar::cells(&sources);
    album.save("sheet.png", &args.output.sheet(&[&sources, &pictures]))?;
    album.save("depth.png", &args.output.sheet(&[&depths]))?;
    println!("{} pictures, {rate:.3} s each", azimuths.len());
    report::list(&album.finish()?);
    Ok(())
}

/// Where to take pictures from, in degrees towards the left of the head: all around from the front
/// on, or from one side to the other.
fn azimuths(views: u32, arc: f32) -> Vec<f32> {
    let (first, steps) = match arc.abs() < 360.0 {
        true => (-arc / 2.0, views - 1),
        false => (0.0, views),
    };
    let step = arc / steps.max(1) as f32;
    (0..views).map(|i| first + step * i as f32).collect()
}

/// Order in which an animation shows the pictures: a full circle goes on where it began, anything
/// less turns round.
fn there_and_back(views: usize, arc: f32) -> Vec<usize> {
    let back = match arc.abs() < 360.0 {
        true => 1..views.max(2) - 1,
        false => 0..0,
    };
    (0..views).chain(back.rev()).collect()
}

/// Depths as shades of grey, the nearest white.
fn depth(frame: &Frame) -> Result<RgbaImage> {
    let depths = pollster::block_on(frame.depth())?;
    let side = depths.len().isqrt() as u32;
    Ok(RgbaImage::from_fn(side, side, |x, y| {
        let shade = (255.0 * (1.0 - depths[(y * side + x) as usize])).round() as u8;
        Rgba([shade, shade, shade, 255])
    }))
}
