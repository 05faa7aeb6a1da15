//! WebAssembly bindings of `gpavatar`, for the ES module in `package/` to build upon.
//!
//! Thin on purpose: numbers in, numbers and textures out. The module adds names, defaults and
//! types. Objects with device memory have a `free()`.

mod atlas;
mod canvas;
mod error;
#[cfg(feature = "testing")]
mod testing;
mod track;

use gpavatar::{
    AdapterKind, Avatar, AvatarOptions, Background, Camera, Drive, FloatFormat, Geometry,
    GpuOptions, ModelConfig, ModelOptions, RenderOptions, SourceImage, Weights, wgpu,
};
use js_sys::{Array, Float32Array, Object, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

use canvas::Canvas;
use error::{Result, js};
#[cfg(feature = "testing")]
use track::Tracker;

/// Logs panics to the console, which would otherwise say "unreachable executed".
#[wasm_bindgen(start)]
pub fn start() {
    std::panic::set_hook(Box::new(|info| {
        web_sys::console::error_1(&info.to_string().into());
    }));
}

/// World-to-camera transform, 3 rows of 4, of a camera on a sphere around the head.
#[wasm_bindgen]
pub fn orbit(distance: f32, elevation: f32, azimuth: f32) -> Vec<f32> {
    let camera = Camera::orbit(distance, elevation, azimuth);
    camera.transform.as_flattened().to_vec()
}

/// A device.
#[wasm_bindgen]
pub struct Gpu(gpavatar::Gpu);

#[wasm_bindgen]
impl Gpu {
    /// Opens the browser's best adapter.
    pub async fn request() -> Result<Gpu> {
        let gpu = gpavatar::Gpu::request(&GpuOptions::default()).await;
        Ok(Self(gpu.map_err(js)?))
    }

    /// A promise of the device that `navigator.gpu` gives at the time of the call, its error handlers
    /// left as they are. wgpu wraps no other.
    pub fn adopt() -> Promise {
        let instance = instance();
        future_to_promise(async move { Ok(Self::adopted(instance).await?.into()) })
    }

    async fn adopted(instance: wgpu::Instance) -> Result<Gpu> {
        let adapter = instance.request_adapter(&Default::default()).await;
        let adapter = adapter.map_err(|error| error::new("no-adapter", &error.to_string()))?;
        let device = adapter.request_device(&Default::default()).await;
        let (device, queue) = device.map_err(|e| error::new("no-device", &e.to_string()))?;
        let options = GpuOptions::default();
        let gpu = gpavatar::Gpu::from_device(&adapter, device, queue, &options);
        Ok(Self(gpu.map_err(js)?))
    }

    /// The browser's device.
    #[wasm_bindgen(getter)]
    pub fn device(&self) -> Result<JsValue> {
        let device = self.0.device().as_webgpu();
        let device = device.ok_or_else(|| error::new("internal", "not a WebGPU device"))?;
        Ok(device.clone().into())
    }

    /// The adapter's name, where the browser tells it.
    #[wasm_bindgen(getter)]
    pub fn description(&self) -> String {
        self.0.description()
    }

    /// Whether the adapter is an implementation on the CPU.
    #[wasm_bindgen(getter)]
    pub fn software(&self) -> bool {
        self.0.kind() == AdapterKind::Cpu
    }

    /// Whether kernels can be timed.
    #[wasm_bindgen(getter)]
    pub fn timestamps(&self) -> bool {
        self.0.has_timestamps()
    }

    /// Whether the device was lost.
    #[wasm_bindgen(getter)]
    pub fn lost(&self) -> bool {
        self.0.is_lost()
    }

    /// Settles when all that was submitted is done, or has failed.
    pub async fn idle(&self, what: String) -> Result<()> {
        self.0.idle(&what).await.map_err(js)
    }
}

/// A handle to what `navigator.gpu` is now.
fn instance() -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::BROWSER_WEBGPU;
    wgpu::Instance::new(descriptor)
}

/// How a network is kept on the device.
#[wasm_bindgen]
pub struct Precision(gpavatar::Precision);

#[wasm_bindgen]
impl Precision {
    /// `f32`, `mixed` or `f16`.
    #[wasm_bindgen(constructor)]
    pub fn new(name: &str) -> Result<Precision> {
        Ok(Self(name.parse().map_err(js)?))
    }
}

/// A network.
#[wasm_bindgen]
pub struct Model(gpavatar::Model);

#[wasm_bindgen]
impl Model {
    /// Sets a model up from the content of a weights file.
    #[wasm_bindgen(constructor)]
    pub fn new(gpu: &Gpu, bytes: Vec<u8>, precision: Precision) -> Result<Model> {
        let weights = Weights::from_bytes(bytes).map_err(js)?;
        let options = ModelOptions {
            precision: precision.0,
            ..ModelOptions::default()
        };
        let model = gpavatar::Model::with_options(&gpu.0, weights, options);
        Ok(Self(model.map_err(js)?))
    }

