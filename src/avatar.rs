//! A person: planes built from pictures, rendered under any drive.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use crate::gpu::kernels::params;
use crate::gpu::{Bindings, Conditions, KernelTime, Recording, Resource, Tensor, Timer, Uploads};
use crate::head::check_finite;
use crate::model::FrameUniform;
use crate::stage::style_unet::elements;
use crate::stage::{points, source};
use crate::weights::pack;
use crate::{
    Camera, Drive, Error, FloatFormat, Frame, Geometry, Model, Result, SourceImage, TensorFile,
    TensorWriter,
};

/// A head built from one or more pictures of a person. Cloning gives another handle.
///
/// ```no_run
/// # use gpavatar::{Avatar, Camera, Drive, Gpu, Model, SourceImage};
/// # let gpu = Gpu::new()?;
/// # let model = Model::open(&gpu, "weights.safetensors")?;
/// let avatar = Avatar::from_images(&model, &[SourceImage::open("me.png")?])?;
/// let drive = Drive::neutral().expression("jawOpen", 0.6).camera(Camera::orbit(10.0, 5.0, 20.0));
/// avatar.render(&drive)?.to_image()?.save("out.png").unwrap();
/// # Ok::<(), gpavatar::Error>(())
/// ```
#[derive(Clone)]
pub struct Avatar {
    inner: Arc<Inner>,
}

struct Inner {
    model: Model,
    planes: Tensor,
    shape: Vec<f32>,
    /// The head model's template for this identity.
    identity: Option<Tensor>,
    /// Bindings of the renderer, made with the points' clusters.
    bindings: OnceLock<Bindings>,
    /// Attention of every source, `[source][texel][plane]`, kept in traces.
    logits: Option<Tensor>,
}

/// Where the noise of the style convolutions comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Noise {
    /// The maps stored with the weights: the same picture every time.
    #[default]
    Stored,
    /// Fresh standard normal numbers for every seed.
    Seeded(u64),
    /// None.
    Zero,
}

/// What is behind the head in a rendered picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Background {
    /// Black, opaque: what the network renders.
    #[default]
    Black,
    /// Nothing: straight alpha from the accumulated opacity.
    Transparent,
}

/// How an avatar is built.
#[derive(Clone, Debug, Default)]
pub struct AvatarOptions {
    /// Identity coefficients of the head model: as many as it has, or none for its mean.
    pub shape: Vec<f32>,
    /// Noise of the encoder.
    pub noise: Noise,
}

/// How a frame is rendered.
#[derive(Clone, Copy, Debug, Default)]
pub struct RenderOptions {
    /// Noise of the super-resolver.
    pub noise: Noise,
    /// What is behind the head.
    pub background: Background,
}

/// Times of all dispatches of a recording.
#[derive(Clone, Debug)]
pub struct Profile {
    /// In order of execution.
    pub kernels: Vec<KernelTime>,
    /// Whether times are GPU timestamps. Otherwise every dispatch was submitted by itself and the
    /// wall clock includes that.
    pub timestamps: bool,
}

impl Profile {
    async fn read(timer: Timer) -> Result<Self> {
        Ok(Self {
            timestamps: timer.timestamps(),
            kernels: timer.times().await?,
        })
    }
}

/// Version of an avatar file.
const VERSION: &str = "1";
const FORMAT: &str = "avatar file";

impl Avatar {
    /// Builds an avatar of the head model's mean shape with default options.
    ///
    /// # Errors
    /// See [`Avatar::with_options`].
    pub fn from_images(model: &Model, sources: &[SourceImage]) -> Result<Self> {
        Self::with_options(model, sources, &AvatarOptions::default())
    }

