//! Measures where the time of an avatar and of a frame goes.

mod compare;
#[cfg(test)]
mod tests;
mod trace;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

use gpavatar::track::{LANDMARKS, Net, Nets, Picture, Region};
use gpavatar::{
    Avatar, AvatarOptions, Camera, Choice, Drive, Gpu, Model, Profile, RenderOptions, Result,
    Weights,
};
use serde::{Deserialize, Serialize};

use crate::args::{GpuArgs, pipeline_cache};
use crate::avatar::ModelArgs;
use crate::costs::{self, Section, Times};
use crate::demo::{self, Sample};
use crate::header::Header;
use crate::report;

/// Measures start-up, memory, and the time of an avatar and a frame, by stage and kernel.
#[derive(clap::Args)]
#[command(after_help = "\
Operations and bytes are what the algorithm needs: every input read and every output written once.
Times of kernels are GPU timestamps where the device has trustworthy ones. Elsewhere every dispatch
is submitted by itself and timed by the wall clock.

Examples:
  gpavatar profile                                   the network that ships with the repository
  gpavatar profile --full --repeat 10                the released sizes, with made-up weights
  gpavatar profile --throughput 32                   pictures per second, with and without waiting
  gpavatar profile --track                           the tracker's networks, too
  gpavatar profile --model gpavatar.safetensors --json profile.json
  gpavatar profile --compare before.json after.json  which stages became faster or slower
  gpavatar profile --trace frame.json                a frame's kernels, for chrome://tracing or Perfetto")]
pub struct Args {
    /// Profile the released sizes, with made-up weights
    #[arg(long, conflicts_with = "weights")]
    full: bool,
    /// Source pictures of the avatar
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=64))]
    sources: u32,
    /// Distance of the camera from the head's centre: beyond 13 some rays miss the cube around it
    #[arg(long, value_name = "UNITS", default_value_t = 12.0)]
    distance: f32,
    /// Repeat everything this many times, for median, best and worst
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// Also render this many pictures one by one, in flight, and in one call
    #[arg(long, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    throughput: Option<u32>,
    /// Also measure the tracker's networks, which weights/track/get.sh brings
    #[arg(long)]
    track: bool,
    /// List every dispatch, too
    #[arg(long)]
    per_dispatch: bool,
    /// Write all numbers as JSON to a file, or with - to standard output in place of the tables
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the kernels of a frame to a file that chrome://tracing and Perfetto show
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Measure nothing: compare two files that --json has written
    #[arg(long, value_names = ["A", "B"], num_args = 2, exclusive = true)]
    compare: Option<Vec<PathBuf>>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    gpu: GpuArgs,
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    if let Some([a, b]) = args.compare.as_deref() {
        let reports = [compare::read(a)?, compare::read(b)?];
        let names = [a, b].map(|path| path.display().to_string());
        let text = compare::text(names.each_ref().map(|name| &**name), reports.each_ref())?;
        print!("{text}");
        return Ok(());
    }
    let (report, frames) = Report::measure(args)?;
    let text = report.text(args.per_dispatch)?;
    if let Some(path) = &args.trace {
        trace::write(path, &report.header, &frames)?;
    }
    let others = args.trace.as_slice();
    report::write(&report, &text, args.json.as_deref(), others)
}

#[derive(Deserialize, Serialize)]
struct Report {
    header: Header,
    start_up: StartUp,
    /// Times of the kernels' variants, by layer.
    choices: BTreeMap<String, Choice>,
    whole: Whole,
    throughput: Option<Throughput>,
    tracker: Option<Tracking>,
    avatar: Section,
    frame: Section,
}

/// Seconds on the wall clock from the beginning to the second picture.
#[derive(Deserialize, Serialize)]
struct StartUp {
    model_seconds: f64,
    avatar_seconds: f64,
    first_frame_seconds: f64,
    /// From before the adapter is opened until the first frame is done, weights and pictures read
    /// in between.
    first_picture_seconds: f64,
    /// Compiled kernels that an earlier process has kept.
    kept_pipelines_bytes: Option<u64>,
    second_frame_seconds: f64,
    /// Weights and workspace on the device.
    device_bytes: u64,
    /// Of the whole process, after the second frame.
    peak_resident_bytes: Option<u64>,
}

/// Milliseconds on the wall clock.
#[derive(Deserialize, Serialize)]
struct Whole {
    /// From decoded pictures to planes on an idle device.
    avatar: Times,
    /// From a drive to a picture on an idle device.
    frame: Times,
    /// The CPU's part of a frame.
    recording: Times,
    /// From the first timestamp of a profile to the last. Every dispatch is a pass of its own there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    avatar_on_gpu: Option<Times>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    frame_on_gpu: Option<Times>,
}

