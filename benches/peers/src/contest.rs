//! This crate and burn, one after the other.

use std::error::Error;
use std::fmt::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

use burn::Tensor;
use burn::tensor::wgpu::WgpuBackend;
use burn::tensor::{Device, DeviceKind, TensorData};
use gpavatar::wgpu::{Backend, DeviceType};
use gpavatar::{Avatar, Gpu, Model, ModelOptions, RenderOptions, Tuning, Weights};
use serde::Serialize;

use crate::field::{self, Field, Samples};
use crate::parameters::Parameters;
use crate::scene::Scene;
use crate::style_unet::{StyleUnet, sigmoid_wide};
use gpavatar_cli::args::TuningArgs;
use gpavatar_cli::costs::Times;
use gpavatar_cli::report;

/// Times are not compared unless nearly all values are as close as this share of their range.
const TOLERANCE: f32 = 1e-3;
/// Values that may be farther apart: in the released weighting a sample next to a point magnifies
/// the last bits of its position, in every implementation.
const OUTLIERS: f32 = 1e-3;

#[derive(clap::Args)]
pub struct Compare {
    /// Take best and median of this many turns
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// Samples that burn evaluates at once: memory grows with them
    #[arg(long, value_name = "N", default_value_t = 32_768,
          value_parser = clap::value_parser!(u32).range(1..))]
    chunk: u32,
    /// Compare only this
    #[arg(long, value_parser = ["super-resolver", "field"])]
    only: Option<String>,
    /// Write all numbers as JSON to a file, or with - to standard output in place of the table
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    #[command(flatten)]
    tuning: TuningArgs,
}

/// All measurements.
#[derive(Serialize)]
pub struct Report {
    adapter: String,
    network: String,
    /// Number of turns that best and median are taken of.
    repeat: u32,
    contests: Vec<Contest>,
}

/// The same work done by both.
#[derive(Serialize)]
struct Contest {
    work: &'static str,
    agreement: Agreement,
    ours: Times,
    burn: Times,
    /// burn's median over ours.
    ratio: f64,
}

/// How far burn's values are from ours, in shares of the range of ours.
#[derive(Clone, Copy, Serialize)]
struct Agreement {
    largest: f32,
    /// The largest, with a thousandth of the values left out.
    nearly_all: f32,
}

impl Report {
    pub fn measure(gpu: &Gpu, scene: &Scene, args: &Compare) -> Result<Self, Box<dyn Error>> {
        let weights = (scene.weights)()?;
        let device = device(gpu)?;
        let ours = Ours::new(gpu, scene, args.tuning.choose(gpu))?;
        let wanted = |work: &str| args.only.as_deref().is_none_or(|only| only == work);
        let mut contests = Vec::new();
        if wanted("super-resolver") {
            let burn = SuperResolver::new(&weights, &device, scene)?;
            let agreement = Agreement::check("super-resolver", &burn.run()?, &scene.image)?;
            contests.push(Contest::hold(
                "super-resolver",
                agreement,
                args.repeat,
                || ours.super_resolver(scene),
                || wall(|| burn.run().map(drop)),
            )?);
        }
        if wanted("field") {
            let burn = RadianceField::new(&weights, &device, scene, args.chunk as usize)?;
            let [opacities, values] = burn.read()?;
            let alike = Agreement::check("opacities", &opacities, &scene.coarse.opacities)?;
            let agreement = Agreement::check("values", &values, &scene.coarse.values)?;
            contests.push(Contest::hold(
                "radiance field, coarse pass",
                agreement.worse(alike),
                args.repeat,
                || ours.field(scene),
                || wall(|| burn.run().map(drop)),
            )?);
        }
        let config = weights.config();
        Ok(Self {
            adapter: gpu.description(),
            network: format!(
                "{0} x {0} rays of {1} samples to {2} x {2}",
                config.low_res_size, config.coarse_samples, config.output_size
            ),
            repeat: args.repeat,
            contests,
        })
    }

    /// A table in Markdown.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        writeln!(out, "{}\n{}", self.adapter, self.network)?;
        writeln!(out, "best / median of {}, in turns\n", self.repeat)?;
        let titles =
            "work | gpavatar ms | burn ms | burn / gpavatar | largest difference | of 99.9 %";
        writeln!(out, "| {titles} |\n|---|---|---|---|---|---|")?;
        for contest in &self.contests {
            write!(out, "| {} ", contest.work)?;
            for Times { best, median, .. } in [&contest.ours, &contest.burn] {
                write!(out, "| {best:.1} / {median:.1} ")?;
            }
            let (largest, most) = (contest.agreement.largest, contest.agreement.nearly_all);
            writeln!(out, "| {:.2} | {largest:.1e} | {most:.1e} |", contest.ratio)?;
        }
        Ok(out)
    }
}

