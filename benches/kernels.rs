//! How close every kernel of an avatar and of a frame comes to the adapter's peak.
//!
//! `cargo bench -p gpavatar-benches --bench kernels` measures the released sizes: each dispatch with
//! cold caches, and dispatches of the same kernel and shape as one rung. See benches/README.md.

mod candidates;
mod roofline;

use std::collections::HashMap;
use std::error::Error;
use std::fmt::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use candidates::Trials;
use clap::Parser;
use gpavatar::glam::Vec3;
use gpavatar::reference::points::{Neighbour, Walk, nearest_in_clusters};
use gpavatar::{
    AdapterKind, Avatar, AvatarOptions, Geometry, Gpu, GpuOptions, KernelTime, Model, ModelConfig,
    ModelOptions, RenderOptions, Weights, wgpu,
};
use gpavatar_cli::args::{GpuArgs, TuningArgs};
use gpavatar_cli::costs::{self, Times};
use gpavatar_cli::demo::{self, Sample};
use gpavatar_cli::header::Header;
use gpavatar_cli::report;
use roofline::Roofline;
use serde::Serialize;

/// Milliseconds, GFLOP/s, GB/s and share of the roofline of every kernel and shape.
#[derive(Parser)]
#[command(after_help = "\
Operations and bytes are what the algorithm needs: every input read and every output written once.
Rates are those of the median. The caches are emptied before each dispatch.

Examples, after cargo bench -p gpavatar-benches --bench kernels --
  --demo --filter conv                        convolutions of the network that ships with the repository
  --every-variant --json kernels.json         released sizes, kernels for GPUs and for CPUs
  --peak-tflops 67 --peak-gbs 3350            against the data sheet instead of measured peaks")]
struct Args {
    /// Measure the network that ships with the repository instead of the released sizes
    #[arg(long, conflicts_with = "weights")]
    demo: bool,
    /// Measure this weights file
    #[arg(long = "model", value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Measure the kernels for GPUs, those for CPUs, and those for CPUs with subgroups
    #[arg(long, conflicts_with = "kernels")]
    every_variant: bool,
    /// Take best and median of this many runs
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// List only rungs with this in their stage, kernel or shape
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// Peak of f32 arithmetic in TFLOP/s [default: measured]
    #[arg(long, value_name = "N")]
    peak_tflops: Option<f64>,
    /// Peak of memory in GB/s [default: measured]
    #[arg(long, value_name = "N")]
    peak_gbs: Option<f64>,
    /// Count the distances that the search for the nearest points computes
    #[arg(long)]
    count_tests: bool,
    /// Check and time the kernels that FOLDER/candidates.json lists, each in place of a layer's own
    ///
    /// They run without run-time checks: their indices have to stay within the buffers
    #[arg(long = "try", value_name = "FOLDER", conflicts_with_all = ["every_variant", "count_tests"])]
    candidates: Option<PathBuf>,
    /// Write all numbers as JSON to a file, or with - to standard output in place of the tables
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    gpu: GpuArgs,
    #[command(flatten)]
    tuning: TuningArgs,
    /// Passed to every benchmark by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    report::exit(run(&Args::parse()))
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    if let Some(folder) = &args.candidates {
        let trials = Trials::run(args, folder, &args.gpu_options()?)?;
        return report::write(&trials, &trials.text()?, args.json.as_deref(), &[]);
    }
    let report = Report::measure(args)?;
    report::write(&report, &report.text()?, args.json.as_deref(), &[])
}

#[derive(Serialize)]
struct Report {
    /// Of the first variant.
    header: Header,
    roofline: Roofline,
    rungs: Vec<Rung>,
    /// The convolutions with the most operations, largest first, of the first variant.
    largest_convolutions: Vec<Largest>,
    nearest_points: Vec<Count>,
}

