//! A person: planes built from pictures, rendered under any drive.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use crate::frame::FrameSlot;
use crate::gpu::kernels::params;
use crate::gpu::{Bindings, Conditions, KernelTime, Recording, Resource, Tensor, Timer, Uploads};
use crate::head::{check_coefficients, check_finite};
use crate::model::FrameUniform;
use crate::stage::style_unet::elements;
use crate::stage::{points, source};
use crate::weights::pack;
use crate::{
    Camera, Drive, Error, FloatFormat, Frame, Geometry, Model, ResolvedDrive, Result, SourceImage,
    TensorFile, TensorWriter,
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

/// What is being done when the device fails.
const BUILDING: &str = "building an avatar";
pub(crate) const RENDERING: &str = "rendering";

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
        Self::check(model, sources, options)?;
        let mut encoder = model
            .gpu()
            .device()
            .create_command_encoder(&Default::default());
        let avatar = Self::build(model, &mut encoder, sources, options, None)?;
        model.submit(encoder);
        model.gpu().check(BUILDING)?;
        Ok(avatar)
    }

    /// Builds an avatar of every `(pictures, options)`: the same planes as one by one.
    ///
    /// All of them are checked before the first is built. Up to eight share a submission, and none
    /// is waited for.
    ///
    /// ```no_run
    /// # use gpavatar::{Avatar, AvatarOptions, Gpu, Model, SourceImage};
    /// # let gpu = Gpu::new()?;
    /// # let model = Model::open(&gpu, "weights.safetensors")?;
    /// let me = [SourceImage::open("me.png")?];
    /// let you = [SourceImage::open("left.png")?, SourceImage::open("right.png")?];
    /// let options = AvatarOptions::default();
    /// let avatars = Avatar::build_many(&model, &[(&me, options.clone()), (&you, options)])?;
    /// # Ok::<(), gpavatar::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Avatar::with_options`]; an [`Error::Argument`] says which avatar it is about,
    /// counted from 0.
    pub fn build_many(
        model: &Model,
        avatars: &[(&[SourceImage], AvatarOptions)],
    ) -> Result<Vec<Self>> {
        for (index, (sources, options)) in avatars.iter().enumerate() {
            let checked = Self::check(model, sources, options);
            checked.map_err(|error| error.of(format_args!("avatar {index}")))?;
        }
        let gpu = model.gpu();
        let mut built = Vec::with_capacity(avatars.len());
        for some in avatars.chunks(Model::PER_SUBMISSION) {
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            for (sources, options) in some {
                built.push(Self::build(model, &mut encoder, sources, options, None)?);
            }
            model.submit(encoder);
        }
        gpu.check(BUILDING)?;
        Ok(built)
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
        Self::check(model, sources, options)?;
        let gpu = model.gpu();
        let mut timer = Timer::new(gpu)?;
        let avatar = {
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            let _submission = model.submission();
            let avatar = Self::build(model, &mut encoder, sources, options, Some(&mut timer))?;
            timer.submit(encoder)?;
            avatar
        };
        gpu.check(BUILDING)?;
        Ok((avatar, pollster::block_on(Profile::read(timer))?))
    }

    /// Everything that can be wrong with what an avatar is built from.
    fn check(model: &Model, sources: &[SourceImage], options: &AvatarOptions) -> Result<()> {
        if sources.is_empty() {
            return Err(Error::argument("sources", "at least one picture", "none"));
        }
        for image in sources {
            image.homography(model.config().source_size)?;
        }
        check_shape(model, &options.shape)
    }

    /// Records what builds an avatar from what has been checked.
    fn build(
        model: &Model,
        commands: &mut wgpu::CommandEncoder,
        sources: &[SourceImage],
        options: &AvatarOptions,
        mut timer: Option<&mut Timer>,
    ) -> Result<Self> {
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

        let parts = [(bytemuck::bytes_of(&frame), &encoder.frame.tensor)];
        Uploads::once(gpu, commands, &parts)?;
        for (index, (pixels, warp)) in (0u32..).zip(&uploads) {
            let resources = [
                ("source", Resource::Tensor(pixels)),
                ("warp", Resource::Tensor(warp)),
            ];
            encoder.program.record(Recording {
                encoder: commands,
                bindings: &[&encoder.program.bind(gpu, &resources)],
                conditions,
                timer: timer.as_deref_mut(),
            })?;
            let (Some(fusion), Some(logits)) = (fusion, &logits) else {
                encoder.planes.tensor.copy_to(commands, &planes);
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
                encoder: commands,
                bindings: &[&fusion.program.bind(gpu, &resources)],
                conditions,
                timer: timer.as_deref_mut(),
            })?;
        }
        let logits = logits.filter(|_| model.trace());
        Self::assemble(model, commands, planes, options.shape.clone(), logits)
    }

    fn empty_planes(model: &Model) -> Result<Tensor> {
        let config = model.config();
        let elements = elements(config.plane_size, 3 * config.plane_channels);
        Tensor::empty(
            model.gpu(),
            "planes",
            model.precision().volume().maps().bytes(elements),
        )
    }

    /// An avatar of these planes; records what computes the template of its shape.
    fn assemble(
        model: &Model,
        commands: &mut wgpu::CommandEncoder,
        planes: Tensor,
        shape: Vec<f32>,
        logits: Option<Tensor>,
    ) -> Result<Self> {
        let identity = model
            .head_stage()
            .map(|head| head.identity(model.gpu(), commands, &shape))
            .transpose()?;
        let inner = Inner {
            model: model.clone(),
            planes,
            shape,
            identity,
            bindings: OnceLock::new(),
            logits,
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
        let frame = self.record(&mut encoder, drive, options)?;
        self.model().submit(encoder);
        gpu.check(RENDERING)?;
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
        FrameInput::new(self, drive)?.record(encoder, options, None)
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
            let input = FrameInput::new(self, drive)?;
            let _submission = self.model().submission();
            let frame = input.record(&mut encoder, options, Some(&mut timer))?;
            timer.submit(encoder)?;
            frame
        };
        Ok((frame, Profile::read(timer).await?))
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
            .read_stored(model.gpu(), model.precision().volume().maps(), count)
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
        let planes = Tensor::stored(
            model.gpu(),
            "planes",
            &values,
            model.precision().volume().maps(),
        )?;
        let shape = file.f32("shape")?.into_owned();
        check_shape(model, &shape)?;
        let mut encoder = model
            .gpu()
            .device()
            .create_command_encoder(&Default::default());
        let avatar = Self::assemble(model, &mut encoder, planes, shape, None)?;
        model.submit(encoder);
        Ok(avatar)
    }
}