    /// Expression channels of the head model.
    #[wasm_bindgen(getter)]
    pub fn channels(&self) -> Vec<String> {
        let head = self.0.head();
        head.map_or_else(Vec::new, |head| head.parts().channels.clone())
    }

    /// Number of identity coefficients.
    #[wasm_bindgen(getter, js_name = shapeCount)]
    pub fn shape_count(&self) -> usize {
        self.0.head().map_or(0, gpavatar::HeadModel::shape_count)
    }

    /// Number of joints that a pose drives.
    #[wasm_bindgen(getter, js_name = jointCount)]
    pub fn joint_count(&self) -> usize {
        let head = self.0.head();
        head.map_or(0, |head| head.parts().pose_joints.len())
    }

    /// All sizes of the network, as JSON.
    #[wasm_bindgen(getter)]
    pub fn config(&self) -> Result<String> {
        let config: &ModelConfig = self.0.config();
        config.to_json().map_err(js)
    }

    /// Adapter, memory and kernels, as text.
    #[wasm_bindgen(getter)]
    pub fn report(&self) -> String {
        self.0.report()
    }
}

/// Pictures of a person.
#[wasm_bindgen]
#[derive(Default)]
pub struct Sources(Vec<SourceImage>);

#[wasm_bindgen]
impl Sources {
    /// No pictures yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a picture of RGBA pixels with straight alpha; with the 12 numbers of a camera's
    /// transform, a tracked one.
    pub fn add(
        &mut self,
        width: u32,
        height: u32,
        pixels: Vec<u8>,
        transform: Option<Vec<f32>>,
    ) -> Result<()> {
        let mut image = SourceImage::from_rgba8(width, height, pixels).map_err(js)?;
        if let Some(transform) = transform {
            image = image.tracked(camera(&transform, Camera::FOCAL)?);
        }
        self.0.push(image);
        Ok(())
    }
}

/// A person.
#[wasm_bindgen(js_name = Avatar)]
pub struct Person(Avatar);

#[wasm_bindgen(js_class = Avatar)]
impl Person {
    /// Encodes pictures; `shape` are the identity's coefficients, or none.
    #[wasm_bindgen(constructor)]
    pub fn new(model: &Model, sources: &Sources, shape: Vec<f32>) -> Result<Person> {
        let options = AvatarOptions {
            shape,
            ..AvatarOptions::default()
        };
        let avatar = Avatar::with_options(&model.0, &sources.0, &options);
        Ok(Self(avatar.map_err(js)?))
    }

    /// Loads what [`Person::to_bytes`] wrote.
    #[wasm_bindgen(js_name = fromBytes)]
    pub fn from_bytes(model: &Model, bytes: Vec<u8>) -> Result<Person> {
        Ok(Self(Avatar::from_bytes(&model.0, bytes).map_err(js)?))
    }

    /// The content of an avatar file, with the planes as f16.
    #[wasm_bindgen(js_name = toBytes)]
    pub async fn to_bytes(&self) -> Result<Vec<u8>> {
        self.0.to_bytes(FloatFormat::F16).await.map_err(js)
    }

    /// Submits a frame: all expression coefficients, axis-angle triples, camera.
    pub fn render(
        &self,
        expression: Vec<f32>,
        pose: Vec<f32>,
        transform: Vec<f32>,
        focal: f32,
        alpha: Alpha,
    ) -> Result<Frame> {
        let drive = drive(expression, pose, &transform, focal)?;
        let frame = self.0.render_with(&drive, &options(alpha));
        Ok(Frame(frame.map_err(js)?))
    }

    /// Renders a frame and returns it with the milliseconds of every stage.
    pub async fn profile(
        &self,
        expression: Vec<f32>,
        pose: Vec<f32>,
        transform: Vec<f32>,
        focal: f32,
        alpha: Alpha,
    ) -> Result<Profile> {
        let drive = drive(expression, pose, &transform, focal)?;
        let (frame, profile) = (self.0.profile_async(&drive, &options(alpha)).await).map_err(js)?;
        let mut stages: Vec<(&str, f64)> = Vec::new();
        for kernel in profile.kernels {
            match stages.iter_mut().find(|(name, _)| *name == kernel.stage) {
                Some((_, sum)) => *sum += kernel.milliseconds,
                None => stages.push((kernel.stage, kernel.milliseconds)),
            }
        }
        Ok(Profile {
            frame: Some(Frame(frame)),
            stages,
        })
    }

    /// The planes, `[v][u][plane][channel]`.
    pub async fn planes(&self) -> Result<Vec<f32>> {
        let planes = self.0.planes().read(self.0.model().gpu()).await;
        planes.map_err(js)
    }
}

/// A frame that was timed.
#[wasm_bindgen]
pub struct Profile {
    frame: Option<Frame>,
    stages: Vec<(&'static str, f64)>,
}

#[wasm_bindgen]
impl Profile {
    /// The frame, once.
    #[wasm_bindgen(js_name = takeFrame)]
    pub fn take_frame(&mut self) -> Option<Frame> {
        self.frame.take()
    }