    /// Builds an avatar: encodes every picture into tri-planes and fuses them.
    ///
    /// The work is submitted, not waited for. What it needs beside the planes and the pictures
    /// themselves does not grow with their number, but for a number per texel (the attention).
    ///
    /// # Errors
    /// [`Error::Argument`] for no pictures, a tracked camera that does not see the head, or shape
    /// coefficients that are not finite or not as many as the head model has; [`Error::Limit`] and
    /// [`Error::Gpu`] from the device.
    pub fn with_options(
        model: &Model,
        sources: &[SourceImage],
        options: &AvatarOptions,
    ) -> Result<Self> {
        Self::build(model, sources, options, None)
    }

    /// Like [`Avatar::with_options`], waiting and returning the time of every kernel.
    ///
    /// # Errors
    /// Those of [`Avatar::with_options`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn profile_images(
        model: &Model,
        sources: &[SourceImage],
        options: &AvatarOptions,
    ) -> Result<(Self, Profile)> {
        let mut timer = Timer::new(model.gpu())?;
        let avatar = Self::build(model, sources, options, Some(&mut timer))?;
        Ok((avatar, pollster::block_on(Profile::read(timer))?))
    }

    fn build(
        model: &Model,
        sources: &[SourceImage],
        options: &AvatarOptions,
        mut timer: Option<&mut Timer>,
    ) -> Result<Self> {
        if sources.is_empty() {
            return Err(Error::argument("sources", "at least one picture", "none"));
        }
        let gpu = model.gpu();
        let config = model.config();
        let encoder = model.encoder();
        let uploads = sources
            .iter()
            .map(|image| source::upload(gpu, image, config.source_size))
            .collect::<Result<Vec<_>>>()?;
        let planes = Self::empty_planes(model)?;
        let fusion = if sources.len() > 1 {
            Some(model.fusion()?)
        } else {
            None
        };
        let logits = fusion
            .map(|fusion| {
                let bytes = u64::from(fusion.count) * sources.len() as u64 * 4;
                Tensor::empty(gpu, "attention logits", bytes)
            })
            .transpose()?;
        let frame = params::Frame::default();
        let (frame, conditions) = with_noise(frame, options.noise, &encoder.frame);

        let submission = model.submission();
        let mut commands = gpu.device().create_command_encoder(&Default::default());
        let parts = [(bytemuck::bytes_of(&frame), &encoder.frame.tensor)];
        Uploads::once(gpu, &mut commands, &parts)?;
        for (index, (pixels, warp)) in (0u32..).zip(&uploads) {
            let resources = [
                ("source", Resource::Tensor(pixels)),
                ("warp", Resource::Tensor(warp)),
            ];
            encoder.program.record(Recording {
                encoder: &mut commands,
                bindings: &[&encoder.program.bind(gpu, &resources)],
                conditions,
                timer: timer.as_deref_mut(),
            })?;
            let (Some(fusion), Some(logits)) = (fusion, &logits) else {
                encoder.planes.tensor.copy_to(&mut commands, &planes);
                continue;
            };
            let current = params::Source {
                index,
                count: sources.len() as u32,
                ..Default::default()
            };
            let current = Tensor::uniform(gpu, "source", bytemuck::bytes_of(&current))?;
            let resources = [
                ("planes", Resource::Tensor(&planes)),
                ("logits", Resource::Tensor(logits)),
                ("current", Resource::Tensor(&current)),
            ];
            fusion.program.record(Recording {
                encoder: &mut commands,
                bindings: &[&fusion.program.bind(gpu, &resources)],
                conditions,
                timer: timer.as_deref_mut(),
            })?;
        }
        match timer {
            Some(timer) => timer.submit(commands)?,
            None => {
                gpu.queue().submit([commands.finish()]);
            }
        }
        drop(submission);
        gpu.check("building an avatar")?;
        let mut avatar = Self::assemble(model, planes, options.shape.clone())?;
        if model.trace()
            && let Some(inner) = Arc::get_mut(&mut avatar.inner)
        {
            inner.logits = logits;
        }
        Ok(avatar)
    }

    fn empty_planes(model: &Model) -> Result<Tensor> {
        let config = model.config();
        let elements = elements(config.plane_size, 3 * config.plane_channels);
        Tensor::empty(
            model.gpu(),
            "planes",
            model.precision().volume().bytes(elements),
        )
    }

    fn assemble(model: &Model, planes: Tensor, shape: Vec<f32>) -> Result<Self> {
        let identity = match model.head_stage() {
            Some(head) => Some(head.identity(model.gpu(), &shape)?),
            None if shape.is_empty() => None,
            None => {
                let found = format!("{} coefficients", shape.len());
                return Err(Error::argument(
                    "shape",
                    "none: there is no head model",
                    found,
                ));
            }
        };
        let inner = Inner {
            model: model.clone(),
            planes,
            shape,
            identity,
            bindings: OnceLock::new(),
            logits: None,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The model that the avatar was built with.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.inner.model
    }

    /// The planes on the device: `[v][u][plane][channel]`, in the model's format.
    #[must_use]
    pub fn planes(&self) -> &Tensor {
        &self.inner.planes
    }

    /// The attention's logits `[source][v][u][plane]` of an avatar with several sources, if the
    /// model keeps intermediate results.
    #[must_use]
    pub fn attention_logits(&self) -> Option<&Tensor> {
        self.inner.logits.as_ref()
    }

    /// Identity coefficients of the head model.
    #[must_use]
    pub fn shape(&self) -> &[f32] {
        &self.inner.shape
    }

    /// Renders a frame on black. The work is submitted, not waited for.
    ///
    /// # Errors
    /// See [`Avatar::record`].
    pub fn render(&self, drive: &Drive) -> Result<Frame> {
        self.render_with(drive, &RenderOptions::default())
    }

    /// Renders a frame with options.
    ///
    /// # Errors
    /// See [`Avatar::record`].
    pub fn render_with(&self, drive: &Drive, options: &RenderOptions) -> Result<Frame> {
        let gpu = self.model().gpu();
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        let submission = self.model().submission();
        let frame = self.record_timed(&mut encoder, drive, options, None)?;
        gpu.queue().submit([encoder.finish()]);
        drop(submission);
        gpu.check("rendering")?;
        Ok(frame)
    }

    /// Records a frame into the host application's command encoder, to be submitted with the rest
    /// of its work.
    ///
    /// Any number of recordings may be pending, to be submitted in any order or not at all: each
    /// brings all of its own input. The frame is to be kept until whatever reads it, but for this
    /// encoder, has been submitted: once dropped, its memory is for later recordings.
    ///
    /// # Errors
    /// [`Error::Argument`] if the drive does not fit the model ([`Drive::resolve`]);
    /// [`Error::Limit`] and [`Error::Gpu`] from the device.
    pub fn record(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        drive: &Drive,
        options: &RenderOptions,
    ) -> Result<Frame> {
        self.record_timed(encoder, drive, options, None)
    }

    /// Renders a frame, waits for it and returns the time of every kernel.
    ///
    /// # Errors
    /// See [`Avatar::profile_async`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn profile(&self, drive: &Drive, options: &RenderOptions) -> Result<(Frame, Profile)> {
        pollster::block_on(self.profile_async(drive, options))
    }

    /// Renders a frame and, once it is done, returns the time of every kernel.
    ///
    /// Without [timestamps](crate::Gpu::has_timestamps) that takes many submissions: recordings
    /// that the host submits itself must not come in between.
    ///
    /// # Errors
    /// See [`Avatar::record`]; in a browser, [`Error::Gpu`] without timestamps.
    pub async fn profile_async(
        &self,
        drive: &Drive,
        options: &RenderOptions,
    ) -> Result<(Frame, Profile)> {
        let gpu = self.model().gpu();
        let mut timer = Timer::new(gpu)?;
        let frame = {
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            let _submission = self.model().submission();
            let frame = self.record_timed(&mut encoder, drive, options, Some(&mut timer))?;
            timer.submit(encoder)?;
            frame
        };
        Ok((frame, Profile::read(timer).await?))
    }

    fn record_timed(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        drive: &Drive,
        options: &RenderOptions,
        timer: Option<&mut Timer>,
    ) -> Result<Frame> {
        let model = self.model();
        let (gpu, renderer) = (model.gpu(), model.renderer());
        let drive = drive.resolve(model.head(), model.config().points as usize)?;
        let mut frame = camera_uniform(drive.camera);
        frame.transparent = (options.background == Background::Transparent).into();
        let (frame, mut conditions) = with_noise(frame, options.noise, &renderer.frame);
        let mut given = Vec::new();
        let coefficients = match (&drive.geometry, model.head_stage()) {
            (Geometry::Coefficients { expression, pose }, Some(head)) => {
                conditions.head_model = true;
                head.pack(
                    expression,
                    &head.model.pose(self.shape(), expression, pose)?,
                )
            }
            (Geometry::Points(points), _) => {
                given = pack::vec4s(points);
                Vec::new()
            }
            (Geometry::Coefficients { .. }, None) => {
                return Err(Error::argument(
                    "drive",
                    "points: there is no head model",
                    "coefficients",
                ));
            }
        };
        let bindings = self.bindings(&drive.geometry)?;
        let slot = renderer.slot(gpu)?;

        renderer.uploads.record(
            gpu,
            encoder,
            &[
                (bytemuck::bytes_of(&frame), &renderer.frame.tensor),
                (bytemuck::cast_slice(&coefficients), &renderer.coefficients),
                (bytemuck::cast_slice(&given), &renderer.points),
            ],
        )?;
        renderer.program.record(Recording {
            encoder,
            bindings: &[bindings, &slot.bindings],
            conditions,
            timer,
        })?;
        slot.keep(encoder, renderer);
        Ok(Frame::new(model, slot))
    }

    /// Bindings of what the avatar owns. The clusters follow the head model's template, or the
    /// first points that are given: later ones move, but keep their neighbourhoods.
    fn bindings(&self, geometry: &Geometry<'_>) -> Result<&Bindings> {
        if let Some(bindings) = self.inner.bindings.get() {
            return Ok(bindings);
        }
        let model = self.model();
        let gpu = model.gpu();
        let members = match (geometry, model.head()) {
            (_, Some(head)) => points::members(&head.parts().template),
            (Geometry::Points(given), None) => points::members(given),
            (Geometry::Coefficients { .. }, None) => Vec::new(),
        };
        let members = Tensor::from_slice(gpu, "cluster members", &members)?;
        let mut resources = vec![
            ("planes", Resource::Tensor(&self.inner.planes)),
            ("members", Resource::Tensor(&members)),
        ];
        if let Some(identity) = &self.inner.identity {
            resources.push(("identity", Resource::Tensor(identity)));
        }
        let bindings = model.renderer().program.bind(gpu, &resources);
        Ok(self.inner.bindings.get_or_init(|| bindings))
    }

    /// Writes the avatar's planes and shape, so that it can be played without its pictures. The
    /// file belongs to the model that built the avatar.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Gpu`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn save(&self, path: impl AsRef<std::path::Path>) -> Result<()> {
        pollster::block_on(self.write(FloatFormat::F32))?.write(path)
    }

    /// The content of an avatar file, with the planes in `format`.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the planes cannot be read back, [`Error::Argument`] if they do not fit the
    /// format.
    pub async fn to_bytes(&self, format: FloatFormat) -> Result<Vec<u8>> {
        self.write(format).await?.into_bytes()
    }

    async fn write(&self, format: FloatFormat) -> Result<TensorWriter<'static>> {
        let model = self.model();
        let count = plane_shape(model).iter().product();
        let planes = (self.inner.planes)
            .read_stored(model.gpu(), model.precision().volume(), count)
            .await?;
        let metadata = BTreeMap::from([
            ("gpavatar.avatar".to_string(), VERSION.to_string()),
            ("config".to_string(), self.model().config().to_json()?),
        ]);
        let mut writer = TensorWriter::new(metadata);
        let shape = self.inner.shape.clone();
        writer.floats("planes", &plane_shape(self.model()), format, move || {
            Ok(planes.into())
        });
        writer.floats("shape", &[shape.len()], FloatFormat::F32, move || {
            Ok(shape.into())
        });
        Ok(writer)
    }

    /// Loads an avatar that [`Avatar::save`] wrote.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] if it is no avatar file, [`Error::Tensors`] if it lacks a
    /// tensor or one is not of floats; [`Error::Argument`] if it was built with a model of other
    /// sizes or another head model, or holds values that are not finite; [`Error::Limit`] and
    /// [`Error::Gpu`] from the device.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load(model: &Model, path: impl AsRef<std::path::Path>) -> Result<Self> {
        Self::from_file(model, &TensorFile::open(path)?)
    }

    /// Loads an avatar from the content of its file.
    ///
    /// # Errors
    /// Those of [`Avatar::load`] but [`Error::Io`].
    pub fn from_bytes(model: &Model, bytes: Vec<u8>) -> Result<Self> {
        Self::from_file(model, &TensorFile::from_bytes("avatar", bytes)?)
    }

    fn from_file(model: &Model, file: &TensorFile) -> Result<Self> {
        match file.metadata().get("gpavatar.avatar").map(String::as_str) {
            Some(VERSION) => {}
            Some(other) => {
                let reason = format!("it is of version {other}, this crate reads {VERSION}");
                return Err(Error::format(file.what(), FORMAT, reason));
            }
            None => return Err(Error::format(file.what(), FORMAT, "it holds no avatar")),
        }
        let expected = plane_shape(model);
        let found = file.shape("planes")?;
        if found != expected {
            return Err(Error::argument(
                format!("planes of {}", file.what()),
                format!("{expected:?}, as the model has"),
                format!("{found:?}"),
            ));
        }
        let values = file.f32("planes")?;
        check_finite("planes", &values)?;
        let planes = Tensor::stored(model.gpu(), "planes", &values, model.precision().volume())?;
        Self::assemble(model, planes, file.f32("shape")?.into_owned())
    }
}