/// The dispatches of one kernel on one shape.
#[derive(Default, Serialize)]
struct Rung {
    variant: &'static str,
    stage: &'static str,
    kernel: &'static str,
    shape: String,
    /// Per avatar or per frame, depending on the stage.
    dispatches: usize,
    /// Per dispatch.
    flops: f64,
    bytes: f64,
    #[serde(flatten)]
    times: Times,
    gflops: f64,
    gbs: f64,
    /// The least time on this adapter, by operations and bytes, divided by the median.
    roofline_share: f64,
}

#[derive(Serialize)]
struct Largest {
    shape: String,
    stage: &'static str,
    kernel: &'static str,
    gflops: f64,
    /// Share of the peak of arithmetic.
    peak_share: f64,
}

/// Distances computed for the nearest points of a pass.
#[derive(Serialize)]
struct Count {
    pass: &'static str,
    kernel: &'static str,
    /// Samples that a thread follows.
    segment: usize,
    samples: usize,
    points: usize,
    /// Samples times points.
    brute_force: u64,
    point_tests: u64,
    box_tests: u64,
    /// Brute force over the distances to points, and over all distances.
    fewer_point_tests: f64,
    fewer_tests: f64,
    /// Samples for which the kernel found the same points in the same order. Others have ties, or
    /// distances that round differently.
    same_as_kernel: f64,
}

impl Report {
    fn measure(args: &Args) -> Result<Self, Box<dyn Error>> {
        let options = args.gpu_options()?;
        let gpu = Gpu::with_options(&options)?;
        eprintln!("{}", gpu.description());
        let mut roofline = Roofline::measure(&gpu)?;
        if let Some(tflops) = args.peak_tflops {
            roofline.gflops = tflops * 1e3;
        }
        if let Some(gbs) = args.peak_gbs {
            roofline.gbs = gbs;
        }
        let nearest_points = match args.count_tests {
            true => count_tests(&gpu, args.weights()?)?,
            false => Vec::new(),
        };
        let (mut rungs, mut headers) = (Vec::new(), Vec::new());
        for (variant, options) in variants(args, options, &gpu) {
            let (header, measured) = measure(args, variant, &options, roofline)?;
            headers.push(header);
            rungs.extend(measured);
        }
        rungs.retain(|rung| {
            let names = [rung.stage, rung.kernel, &rung.shape];
            names.iter().any(|name| name.contains(&args.filter))
        });
        Ok(Self {
            header: headers.swap_remove(0),
            roofline,
            largest_convolutions: largest(&rungs, roofline),
            rungs,
            nearest_points,
        })
    }

    /// Tables in Markdown.
    fn text(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        let Roofline { gflops, gbs } = self.roofline;
        let header = &self.header;
        let clock = costs::clock(header.timestamps);
        writeln!(out, "{}\n{}", header.adapter.description, header.network)?;
        writeln!(out, "peaks: {gflops:.1} GFLOP/s, {gbs:.1} GB/s")?;
        writeln!(out, "{clock}; best and median of {}\n", header.repeat)?;
        writeln!(
            out,
            "| variant | stage | kernel | shape | n | best ms | median ms | GFLOP/s | GB/s | roofline |"
        )?;
        writeln!(out, "|---|---|---|---|---|---|---|---|---|---|")?;
        for rung in &self.rungs {
            let Times { best, median, .. } = &rung.times;
            let (gflops, gbs, share) = (rung.gflops, rung.gbs, 100.0 * rung.roofline_share);
            for name in [rung.variant, rung.stage, rung.kernel, &rung.shape] {
                write!(out, "| {name} ")?;
            }
            write!(out, "| {} | {best:.3} | {median:.3} ", rung.dispatches)?;
            writeln!(out, "| {gflops:.1} | {gbs:.2} | {share:.0} % |")?;
        }
        let titles = "| largest convolutions | kernel | GFLOP/s | of peak |";
        writeln!(out, "\n{titles}\n|---|---|---|---|")?;
        for conv in &self.largest_convolutions {
            let (kernel, gflops, share) = (conv.kernel, conv.gflops, 100.0 * conv.peak_share);
            write!(out, "| {}, {} | {kernel} ", conv.stage, conv.shape)?;
            writeln!(out, "| {gflops:.1} | {share:.0} % |")?;
        }
        if self.nearest_points.is_empty() {
            return Ok(out);
        }
        writeln!(
            out,
            "\n| nearest points | samples | brute force | to points | to boxes | fewer to points | fewer in all | as the kernel |"
        )?;
        writeln!(out, "|---|---|---|---|---|---|---|---|")?;
        for count in &self.nearest_points {
            let (pass, kernel, segment) = (count.pass, count.kernel, count.segment);
            let (points, boxes) = (count.point_tests, count.box_tests);
            let (of_points, of_all) = (count.fewer_point_tests, count.fewer_tests);
            let same = 100.0 * count.same_as_kernel;
            write!(out, "| {pass} pass, {kernel}, {segment} samples a walk ")?;
            write!(out, "| {} | {} ", count.samples, count.brute_force)?;
            write!(out, "| {points} | {boxes} ")?;
            writeln!(out, "| {of_points:.1}x | {of_all:.1}x | {same:.3} % |")?;
        }
        Ok(out)
    }
}