impl std::fmt::Debug for Avatar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Avatar")
            .field("shape", &self.inner.shape)
            .finish_non_exhaustive()
    }
}

impl Model {
    /// Most frames or avatars in one submission: a command buffer that runs for seconds is taken for
    /// a device that hangs.
    pub(crate) const PER_SUBMISSION: usize = 8;

    /// Renders a frame of every `(avatar, drive)`, any mix of avatars of this model: the same
    /// pictures as one by one.
    ///
    /// All of them are checked before the first is rendered. Up to eight share a submission, and
    /// none is waited for. Every frame has memory of its own until it is dropped; a sequence that
    /// is longer than that memory goes through [`Avatar::play`].
    ///
    /// ```no_run
    /// # use gpavatar::{Avatar, Drive, Gpu, Model, RenderOptions};
    /// # fn example(model: &Model, me: &Avatar, you: &Avatar) -> gpavatar::Result<()> {
    /// let (smiling, resting) = (Drive::neutral().expression("mouthSmile", 0.8), Drive::neutral());
    /// let options = RenderOptions::default();
    /// let frames = model.render_many(&[(me, &smiling), (you, &resting)], &options)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Avatar::record`], and [`Error::Argument`] for an avatar of another model; an
    /// [`Error::Argument`] says which frame it is about, counted from 0.
    pub fn render_many(
        &self,
        frames: &[(&Avatar, &Drive)],
        options: &RenderOptions,
    ) -> Result<Vec<Frame>> {
        let mut rendered = Vec::with_capacity(frames.len());
        for inputs in FrameInput::all(self, frames)?.chunks(Self::PER_SUBMISSION) {
            let mut encoder = self
                .gpu()
                .device()
                .create_command_encoder(&Default::default());
            for input in inputs {
                rendered.push(input.record(&mut encoder, options, None)?);
            }
            self.submit(encoder);
        }
        self.gpu().check(RENDERING)?;
        Ok(rendered)
    }
}