impl Whole {
    /// What the times are of. Without GPU timestamps some are missing.
    fn rows(&self) -> [(&'static str, Option<&Times>); 5] {
        [
            ("avatar", Some(&self.avatar)),
            ("frame", Some(&self.frame)),
            ("recording a frame, CPU", Some(&self.recording)),
            ("avatar, GPU", self.avatar_on_gpu.as_ref()),
            ("frame, GPU", self.frame_on_gpu.as_ref()),
        ]
    }
}

/// Pictures per second, from drives to the host.
#[derive(Deserialize, Serialize)]
struct Throughput {
    pictures: u32,
    /// Each waited for before the next is submitted.
    one_by_one: f64,
    /// [`Avatar::play`].
    in_flight: f64,
    /// [`Model::render_many`], then read.
    in_one_call: f64,
    /// [`Model::render_many`] without reading.
    not_read: f64,
}

/// The tracker's networks on a picture of 512 x 512, in milliseconds from a picture on the device to
/// numbers on the host.
#[derive(Deserialize, Serialize)]
struct Tracking {
    detector: Times,
    landmarks: Times,
    segmentation: Times,
    /// Expression scores of landmarks, on the CPU.
    scores: Times,
    kernels: Section,
}

impl Report {
    /// The report, and the profiles of its frames.
    fn measure(args: &Args) -> Result<(Self, Vec<Profile>), Box<dyn Error>> {
        let start = Instant::now();
        let kept_pipelines_bytes = kept_pipelines();
        let gpu = args.gpu.open()?;
        let pictures = Sample::named(None)?.pictures()?;
        let sources: Vec<_> = pictures
            .into_iter()
            .cycle()
            .take(args.sources as usize)
            .collect();

        let (network, weights) = args.weights()?;
        let model_options = args.model.options(&gpu)?;
        let (model, model_seconds) = timed("model", || {
            let model = Model::with_options(&gpu, weights, model_options)?;
            gpu.wait("loading the model")?;
            Ok(model)
        })?;
        let options = AvatarOptions::default();
        let build = || {
            let avatar = Avatar::with_options(&model, &sources, &options)?;
            gpu.wait("building the avatar")?;
            Ok(avatar)
        };
        let (avatar, avatar_seconds) = timed("avatar", build)?;
        let camera = Camera::orbit(args.distance, 0.0, 0.0);
        let drive = demo::at_rest(&model).camera(camera);
        let render = || {
            avatar.render(&drive)?;
            gpu.wait("rendering")
        };
        let ((), first_frame_seconds) = timed("first frame", render)?;
        let start_up = StartUp {
            model_seconds,
            avatar_seconds,
            first_frame_seconds,
            first_picture_seconds: start.elapsed().as_secs_f64(),
            kept_pipelines_bytes,
            second_frame_seconds: timed("second frame", render)?.1,
            device_bytes: model.device_bytes(),
            peak_resident_bytes: peak_resident(),
        };

        let record = || {
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            let options = RenderOptions::default();
            let recorded = costs::clocked(|| {
                let frame = avatar.record(&mut encoder, &drive, &options)?;
                Ok((encoder.finish(), frame))
            });
            let ((commands, frame), milliseconds) = recorded?;
            // Otherwise the next recording could not use this one's memory again.
            gpu.queue().submit([commands]);
            gpu.wait("rendering")?;
            drop(frame);
            Ok(milliseconds)
        };
        let mut whole = Whole {
            avatar: repeated(args.repeat, "avatars", || Ok(costs::clocked(build)?.1))?,
            frame: repeated(args.repeat, "frames", || Ok(costs::clocked(render)?.1))?,
            recording: repeated(args.repeat, "recordings", record)?,
            avatar_on_gpu: None,
            frame_on_gpu: None,
        };
        let throughput = args.throughput;
        let throughput = throughput.map(|count| Throughput::measure(&avatar, &drive, count));
        let tracker = args.track.then(|| Tracking::measure(&gpu, args.repeat));
        let (mut avatars, mut frames) = (Vec::new(), Vec::new());
        costs::warm_up(render)?;
        let bar = report::progress("profiling", args.repeat as usize);
        for _ in 0..args.repeat {
            avatars.push(Avatar::profile_images(&model, &sources, &options)?.1);
            frames.push(avatar.profile(&drive, &RenderOptions::default())?.1);
            bar.inc(1);
        }
        bar.finish_and_clear();
        let on_gpu = |runs: &[Profile]| {
            let times = runs.iter().map(Profile::gpu_milliseconds);
            Some(Times::new(times.collect::<Option<_>>()?))
        };
        whole.avatar_on_gpu = on_gpu(&avatars);
        whole.frame_on_gpu = on_gpu(&frames);
        let report = Self {
            header: Header::new(&model, network, &camera, args.sources, args.repeat),
            start_up,
            choices: model.choices().clone(),
            whole,
            throughput: throughput.transpose()?,
            tracker: tracker.transpose()?,
            avatar: Section::new(&avatars),
            frame: Section::new(&frames),
        };
        Ok((report, frames))
    }