impl Args {
    fn network(&self) -> String {
        match (&self.weights, self.demo) {
            (Some(path), _) => path.display().to_string(),
            (None, true) => "the network that ships with the repository".into(),
            (None, false) => "released sizes, made-up weights".into(),
        }
    }

    /// With cold caches.
    fn gpu_options(&self) -> Result<GpuOptions, Box<dyn Error>> {
        Ok(GpuOptions {
            cold: true,
            ..self.gpu.options()?
        })
    }

    fn weights(&self) -> gpavatar::Result<Weights> {
        match (&self.weights, self.demo) {
            (Some(path), _) => Weights::open(path),
            (None, true) => Weights::open(demo::weights()),
            (None, false) => demo::released(),
        }
    }
}

/// The adapter's default variant, or all that it can run.
fn variants(args: &Args, options: GpuOptions, gpu: &Gpu) -> Vec<(&'static str, GpuOptions)> {
    if !args.every_variant {
        return vec![("chosen", options)];
    }
    let with = |kernels, subgroups| GpuOptions {
        kernels: Some(kernels),
        subgroups,
        ..options.clone()
    };
    let mut all = vec![
        ("gpu", with(AdapterKind::Gpu, false)),
        ("cpu", with(AdapterKind::Cpu, false)),
    ];
    if gpu.device().features().contains(wgpu::Features::SUBGROUP) {
        all.push(("cpu, subgroups", with(AdapterKind::Cpu, true)));
    }
    all
}

/// The rungs of one variant of the kernels, in the order in which they first run, and what they were
/// measured with.
fn measure(
    args: &Args,
    variant: &'static str,
    options: &GpuOptions,
    roofline: Roofline,
) -> Result<(Header, Vec<Rung>), Box<dyn Error>> {
    let gpu = Gpu::with_options(options)?;
    let model_options = ModelOptions {
        tuning: args.tuning.choose(&gpu),
        ..ModelOptions::default()
    };
    let model = Model::with_options(&gpu, args.weights()?, model_options)?;
    let sources = &Sample::named(None)?.pictures()?[..1];
    let avatar_options = AvatarOptions::default();
    let avatar = Avatar::with_options(&model, sources, &avatar_options)?;
    let drive = demo::at_rest(&model);
    costs::warm_up(|| {
        avatar.render(&drive)?;
        gpu.wait("warming up")
    })?;

    let mut runs: Vec<Vec<KernelTime>> = Vec::new();
    let bar = report::progress("measuring", args.repeat as usize);
    for _ in 0..args.repeat {
        let encoding = Avatar::profile_images(&model, sources, &avatar_options)?.1;
        let frame = avatar.profile(&drive, &RenderOptions::default())?.1;
        runs.push([encoding.kernels, frame.kernels].concat());
        bar.inc(1);
    }
    bar.finish_and_clear();
    let header = Header::new(&model, args.network(), &demo::view(), 1, args.repeat);
    Ok((header, rungs(variant, model.config(), &runs, roofline)?))
}

