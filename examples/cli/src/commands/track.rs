//! Finds faces in photographs and films.

mod dataset;
mod numbers;
mod photos;

use std::error::Error;
use std::path::{Path, PathBuf};

use gpavatar::{Geometry, HeadModel, Motion, MotionFrame, Result};
use image::ImageFormat;

use crate::album::failed;
use crate::args::GpuArgs;
use crate::demo;
use crate::film::Film;
use crate::report;
use crate::tracking::{self, DriverArgs, Journal, Subject, TrackerArgs};

/// Finds faces: photographs become sources, a film becomes a motion or a dataset.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  gpavatar track me.jpg side.jpg -o me              one person's photographs, for reenact -s me
  gpavatar track party.jpg --faces 3 -o party       a folder for each of three people
  gpavatar track talk.mp4 -o talk.json              a film, for reenact --motion talk.json
  gpavatar track --webcam -o talk.json              the camera, until Ctrl-C
  gpavatar track talk.mp4 --dataset footage         for weights/train
  gpavatar track me.jpg --json                      landmarks, scores, pose and fit as numbers")]
pub struct Args {
    /// Photographs of one person; or a film, an animated GIF or a folder of PNGs
    #[arg(required_unless_present = "webcam", value_name = "PICTURE or FILM")]
    inputs: Vec<PathBuf>,
    /// Tracks the platform's first camera, or another that ffmpeg names so, until Ctrl-C
    #[arg(long, value_name = "FORMAT:DEVICE", num_args = 0..=1, conflicts_with = "inputs")]
    webcam: Option<Option<String>>,
    /// Folder of the sources [default: sources], or motion of a film, .json or .safetensors
    /// [default: motion.json]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Looks for several people in one photograph: each has a folder
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=64))]
    faces: usize,
    /// Prints what was found in each picture or frame, a line of JSON each, and writes nothing
    #[arg(long, conflicts_with_all = ["output", "dataset"])]
    json: bool,
    /// Folder to which films are added as clips to train on, each of one person
    #[arg(long, value_name = "FOLDER", conflicts_with = "output")]
    dataset: Option<PathBuf>,
    /// Head model to fit and to drive, with its --embedding [default: the shipped one]
    #[arg(long, value_name = "FILE", requires = "embedding")]
    head: Option<PathBuf>,
    #[command(flatten)]
    tracker: TrackerArgs,
    #[command(flatten)]
    driver: DriverArgs,
    #[command(flatten)]
    gpu: GpuArgs,
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    tracking::notice_interrupts();
    let head = HeadModel::open(args.head.clone().unwrap_or_else(demo::weights))?;
    let kinds = args.inputs.iter().map(|path| is_photo(path));
    let kinds = kinds.collect::<Result<Vec<_>>>()?;
    let photos = kinds.iter().filter(|photo| **photo).count();
    let films = args.films().len() - photos;
    if photos > 0 && films > 0 {
        return Err("expected photographs or films, found both".into());
    }
    if args.faces > 1 && args.inputs.len() > 1 {
        return Err(
            "--faces: expected one photograph, as nobody knows who is who in several".into(),
        );
    }
    if args.faces > 1 && films > 0 && !args.json {
        return Err("--faces: expected a photograph, found a film".into());
    }
    match &args.dataset {
        _ if args.json => numbers::print(args, &head, films > 0),
        Some(_) if photos > 0 => Err("--dataset: expected films, found photographs".into()),
        Some(folder) => dataset::write(args, &head, folder),
        None if photos > 0 => photos::write(args, &head),
        None => motion(args, &head),
    }
}

impl Args {
    /// The films, by which name they are known.
    fn films(&self) -> Vec<&Path> {
        match self.webcam {
            Some(_) => vec![Path::new("webcam")],
            None => self.inputs.iter().map(PathBuf::as_path).collect(),
        }
    }

