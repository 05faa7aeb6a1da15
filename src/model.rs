//! A model: weights on the device and the programs that run them.

use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::frame::{FramePool, FrameSlot};
use crate::gpu::kernels::params;
use crate::gpu::{
    Conditions, Downloads, Format, Program, ProgramBuilder, Recording, Storage, Tap, Tensor,
    Uploads,
};
use crate::head::check_finite;
use crate::stage::field::Field;
use crate::stage::fusion::Fusion;
use crate::stage::head::Head;
use crate::stage::points::Points;
use crate::stage::rays::Rays;
use crate::stage::style_unet::{FeatureMap, Numbers, StyleUnet};
use crate::stage::{output, source, style_unet};
use crate::{Error, Gpu, HeadModel, ModelConfig, Result, Weights};

/// Name of the stage from the low-resolution image to the picture.
const SUPER_RESOLVER: &str = "super-resolver";

/// A network on a device, ready to build and render avatars. Cloning gives another handle.
///
/// Avatars of one model share its weights and working memory; it can be used from several threads.
#[derive(Clone)]
pub struct Model {
    inner: Arc<Inner>,
}

struct Inner {
    gpu: Gpu,
    config: ModelConfig,
    precision: Precision,
    trace: bool,
    head: Option<Head>,
    encoder: Encoder,
    /// Built for the first avatar with several sources, from the weights kept for it.
    fusion: OnceLock<Fusion>,
    fusion_weights: Weights,
    renderer: Renderer,
    /// Held while something is submitted: profiles take several submissions, and all share memory.
    submission: Mutex<()>,
}

/// How [`Model::with_options`] sets a model up.
#[derive(Clone, Debug, Default)]
pub struct ModelOptions {
    /// Head model to use instead of the one in the weights file, if that has any.
    pub head: Option<HeadModel>,
    /// How weights and maps are kept on the device.
    pub precision: Precision,
    /// Keeps every intermediate result of the networks for [`Model::taps`], in memory of its own.
    /// For tests and debugging.
    pub trace: bool,
}

/// How a model keeps its weights and maps on the device. Arithmetic has 32 bits but where said
/// otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 32 bits: what the golden data hold for.
    #[default]
    Full,
    /// 16 bits in all that is large, but for the encoder's maps, the planes and the radiance field's
    /// weights, which decide where samples lie: little more than half the memory, and pictures
    /// 62 dB or more from the full ones on the golden cases. Weights are integers with a gain
    /// for each output channel. With [matrices](crate::GpuOptions::matrices), what the super-resolver's
    /// convolutions multiply is rounded to halves, too.
    Half,
    /// 16 bits in these as well, and planes, of which every avatar has its own, of half the size.
    /// Rounded planes move the fine samples a little, so pictures differ more where the field is steep:
    /// 50 to 71 dB on the golden cases. On devices with the feature [`SHADER_F16`](wgpu::Features::SHADER_F16)
    /// convolutions may also multiply in 16 bits, and add up to 36 products in them.
    Fastest,
}

impl FromStr for Precision {
    type Err = Error;

    /// Reads `full`, `half` or `fastest`.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "full" => Ok(Self::Full),
            "half" => Ok(Self::Half),
            "fastest" => Ok(Self::Fastest),
            _ => Err(Error::argument(
                "precision",
                "full, half or fastest",
                format!("{text:?}"),
            )),
        }
    }
}

impl Precision {
    /// Of the encoder, the planes and the radiance field.
    pub(crate) fn volume(self) -> Storage {
        match self {
            Self::Full => Storage::Full,
            Self::Half => Storage::Mixed,
            Self::Fastest => Storage::Half,
        }
    }

    /// Of a network whose numbers are stored like this.
    fn numbers(self, storage: Storage) -> Numbers {
        Numbers {
            storage,
            half_arithmetic: self == Self::Fastest,
        }
    }

    /// Of the super-resolver.
    fn super_resolver(self) -> Storage {
        match self {
            Self::Full => Storage::Full,
            Self::Half | Self::Fastest => Storage::Half,
        }
    }
}

/// Pictures to planes.
pub(crate) struct Encoder {
    pub program: Program,
    pub weight_bytes: u64,
    pub frame: FrameUniform,
    /// The planes of the source that was encoded last.
    pub planes: FeatureMap,
}

