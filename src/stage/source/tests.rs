use proptest::prelude::*;

use super::*;
use crate::gpu::Resource;
use crate::reference::golden::every;
use crate::reference::{self, source as twin};
use crate::stage::testing::*;
use crate::{Camera, TensorFile};

/// One call of each kernel.
pub(in crate::stage) fn examples(gpu: &Gpu) {
    let homography = [[1.5, 0.2, -3.0], [-0.1, 0.9, 2.0], [0.01, -0.02, 1.0]];
    Picture::random(1, 20, 13).compare(gpu, homography, 21);
}

/// Runs the kernel on a picture and the parameters of its warp; `[y][x]` of red, green and blue,
/// as the encoder sees it: rows from bottom to top.
fn warp(gpu: &Gpu, (pixels, parameters): &(Tensor, Tensor), size: u32) -> Vec<f32> {
    let outside = [
        ("source", Resource::Tensor(pixels)),
        ("warp", Resource::Tensor(parameters)),
    ];
    let view = run(gpu, &outside, |b| plan(b, size).unwrap());
    assert_eq!(view.shape, [size, size, 3]);
    let pixels: Vec<[f32; 4]> = read(gpu, &view);
    assert!(pixels.iter().all(|pixel| pixel[3] == 0.0));
    unpadded(pixels.as_flattened(), 3)
}

/// A picture with straight alpha.
struct Picture {
    width: u32,
    height: u32,
    rgba: Vec<u8>,
}

impl Picture {
    fn random(seed: u64, width: u32, height: u32) -> Self {
        let values = random(seed, "pixels", (4 * width * height) as usize);
        let rgba = values.iter().map(|v| (127.5 + 127.5 * v).round() as u8);
        Self {
            width,
            height,
            rgba: rgba.collect(),
        }
    }

    /// Warps by a homography from view to picture and compares every pixel.
    fn compare(&self, gpu: &Gpu, homography: [[f64; 3]; 3], size: u32) {
        let parameters = params::Warp {
            homography: homography.map(|[x, y, z]| [x as f32, y as f32, z as f32, f32::NAN]),
            source_width: self.width,
            source_height: self.height,
            size,
            ..Default::default()
        };
        let parameters = Tensor::uniform(gpu, "warp", &[parameters]).unwrap();
        let found = warp(gpu, &(input(gpu, &self.rgba), parameters), size);

        let pixels = self.rgba.as_chunks::<4>().0.iter();
        let on_black = pixels.flat_map(|rgba| {
            let [rgb @ .., alpha] = rgba.map(|v| f32::from(v) / 255.0);
            rgb.map(|v| v * alpha)
        });
        let shape = [self.height as usize, self.width as usize, 3];
        let picture = reference::Tensor::new(shape, on_black.collect());
        let expected = twin::warp(&picture, &homography, size as usize).flip_rows();
        // Places of up to a hundred pixels are good to some 1e-5 of a pixel on the device, and
        // neighbouring pixels differ by up to one, at borders their coverage as much again.
        let what = format!("{}x{} by {homography:?} to {size}", self.width, self.height);
        assert_close(&what, &found, &expected.data, |_| 1e-4);
    }
}

#[test]
fn pictures_are_warped_by_any_homography() {
    let sides = || 1u32..=40;
    let numbers = prop::collection::vec(-1.0f64..1.0, 8);
    let cases = (any::<u64>(), sides(), sides(), 2u32..=40, numbers);
    check(24, cases, |(seed, width, height, size, n)| {
        // Scales of 0.3 to 1.7, shears, shifts over the borders, and a perspective whose horizon
        // stays outside of the view.
        let scale = [f64::from(width), f64::from(height)].map(|side| side / f64::from(size));
        let scaled = [0, 1].map(|axis| scale[axis] * (1.0 + 0.7 * n[4 * axis]));
        let shift = [f64::from(width) * n[2], f64::from(height) * n[5]].map(|side| 0.5 * side);
        let horizon = [n[6], n[7]].map(|n| 0.3 * n / f64::from(size));
        let homography = [
            [scaled[0], 0.5 * n[1], shift[0]],
            [0.5 * n[3], scaled[1], shift[1]],
            [horizon[0], horizon[1], 1.0],
        ];
        Picture::random(seed, width, height).compare(gpu(), homography, size);
    });
}

#[test]
fn a_picture_that_fits_passes_unchanged_upside_down() {
    // Not a whole number of workgroups.
    const SIZE: u32 = 37;
    let mut picture = Picture::random(2, SIZE, SIZE);
    for alpha in picture.rgba[3..].iter_mut().step_by(4) {
        *alpha = 255;
    }
    let rows = picture.rgba.chunks_exact(4 * SIZE as usize).rev();
    let values: Vec<f32> = rows.flatten().map(|v| f32::from(*v) / 255.0).collect();
    let expected = unpadded(&values, 3);
    let image = SourceImage::from_rgba8(SIZE, SIZE, picture.rgba).unwrap();
    let found = warp(gpu(), &upload(gpu(), &image, SIZE).unwrap(), SIZE);
    // WGSL lets a device round a number of 8 bits to either neighbour.
    assert_close("view", &found, &expected, |_| f32::EPSILON);
}

#[test]
fn nothing_is_outside_of_a_picture() {
    let picture = Picture::random(3, 5, 7);
    for far in [-1e9, -6.0, 8.0, 1e9] {
        for (x, y) in [(far, 0.0), (0.0, far), (far, far)] {
            let homography = [[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]];
            picture.compare(gpu(), homography, 5);
        }
    }
}

#[test]
fn the_authors_pictures_are_warped_as_they_did() {
    let golden = TensorFile::golden("geometry.safetensors");
    for i in 0..2 {
        let transform = golden.f32(&format!("warp{i}.transform")).unwrap();
        let transform: [[f32; 4]; 3] = bytemuck::cast_slice(&transform).try_into().unwrap();
        let path = format!("{}/tests/golden/source_{i}.png", env!("CARGO_MANIFEST_DIR"));
        let image = SourceImage::open(path).unwrap();
        let image = image.tracked(Camera::from_transform(transform));
        let found = warp(gpu(), &upload(gpu(), &image, 512).unwrap(), 512);
        let view = reference::Tensor::new([512, 512, 3], found).flip_rows();
        let half = every(&view, [1, 2, 2]);
        let name = format!("warp{i}.image_half");
        // An error of 1e-4 pixels in both homographies of 32 bits, across the sharpest edges.
        assert_close(&name, &half, &golden.f32(&name).unwrap(), |_| 3e-4);
    }
}
