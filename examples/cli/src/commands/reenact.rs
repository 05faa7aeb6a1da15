//! Makes a head avatar from pictures and plays a motion or a film's face on it.

use std::cell::RefCell;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use gpavatar::import::{self, MotionOptions, RateSource};
use gpavatar::{Avatar, Drive, Gpu, HeadModel, Motion, SourceImage};
use image::RgbaImage;
use indicatif::ProgressBar;

use crate::album::{Album, OutputArgs};
use crate::args::{GpuArgs, Range};
use crate::avatar::{self, AvatarArgs};
use crate::backdrop::Backdrop;
use crate::demo;
use crate::film::{Film, Recorder, Sound, is_film};
use crate::report;
use crate::sheet::Cell;
use crate::tracking::{self, DriverArgs};

/// Plays a motion or a film's face on a head made from pictures: PNGs, an animated GIF, a contact sheet;
/// or a film.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  gpavatar reenact                                  what ships with the repository, into out/reenact
  gpavatar reenact --sample pink --motion weights/motions/emotions.json
  gpavatar reenact -s me.png --frames 0..24         another face, one second of the motion
  gpavatar reenact -s me --motion face.csv          what import sources wrote, and a recording
  gpavatar reenact --photo me.jpg --drive talk.mp4 -o out.mp4
                                                    a photograph, moved as somebody's face in a film
  gpavatar reenact --model gpavatar.safetensors -s left.png -s right.png --tracked cameras.json \\
          --motion talk.safetensors --stride 2 --background '#ffffff' -o talk")]
pub struct Args {
    #[command(flatten)]
    avatar: AvatarArgs,
    /// Motion file, JSON or safetensors, or a recording that import motion reads [default: talking]
    #[arg(short, long, value_name = "FILE", help_heading = "Motion")]
    motion: Option<PathBuf>,
    /// Film of a face, an animated GIF or a folder of PNGs, to be tracked instead of a motion; a film's
    /// sound goes to the film that is written
    #[arg(
        long,
        value_name = "FILM",
        conflicts_with = "motion",
        help_heading = "Motion"
    )]
    drive: Option<PathBuf>,
    /// Frames of the motion to render, counted from 0: FROM..TO without TO, either may be left out
    #[arg(short, long, value_name = "FROM..TO", default_value = "..")]
    #[arg(help_heading = "Motion")]
    frames: Range,
    /// Render every Nth frame
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Motion",
          value_parser = clap::value_parser!(u32).range(1..))]
    stride: u32,
    #[command(flatten)]
    driver: DriverArgs,
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
    tracking::notice_interrupts();
    let rendered = render(args, &args.gpu.open()?)?;
    println!(
        "{}, {}",
        report::pictures(rendered.pictures),
        rendered.speed
    );
    report::list(&rendered.files);
    Ok(())
}

/// What was rendered.
pub struct Rendered {
    pub pictures: usize,
    /// How fast, for people.
    speed: String,
    files: Vec<PathBuf>,
}

/// Renders on a device, and prints nothing to standard output.
pub fn render(args: &Args, gpu: &Gpu) -> Result<Rendered, Box<dyn Error>> {
    match &args.drive {
        Some(film) => follow(args, gpu, film),
        None => play(args, gpu),
    }
}

impl Args {
    /// Where the output goes.
    pub fn out(&self) -> &Path {
        self.output.out().unwrap_or(Path::new("out/reenact"))
    }
}

/// Whether an earlier run has written all of an output.
pub fn is_complete(out: &Path) -> bool {
    match is_film(out) {
        true => out.exists(),
        false => Album::is_complete(out, SHEET),
    }
}

/// The last file of an album.
const SHEET: &str = "sheet.png";

/// Plays a motion.
fn play(args: &Args, gpu: &Gpu) -> Result<Rendered, Box<dyn Error>> {
    let motion = open(&args.motion.clone().unwrap_or_else(demo::motion))?;
    let indices = args.frames.of(motion.len())?.step_by(args.stride as usize);
    let (avatar, sources) = args.avatar.open(gpu)?;
    let motion = fitted(motion, avatar.model().head());

    let mut out = Output::new(args, motion.fps().into(), None)?;
    let drives: Vec<_> = motion.drives().collect();
    let bar = report::progress("rendering", indices.len());
    let drives = indices.map(|index| Ok(drives[index].clone()));
    let (count, seconds) = out.render(args, &avatar, drives, &bar)?;
    bar.finish_and_clear();
    Ok(Rendered {
        pictures: count,
        speed: format!("{:.3} s each", seconds / count as f64),
        files: out.finish(args, &sources)?,
    })
}