    /// Opens one of them.
    fn open(&self, film: &Path) -> Result<Film> {
        let fps = self.driver.fps();
        match &self.webcam {
            Some(device) => Film::camera(device.as_deref(), fps),
            None => Film::open(film, fps),
        }
    }
}

/// True for a picture by its first bytes; for HEIC and others that are not read by their names, so that
/// the message says how to convert them.
fn is_photo(path: &Path) -> Result<bool> {
    use std::io::Read;
    if path.is_dir() {
        return Ok(false);
    }
    let mut start = Vec::new();
    let file = std::fs::File::open(path);
    let read = file.and_then(|file| file.take(16).read_to_end(&mut start));
    read.map_err(|error| failed("read", path, error))?;
    let format = image::guess_format(&start);
    let extension = path.extension().unwrap_or_default();
    let extension = extension.to_string_lossy().to_lowercase();
    Ok(format.is_ok_and(|format| format != ImageFormat::Gif)
        || ["heic", "heif", "avif", "jxl"].contains(&&*extension))
}

/// Writes the motion of a film's face.
fn motion(args: &Args, head: &HeadModel) -> Result<(), Box<dyn Error>> {
    let [film] = args.films()[..] else {
        return Err(format!("expected one film, found {}", args.inputs.len()).into());
    };
    let output = args.output.clone().unwrap_or("motion.json".into());
    if !["json", "safetensors"]
        .iter()
        .any(|end| output.extension().is_some_and(|e| e == *end))
    {
        let output = output.display();
        return Err(format!("{output}: expected .json or .safetensors for a film's motion").into());
    }
    let gpu = args.gpu.open()?;
    let opened = args.open(film)?;
    let rate = opened.rate();
    let mut performance = (args.driver).performance(opened, &gpu, head, &args.tracker)?;
    let mut known = 0;
    if args.webcam.is_none() {
        let subject = Subject::new(film, rate, args.tracker.described())?;
        let (journal, frames) = Journal::open(&output, &subject)?;
        known = frames.len();
        if known > 0 {
            println!("goes on after {known} frames that were tracked before");
        }
        performance.resume(journal, frames);
    }
    let bar = report::progress("tracking", performance.film().count());
    let mut frames = Vec::new();
    while let Some(drive) = performance.next(|| bar.inc(1))? {
        frames.push(frame(&drive, head)?);
    }
    bar.finish_and_clear();
    let motion = motion_of(film, rate, frames, head)?;
    motion.write(&output)?;
    let [tracked, seen] = performance.counts();
    let speed = tracked.saturating_sub(known) as f64 / performance.tracking().as_secs_f64();
    if args.webcam.is_none() && tracking::interrupted() {
        println!("interrupted: what was tracked so far is written, and the same command goes on");
    } else {
        performance.finish()?;
    }
    println!(
        "{tracked} frames, {rate:.2} per second, the face in {seen}; {speed:.1} tracked per second"
    );
    report::list(&[output]);
    Ok(())
}

/// A film's motion, with the channels of its head model.
fn motion_of(film: &Path, rate: f64, frames: Vec<MotionFrame>, head: &HeadModel) -> Result<Motion> {
    let name = film.file_stem().unwrap_or_default().to_string_lossy();
    let motion = Motion::new(rate as f32, frames)?.with_name(name, "");
    match &head.parts().channels[..] {
        [] => Ok(motion),
        channels => motion.with_channels(channels.to_vec()),
    }
}

/// A frame of a motion.
fn frame(drive: &gpavatar::Drive, head: &HeadModel) -> Result<MotionFrame> {
    let resolved = drive.resolve(Some(head), head.vertex_count())?;
    let camera = *resolved.camera;
    Ok(match resolved.geometry {
        Geometry::Coefficients { expression, pose } => MotionFrame {
            expression,
            pose: pose.to_vec(),
            camera,
        },
        Geometry::Points(_) => MotionFrame::default(),
    })
}
