//! Stages of an avatar and of a frame, and both as a whole.
//!
//! `cargo bench -p gpavatar-benches --bench stages -- demo` measures the network that ships with the
//! crate; without `demo`, the released sizes as well. See benches/README.md.

use std::cell::LazyCell;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput};
use gpavatar::{
    AdapterKind, Avatar, AvatarOptions, Drive, Gpu, GpuOptions, Model, ModelOptions, RenderOptions,
    Result, SourceImage, Weights,
};
use gpavatar_cli::args::tuning;
use gpavatar_cli::demo::{self, Sample};

/// Opens the weights of a network.
type Open = fn() -> Result<Weights>;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let gpu = GpuOptions::from_env()
        .and_then(|options| Gpu::with_options(&options))
        .expect("expected an adapter");
    eprintln!("{}", gpu.description());
    let networks: [(&str, Open); 2] = [
        ("demo", || Weights::open(demo::weights())),
        ("released", demo::released),
    ];
    for (name, weights) in networks {
        // Only when a benchmark of the group passes the filter.
        let subject = LazyCell::new(|| Subject::open(&gpu, weights).expect("expected a network"));
        let mut group = criterion.benchmark_group(name);
        group
            .sampling_mode(SamplingMode::Flat)
            .sample_size(10)
            .warm_up_time(Duration::from_millis(1))
            .measurement_time(Duration::from_secs(2))
            .throughput(Throughput::Elements(1));
        measure(&mut group, "avatar", || subject.avatar());
        measure(&mut group, "frame", || subject.frame());
        // What follows takes a frame for each sample. At the released sizes that is minutes on a
        // CPU, for numbers that the benchmark of the kernels gives, too.
        if name == "demo" || gpu.kind() == AdapterKind::Gpu {
            many(&mut group, "frames in flight", |n| subject.frames(n));
            many(&mut group, "pictures", |n| subject.pictures(n));
            many(&mut group, "pictures in flight", |n| subject.played(n));
            measure(&mut group, "encoder", || subject.encoder());
            for stage in ["points", "field", "super-resolver"] {
                measure(&mut group, stage, || subject.stage(stage));
            }
        }
        group.finish();
    }
    criterion.final_summary();
}

/// Benchmarks what `run` says it took.
fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    run: impl Fn() -> Result<Duration>,
) {
    group.bench_function(name, |b| {
        b.iter_custom(|count| {
            let times = (0..count).map(|_| run().expect("expected a result"));
            times.sum()
        });
    });
}

/// Benchmarks what `run` says that so many took together.
fn many(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    run: impl Fn(u64) -> Result<Duration>,
) {
    group.bench_function(name, |b| {
        b.iter_custom(|count| run(count).expect("expected frames"));
    });
}

/// A network with an avatar of one picture.
struct Subject {
    gpu: Gpu,
    model: Model,
    sources: Vec<SourceImage>,
    avatar: Avatar,
    drive: Drive,
}

impl Subject {
    fn open(gpu: &Gpu, weights: Open) -> Result<Self> {
        let options = ModelOptions {
            tuning: tuning(gpu),
            ..ModelOptions::default()
        };
        let model = Model::with_options(gpu, weights()?, options)?;
        let sample = Sample::named(None).expect("expected a sample");
        let sources = sample.pictures()?.into_iter().take(1).collect::<Vec<_>>();
        let avatar = Avatar::from_images(&model, &sources)?;
        let drive = demo::at_rest(&model);
        avatar.render(&drive)?;
        gpu.wait("warming up")?;
        Ok(Self {
            gpu: gpu.clone(),
            model,
            sources,
            avatar,
            drive,
        })
    }

    /// From a decoded picture to planes on an idle device.
    fn avatar(&self) -> Result<Duration> {
        let start = Instant::now();
        Avatar::from_images(&self.model, &self.sources)?;
        self.gpu.wait("building an avatar")?;
        Ok(start.elapsed())
    }

    /// From a drive to a picture on an idle device.
    fn frame(&self) -> Result<Duration> {
        self.frames(1)
    }

    /// As many frames, of which only the last is waited for.
    fn frames(&self, count: u64) -> Result<Duration> {
        let start = Instant::now();
        let batch = [(&self.avatar, &self.drive); 8];
        let mut left = count as usize;
        while left > 0 {
            let batch = &batch[..left.min(8)];
            self.model.render_many(batch, &RenderOptions::default())?;
            left -= batch.len();
        }
        self.gpu.wait("rendering")?;
        Ok(start.elapsed())
    }

    /// From drives to pictures on the host, one by one.
    fn pictures(&self, count: u64) -> Result<Duration> {
        let start = Instant::now();
        for _ in 0..count {
            self.avatar.render(&self.drive)?.to_image()?;
        }
        Ok(start.elapsed())
    }

    /// The same with several in flight.
    fn played(&self, count: u64) -> Result<Duration> {
        let start = Instant::now();
        let drives = std::iter::repeat_n(&self.drive, count as usize);
        for played in self.avatar.play(drives) {
            played?;
        }
        Ok(start.elapsed())
    }

    /// The encoder's dispatches.
    fn encoder(&self) -> Result<Duration> {
        let options = AvatarOptions::default();
        let profile = Avatar::profile_images(&self.model, &self.sources, &options)?.1;
        Ok(spent(&profile, "encoder"))
    }

    /// The dispatches of a stage of a frame.
    fn stage(&self, stage: &str) -> Result<Duration> {
        let options = RenderOptions::default();
        let profile = self.avatar.profile(&self.drive, &options)?.1;
        Ok(spent(&profile, stage))
    }
}

fn spent(profile: &gpavatar::Profile, stage: &str) -> Duration {
    let kernels = profile.kernels.iter().filter(|time| time.stage == stage);
    let milliseconds: f64 = kernels.map(|time| time.milliseconds).sum();
    Duration::from_secs_f64(milliseconds * 1e-3)
}
