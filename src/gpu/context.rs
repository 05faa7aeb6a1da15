//! The device that everything runs on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::adapter::{Host, choose_adapter, matrix_size};
use super::background::{Background, MaybeSend, Submitted};
use super::failures::{Failures, captured};
use super::kernel::{Compiler, Kernel, KernelKey, KernelSource, kernels};
#[cfg(not(target_arch = "wasm32"))]
use super::pipelines::Pipelines;
use crate::error::{Error, Result};
use crate::options::{AdapterKind, GpuOptions, PipelineCache, ShaderChecks};

/// A device and its kernels. Cloning gives another handle to the same device.
///
/// ```no_run
/// let gpu = gpavatar::Gpu::new()?;
/// println!("{}", gpu.description());
/// # Ok::<(), gpavatar::Error>(())
/// ```
#[derive(Clone)]
pub struct Gpu {
    inner: Arc<Inner>,
}

struct Inner {
    compiler: Compiler,
    adapter: wgpu::Adapter,
    queue: wgpu::Queue,
    info: wgpu::AdapterInfo,
    kind: AdapterKind,
    /// Side of the cooperative matrices that kernels may use.
    matrices: Option<u32>,
    /// Whether kernels may use subgroup operations.
    subgroups: bool,
    poison: bool,
    evictor: Option<Evictor>,
    background: Background,
    kernels: Mutex<HashMap<KernelKey, Arc<Kernel>>>,
}

/// Copying one buffer to the other fills the caches with unrelated data.
struct Evictor([wgpu::Buffer; 2]);