/// Gathers dispatches of the same kernel on the same shape.
fn rungs(
    variant: &'static str,
    config: &ModelConfig,
    runs: &[Vec<KernelTime>],
    roofline: Roofline,
) -> gpavatar::Result<Vec<Rung>> {
    let layers = layers(config)?;
    let mut gathered: Vec<(Rung, Vec<f64>)> = Vec::new();
    for (i, first) in runs[0].iter().enumerate() {
        let times = runs.iter().map(|run| run[i].milliseconds);
        let products = first.label.strip_suffix(" (products)");
        let layer = layers.get(products.unwrap_or(&first.label));
        let shape = match (layer, products) {
            (Some(layer), None) => layer.shape(first.flops),
            (Some(layer), Some(_)) => layer.winograd_shape(first.flops),
            // The name of the pass does not change the work.
            (None, _) => first.label.split(", ").take(1).collect(),
        };
        // Other kernels go by their size: labels name layers.
        let same = |rung: &Rung| {
            (rung.stage, rung.kernel) == (first.stage, first.kernel)
                && (rung.flops, rung.bytes) == (first.flops, first.bytes)
                && (rung.shape == shape || layer.is_none())
        };
        match gathered.iter_mut().find(|(rung, _)| same(rung)) {
            Some((rung, all)) => {
                rung.dispatches += 1;
                all.extend(times);
            }
            None => {
                let rung = Rung {
                    variant,
                    stage: first.stage,
                    kernel: first.kernel,
                    shape,
                    dispatches: 1,
                    flops: first.flops,
                    bytes: first.bytes,
                    ..Rung::default()
                };
                gathered.push((rung, times.collect()));
            }
        }
    }
    let finish = |(mut rung, times): (Rung, Vec<f64>)| {
        rung.times = Times::new(times);
        // The shortest may be below a clock's resolution.
        let seconds = (rung.times.median * 1e-3).max(1e-9);
        rung.gflops = rung.flops / seconds * 1e-9;
        rung.gbs = rung.bytes / seconds * 1e-9;
        rung.roofline_share = roofline.seconds(rung.flops, rung.bytes) / seconds;
        rung
    };
    Ok(gathered.into_iter().map(finish).collect())
}

/// A convolution's filter, `[outputs][inputs][size][size]`.
struct Layer {
    filter: [usize; 4],
    modulated: bool,
}

impl Layer {
    fn shape(&self, flops: f64) -> String {
        let [outputs, inputs, size, _] = self.filter;
        let pixels = flops / (2 * size * size * inputs * outputs) as f64;
        let side = pixels.sqrt().round();
        let modulated = if self.modulated { ", modulated" } else { "" };
        format!("{size}x{size} {inputs}→{outputs} @ {side}²{modulated}")
    }

    /// The shape of the products of some of a map's tiles.
    fn winograd_shape(&self, flops: f64) -> String {
        let [outputs, inputs, ..] = self.filter;
        let tiles = flops / (2 * 16 * inputs * outputs) as f64;
        format!("16 x {inputs}→{outputs} @ {tiles} tiles")
    }
}

/// All convolutions by their names.
fn layers(config: &ModelConfig) -> gpavatar::Result<HashMap<String, Layer>> {
    let layer = |spec: &gpavatar::TensorSpec| {
        let (suffix, modulated, shape) = match &spec.shape[..] {
            [1, shape @ ..] => (".modulated_conv.weight", true, shape),
            shape => (".weight", false, shape),
        };
        let name = spec.name.strip_suffix(suffix)?.to_owned();
        let filter = shape.try_into().ok()?;
        Some((name, Layer { filter, modulated }))
    };
    Ok(config.tensors()?.iter().filter_map(layer).collect())
}