/// A drive to a picture.
pub(crate) struct Renderer {
    pub program: Program,
    pub weight_bytes: u64,
    pub frame: FrameUniform,
    pub coefficients: Tensor,
    pub points: Tensor,
    pub uploads: Uploads,
    pub downloads: Downloads,
    pub frames: FramePool,
    pub image: FeatureMap,
    pub low_res: FeatureMap,
    pub depth: Tensor,
}

/// The uniform with what changes between recordings, and where its noise maps begin.
pub(crate) struct FrameUniform {
    pub tensor: Tensor,
    pub noise_elements: u32,
}

impl Model {
    /// Opens a weights file and sets the model up.
    ///
    /// # Errors
    /// Those of [`Weights::open`] and [`Model::new`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(gpu: &Gpu, path: impl AsRef<std::path::Path>) -> Result<Self> {
        Self::new(gpu, Weights::open(path)?)
    }

    /// Uploads weights and compiles all kernels. A head model in the weights file is used.
    ///
    /// On a GPU that meets a network of these sizes for the first time, this takes some seconds more:
    /// see [`Tuning::Measure`](crate::Tuning::Measure).
    ///
    /// # Errors
    /// [`Error::Limit`] if the device is too small, [`Error::Gpu`] if it failed, and those of a
    /// head model that is not valid; [`Error::Io`] and [`Error::Format`] if variants cannot be kept
    /// in the file that was asked for, or a pinned one does not fit the device.
    pub fn new(gpu: &Gpu, weights: Weights) -> Result<Self> {
        Self::with_options(gpu, weights, ModelOptions::default())
    }

    /// Like [`Model::new`], with options.
    ///
    /// # Errors
    /// Those of [`Model::new`]; [`Error::Argument`] if the head model has another number of
    /// vertices than the network has points.
    pub fn with_options(gpu: &Gpu, weights: Weights, mut options: ModelOptions) -> Result<Self> {
        let config = weights.config().clone();
        let head = match options.head.take() {
            Some(head) => Some(head),
            None => weights
                .file()
                .map(HeadModel::embedded)
                .transpose()?
                .flatten(),
        };
        if let Some(head) = &head
            && head.vertex_count() != config.points as usize
        {
            return Err(Error::argument(
                "head model",
                format!("{} vertices, one per point of the network", config.points),
                format!("{}", head.vertex_count()),
            ));
        }
        let head = head.map(|head| Head::new(gpu, &head)).transpose()?;
        let renderer = Renderer::new(gpu, &weights, head.as_ref(), &options)?;
        let encoder = Encoder::new(gpu, &weights, &options, &renderer.program)?;
        gpu.check("setting the model up")?;
        gpu.tuner().save()?;
        Ok(Self {
            inner: Arc::new(Inner {
                gpu: gpu.clone(),
                config,
                precision: options.precision,
                trace: options.trace,
                head,
                encoder,
                fusion: OnceLock::new(),
                fusion_weights: weights,
                renderer,
                submission: Mutex::new(()),
            }),
        })
    }

    /// The device.
    #[must_use]
    pub fn gpu(&self) -> &Gpu {
        &self.inner.gpu
    }

    /// All sizes of the network.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.inner.config
    }

    /// The head model that drives the points, if there is one.
    #[must_use]
    pub fn head(&self) -> Option<&HeadModel> {
        self.inner.head.as_ref().map(|head| &head.model)
    }

    /// Which adapter runs the model, with which kernels, in how much working memory.
    #[must_use]
    pub fn report(&self) -> String {
        let inner = &self.inner;
        let mut report = format!(
            "{}\nweights and working memory: {:.1} MB\nkernels:",
            inner.gpu.description(),
            self.device_bytes() as f64 / 1e6
        );
        let mut counts = std::collections::BTreeMap::<&str, u32>::new();
        for name in inner
            .encoder
            .program
            .kernels()
            .chain(inner.renderer.program.kernels())
        {
            *counts.entry(name).or_default() += 1;
        }
        for (name, count) in counts {
            report.push_str(&format!("\n  {name}: {count} dispatches"));
        }
        report
    }

    /// Bytes on the device for weights and working memory; avatars, frames and the fusion of several
    /// sources come on top.
    #[must_use]
    pub fn device_bytes(&self) -> u64 {
        let Inner {
            encoder, renderer, ..
        } = &*self.inner;
        let weights = encoder.weight_bytes + renderer.weight_bytes;
        weights + encoder.program.bytes + renderer.program.bytes
    }

    /// Names and intermediate results of the last recording, if the model keeps them (see
    /// [`ModelOptions::trace`]). Names are those of the network's modules.
    pub fn taps(&self) -> impl Iterator<Item = (&str, &Tap)> {
        let inner = &self.inner;
        let (encoder, renderer) = (&inner.encoder.program.taps, &inner.renderer.program.taps);
        encoder
            .iter()
            .chain(renderer)
            .map(|(name, tap)| (name.as_str(), tap))
    }

    /// Runs the super-resolver alone, on a low-resolution image `[y][x][channel]` of the configured
    /// size, and returns the picture `[y][x]` of red, green and blue, not clamped.
    ///
    /// # Errors
    /// [`Error::Argument`] if the size does not fit or a number is not finite; [`Error::Gpu`] from
    /// the device.
    pub async fn super_resolve(&self, low_res: &[f32]) -> Result<Vec<f32>> {
        let (gpu, config, renderer) = (self.gpu(), self.config(), self.renderer());
        let size = config.low_res_size;
        let expected = (size * size * config.low_res_channels) as usize;
        if low_res.len() != expected {
            return Err(Error::argument(
                "low-resolution image",
                format!("{expected} numbers"),
                format!("{}", low_res.len()),
            ));
        }
        check_finite("low-resolution image", low_res)?;
        let frame = params::Frame {
            noise_gain: 1.0,
            ..Default::default()
        };
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        let parts = [
            (bytemuck::bytes_of(&frame), &renderer.frame.tensor),
            (bytemuck::cast_slice(low_res), &renderer.low_res.tensor),
        ];
        Uploads::once(gpu, &mut encoder, &parts)?;
        renderer.program.record(Recording {
            encoder: &mut encoder,
            bindings: &[],
            conditions: Conditions {
                stage: Some(SUPER_RESOLVER),
                ..Default::default()
            },
            timer: None,
        })?;
        let image = renderer.image.tensor.snapshot(gpu, &mut encoder);
        let submission = self.submit(encoder);
        let pixels: Vec<[f32; 4]> = image.read(gpu, &submission).await?;
        Ok(pixels
            .iter()
            .flat_map(|pixel| &pixel[..3])
            .copied()
            .collect())
    }

    /// How weights and maps are kept on the device.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.inner.precision
    }

    /// Whether this is another handle of the same model.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    pub(crate) fn trace(&self) -> bool {
        self.inner.trace
    }

    pub(crate) fn head_stage(&self) -> Option<&Head> {
        self.inner.head.as_ref()
    }

    pub(crate) fn encoder(&self) -> &Encoder {
        &self.inner.encoder
    }

    pub(crate) fn renderer(&self) -> &Renderer {
        &self.inner.renderer
    }

    pub(crate) fn fusion(&self) -> Result<&Fusion> {
        let inner = &self.inner;
        if let Some(fusion) = inner.fusion.get() {
            return Ok(fusion);
        }
        // Two threads may both get here; one result is kept.
        let fusion = Fusion::new(
            &inner.gpu,
            &inner.fusion_weights,
            inner.precision.volume(),
            &inner.encoder.planes,
        )?;
        Ok(inner.fusion.get_or_init(|| fusion))
    }

    pub(crate) fn submission(&self) -> MutexGuard<'_, ()> {
        self.inner
            .submission
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Submits what was recorded, between the submissions of others.
    pub(crate) fn submit(&self, encoder: wgpu::CommandEncoder) -> wgpu::SubmissionIndex {
        let commands = encoder.finish();
        let _submission = self.submission();
        self.gpu().queue().submit([commands])
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("gpu", self.gpu())
            .field("config", self.config())
            .finish()
    }
}