impl Contest {
    /// Lets both do the work in turns, after a turn that does not count.
    fn hold(
        work: &'static str,
        agreement: Agreement,
        repeat: u32,
        ours: impl Fn() -> Result<f64, Box<dyn Error>>,
        burn: impl Fn() -> Result<f64, Box<dyn Error>>,
    ) -> Result<Self, Box<dyn Error>> {
        ours()?;
        // burn chooses its kernels in its first turns.
        burn()?;
        let (mut our_times, mut burn_times) = (Vec::new(), Vec::new());
        let bar = report::progress(work, repeat as usize);
        for _ in 0..repeat {
            our_times.push(ours()?);
            burn_times.push(burn()?);
            bar.inc(1);
        }
        bar.finish_and_clear();
        let (ours, burn) = (Times::new(our_times), Times::new(burn_times));
        Ok(Self {
            work,
            agreement,
            ratio: burn.median / ours.median,
            ours,
            burn,
        })
    }
}

impl Agreement {
    /// # Errors
    /// If burn computes something else.
    fn check(what: &str, found: &[f32], expected: &[f32]) -> Result<Self, Box<dyn Error>> {
        if found.len() != expected.len() {
            let (found, expected) = (found.len(), expected.len());
            return Err(format!("{what}: expected {expected} numbers, found {found}").into());
        }
        let low = expected.iter().copied().fold(f32::INFINITY, f32::min);
        let high = expected.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let pairs = found.iter().zip(expected);
        let differences = pairs.map(|(a, b)| (a - b).abs() / (high - low));
        // NaN is infinitely far.
        let differences = differences.map(|d| if d.is_nan() { f32::INFINITY } else { d });
        let mut differences: Vec<f32> = differences.collect();
        differences.sort_by(|a, b| b.total_cmp(a));
        let agreement = Self {
            largest: differences[0],
            nearly_all: differences[(differences.len() as f32 * OUTLIERS) as usize],
        };
        eprintln!(
            "{what}: largest difference {:.1e} of the range, of 99.9 % of the values {:.1e}",
            agreement.largest, agreement.nearly_all
        );
        if agreement.nearly_all > TOLERANCE {
            return Err(format!(
                "{what}: burn's values differ by {:.1e} of their range, expected at most \
                 {TOLERANCE:.0e}: nothing to compare times of",
                agreement.nearly_all
            )
            .into());
        }
        Ok(agreement)
    }

    fn worse(self, other: Self) -> Self {
        Self {
            largest: self.largest.max(other.largest),
            nearly_all: self.nearly_all.max(other.nearly_all),
        }
    }
}

/// Milliseconds on the wall clock.
fn wall(work: impl FnOnce() -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// burn on the adapter that this crate runs on.
fn device(gpu: &Gpu) -> Result<Device, Box<dyn Error>> {
    let ours = gpu.device().adapter_info();
    let kind = match ours.device_type {
        DeviceType::DiscreteGpu => DeviceKind::DiscreteGpu(0),
        DeviceType::IntegratedGpu => DeviceKind::IntegratedGpu(0),
        DeviceType::VirtualGpu => DeviceKind::VirtualGpu(0),
        DeviceType::Cpu => DeviceKind::Cpu,
        DeviceType::Other => DeviceKind::DefaultDevice,
    };
    let api = match ours.backend {
        Backend::Vulkan => WgpuBackend::Vulkan,
        Backend::Metal => WgpuBackend::Metal,
        Backend::Dx12 => WgpuBackend::Dx12,
        Backend::Gl => WgpuBackend::Gl,
        _ => WgpuBackend::Auto,
    };
    let options = Device::wgpu_options().device_kind(kind).graphics_api(api);
    let (device, setup) = options.init_with_setup()?;
    let theirs = setup.adapter.get_info();
    if (&theirs.name, theirs.backend) != (&ours.name, ours.backend) {
        return Err(format!(
            "burn runs on {} ({}), expected {} ({})",
            theirs.name, theirs.backend, ours.name, ours.backend
        )
        .into());
    }
    Ok(device)
}

/// This crate, with a model that keeps nothing.
struct Ours(Avatar);

impl Ours {
    fn new(gpu: &Gpu, scene: &Scene, tuning: Tuning) -> gpavatar::Result<Self> {
        let options = ModelOptions {
            tuning,
            ..ModelOptions::default()
        };
        let model = Model::with_options(gpu, (scene.weights)()?, options)?;
        let avatar = Avatar::from_images(&model, std::slice::from_ref(&scene.source))?;
        Ok(Self(avatar))
    }

    /// Milliseconds from numbers on the host to numbers on the host.
    fn super_resolver(&self, scene: &Scene) -> Result<f64, Box<dyn Error>> {
        wall(|| {
            pollster::block_on(self.0.model().super_resolve(&scene.low_res))?;
            Ok(())
        })
    }

    /// Milliseconds of the field's dispatches in the coarse pass.
    fn field(&self, scene: &Scene) -> Result<f64, Box<dyn Error>> {
        let options = RenderOptions::default();
        let profile = self.0.profile(&scene.drive, &options)?.1;
        let field = profile.kernels.iter().filter(|time| time.stage == "field");
        let coarse = field.filter(|time| !time.label.ends_with("fine"));
        Ok(coarse.map(|time| time.milliseconds).sum())
    }
}

/// burn's super-resolver.
struct SuperResolver<'a> {
    network: StyleUnet,
    device: &'a Device,
    /// `[1, channels, y, x]`.
    low_res: TensorData,
}