impl Gpu {
    /// Opens the best adapter and waits for it.
    ///
    /// # Errors
    /// See [`Gpu::request`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new() -> Result<Self> {
        Self::with_options(&GpuOptions::default())
    }

    /// Like [`Gpu::new`], with options.
    ///
    /// # Errors
    /// See [`Gpu::request`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn with_options(options: &GpuOptions) -> Result<Self> {
        pollster::block_on(Self::request(options))
    }

    /// Opens an adapter.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] if none matches, [`Error::Device`] if it cannot be opened,
    /// [`Error::Limit`] if it is too small for a kernel.
    pub async fn request(options: &GpuOptions) -> Result<Self> {
        Self::open(choose_adapter(options, Host::default()).await?, options).await
    }

    /// Opens an adapter of the host application's instance: one that can draw to its `surface`, if it has
    /// one. [`Gpu::adapter`] and [`Gpu::device`] then configure it.
    ///
    /// # Errors
    /// See [`Gpu::request`].
    pub async fn request_for(
        instance: &wgpu::Instance,
        surface: Option<&wgpu::Surface<'_>>,
        options: &GpuOptions,
    ) -> Result<Self> {
        let host = Host {
            instance: Some(instance),
            surface,
        };
        Self::open(choose_adapter(options, host).await?, options).await
    }

    async fn open(adapter: wgpu::Adapter, options: &GpuOptions) -> Result<Self> {
        let info = adapter.get_info();
        let mut features = Self::optional_features() & adapter.features();
        if !options.subgroups {
            features.remove(wgpu::Features::SUBGROUP);
        }
        if let Some(PipelineCache::Host(_)) = options.pipeline_cache {
            let expected = "a folder: a host's belongs to its device";
            return Err(Error::argument("pipeline cache", expected, "a host's"));
        }
        if options.pipeline_cache.is_some() {
            features |= wgpu::Features::PIPELINE_CACHE & adapter.features();
        }
        let mut experimental = wgpu::ExperimentalFeatures::disabled();
        if options.matrices && matrix_size(&adapter).is_some() {
            features |= wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
            // SAFETY: this acknowledges that the feature may have bugs. It is off by default, and
            // the documentation of `GpuOptions::matrices` warns of them.
            experimental = unsafe { wgpu::ExperimentalFeatures::enabled() };
        }
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("gpavatar"),
                required_features: features,
                required_limits: Self::best_limits(&adapter),
                experimental_features: experimental,
                ..Default::default()
            })
            .await
            .map_err(|error| Error::Device {
                adapter: format!("{} ({})", info.name, info.backend),
                reason: error.to_string(),
            })?;
        let gpu = Self::build(&adapter, device, queue, options)?;
        let failures = gpu.failures().clone();
        let device = gpu.device();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            failures.note(error.to_string());
        }));
        let failures = gpu.failures().clone();
        device.set_device_lost_callback(move |_, message| failures.lose(&message));
        Ok(gpu)
    }

    /// Uses a device of the host application, which keeps its own error handlers, if it has any.
    /// Natively they see no errors of this crate's calls: those are [`Error::Gpu`]. In a browser
    /// they see all of them.
    ///
    /// [`Gpu::required_limits`] suffice; lower limits are accepted if every kernel fits. No feature
    /// is required: [`Gpu::optional_features`] and
    /// [`EXPERIMENTAL_COOPERATIVE_MATRIX`](wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) are
    /// used if the device has them and the options allow it. What the options say of the choice of an
    /// adapter does not matter here.
    ///
    /// # Errors
    /// [`Error::Limit`] if a limit is too small for a kernel.
    pub fn from_device(
        adapter: &wgpu::Adapter,
        device: wgpu::Device,
        queue: wgpu::Queue,
        options: &GpuOptions,
    ) -> Result<Self> {
        Self::build(adapter, device, queue, options)
    }

    fn build(
        adapter: &wgpu::Adapter,
        device: wgpu::Device,
        queue: wgpu::Queue,
        options: &GpuOptions,
    ) -> Result<Self> {
        let limits = device.limits();
        for kernel in kernels::ALL.iter().filter(|k| k.features().is_empty()) {
            kernel.check(&limits)?;
        }
        let info = adapter.get_info();
        let kind = options.kernels.unwrap_or(match info.device_type {
            wgpu::DeviceType::Cpu => AdapterKind::Cpu,
            _ => AdapterKind::Gpu,
        });
        let feature = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        let matrices = matrix_size(adapter)
            .filter(|_| options.matrices && device.features().contains(feature));
        let inner = Inner {
            kind,
            matrices,
            evictor: options.cold.then(|| Evictor::new(&device)),
            compiler: Compiler {
                #[cfg(not(target_arch = "wasm32"))]
                pipelines: (options.pipeline_cache.as_ref())
                    .and_then(|kept| Pipelines::open(&device, &info, kept))
                    .map(Arc::new),
                device,
                shaders: options.shaders,
                failures: Failures::default(),
            },
            adapter: adapter.clone(),
            queue,
            info,
            subgroups: options.subgroups,
            poison: options.poison,
            background: Background::default(),
            kernels: Mutex::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Limits that every kernel stays within: WebGPU's defaults.
    #[must_use]
    pub fn required_limits() -> wgpu::Limits {
        wgpu::Limits::default()
    }

    /// Features that are used if the device has them; none is required.
    #[must_use]
    pub fn optional_features() -> wgpu::Features {
        wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::SUBGROUP | wgpu::Features::SHADER_F16
    }

    /// The required limits, with buffers and workgroup memory as large as the adapter allows.
    fn best_limits(adapter: &wgpu::Adapter) -> wgpu::Limits {
        let best = adapter.limits();
        wgpu::Limits {
            max_buffer_size: best.max_buffer_size,
            max_storage_buffer_binding_size: best.max_storage_buffer_binding_size,
            max_compute_workgroup_storage_size: best.max_compute_workgroup_storage_size,
            ..Self::required_limits()
        }
        .or_worse_values_from(&best)
    }

    /// Adapter, backend, driver and shader mode in one line.
    #[must_use]
    pub fn description(&self) -> String {
        let shaders = match self.inner.compiler.shaders {
            ShaderChecks::Trusted => "trusted",
            ShaderChecks::Checked => "checked",
        };
        format!("{}, {shaders} shaders", self.adapter_name())
    }

    /// Name, backend and driver of the adapter.
    pub(super) fn adapter_name(&self) -> String {
        let info = &self.inner.info;
        let (name, backend) = (&info.name, info.backend);
        format!("{name} ({backend}, {} {})", info.driver, info.driver_info)
    }

    /// The kind of processor that kernels are chosen for.
    #[must_use]
    pub fn kind(&self) -> AdapterKind {
        self.inner.kind
    }

    /// Whether kernels that need subgroups of at least eight threads can run.
    pub(crate) fn has_subgroups(&self) -> bool {
        self.inner.subgroups
            && self.inner.info.subgroup_min_size >= 8
            && self.runs_all(wgpu::Features::SUBGROUP)
    }

    /// Whether kernels can compute in `f16`.
    pub(crate) fn has_half_arithmetic(&self) -> bool {
        self.runs_all(wgpu::Features::SHADER_F16)
    }

    /// Side of the cooperative matrices that kernels may use, if they were asked for and the device
    /// supports a suitable size.
    pub(crate) fn matrices(&self) -> Option<u32> {
        let side = self.inner.matrices?;
        self.runs(|kernel| kernel.matrices == Some(side))
            .then_some(side)
    }

    /// Whether all kernels that are `chosen` can run.
    fn runs(&self, chosen: impl Fn(&KernelSource) -> bool) -> bool {
        let (limits, features) = (self.device().limits(), self.device().features());
        let mut kernels = kernels::ALL.iter().filter(|kernel| chosen(kernel));
        kernels.all(|k| features.contains(k.features()) && k.check(&limits).is_ok())
    }

    /// Whether all kernels that need exactly these features can run. Never in browsers: kernels
    /// without features are nearly as fast there, and leaving out the others keeps the page small.
    fn runs_all(&self, features: wgpu::Features) -> bool {
        cfg!(not(target_arch = "wasm32"))
            && self.device().features().contains(features)
            && self.runs(|kernel| kernel.features() == features)
    }

    /// The adapter that the device is of.
    #[must_use]
    pub fn adapter(&self) -> &wgpu::Adapter {
        &self.inner.adapter
    }

    /// The wgpu device.
    #[must_use]
    pub fn device(&self) -> &wgpu::Device {
        &self.inner.compiler.device
    }

    /// The wgpu queue.
    #[must_use]
    pub fn queue(&self) -> &wgpu::Queue {
        &self.inner.queue
    }

    /// Whether profiles use GPU timestamps: the feature `profiler` is on, and the device has
    /// reliable timestamp queries. Without them a browser cannot time kernels.
    #[must_use]
    pub fn has_timestamps(&self) -> bool {
        cfg!(feature = "profiler") && self.times_passes()
    }

    /// Whether the device has reliable timestamp queries.
    pub(super) fn times_passes(&self) -> bool {
        // Mesa's llvmpipe takes timestamps late once a texture is in use. Natively the wall clock
        // is more accurate on CPU implementations.
        let trusted = cfg!(target_arch = "wasm32") || !self.is_software();
        trusted
            && self
                .device()
                .features()
                .contains(wgpu::Features::TIMESTAMP_QUERY)
    }

    /// Whether the adapter is a software implementation on the CPU, whatever kernels it runs.
    pub(super) fn is_software(&self) -> bool {
        self.inner.info.device_type == wgpu::DeviceType::Cpu
    }

    /// An `rgba8unorm` texture of this width and height, to be copied from, drawn to and more. It has
    /// views as [`Gpu::SRGB`] where the adapter has any.
    pub(crate) fn picture(
        &self,
        label: &str,
        size: [u32; 2],
        usage: wgpu::TextureUsages,
    ) -> wgpu::Texture {
        let usage = usage | wgpu::TextureUsages::RENDER_ATTACHMENT;
        let views: &[_] = match self.has_view_formats() {
            true => &[Self::SRGB],
            false => &[],
        };
        self.texture(label, size, (wgpu::TextureFormat::Rgba8Unorm, views), usage)
    }

    /// An `r32float` texture of this width and height, to be copied to.
    pub(crate) fn depths(&self, label: &str, size: [u32; 2]) -> wgpu::Texture {
        let format = wgpu::TextureFormat::R32Float;
        self.texture(label, size, (format, &[]), wgpu::TextureUsages::COPY_DST)
    }

    /// A texture that can be copied from and bound, too.
    fn texture(
        &self,
        label: &str,
        [width, height]: [u32; 2],
        (format, view_formats): (wgpu::TextureFormat, &[wgpu::TextureFormat]),
        usage: wgpu::TextureUsages,
    ) -> wgpu::Texture {
        self.device().create_texture(&wgpu::TextureDescriptor {
            label: Some(label),
            size: wgpu::Extent3d {
                width,
                height,
                depth_or_array_layers: 1,
            },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage: usage | wgpu::TextureUsages::COPY_SRC | wgpu::TextureUsages::TEXTURE_BINDING,
            view_formats,
        })
    }

    /// Pixels of pictures as colours that are decoded to linear light when they are read.
    const SRGB: wgpu::TextureFormat = wgpu::TextureFormat::Rgba8UnormSrgb;

    fn has_view_formats(&self) -> bool {
        let flags = self.inner.adapter.get_downlevel_capabilities().flags;
        flags.contains(wgpu::DownlevelFlags::VIEW_FORMATS)
    }

    /// A view of a [picture](Gpu::picture) as [`Gpu::SRGB`].
    pub(crate) fn srgb_view(&self, picture: &wgpu::Texture) -> Option<wgpu::TextureView> {
        self.has_view_formats().then(|| {
            picture.create_view(&wgpu::TextureViewDescriptor {
                format: Some(Self::SRGB),
                // Storage has no such format.
                usage: Some(
                    wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::RENDER_ATTACHMENT,
                ),
                ..Default::default()
            })
        })
    }

    pub(crate) fn poison(&self) -> bool {
        self.inner.poison
    }

    /// Records copies that evict the caches, if the options ask for it. Returns whether they do.
    pub(super) fn evict(&self, encoder: &mut wgpu::CommandEncoder) -> bool {
        let Some(Evictor([from, to])) = &self.inner.evictor else {
            return false;
        };
        encoder.copy_buffer_to_buffer(from, 0, to, 0, None);
        true
    }

    /// The kernel specialised to `constants`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a constant that the kernel does not declare.
    pub(crate) fn kernel(
        &self,
        source: &'static KernelSource,
        constants: &[(&'static str, u32)],
    ) -> Result<Arc<Kernel>> {
        let key = (source.name, constants.to_vec());
        let mut kernels = locked(&self.inner.kernels);
        if let Some(kernel) = kernels.get(&key) {
            return Ok(kernel.clone());
        }
        let kernel = Arc::new(Kernel::new(&self.inner.compiler, source, constants)?);
        kernels.insert(key, kernel.clone());
        Ok(kernel)
    }

    /// Keeps what has been compiled for the next process, if the options name a folder.
    pub(crate) fn save_pipelines(&self) {
        self.inner.compiler.save();
    }

    /// Names of all kernels that were compiled.
    #[cfg(test)]
    pub(crate) fn compiled(&self) -> std::collections::BTreeSet<&'static str> {
        let kernels = locked(&self.inner.kernels);
        let compiled = kernels.values().filter(|kernel| kernel.is_compiled());
        compiled.map(|kernel| kernel.name()).collect()
    }

    /// Completes when the device has executed all work submitted so far.
    ///
    /// It reports whether submitted work (setting a model up, building an avatar, rendering) has failed.
    /// Like every future of this crate it never blocks: natively a thread of the `Gpu`
    /// submits and polls the device.
    ///
    /// # Errors
    /// See [`Gpu::wait`]; `what` names the activity.
    pub async fn idle(&self, what: &str) -> Result<()> {
        let submitted = self.submitted("waiting", |gpu| {
            let (sender, receiver) = futures_channel::oneshot::channel();
            gpu.queue().on_submitted_work_done(move || {
                // The receiver is gone only if the future was dropped.
                let _ = sender.send(());
            });
            Ok((receiver, gpu.queue().submit([])))
        });
        let receiver: futures_channel::oneshot::Receiver<()> = submitted.await?;
        // A dropped sender means that the device is gone. What it reported says more.
        let _ = receiver.await;
        self.reported(what)
    }

    /// Waits until the device is idle. In a browser this returns at once: see [`Gpu::idle`].
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device is lost, or has reported an error that was nobody's: natively,
    /// one of the host's own calls on a device of [`Gpu::request`].
    pub fn wait(&self, what: &str) -> Result<()> {
        let polled = self.device().poll(wgpu::PollType::wait_indefinitely());
        polled.map_err(|error| Error::gpu(what, error))?;
        self.reported(what)
    }

    /// Like [`Gpu::wait`], for what has happened so far.
    pub(super) fn looked_after(&self, what: &str) -> Result<()> {
        let polled = self.device().poll(wgpu::PollType::Poll);
        polled.map_err(|error| Error::gpu(what, error))?;
        self.reported(what)
    }

    /// Reports what the device has reported outside of scopes.
    fn reported(&self, what: &str) -> Result<()> {
        let reason = self.failures().take();
        reason.map_or(Ok(()), |reason| Err(Error::gpu(what, reason)))
    }

    fn failures(&self) -> &Failures {
        &self.inner.compiler.failures
    }

    /// Runs `work`, which submits, without blocking: natively on the device's own thread, which then polls
    /// the device until the submission is done. It runs even if the future is dropped.
    ///
    /// # Errors
    /// See [`Gpu::scoped`].
    pub(crate) fn submitted<T, W>(&self, what: &'static str, work: W) -> Submitted<T>
    where
        T: MaybeSend + 'static,
        W: FnOnce(&Self) -> Result<(T, wgpu::SubmissionIndex)> + MaybeSend + 'static,
    {
        let (submitted, sender) = Submitted::new(what);
        let gpu = self.clone();
        let job = move || {
            let result = gpu.scoped(what, || work(&gpu));
            let (result, submission) = match result {
                Ok((result, submission)) => (Ok(result), Some(submission)),
                Err(error) => (Err(error), None),
            };
            // The receiver is gone only if the future was dropped.
            let _ = sender.send(result);
            submission
        };
        self.inner.background.run(self.device(), Box::new(job));
        submitted
    }

    /// Whether the device was lost and a new one has to be requested.
    ///
    /// Known only for devices of [`Gpu::request`]; a host watches its own device.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.failures().is_lost()
    }

    /// Runs `work`, whose errors of the device become its own; `what` names it.
    ///
    /// # Errors
    /// [`Error::Gpu`] if wgpu refuses something, or nothing works on the device any more; and those
    /// of `work`.
    pub(crate) fn scoped<T>(&self, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let (result, error) = captured(self.device(), work);
        match (result, error.or_else(|| self.failures().of_any())) {
            // What the device says explains the errors that follow from it.
            (Ok(_) | Err(Error::Gpu { .. }), Some(reason)) => Err(Error::gpu(what, reason)),
            (result, _) => result,
        }
    }
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Gpu").field(&self.description()).finish()
    }
}

impl Evictor {
    /// Several times the size of a last-level cache.
    const BYTES: u64 = 128 << 20;

    fn new(device: &wgpu::Device) -> Self {
        let usages = [wgpu::BufferUsages::COPY_SRC, wgpu::BufferUsages::COPY_DST];
        Self(usages.map(|usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("evictor"),
                size: Self::BYTES,
                usage,
                mapped_at_creation: false,
            })
        }))
    }
}

/// What a mutex guards, even if a thread has panicked meanwhile.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
