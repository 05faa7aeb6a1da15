//! Helpers of the tests: a network that renders in milliseconds, plain pictures, directories.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use gpavatar::{Gpu, GpuOptions, Model, SourceImage};
use image::{Rgba, RgbaImage};

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

/// The stand-in network, on an adapter that all tests share so that kernels are compiled once. New
/// buffers are filled with NaN to expose reads of uninitialised memory.
pub fn model() -> Model {
    static GPU: LazyLock<Gpu> = LazyLock::new(|| {
        let options = GpuOptions {
            poison: true,
            ..GpuOptions::from_env().unwrap()
        };
        Gpu::with_options(&options).unwrap()
    });
    Model::new(&GPU, gpavatar::stand_in().unwrap()).unwrap()
}