/// The five convolutions with the most operations.
fn largest(rungs: &[Rung], roofline: Roofline) -> Vec<Largest> {
    let mut convs: Vec<&Rung> = rungs.iter().collect();
    convs.retain(|rung| rung.kernel.starts_with("style_unet/conv"));
    convs.retain(|rung| rung.variant == rungs[0].variant);
    convs.sort_by(|a, b| b.flops.total_cmp(&a.flops));
    let largest = |rung: &&Rung| Largest {
        shape: rung.shape.clone(),
        stage: rung.stage,
        kernel: rung.kernel,
        gflops: rung.gflops,
        peak_share: rung.gflops / roofline.gflops,
    };
    convs.iter().take(5).map(largest).collect()
}

/// Points that the search finds, even if fewer are used.
const NEIGHBOURS: usize = 8;

/// Counts distances by the scalar twin of the search, on the samples of a rendered frame.
fn count_tests(gpu: &Gpu, weights: Weights) -> Result<Vec<Count>, Box<dyn Error>> {
    let options = ModelOptions {
        trace: true,
        ..ModelOptions::default()
    };
    let model = Model::with_options(gpu, weights, options)?;
    let sources = &Sample::named(None)?.pictures()?[..1];
    let avatar = Avatar::from_images(&model, sources)?;
    let drive = demo::given_points(&model);
    avatar.render(&drive)?;

    let resolved = drive.resolve(model.head(), model.config().points as usize)?;
    let Geometry::Points(points) = resolved.geometry else {
        unreachable!("points are given")
    };
    let points: Vec<Vec3> = points.iter().copied().map(Vec3::from).collect();
    let origin = resolved.camera.origin();
    let taps: HashMap<_, _> = model.taps().collect();
    let floats = |name: &str| pollster::block_on(taps[name].read(gpu));
    let directions = floats("ray_dirs")?;
    let mut counts = Vec::new();
    for (pass, depths, neighbours) in [
        ("coarse", "coarse.depths", "coarse.neighbours"),
        ("fine", "fine.depths", "fine.neighbours"),
    ] {
        let samples = taps[depths].shape()[1];
        let depths = floats(depths)?;
        let rays = directions.chunks_exact(taps["ray_dirs"].shape()[2]);
        let rays = rays.zip(depths.chunks_exact(samples));
        let positions = rays.flat_map(|(direction, depths)| {
            let direction = Vec3::from_slice(direction);
            depths.iter().map(move |t| origin + *t * direction)
        });
        let positions: Vec<Vec3> = positions.collect();
        let found: Vec<u32> = pollster::block_on(taps[neighbours].read_as(gpu))?;
        for (kernel, segment, together) in [
            ("points/nearest", samples, 1),
            ("points/nearest_subgroup", samples, 8),
        ] {
            let walk = Walk {
                samples,
                segment,
                together,
            };
            let (walked, tests) = nearest_in_clusters(&positions, walk, &points, NEIGHBOURS);
            let brute_force = (positions.len() * points.len()) as u64;
            let fewer = |tests: u64| brute_force as f64 / tests as f64;
            counts.push(Count {
                pass,
                kernel,
                segment,
                samples: positions.len(),
                points: points.len(),
                brute_force,
                point_tests: tests.points,
                box_tests: tests.boxes,
                fewer_point_tests: fewer(tests.points),
                fewer_tests: fewer(tests.points + tests.boxes),
                same_as_kernel: same_indices(&walked, &found),
            });
        }
    }
    Ok(counts)
}

/// Share of the samples for which the kernel, which packs eight 16-bit indices, found the same.
fn same_indices(walked: &[Neighbour], packed: &[u32]) -> f64 {
    let samples = walked.chunks_exact(NEIGHBOURS);
    let count = samples.len();
    let pairs = samples.zip(packed.chunks_exact(NEIGHBOURS / 2));
    let same = pairs.filter(|(walked, packed)| {
        let kernel = packed.iter().flat_map(|pair| [pair & 0xffff, pair >> 16]);
        kernel.eq(walked.iter().map(|neighbour| neighbour.index as u32))
    });
    same.count() as f64 / count as f64
}