impl<'a> SuperResolver<'a> {
    fn new(weights: &Weights, device: &'a Device, scene: &Scene) -> Result<Self, Box<dyn Error>> {
        let config = weights.config();
        let [side, channels] = [config.low_res_size, config.low_res_channels].map(|n| n as usize);
        let pixels = || scene.low_res.chunks_exact(channels);
        let planar: Vec<f32> = (0..channels)
            .flat_map(|channel| pixels().map(move |pixel| pixel[channel]))
            .collect();
        let parameters = Parameters::new(weights, device);
        Ok(Self {
            network: StyleUnet::new(&parameters, &config.super_resolver())?,
            device,
            low_res: TensorData::new(planar, [1, channels, side, side]),
        })
    }

    /// From numbers on the host to `[y][x][rgb]` on the host.
    fn run(&self) -> Result<Vec<f32>, Box<dyn Error>> {
        let input = Tensor::<4>::from_data(self.low_res.clone(), self.device);
        let image = sigmoid_wide(self.network.forward(input));
        floats(image.permute([0, 2, 3, 1]))
    }
}

/// burn's radiance field.
struct RadianceField<'a> {
    field: Field,
    device: &'a Device,
    chunks: Vec<Samples>,
}

impl<'a> RadianceField<'a> {
    fn new(
        weights: &Weights,
        device: &'a Device,
        scene: &Scene,
        chunk: usize,
    ) -> Result<Self, Box<dyn Error>> {
        let coarse = &scene.coarse;
        let points: Vec<f32> = scene.points.iter().flat_map(|p| p.to_array()).collect();
        let inputs = field::Scene {
            planes: &scene.planes,
            points: &points,
            sums: &coarse.sums,
        };
        let field = Field::new(weights, device, &inputs)?;
        let neighbours = weights.config().neighbours as usize;
        let chunks = (coarse.positions.chunks(chunk))
            .zip(coarse.directions.chunks(chunk))
            .zip(coarse.nearest.chunks(chunk * neighbours))
            .map(|((positions, directions), nearest)| {
                let vectors = |vectors: &[gpavatar::glam::Vec3]| {
                    let flat: Vec<f32> = vectors.iter().flat_map(|v| v.to_array()).collect();
                    Tensor::from_data(TensorData::new(flat, [vectors.len(), 3]), device)
                };
                let indices: Vec<i32> = nearest.iter().map(|n| n.index as i32).collect();
                let indices = TensorData::new(indices, [nearest.len()]);
                Samples {
                    positions: vectors(positions),
                    directions: vectors(directions),
                    nearest: Tensor::from_data(indices, device),
                }
            })
            .collect();
        Ok(Self {
            field,
            device,
            chunks,
        })
    }

    /// Evaluates all samples and waits.
    fn run(&self) -> Result<Vec<[Tensor<2>; 2]>, Box<dyn Error>> {
        let chunks = self.chunks.iter().cloned();
        let results = chunks.map(|samples| self.field.forward(samples)).collect();
        self.device.sync()?;
        Ok(results)
    }

    /// Opacities and values of all samples.
    fn read(&self) -> Result<[Vec<f32>; 2], Box<dyn Error>> {
        let (mut opacities, mut values) = (Vec::new(), Vec::new());
        for [opacity, value] in self.run()? {
            opacities.extend(floats(opacity)?);
            values.extend(floats(value)?);
        }
        Ok([opacities, values])
    }
}

fn floats<const D: usize>(x: Tensor<D>) -> Result<Vec<f32>, Box<dyn Error>> {
    let data = x.try_into_data().map_err(|error| format!("{error:?}"))?;
    data.try_into_vec()
        .map_err(|error| format!("{error:?}").into())
}