    fn text(&self, per_dispatch: bool) -> Result<String, fmt::Error> {
        let mut out = String::new();
        let start_up = &self.start_up;
        let header = &self.header;
        writeln!(out, "{}\n{}\n", header.adapter.description, header.network)?;
        for (what, seconds) in [
            ("weights, pipelines", start_up.model_seconds),
            ("first avatar", start_up.avatar_seconds),
            ("first frame", start_up.first_frame_seconds),
            (
                "all until the first picture",
                start_up.first_picture_seconds,
            ),
            ("second frame", start_up.second_frame_seconds),
        ] {
            writeln!(out, "{what:28} {seconds:10.3} s")?;
        }
        for (what, bytes) in [
            ("kept compiled kernels", start_up.kept_pipelines_bytes),
            ("weights and workspace", Some(start_up.device_bytes)),
            ("peak resident memory", start_up.peak_resident_bytes),
        ] {
            if let Some(bytes) = bytes {
                writeln!(out, "{what:28} {:10.1} MB", bytes as f64 / 1e6)?;
            }
        }
        if !self.choices.is_empty() {
            let title = "Milliseconds of each layer's variants, chosen one first:";
            writeln!(out, "\n{title}")?;
        }
        for (layer, choice) in &self.choices {
            let mut variants: Vec<_> = choice.nanoseconds.iter().collect();
            variants.sort_by_key(|(name, _)| **name != choice.variant);
            let variants = variants
                .iter()
                .filter_map(|(name, time)| Some(format!("{name} {:.3}", (**time)? as f64 / 1e6)));
            writeln!(out, "{layer}: {}", variants.collect::<Vec<_>>().join("; "))?;
        }
        let (what, median, best, worst) = ("as a whole, wall clock", "median ms", "best", "worst");
        writeln!(out, "\n{what:28} {median:>10} {best:>10} {worst:>10}")?;
        let row = |out: &mut String, what: &str, times: &Times| {
            let [median, best, worst] = times.columns();
            writeln!(out, "{what:28} {median:10.3} {best:10.3} {worst:10.3}")
        };
        for (what, times) in self.whole.rows() {
            match times {
                Some(times) => row(&mut out, what, times)?,
                None => writeln!(out, "{what:28} no GPU timestamps")?,
            }
        }
        if let Some(tracker) = &self.tracker {
            for (what, times) in [
                ("face detector", &tracker.detector),
                ("landmarks", &tracker.landmarks),
                ("segmentation", &tracker.segmentation),
                ("expression scores, CPU", &tracker.scores),
            ] {
                row(&mut out, what, times)?;
            }
        }
        if let Some(throughput) = &self.throughput {
            writeln!(out, "\nPictures per second, of {}:", throughput.pictures)?;
            for (what, rate) in [
                ("one by one", throughput.one_by_one),
                ("in flight", throughput.in_flight),
                ("in one call", throughput.in_one_call),
                ("in one call, not read", throughput.not_read),
            ] {
                writeln!(out, "{what:28} {rate:10.2}")?;
            }
        }
        let clock = costs::clock(header.timestamps);
        writeln!(out, "\nBelow: {clock}; {} runs.", header.repeat)?;
        let title = match header.sources {
            1 => "avatar, 1 source".into(),
            count => format!("avatar, {count} sources"),
        };
        self.avatar.write(&mut out, &title, per_dispatch)?;
        self.frame.write(&mut out, "frame", per_dispatch)?;
        if let Some(tracker) = &self.tracker {
            tracker.kernels.write(&mut out, "tracker", per_dispatch)?;
        }
        Ok(out)
    }
}

impl Args {
    /// The name of the network and its weights.
    fn weights(&self) -> Result<(String, Weights)> {
        if self.full {
            let name = "released sizes, made-up weights";
            return Ok((name.into(), demo::released()?));
        }
        let path = self.model.path();
        Ok((path.display().to_string(), Weights::open(path)?))
    }
}

/// Times of `run`, which returns its milliseconds, on a device that is warm.
fn repeated(count: u32, what: &'static str, run: impl Fn() -> Result<f64>) -> Result<Times> {
    costs::warm_up(&run)?;
    let bar = report::progress(what, count as usize);
    let milliseconds = (0..count).map(|_| {
        bar.inc(1);
        run()
    });
    let milliseconds = milliseconds.collect::<Result<_>>()?;
    bar.finish_and_clear();
    Ok(Times::new(milliseconds))
}

impl Tracking {
    fn measure(gpu: &Gpu, repeat: u32) -> Result<Self> {
        const SIDE: u32 = 512;
        let nets = Nets::new(gpu, &demo::nets()?)?;
        let pixels = vec![128; 4 * (SIDE * SIDE) as usize];
        let picture = Picture::new(gpu, SIDE, SIDE, &pixels)?;
        let region = Region::whole(SIDE, SIDE);
        let times = |what, net| {
            let run = || pollster::block_on(nets.run(net, &picture, &region));
            repeated(repeat, what, || Ok(costs::clocked(run)?.1))
        };
        // The expression does not matter to the time.
        let points = (0..LANDMARKS as u32).map(|k| [k as f32, (k * k % 97) as f32]);
        let points: Vec<_> = points.collect();
        let profile = || {
            let mut all: Option<Profile> = None;
            for net in [Net::Detector, Net::Landmarks, Net::Segmentation] {
                let profile = pollster::block_on(nets.profile(net, &picture, &region))?;
                match &mut all {
                    Some(all) => all.kernels.extend(profile.kernels),
                    None => all = Some(profile),
                }
            }
            Ok(all)
        };
        let [detector, landmarks, segmentation] = [
            times("detector", Net::Detector)?,
            times("landmarks", Net::Landmarks)?,
            times("segmentation", Net::Segmentation)?,
        ];
        let scores = repeated(repeat, "scores", || {
            Ok(costs::clocked(|| nets.scores(&points, 0.0))?.1)
        })?;
        let profiles = (0..repeat).map(|_| profile()).collect::<Result<Vec<_>>>()?;
        let profiles: Vec<_> = profiles.into_iter().flatten().collect();
        Ok(Self {
            detector,
            landmarks,
            segmentation,
            scores,
            kernels: Section::new(&profiles),
        })
    }
}

impl Throughput {
    fn measure(avatar: &Avatar, drive: &Drive, count: u32) -> Result<Self> {
        let model = avatar.model();
        let all = vec![(avatar, drive); count as usize];
        let options = RenderOptions::default();
        // Memory for all of them is taken before anything is timed.
        costs::warm_up(|| {
            model.render_many(&all, &options)?;
            model.gpu().wait("warming up")
        })?;
        let rate = |what: &str, run: &dyn Fn() -> Result<()>| {
            let ((), seconds) = timed(what, run)?;
            Ok::<_, gpavatar::Error>(f64::from(count) / seconds)
        };
        Ok(Self {
            pictures: count,
            one_by_one: rate("one by one", &|| {
                all.iter()
                    .try_for_each(|(avatar, drive)| avatar.render(drive)?.to_image().map(drop))
            })?,
            in_flight: rate("in flight", &|| {
                let mut played = model.play(all.iter().copied());
                played.try_for_each(|played| played.map(drop))
            })?,
            in_one_call: rate("in one call", &|| {
                let frames = model.render_many(&all, &options)?;
                frames.iter().try_for_each(|f| f.to_image().map(drop))
            })?,
            not_read: rate("in one call, not read", &|| {
                model.render_many(&all, &options)?;
                model.gpu().wait("rendering")
            })?,
        })
    }
}

/// Runs something and reports the seconds that it took at once: at the released sizes a software
/// adapter takes a while.
fn timed<T>(what: &str, run: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let (done, milliseconds) = costs::clocked(run)?;
    let seconds = milliseconds * 1e-3;
    eprintln!("{what}: {seconds:.3} s");
    Ok((done, seconds))
}

/// Bytes of the compiled kernels that earlier processes have kept, if any.
fn kept_pipelines() -> Option<u64> {
    let files = std::fs::read_dir(pipeline_cache()?).ok()?.flatten();
    let kept = files.filter(|file| file.path().extension().is_some_and(|end| end == "bin"));
    let bytes: u64 = kept
        .filter_map(|file| Some(file.metadata().ok()?.len()))
        .sum();
    (bytes > 0).then_some(bytes)
}

/// Peak memory of the process in bytes; known on Linux only.
fn peak_resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kibibytes)
}
