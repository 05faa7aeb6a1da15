use proptest::prelude::*;

use super::*;
use crate::Gpu;
use crate::gpu::{Downloads, Resource};
use crate::reference::{self, output as twin, shared};
use crate::stage::testing::*;

/// One call of each kernel.
pub(in crate::stage) fn examples(gpu: &Gpu) {
    compare_depth(gpu, &random_extents(1, 9));
    Picture::new(1, 21, 6).compare(gpu, true);
}

/// Rays that are composited to these extents `[ray]`: accumulated opacity, mean and largest depth.
fn composite(gpu: &Gpu, extents: &[[f32; 4]]) -> (Rays, Composite) {
    let side = extents.len().isqrt() as u32;
    let layout = params::Rays {
        side,
        count: extents.len() as u32,
        ..Default::default()
    };
    let nothing = input(gpu, &vec![0.0f32; 4 * extents.len()]);
    let rays = Rays {
        layout,
        tensor: nothing.clone(),
    };
    let low_res = nothing.shaped([side, side, 4]);
    let extent = input(gpu, extents);
    (rays, Composite { low_res, extent })
}

// ---- depth ---------------------------------------------------------------------------------

fn random_extents(seed: u64, side: usize) -> Vec<[f32; 4]> {
    let values = random(seed, "extents", 3 * side * side);
    let extents = values.as_chunks::<3>().0.iter().map(|[a, d, t]| {
        let opacity = a.abs();
        [opacity, opacity * (9.0 + d), 10.0 + t, f32::NAN]
    });
    extents.collect()
}

fn depth_of(gpu: &Gpu, extents: &[[f32; 4]]) -> Vec<f32> {
    let (depths, stamp) = depth_and_stamp(gpu, extents);
    assert_eq!(stamp, [7, 0]);
    depths
}

fn depth_and_stamp(gpu: &Gpu, extents: &[[f32; 4]]) -> (Vec<f32>, [u32; 2]) {
    let (rays, composite) = composite(gpu, extents);
    let globals = params::Globals {
        serial: 7,
        ..Default::default()
    };
    let globals = Tensor::uniform(gpu, "globals", &[globals]).unwrap();
    let found = run(gpu, &[], |b| depth(b, &globals, &rays, &composite).unwrap());
    let mut depths: Vec<f32> = read(gpu, &found.depth);
    depths.truncate(extents.len());
    let stamp: Vec<u32> = read(gpu, &found.stamp);
    (depths, [stamp[0], stamp[1]])
}

fn compare_depth(gpu: &Gpu, extents: &[[f32; 4]]) {
    let component = |i: usize| extents.iter().map(|e| e[i]).collect::<Vec<_>>();
    let farthest = component(2).into_iter().fold(f32::NEG_INFINITY, f32::max);
    let expected = twin::normalise_depth(&component(1), &component(0), farthest);
    // Depths of ten round at 1e-6; they are divided by a range of at least a tenth.
    assert_close("depth", &depth_of(gpu, extents), &expected, |_| 1e-5);
}

#[test]
fn depth_spans_zero_to_one() {
    // Fewer rays than threads, and numbers that are no multiple of them.
    check(12, (any::<u64>(), 2usize..=40), |(seed, side)| {
        let extents = random_extents(seed, side);
        compare_depth(gpu(), &extents);
        let found = depth_of(gpu(), &extents);
        assert_eq!(found.iter().copied().fold(1.0, f32::min), 0.0);
        let largest = found.iter().copied().fold(0.0, f32::max);
        assert!((largest - 1.0).abs() <= 2.0 * f32::EPSILON, "{largest}");
    });
}

#[test]
fn a_narrow_range_of_depths_is_spread_out() {
    let extents = [9.5f32, 9.625, 9.75, 9.5].map(|depth| [1.0, depth, 11.0, 0.0]);
    assert_eq!(depth_of(gpu(), &extents), [0.0, 0.5, 1.0, 0.0]);
}

#[test]
fn rays_without_numbers_are_told() {
    for (component, value) in [(0, f32::NAN), (1, f32::INFINITY), (2, -f32::NAN)] {
        for ray in [0, 80, 300, 399] {
            let mut extents = random_extents(3, 20);
            extents[ray][component] = value;
            let (_, stamp) = depth_and_stamp(gpu(), &extents);
            assert_eq!(stamp, [7, 1], "component {component} of ray {ray}");
        }
    }
}

#[test]
fn a_picture_of_one_depth_is_zero() {
    for extent in [
        [1.0, 9.5, 11.0, 0.0],
        [0.5, 4.0, 11.0, 0.0],
        // Every ray missed.
        [0.0, 0.0, -1.0, 0.0],
    ] {
        assert_eq!(depth_of(gpu(), &[extent; 100]), [0.0; 100]);
    }
}

#[test]
fn opacities_a_rounding_beyond_one_leave_no_background() {
    let mut extents = vec![[1.0, 9.0, 1e6, 0.0]; 9];
    extents[3] = [1.0 + 1e-6, 9.0, 0.0, 0.0];
    // The opacity exceeds 1 by rounding, before a background at a depth of 1e6.
    assert_eq!(depth_of(gpu(), &extents), [0.0; 9]);
}

// ---- display -------------------------------------------------------------------------------

/// A picture and the opacities behind it.
struct Picture {
    image: reference::Tensor,
    opacity: reference::Tensor,
}

