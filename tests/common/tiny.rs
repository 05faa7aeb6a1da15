//! A network so small that it renders in milliseconds on any adapter, and inputs for it.

use std::sync::LazyLock;

use glam::Vec3;
pub use gpavatar::reference::ball as points;
use gpavatar::reference::pipeline::{Rendering, build, prepare, render};
use gpavatar::reference::{Tensor, half_transparent, style_unet};
use gpavatar::{
    Avatar, AvatarOptions, Background, Camera, Drive, FloatFormat, Frame, Gpu, GpuOptions,
    HeadModel, HeadModelParts, Model, ModelConfig, ModelOptions, Noise, PointWeighting,
    RenderOptions, Result, SourceImage, TensorWriter, Weights,
};

/// A device of its own, as the environment chooses it.
pub fn open() -> Gpu {
    Gpu::with_options(&GpuOptions::from_env().unwrap()).unwrap()
}

/// A device of its own with other options. New buffers are filled with NaN to expose reads of
/// uninitialised memory.
pub fn gpu_with(change: impl FnOnce(&mut GpuOptions)) -> Result<Gpu> {
    let mut options = GpuOptions::from_env()?;
    options.poison = true;
    change(&mut options);
    Gpu::with_options(&options)
}

/// The adapter at hand, shared by all tests of a process so that kernels are compiled once.
pub fn gpu() -> &'static Gpu {
    static GPU: LazyLock<Gpu> = LazyLock::new(|| {
        let gpu = gpu_with(|_| {}).unwrap();
        println!("{}", gpu.description());
        gpu
    });
    &GPU
}

/// Sizes that differ from each other where they may.
pub fn config() -> ModelConfig {
    static CONFIG: LazyLock<ModelConfig> =
        LazyLock::new(|| gpavatar::stand_in().unwrap().config().clone());
    CONFIG.clone()
}

/// The same sizes with the released network's weighting of points.
pub fn released() -> ModelConfig {
    ModelConfig {
        point_weighting: PointWeighting::Released,
        ..config()
    }
}

/// Weights whose errors show in a picture.
pub fn weights(config: &ModelConfig) -> Weights {
    half_transparent(config.clone(), None).unwrap()
}

pub fn model() -> Model {
    Model::new(gpu(), weights(&config())).unwrap()
}

pub fn avatar(model: &Model) -> Avatar {
    Avatar::from_images(model, &[picture(32, 32, 0)]).unwrap()
}

/// Smooth colours, of a different kind for every `seed`.
pub fn picture(width: u32, height: u32, seed: u32) -> SourceImage {
    let pixel = |i: u32| {
        let x = (i % width) as f32 / width as f32;
        let y = (i / width) as f32 / height as f32;
        let wave = |frequency: f32| {
            let phase = frequency * (x + 2.0 * y) + 1.7 * seed as f32;
            (127.5 + 127.5 * phase.sin()) as u8
        };
        [wave(5.0), wave(8.0), wave(13.0), 255]
    };
    let pixels = (0..width * height).flat_map(pixel).collect();
    SourceImage::from_rgba8(width, height, pixels).unwrap()
}

/// The points in front of a camera that sees the cube at an angle.
pub fn drive() -> Drive {
    Drive::points(points(config().points)).camera(Camera::orbit(10.0, 10.0, 25.0))
}

/// For frames that a [`Picture`] is made of.
pub const KEPT: RenderOptions = RenderOptions {
    noise: Noise::Stored,
    background: Background::Black,
    tensors: true,
};

pub const SEEDED: RenderOptions = RenderOptions {
    noise: Noise::Seeded(1),
    background: Background::Straight,
    tensors: true,
};

/// Views of [`points`] that differ in every pixel.
pub fn drives(count: u32) -> Vec<Drive> {
    let drive = |i| {
        let mut points = points(config().points);
        for point in &mut points {
            point[1] *= 1.0 - 0.1 * i as f32;
        }
        Drive::points(points).camera(Camera::orbit(10.0, 5.0, 20.0 * i as f32 - 30.0))
    };
    (0..count).map(drive).collect()
}

/// The planes that the scalar network makes of these pictures.
pub fn reference_planes(config: &ModelConfig, sources: &[SourceImage]) -> Tensor {
    let sources = sources.iter().map(|s| prepare(config, s).unwrap());
    let sources: Vec<Tensor> = sources.collect();
    let noise = style_unet::Noise::Stored;
    build(&weights(config), &sources, noise).unwrap().fused
}

/// The frame that the scalar network renders of [`avatar`].
pub fn reference_frame(config: &ModelConfig, points: &[[f32; 3]], camera: &Camera) -> Rendering {
    let planes = reference_planes(config, &[picture(32, 32, 0)]);
    let points: Vec<Vec3> = points.iter().map(|p| Vec3::from(*p)).collect();
    let noise = style_unet::Noise::Stored;
    render(&weights(config), &planes, &points, camera, noise).unwrap()
}