    /// Pairs of a stage and its milliseconds, in order of execution.
    #[wasm_bindgen(getter)]
    pub fn stages(&self) -> Array {
        let pair = |(name, milliseconds): &(&str, f64)| {
            Array::of2(&JsValue::from_str(name), &JsValue::from_f64(*milliseconds))
        };
        self.stages.iter().map(pair).collect()
    }
}

/// A rendered picture on the device. It should be freed as soon as possible: its memory then serves
/// the next one.
#[wasm_bindgen]
pub struct Frame(gpavatar::Frame);

#[wasm_bindgen]
impl Frame {
    /// Width and height.
    #[wasm_bindgen(getter)]
    pub fn size(&self) -> u32 {
        self.0.size()
    }

    /// Submits the copy of the picture onto a canvas, whose size becomes its own.
    pub fn present(&self, canvas: &Canvas) -> Result<()> {
        canvas.show(self.0.texture())
    }

    /// The picture: RGBA with straight alpha, row by row from the top.
    pub async fn pixels(&self) -> Result<Vec<u8>> {
        Ok(self.0.read().await.map_err(js)?.into_raw())
    }

    /// The low-resolution image, `[y][x][channel]`.
    #[wasm_bindgen(js_name = lowRes)]
    pub async fn low_res(&self) -> Result<Vec<f32>> {
        self.0.low_res().await.map_err(js)
    }

    /// Depth at the low resolution, `[y][x]`, from 0 (nearest) to 1.
    pub async fn depth(&self) -> Result<Vec<f32>> {
        self.0.depth().await.map_err(js)
    }
}

/// A sequence of drives.
#[wasm_bindgen]
pub struct Motion(gpavatar::Motion);

#[wasm_bindgen]
impl Motion {
    /// Reads a motion from JSON.
    #[wasm_bindgen(constructor)]
    pub fn new(json: &str) -> Result<Motion> {
        Ok(Self(gpavatar::Motion::from_json(json).map_err(js)?))
    }

    /// The title.
    #[wasm_bindgen(getter)]
    pub fn name(&self) -> String {
        self.0.name().into()
    }

    /// Seconds from the first to the last frame.
    #[wasm_bindgen(getter)]
    pub fn duration(&self) -> f32 {
        self.0.duration()
    }

    /// The drive of an avatar at a time in seconds: an object with `expression` (of the model's
    /// channels), `pose`, `transform` and `focal`.
    pub fn sample(&self, model: &Model, seconds: f32) -> Result<Object> {
        sample(&model.0, &self.0.sample(seconds).map_err(js)?)
    }
}

/// A drive of a model's avatars, as an object.
fn sample(model: &gpavatar::Model, drive: &Drive) -> Result<Object> {
    let points = model.config().points as usize;
    let resolved = drive.resolve(model.head(), points).map_err(js)?;
    let (expression, pose) = match &resolved.geometry {
        Geometry::Coefficients { expression, pose } => (&expression[..], *pose),
        Geometry::Points(_) => (&[][..], &[][..]),
    };
    let camera = resolved.camera;
    let transform = camera.transform.as_flattened();
    let sample = Object::new();
    for (key, value) in [
        ("expression", Float32Array::from(expression).into()),
        ("pose", Float32Array::from(pose).into()),
        ("transform", Float32Array::from(transform).into()),
        ("focal", JsValue::from_f64(camera.focal.into())),
    ] {
        Reflect::set(&sample, &key.into(), &value)?;
    }
    Ok(sample)
}

/// The background of a frame.
#[wasm_bindgen]
#[derive(Clone, Copy)]
pub enum Alpha {
    /// Opaque black.
    None,
    /// As image data and files have it.
    Straight,
    /// As a canvas of a device has it.
    Premultiplied,
}

fn options(alpha: Alpha) -> RenderOptions {
    RenderOptions {
        background: match alpha {
            Alpha::None => Background::Black,
            Alpha::Straight => Background::Straight,
            Alpha::Premultiplied => Background::Premultiplied,
        },
        tensors: true,
        ..RenderOptions::default()
    }
}

fn drive(expression: Vec<f32>, pose: Vec<f32>, transform: &[f32], focal: f32) -> Result<Drive> {
    let drive = Drive::neutral().coefficients(expression).pose(pose);
    Ok(drive.camera(camera(transform, focal)?))
}

fn camera(transform: &[f32], focal: f32) -> Result<Camera> {
    let (rows, rest) = transform.as_chunks::<4>();
    match (rows.try_into(), rest) {
        (Ok(rows), []) => Ok(Camera::from_transform(rows).with_focal(focal)),
        _ => {
            let count = transform.len();
            let message = format!("camera transform: expected 12 numbers, found {count}");
            Err(error::new("argument", &message))
        }
    }
}