impl Picture {
    /// Colours slightly beyond [0, 1], never close to a rounding boundary of 8 bits.
    fn new(seed: u64, size: usize, low_res: usize) -> Self {
        let colours = random_map(seed, "colours", [size, size, 3]);
        let offsets = random(seed, "offsets", colours.data.len());
        let opacity = random_map(seed, "opacity", [low_res, low_res, 1]);
        // Empty, solid and translucent regions.
        let opacity = opacity.map(|v| (2.0 * v).clamp(0.0, 1.0));
        let mut image = colours.map(|v| (127.5 + 135.0 * v).round());
        for (value, offset) in image.data.iter_mut().zip(offsets) {
            *value = (*value + 0.4 * offset) / 255.0;
        }
        Self { image, opacity }
    }

    fn size(&self) -> usize {
        self.image.shape[0]
    }

    /// Opacity of every pixel.
    fn alphas(&self) -> Vec<f32> {
        let (size, low_res) = (self.size(), self.opacity.shape[0]);
        let place = |i: usize| shared::resized(i, low_res, size);
        let pixels = (0..size).flat_map(|row| (0..size).map(move |column| (row, column)));
        let alphas = pixels.map(|(row, column)| {
            let mut alpha = [0.0];
            shared::add_bilinear_clamped(&self.opacity, place(column), place(row), &mut alpha);
            alpha[0]
        });
        alphas.collect()
    }

    /// RGBA, `[y][x]`.
    fn displayed(&self, gpu: &Gpu, image: &reference::Tensor, transparent: bool) -> Vec<[u8; 4]> {
        let (pixels, infinite) = self.displayed_with_stamp(gpu, image, transparent);
        assert_eq!(infinite, 0);
        pixels
    }

    /// Also the word of the stamp.
    fn displayed_with_stamp(
        &self,
        gpu: &Gpu,
        image: &reference::Tensor,
        transparent: bool,
    ) -> (Vec<[u8; 4]>, u32) {
        let extent = |a: &f32| [*a, f32::NAN, f32::NAN, f32::NAN];
        let extents: Vec<_> = self.opacity.data.iter().map(extent).collect();
        let (_, composite) = composite(gpu, &extents);
        let globals = params::Globals {
            transparent: transparent.into(),
            ..Default::default()
        };
        let size = [self.size() as u32; 2];
        let target = gpu.picture("test", size, wgpu::TextureUsages::STORAGE_BINDING);
        let view = target.create_view(&Default::default());
        let stamp = input(gpu, &[0u32; 4]);
        run(gpu, &[("output", Resource::Texture(&view))], |b| {
            let globals = Tensor::uniform(gpu, "globals", &[globals]).unwrap();
            let image = input_map(gpu, image);
            display(b, &globals, &image, &composite, &stamp).unwrap();
        });
        let downloads = Downloads::new(size[0], size[1]);
        let picture = pollster::block_on(downloads.read(gpu, &target, Some(&stamp)));
        let (picture, words) = picture.unwrap();
        assert_eq!([words[0], words[2], words[3]], [0; 3]);
        (picture.pixels().map(|pixel| pixel.0).collect(), words[1])
    }

    fn compare(&self, gpu: &Gpu, transparent: bool) {
        let alphas = self.alphas();
        let mut image = self.image.clone();
        if transparent {
            // As composited on black.
            for (pixel, alpha) in image.data.chunks_exact_mut(3).zip(&alphas) {
                pixel.iter_mut().for_each(|v| *v *= alpha);
            }
        }
        let found = self.displayed(gpu, &image, transparent);
        let expected = twin::display(&image, transparent.then_some(&self.opacity));
        let pairs = found.iter().zip(expected.as_chunks::<4>().0);
        for ((found, expected), alpha) in pairs.zip(&alphas) {
            if !transparent {
                assert_eq!(found, expected);
            } else if *alpha <= 0.5 / 255.0 {
                assert_eq!(found, &[0; 4]);
            } else {
                assert_eq!(found[..3], expected[..3], "at an opacity of {alpha}");
                // Graphics interfaces allow a tenth more than rounding to nearest.
                assert!((f32::from(found[3]) - 255.0 * alpha).abs() <= 0.6);
            }
        }
    }
}

#[test]
fn pictures_are_rounded_to_eight_bits() {
    let cases = (any::<u64>(), 1usize..=40, 1usize..=20);
    check(8, cases, |(seed, size, low_res)| {
        let picture = Picture::new(seed, size, low_res.min(size));
        picture.compare(gpu(), false);
        picture.compare(gpu(), true);
    });
}

#[test]
fn colours_without_numbers_are_told() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for place in [0, 4, 3 * 21 * 21 - 1] {
            let mut picture = Picture::new(4, 21, 6);
            picture.image.data[place] = value;
            for transparent in [false, true] {
                let image = &picture.image;
                let (_, infinite) = picture.displayed_with_stamp(gpu(), image, transparent);
                assert_eq!(infinite, 1, "{value} at {place}");
            }
        }
    }
}

#[test]
fn colours_beyond_the_range_are_clamped() {
    let mut picture = Picture::new(2, 3, 1);
    let turn = 0.5 / 255.0;
    let (below, above) = (turn - 1e-4, turn + 1e-4);
    let values = [-1e30, -0.001, 0.0, 1.0, 1.001, 1e30, below, above];
    picture.image.data[..8].copy_from_slice(&values);
    picture.compare(gpu(), false);
    // Solid, and with more colour than opacity allows.
    picture.opacity.data.fill(0.5);
    let pixels = picture.displayed(gpu(), &picture.image, true);
    let colours: Vec<u8> = pixels.iter().flat_map(|p| &p[..3]).copied().collect();
    assert_eq!(colours[..8], [0, 0, 0, 255, 255, 255, 1, 1]);
    assert!(pixels.iter().all(|pixel| [127, 128].contains(&pixel[3])));
}