impl std::fmt::Debug for Avatar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Avatar")
            .field("shape", &self.inner.shape)
            .finish_non_exhaustive()
    }
}

/// `[v][u][plane][channel]`.
fn plane_shape(model: &Model) -> [usize; 4] {
    let config = model.config();
    let size = config.plane_size as usize;
    [size, size, 3, config.plane_channels as usize]
}

pub(crate) fn camera_uniform(camera: &Camera) -> params::Frame {
    let origin = camera.origin();
    let transform = camera.transform;
    params::Frame {
        rotation: transform.map(|row| [row[0], row[1], row[2], 0.0]),
        origin: [origin.x, origin.y, origin.z, 0.0],
        focal: camera.focal,
        clamp_near: camera.clamp_near.into(),
        ..Default::default()
    }
}

/// Sets the noise of a recording.
fn with_noise(
    mut frame: params::Frame,
    noise: Noise,
    uniform: &FrameUniform,
) -> (params::Frame, Conditions) {
    let mut conditions = Conditions::default();
    match noise {
        Noise::Stored => frame.noise_gain = 1.0,
        Noise::Zero => frame.noise_gain = 0.0,
        Noise::Seeded(seed) => {
            frame.noise_gain = 1.0;
            frame.noise_base = uniform.noise_elements;
            frame.seed = [seed as u32, (seed >> 32) as u32];
            conditions.generated_noise = true;
        }
    }
    (frame, conditions)
}
