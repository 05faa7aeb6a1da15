//! What tests share: a network that renders in milliseconds, plain pictures, directories.

use std::fs;
use std::path::Path;

use gpavatar::{
    FloatFormat, Gpu, GpuOptions, HeadModel, HeadModelParts, Model, ModelConfig, ModelOptions,
    SourceImage, SyntheticRules, Weights,
};
use image::{Rgba, RgbaImage};

use crate::demo;

/// A square of one colour.
pub fn plain(side: u32, colour: [u8; 4]) -> RgbaImage {
    RgbaImage::from_pixel(side, side, Rgba(colour))
}

/// Smooth colours, of a different kind for every `seed`.
pub fn picture(side: u32, seed: u32) -> SourceImage {
    let pixel = |x, y| {
        let wave = |frequency: f32| {
            let along = (x + 2 * y) as f32 / side as f32;
            (127.5 + 127.5 * (frequency * along + 1.7 * seed as f32).sin()) as u8
        };
        Rgba([wave(5.0), wave(8.0), wave(13.0), 255])
    };
    let pixels = RgbaImage::from_fn(side, side, pixel).into_raw();
    SourceImage::from_rgba8(side, side, pixels).unwrap()
}

/// Names of the files of a directory.
pub fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<String> = entries.map(|entry| name(entry.unwrap())).collect();
    names.sort();
    names
}

/// A made-up network of pictures 32 pixels wide, whose head is a ball: the channel `jawOpen` moves
/// its lower half.
pub fn model() -> Model {
    let config = ModelConfig {
        source_size: 32,
        plane_size: 16,
        points: 100,
        coarse_samples: 8,
        fine_samples: 6,
        low_res_size: 8,
        output_size: 32,
        ..Weights::open(demo::weights()).unwrap().config().clone()
    };
    let template = ball(config.points);
    let down = |[_, y, _]: &[f32; 3]| [0.0, if *y < 0.0 { -0.5 } else { 0.0 }, 0.0];
    let head = HeadModelParts {
        shape_basis: template.clone(),
        expression_basis: template.iter().map(down).collect(),
        channels: vec!["jawOpen".into()],
        template,
        ..HeadModelParts::default()
    };
    let options = ModelOptions {
        head: Some(HeadModel::new(head).unwrap()),
        ..ModelOptions::default()
    };
    // New buffers are full of NaN, so that what nobody wrote shows.
    let gpu = GpuOptions {
        poison: true,
        ..GpuOptions::from_env().unwrap()
    };
    let gpu = Gpu::with_options(&gpu).unwrap();
    Model::with_options(&gpu, weights(config), options).unwrap()
}

/// Weights whose field is about half transparent and varies.
fn weights(config: ModelConfig) -> Weights {
    let rules = SyntheticRules::new(&config).unwrap();
    let made = Weights::synthetic(config, 5, rules).unwrap();
    let mut writer = made.writer(FloatFormat::F32).unwrap();
    for (name, change) in [
        (
            "nerf_mlp.density_layers.0.weight",
            (|w| 40.0 * w) as fn(f32) -> f32,
        ),
        ("nerf_mlp.density_layers.0.bias", |_| 0.2),
    ] {
        let values: Vec<f32> = made.f32(name).unwrap().iter().map(|w| change(*w)).collect();
        let shape = made.shape(name).unwrap();
        writer.floats(name, shape, FloatFormat::F32, || Ok(values.into()));
    }
    Weights::from_bytes(writer.into_bytes().unwrap()).unwrap()
}

/// Points of a Fibonacci spiral all over a ball, at several radii.
fn ball(count: u32) -> Vec<[f32; 3]> {
    let golden_angle = std::f32::consts::PI * (3.0 - 5f32.sqrt());
    let point = |i: u32| {
        let y = 1.0 - 2.0 * (i as f32 + 0.5) / count as f32;
        let (sin, cos) = (golden_angle * i as f32).sin_cos();
        let ring = (1.0 - y * y).sqrt();
        let radius = 0.5 + 0.4 * ((i * 7) % 10) as f32 / 10.0;
        [radius * ring * cos, radius * y, radius * ring * sin]
    };
    (0..count).map(point).collect()
}
