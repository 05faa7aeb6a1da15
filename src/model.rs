//! A model: weights on the device and the programs that run them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::gpu::{Choice, Gpu, Program, Tensor, Tuner, locked};
use crate::head::{HeadModel, check_finite};
use crate::options::{ModelOptions, Precision, Tuning};
use crate::pipeline::{Encoder, Renderer};
use crate::stage::head::Head;
use crate::weights::Weights;

/// A network on a device, ready to build and render avatars. Cloning gives another handle.
///
/// Avatars of one model share its weights and workspace; it can be used from several threads.
#[derive(Clone)]
pub struct Model {
    inner: Arc<Inner>,
}

struct Inner {
    gpu: Gpu,
    config: ModelConfig,
    precision: Precision,
    trace: bool,
    choices: BTreeMap<String, Choice>,
    head: Option<Head>,
    encoder: Encoder,
    renderer: Renderer,
    /// Held while commands are submitted: a profile takes several submissions that share a workspace
    /// with all others.
    submission: Mutex<()>,
}

impl Model {
    /// Most frames or avatars in one submission: drivers take a command buffer that runs for seconds
    /// for a hung device.
    pub(crate) const PER_SUBMISSION: usize = 8;

    /// Opens a weights file and sets the model up.
    ///
    /// # Errors
    /// See [`Weights::open`] and [`Model::new`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(gpu: &Gpu, path: impl AsRef<std::path::Path>) -> Result<Self> {
        Self::new(gpu, Weights::open(path)?)
    }

    /// Uploads weights and compiles the kernels of frames; those of avatars are compiled when the
    /// first one is built. A head model in the weights file is used.
    ///
    /// # Errors
    /// [`Error::Limit`] if the device is too small, [`Error::Gpu`] if it failed, and the errors of
    /// an invalid head model.
    pub fn new(gpu: &Gpu, weights: Weights) -> Result<Self> {
        Self::with_options(gpu, weights, ModelOptions::default())
    }

    /// Like [`Model::new`], with options.
    ///
    /// # Errors
    /// See [`Model::new`]; [`Error::Argument`] if the head model has another number of
    /// vertices than the network has points, or for measurements in a browser; [`Error::Io`] and
    /// [`Error::Format`] if a file of variants cannot be used, or does not fit the device.
    pub fn with_options(gpu: &Gpu, weights: Weights, options: ModelOptions) -> Result<Self> {
        Self::of(gpu, &weights, options)
    }

    /// A model of weights that are needed afterwards.
    pub(crate) fn of(gpu: &Gpu, weights: &Weights, options: ModelOptions) -> Result<Self> {
        gpu.scoped("setting the model up", || {
            Self::set_up(gpu, weights, options)
        })
    }

    fn set_up(gpu: &Gpu, weights: &Weights, mut options: ModelOptions) -> Result<Self> {
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
        let tuner = Tuner::new(gpu, &options.tuning)?;
        let tuned = (gpu, &tuner);
        let renderer = Renderer::new(tuned, weights, head.as_ref(), &options)?;
        let compile = || renderer.program.compile(options.progress.as_ref());
        let load_encoder = || Encoder::new(tuned, weights, &options, &renderer.program);
        // Variants are timed by themselves.
        let encoder = if let Tuning::Measure { .. } = options.tuning {
            compile();
            load_encoder()?
        } else {
            meanwhile(compile, load_encoder)?
        };
        gpu.save_pipelines();
        tuner.save()?;
        Ok(Self {
            inner: Arc::new(Inner {
                gpu: gpu.clone(),
                config,
                precision: options.precision,
                trace: options.trace,
                head,
                encoder,
                choices: tuner.choices(),
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

    /// Adapter, memory and kernels of the model, as text of several lines.
    #[must_use]
    pub fn report(&self) -> String {
        let inner = &self.inner;
        let mut report = format!(
            "{}\nweights and workspace: {:.1} MB\nkernels:",
            inner.gpu.description(),
            self.device_bytes() as f64 / 1e6
        );
        let mut counts = BTreeMap::<&str, u32>::new();
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

    /// The variants of the kernels that were measured or pinned, by layer; empty if they are
    /// estimated.
    #[must_use]
    pub fn choices(&self) -> &BTreeMap<String, Choice> {
        &self.inner.choices
    }

    /// Bytes on the device for weights and workspace; avatars, frames and the fusion of several
    /// sources come on top.
    #[must_use]
    pub fn device_bytes(&self) -> u64 {
        let Inner {
            encoder, renderer, ..
        } = &*self.inner;
        let weights = encoder.weight_bytes + renderer.weight_bytes;
        weights + encoder.program.bytes + renderer.program.bytes
    }

    /// Names and intermediates of the last recording, if the model keeps them (see
    /// [`ModelOptions::trace`]). Names follow the network's modules.
    pub fn taps(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        let inner = &self.inner;
        let programs = [&inner.encoder.program, &inner.renderer.program];
        programs.into_iter().flat_map(Program::taps)
    }

    /// Gives up the memory that the model keeps for later frames: that of frames which were dropped, and
    /// what staged pictures and input. Later frames allocate again.
    pub fn trim(&self) {
        self.inner.renderer.trim();
    }

    /// Runs the super-resolver alone, on a low-resolution image `[y][x][channel]` of the configured
    /// size, and returns the picture `[y][x]` of red, green and blue, not clamped.
    ///
    /// # Errors
    /// [`Error::Argument`] if the size does not fit or a number is not finite; [`Error::Gpu`] from
    /// the device.
    pub async fn super_resolve(&self, low_res: &[f32]) -> Result<Vec<f32>> {
        let (gpu, config) = (self.gpu(), self.config());
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
        let (model, low_res) = (self.clone(), low_res.to_vec());
        let image = gpu.submitted("super-resolving", move |gpu| {
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            let image = model
                .renderer()
                .super_resolve(gpu, &mut encoder, &low_res)?;
            Ok((image, model.submit(encoder)))
        });
        image.await?.read(gpu).await
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

    pub(crate) fn submission(&self) -> MutexGuard<'_, ()> {
        locked(&self.inner.submission)
    }

    /// Submits a recording, between the submissions of others.
    pub(crate) fn submit(&self, encoder: wgpu::CommandEncoder) -> wgpu::SubmissionIndex {
        let commands = encoder.finish();
        let _submission = self.submission();
        self.gpu().queue().submit([commands])
    }
}

/// Runs `aside` on a thread of its own while `work` runs, where there are threads.
#[cfg(not(target_arch = "wasm32"))]
fn meanwhile<T>(aside: impl FnOnce() -> bool + Send, work: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        scope.spawn(aside);
        work()
    })
}

#[cfg(target_arch = "wasm32")]
fn meanwhile<T>(aside: impl FnOnce() -> bool, work: impl FnOnce() -> T) -> T {
    aside();
    work()
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("gpu", self.gpu())
            .field("config", self.config())
            .finish()
    }
}

#[cfg(test)]
mod tests;