impl FrameUniform {
    fn new(gpu: &Gpu, net: &StyleUnet) -> Result<Self> {
        let zero = params::Frame::default();
        let tensor = Tensor::uniform(gpu, "frame", bytemuck::bytes_of(&zero))?;
        Ok(Self {
            tensor,
            noise_elements: net.noise_elements(),
        })
    }
}

impl Encoder {
    /// An avatar and a frame are each recorded as a whole, so that both work in the same memory.
    fn new(
        gpu: &Gpu,
        weights: &Weights,
        options: &ModelOptions,
        renderer: &Program,
    ) -> Result<Self> {
        let config = weights.config();
        let volume = options.precision.volume();
        let numbers = options.precision.numbers(volume);
        let net = StyleUnet::new(gpu, weights, config.encoder(), config.source_size, numbers)?;
        let frame = FrameUniform::new(gpu, &net)?;
        let mut b = ProgramBuilder::new(gpu, volume, options.trace);
        b.share(renderer);
        let canonical = source::plan(&mut b, config.source_size)?;
        b.stage("encoder");
        let planes = net.plan(&mut b, &canonical, &frame.tensor, false)?;
        Ok(Self {
            program: b.finish()?,
            weight_bytes: net.bytes(),
            frame,
            planes,
        })
    }
}