pub fn planes(avatar: &Avatar) -> Vec<f32> {
    pollster::block_on(avatar.planes().read(avatar.model().gpu())).unwrap()
}

/// Different people, one of whom has three pictures.
pub fn people(model: &Model) -> Vec<Avatar> {
    let person = |seeds: &[u32]| {
        let pictures = seeds.iter().map(|seed| picture(32, 32, *seed));
        Avatar::from_images(model, &pictures.collect::<Vec<_>>()).unwrap()
    };
    vec![person(&[0]), person(&[1, 2, 0]), person(&[2])]
}

/// Everyone with every drive, more than two submissions of them.
pub fn mix<'a>(people: &'a [Avatar], drives: &'a [Drive]) -> Vec<(&'a Avatar, &'a Drive)> {
    let with_all = |drive| people.iter().map(move |avatar| (avatar, drive));
    drives.iter().flat_map(with_all).collect()
}

/// A head of the tiny network's points whose channels have names.
pub fn head() -> HeadModel {
    let template = points(config().points);
    let direction = |scale: f32| template.iter().map(move |p| p.map(|v| scale * v));
    let parts = HeadModelParts {
        shape_basis: direction(0.1).chain(direction(-0.05)).collect(),
        expression_basis: direction(0.05).chain(direction(-0.1)).collect(),
        channels: vec!["jawOpen".into(), "mouthSmileLeft".into()],
        template,
        ..HeadModelParts::default()
    };
    HeadModel::new(parts).unwrap()
}

pub fn model_with_head() -> Model {
    model_with(gpu(), &config(), |options| options.head = Some(head())).unwrap()
}

/// A model of these sizes with other options.
pub fn model_with(
    gpu: &Gpu,
    config: &ModelConfig,
    change: impl FnOnce(&mut ModelOptions),
) -> Result<Model> {
    let mut options = ModelOptions::default();
    change(&mut options);
    Model::with_options(gpu, weights(config), options)
}

/// The options of a person with this identity.
pub fn shaped(shape: impl Into<Vec<f32>>) -> AvatarOptions {
    AvatarOptions {
        shape: shape.into(),
        ..AvatarOptions::default()
    }
}

/// A weights file of the tiny network, after `change`.
pub fn weights_file(change: impl FnOnce(&mut TensorWriter<'_>)) -> Vec<u8> {
    let weights = weights(&config());
    let mut writer = weights.writer(FloatFormat::F32).unwrap();
    change(&mut writer);
    writer.into_bytes().unwrap()
}

/// Everything that a frame holds, on the host.
#[derive(Clone, PartialEq)]
pub struct Picture {
    pub rgba: Vec<u8>,
    /// `[y][x]` of red, green, blue, before it is clamped and rounded.
    pub image: Vec<f32>,
    pub low_res: Vec<f32>,
    pub depth: Vec<f32>,
}

impl Picture {
    pub fn of(frame: &Frame, gpu: &Gpu) -> Self {
        Self {
            rgba: frame.to_image().unwrap().into_raw(),
            image: pollster::block_on(frame.image_tensor().unwrap().read(gpu)).unwrap(),
            low_res: pollster::block_on(frame.low_res()).unwrap(),
            depth: pollster::block_on(frame.depth()).unwrap(),
        }
    }

    /// Renders on the adapter at hand.
    pub fn render(avatar: &Avatar, drive: &Drive) -> Self {
        let frame = avatar.render_with(drive, &KEPT).unwrap();
        Self::of(&frame, avatar.model().gpu())
    }

    pub fn is_finite(&self) -> bool {
        let all = [&self.image, &self.low_res, &self.depth];
        all.into_iter().flatten().all(|v| v.is_finite())
    }

    /// The largest difference of two pictures' colours.
    pub fn distance(&self, other: &Self) -> f32 {
        largest_difference(&self.image, &other.image)
    }
}

/// Names the part that differs instead of printing everything.
impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sum = |values: &[f32]| values.iter().map(|v| f64::from(*v)).sum::<f64>();
        let rgba: u64 = self.rgba.iter().map(|v| u64::from(*v)).sum();
        f.debug_struct("Picture")
            .field("rgba", &rgba)
            .field("image", &sum(&self.image))
            .field("low_res", &sum(&self.low_res))
            .field("depth", &sum(&self.depth))
            .finish()
    }
}

/// Infinite where one of the two is NaN.
pub fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    let comparable = differences.map(|d| if d.is_nan() { f32::INFINITY } else { d });
    comparable.fold(0.0, f32::max)
}
