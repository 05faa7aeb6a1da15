//! A person: planes built from pictures, rendered under any drive.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use crate::clusters;
use crate::config::ModelConfig;
use crate::drive::Geometry;
use crate::error::{Error, Result};
use crate::gpu::{Bindings, Resource, Tensor, Timer};
use crate::head::{check_coefficients, check_finite};
use crate::model::Model;
use crate::options::AvatarOptions;
use crate::source::SourceImage;
use crate::stage::head::Head;
use crate::weights::{CONFIG, FloatFormat, TensorFile, TensorWriter};

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

const BUILDING: &str = "building an avatar";

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
    /// The work is submitted, not waited for. Each further picture takes memory for its pixels and
    /// one number per texel (the attention's logits).
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
        let gpu = model.gpu();
        gpu.scoped(BUILDING, || {
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            let avatar = Self::build(model, &mut encoder, sources, options, None)?;
            model.submit(encoder);
            Ok(avatar)
        })
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
    /// See [`Avatar::with_options`]; an [`Error::Argument`] names the avatar, counted from 0.
    pub fn build_many(
        model: &Model,
        avatars: &[(&[SourceImage], AvatarOptions)],
    ) -> Result<Vec<Self>> {
        for (index, (sources, options)) in avatars.iter().enumerate() {
            let checked = Self::check(model, sources, options);
            checked.map_err(|error| error.of(format_args!("avatar {index}")))?;
        }
        let gpu = model.gpu();
        gpu.scoped(BUILDING, || {
            let mut built = Vec::with_capacity(avatars.len());
            for some in avatars.chunks(Model::PER_SUBMISSION) {
                let mut encoder = gpu.device().create_command_encoder(&Default::default());
                for (sources, options) in some {
                    built.push(Self::build(model, &mut encoder, sources, options, None)?);
                }
                model.submit(encoder);
            }
            Ok(built)
        })
    }

    /// Like [`Avatar::with_options`], waiting and returning the time of every kernel.
    ///
    /// # Errors
    /// See [`Avatar::with_options`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn profile_images(
        model: &Model,
        sources: &[SourceImage],
        options: &AvatarOptions,
    ) -> Result<(Self, crate::gpu::Profile)> {
        Self::check(model, sources, options)?;
        let gpu = model.gpu();
        let mut timer = Timer::new(gpu)?;
        let avatar = gpu.scoped(BUILDING, || {
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            let _submission = model.submission();
            let avatar = Self::build(model, &mut encoder, sources, options, Some(&mut timer))?;
            timer.submit(encoder)?;
            Ok(avatar)
        })?;
        Ok((avatar, pollster::block_on(timer.profile())?))
    }

    /// Checks everything that an avatar is built from.
    fn check(model: &Model, sources: &[SourceImage], options: &AvatarOptions) -> Result<()> {
        if sources.is_empty() {
            return Err(Error::argument("sources", "at least one picture", "none"));
        }
        for image in sources {
            image.homography(model.config().source_size)?;
        }
        check_shape(model, &options.shape)
    }

    /// Records the building of an avatar from checked sources and options.
    fn build(
        model: &Model,
        commands: &mut wgpu::CommandEncoder,
        sources: &[SourceImage],
        options: &AvatarOptions,
        timer: Option<&mut Timer>,
    ) -> Result<Self> {
        let (gpu, encoder) = (model.gpu(), model.encoder());
        let (planes, logits) = encoder.record(gpu, commands, sources, options.noise, timer)?;
        let logits = logits.filter(|_| model.trace());
        Self::assemble(model, commands, planes, options.shape.clone(), logits)
    }

    /// An avatar of these planes. Records the computation of its shape's template.
    fn assemble(
        model: &Model,
        commands: &mut wgpu::CommandEncoder,
        planes: Tensor,
        shape: Vec<f32>,
        logits: Option<Tensor>,
    ) -> Result<Self> {
        let template = |head: &Head| head.identity(model.gpu(), commands, &shape);
        let identity = model.head_stage().map(template).transpose()?;
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

    /// Bindings of the avatar's resources. The clusters follow the head model's template, or the
    /// first points that are given: later ones move, but keep their neighbourhoods.
    pub(crate) fn bindings(&self, geometry: &Geometry<'_>) -> Result<&Bindings> {
        if let Some(bindings) = self.inner.bindings.get() {
            return Ok(bindings);
        }
        let model = self.model();
        let gpu = model.gpu();
        let members = match (geometry, model.head()) {
            (_, Some(head)) => clusters::members(&head.parts().template),
            (Geometry::Points(given), None) => clusters::members(given),
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
        let planes = self.inner.planes.read(model.gpu()).await?;
        let metadata = BTreeMap::from([
            ("gpavatar.avatar".to_string(), VERSION.to_string()),
            (CONFIG.to_string(), self.model().config().to_json()?),
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
    /// See [`Avatar::load`]; no [`Error::Io`].
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
            let expected = format!("{expected:?}, as the model has");
            let what = format!("planes of {}", file.what());
            return Err(Error::argument(what, expected, format!("{found:?}")));
        }
        check_config(model, file)?;
        let values = file.f32("planes")?;
        check_finite("planes", &values)?;
        let shape = file.f32("shape")?.into_owned();
        check_shape(model, &shape)?;
        let gpu = model.gpu();
        gpu.scoped("loading an avatar", || {
            let planes = model.encoder().planes(gpu, &values)?;
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            let avatar = Self::assemble(model, &mut encoder, planes, shape, None)?;
            model.submit(encoder);
            Ok(avatar)
        })
    }
}

impl std::fmt::Debug for Avatar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Avatar")
            .field("shape", &self.inner.shape)
            .finish_non_exhaustive()
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

/// Checks that the model that built an avatar had the configuration of this one: the planes of any
/// other are numbers without a meaning to it, even if there are as many.
fn check_config(model: &Model, file: &TensorFile) -> Result<()> {
    let Some(json) = file.metadata().get(CONFIG) else {
        return Ok(());
    };
    let what = format!("configuration of {}", file.what());
    let built_with = ModelConfig::from_json(what.as_str(), json)?;
    match model.config().difference(&built_with) {
        None => Ok(()),
        Some((expected, found)) => Err(Error::argument(
            what,
            format_args!("{expected}, as the model has"),
            found,
        )),
    }
}

/// `[v][u][plane][channel]`.
fn plane_shape(model: &Model) -> [usize; 4] {
    let config = model.config();
    let size = config.plane_size as usize;
    [size, size, 3, config.plane_channels as usize]
}