/// A drive that was found to fit its avatar.
pub(crate) struct FrameInput<'a> {
    avatar: &'a Avatar,
    drive: ResolvedDrive<'a>,
    /// Of the head model; none where points are given.
    coefficients: Vec<f32>,
}

impl<'a> FrameInput<'a> {
    /// # Errors
    /// [`Error::Argument`] if the drive does not fit the model.
    fn new(avatar: &'a Avatar, drive: &'a Drive) -> Result<Self> {
        let model = avatar.model();
        let drive = drive.resolve(model.head(), model.config().points as usize)?;
        let coefficients = match (&drive.geometry, model.head_stage()) {
            (Geometry::Coefficients { expression, pose }, Some(head)) => {
                let posed = head.model.pose(avatar.shape(), expression, pose)?;
                head.pack(expression, &posed)
            }
            (Geometry::Points(_), _) => Vec::new(),
            (Geometry::Coefficients { .. }, None) => {
                return Err(Error::argument(
                    "drive",
                    "points: there is no head model",
                    "coefficients",
                ));
            }
        };
        Ok(Self {
            avatar,
            drive,
            coefficients,
        })
    }

    /// Frame `index` of several.
    ///
    /// # Errors
    /// Those of [`FrameInput::new`], and [`Error::Argument`] if the avatar is another model's.
    pub(crate) fn nth(
        model: &Model,
        index: usize,
        avatar: &'a Avatar,
        drive: &'a Drive,
    ) -> Result<Self> {
        let input = if avatar.model().is(model) {
            Self::new(avatar, drive)
        } else {
            Err(Error::argument(
                "avatar",
                "one of this model",
                "another model's",
            ))
        };
        input.map_err(|error| error.of(format_args!("frame {index}")))
    }

    /// # Errors
    /// Those of [`FrameInput::nth`].
    pub(crate) fn all(model: &Model, frames: &[(&'a Avatar, &'a Drive)]) -> Result<Vec<Self>> {
        let indexed = frames.iter().enumerate();
        indexed
            .map(|(index, (avatar, drive))| Self::nth(model, index, avatar, drive))
            .collect()
    }

    /// Records the frame.
    pub(crate) fn record(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        options: &RenderOptions,
        timer: Option<&mut Timer>,
    ) -> Result<Frame> {
        let model = self.avatar.model();
        let slot = model.renderer().slot(model.gpu())?;
        self.record_into(&slot, encoder, options, timer)?;
        slot.keep(encoder, model.renderer());
        Ok(Frame::new(model, slot))
    }

    /// Records what renders into the slot's texture, its other results left in the working memory.
    pub(crate) fn record_into(
        &self,
        slot: &FrameSlot,
        encoder: &mut wgpu::CommandEncoder,
        options: &RenderOptions,
        timer: Option<&mut Timer>,
    ) -> Result<()> {
        let model = self.avatar.model();
        let (gpu, renderer) = (model.gpu(), model.renderer());
        let bindings = self.avatar.bindings(&self.drive.geometry)?;
        let mut frame = camera_uniform(self.drive.camera);
        frame.transparent = (options.background == Background::Transparent).into();
        let (frame, mut conditions) = with_noise(frame, options.noise, &renderer.frame);
        let given = match &self.drive.geometry {
            Geometry::Points(points) => pack::vec4s(points),
            Geometry::Coefficients { .. } => {
                conditions.head_model = true;
                Vec::new()
            }
        };
        renderer.uploads.record(
            gpu,
            encoder,
            &[
                (bytemuck::bytes_of(&frame), &renderer.frame.tensor),
                (
                    bytemuck::cast_slice(&self.coefficients),
                    &renderer.coefficients,
                ),
                (bytemuck::cast_slice(&given), &renderer.points),
            ],
        )?;
        renderer.program.record(Recording {
            encoder,
            bindings: &[bindings, &slot.bindings],
            conditions,
            timer,
        })
    }
}

/// Checks identity coefficients against the head model.
fn check_shape(model: &Model, shape: &[f32]) -> Result<()> {
    match model.head() {
        Some(head) => check_coefficients("shape", shape, head.shape_count()),
        None if shape.is_empty() => Ok(()),
        None => {
            let found = format!("{} coefficients", shape.len());
            let expected = "none: there is no head model";
            Err(Error::argument("shape", expected, found))
        }
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