impl Renderer {
    fn new(
        gpu: &Gpu,
        weights: &Weights,
        head: Option<&Head>,
        options: &ModelOptions,
    ) -> Result<Self> {
        let config = weights.config();
        let found = gpu.device().limits().max_texture_dimension_2d;
        if config.output_size > found {
            return Err(Error::Limit {
                what: "the picture".into(),
                limit: "max_texture_dimension_2d",
                expected: config.output_size.into(),
                found: found.into(),
            });
        }
        let volume = options.precision.volume();
        let super_resolver = options.precision.super_resolver();
        let net = StyleUnet::new(
            gpu,
            weights,
            config.super_resolver(),
            config.low_res_size,
            options.precision.numbers(super_resolver),
        )?;
        let field = Field::new(gpu, weights, volume)?;
        let frame = FrameUniform::new(gpu, &net)?;

        let mut b = ProgramBuilder::new(gpu, volume, options.trace);
        let floats = head.map_or(0, Head::coefficients) as u64;
        let coefficients = b.tensor("coefficients", floats)?;
        let positions = b.tensor("points", u64::from(config.points) * 4)?;
        if let Some(head) = head {
            head.skin(&mut b, &coefficients, &positions)?;
        }
        let points = Points::cluster(&mut b, config, positions)?;
        let (rays, coarse) = Rays::generate(&mut b, config, &frame.tensor)?;
        field.view(&mut b, &rays)?;
        let found = points.nearest(&mut b, config, &frame.tensor, &rays, &coarse)?;
        let coarse_samples = field.radiance(
            &mut b,
            config,
            &frame.tensor,
            &rays,
            &coarse,
            (&points, &found),
        )?;
        b.release(found.tensor);
        let fine = rays.importance(&mut b, &coarse, &coarse_samples)?;
        let found = points.nearest(&mut b, config, &frame.tensor, &rays, &fine)?;
        let fine_samples = field.radiance(
            &mut b,
            config,
            &frame.tensor,
            &rays,
            &fine,
            (&points, &found),
        )?;
        b.release(found.tensor);
        let composite = rays.merge(
            &mut b,
            config,
            (&coarse, &coarse_samples),
            (&fine, &fine_samples),
        )?;
        for samples in [coarse_samples, fine_samples] {
            b.release(samples.values);
            b.release(samples.opacities);
        }
        let depth = output::depth(&mut b, &rays, &composite)?;
        b.stage(SUPER_RESOLVER);
        b.store(super_resolver);
        let mut image = net.plan(&mut b, &composite.low_res, &frame.tensor, true)?;
        if super_resolver.maps() != Format::F32 {
            image = style_unet::restored(&mut b, &image)?;
        }
        output::display(&mut b, &frame.tensor, &image, &composite)?;

        let uploads =
            size_of::<params::Frame>() as u64 + coefficients.bytes() + points.positions.bytes();
        Ok(Self {
            program: b.finish()?,
            weight_bytes: net.bytes() + field.bytes(),
            frame,
            coefficients,
            points: points.positions,
            uploads: Uploads::new(uploads),
            downloads: Downloads::new(image.size, image.size),
            frames: FramePool::default(),
            image,
            low_res: composite.low_res,
            depth,
        })
    }

    /// Somewhere for a frame's results.
    pub(crate) fn slot(&self, gpu: &Gpu) -> Result<Arc<FrameSlot>> {
        self.frames.take(|| FrameSlot::new(gpu, self))
    }
}