/// Plays the face of a film.
fn follow(args: &Args, gpu: &Gpu, film: &Path) -> Result<Rendered, Box<dyn Error>> {
    let (avatar, sources) = args.avatar.open(gpu)?;
    let model = avatar.model();
    let head = model
        .head()
        .ok_or("the avatar's network has no head model to drive")?;
    let tracker = &args.avatar.tracker;
    let opened = Film::open(film, args.driver.fps())?;
    let mut performance = args.driver.performance(opened, gpu, head, tracker)?;

    let (from, to, stride) = (args.frames.from(), args.frames.to(), args.stride as usize);
    let (rate, count) = (performance.film().rate(), performance.film().count());
    let length = to.map(|to| to.saturating_sub(from) as f64 / rate);
    let sound = performance.film().sound(from as f64 / rate, length);
    let mut out = Output::new(args, rate, sound)?;
    let within = |count: usize| to.unwrap_or(count).min(count).saturating_sub(from);
    let bar = report::progress(
        "rendering",
        count.map(|count| within(count).div_ceil(stride)),
    );
    let drives = std::iter::from_fn(|| performance.next(|| bar.tick()).transpose());
    let drives = drives
        .take(to.unwrap_or(usize::MAX))
        .skip(from)
        .step_by(stride);
    let (count, seconds) = out.render(args, &avatar, drives, &bar)?;
    bar.finish_and_clear();
    if count == 0 {
        let [tracked, _] = performance.counts();
        return Err(format!("--frames selects none of the {tracked} frames").into());
    }
    let rendering = seconds - performance.tracking().as_secs_f64();
    let [with, without] = [seconds, rendering].map(|seconds| count as f64 / seconds);
    Ok(Rendered {
        pictures: count,
        speed: format!("{with:.2} per second, {without:.2} without tracking"),
        files: out.finish(args, &sources)?,
    })
}

/// Where pictures go.
enum Output {
    Album(Box<Album>, f64),
    Film(Box<Recorder>),
}

impl Output {
    /// For a motion of this rate.
    fn new(args: &Args, rate: f64, sound: Option<Sound>) -> gpavatar::Result<Self> {
        let rate = rate / f64::from(args.stride);
        let transparent = args.output.background == Backdrop::Transparent;
        Ok(match args.output.film() {
            Some(path) => Self::Film(Recorder::create(path, rate, transparent, sound)?.into()),
            None => Self::Album(args.output.album("reenact")?.into(), rate),
        })
    }

    fn push(&mut self, picture: &RgbaImage) -> gpavatar::Result<()> {
        match self {
            Self::Album(album, _) => album.push(picture),
            Self::Film(film) => film.push(picture),
        }
    }

    /// Renders drives up to the first that failed, which fails. Returns how many and in which time.
    fn render(
        &mut self,
        args: &Args,
        avatar: &Avatar,
        drives: impl Iterator<Item = gpavatar::Result<Drive>>,
        bar: &ProgressBar,
    ) -> Result<(usize, f64), Box<dyn Error>> {
        let (start, mut count) = (Instant::now(), 0);
        let failure = RefCell::new(None);
        let drives = drives.map_while(|drive| {
            let kept = drive.map_err(|error| *failure.borrow_mut() = Some(error));
            kept.ok()
        });
        for played in args.output.background.play(avatar.play(drives)) {
            let (_, picture) = played?;
            self.push(&picture)?;
            count += 1;
            bar.inc(1);
            if tracking::interrupted() {
                return Err("interrupted: nothing is written".into());
            }
        }
        match failure.into_inner() {
            Some(error) => Err(error.into()),
            None => Ok((count, start.elapsed().as_secs_f64())),
        }
    }

    /// Adds what belongs to the pictures, and moves everything to its place.
    fn finish(self, args: &Args, sources: &[SourceImage]) -> gpavatar::Result<Vec<PathBuf>> {
        let (mut album, rate) = match self {
            Self::Film(film) => return Ok(vec![film.finish()?]),
            Self::Album(album, rate) => (album, rate),
        };
        let count = album.count();
        album.animate("reenact.gif", 0..count, 1.0 / rate)?;
        let mut cells = Vec::new();
        for i in args.output.on_sheet(count) {
            let frame = args.frames.from() + i * args.stride as usize;
            cells.push(Cell::new(frame.to_string(), album.picture(i)?));
        }
        let sources = avatar::cells(sources);
        album.save(SHEET, &args.output.sheet(&[&sources, &cells]))?;
        album.finish()
    }
}
