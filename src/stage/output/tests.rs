use proptest::prelude::*;

use super::*;
use crate::gpu::{Downloads, Resource};
use crate::reference::{self, output as twin, shared};
use crate::stage::testing::*;
use crate::{Background, Gpu};

/// One call of each kernel.
pub(in crate::stage) fn examples(gpu: &Gpu) {
    compare_depth(gpu, &random_extents(1, 9));
    Picture::new(1, 21, 6).compare(gpu, Background::Straight);
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
        focal: FOCAL,
        ..Default::default()
    };
    let globals = Tensor::uniform(gpu, "globals", &[globals]).unwrap();
    let found = run(gpu, &[], |b| depth(b, &globals, &rays, &composite).unwrap());
    let mut depths: Vec<f32> = read(gpu, &found.depth);
    depths.truncate(extents.len());
    let stamp: Vec<u32> = read(gpu, &found.stamp);
    if stamp[1] == 0 {
        compare_surface(gpu, extents, &found.surface);
    }
    (depths, [stamp[0], stamp[1]])
}

/// So short that the outermost rays are much longer than the axis.
const FOCAL: f32 = 2.0;

fn compare_surface(gpu: &Gpu, extents: &[[f32; 4]], surface: &Tensor) {
    let side = extents.len().isqrt();
    let memory: Vec<f32> = read(gpu, surface);
    let row = memory.len() / side;
    let found: Vec<f32> = (memory.chunks_exact(row))
        .flat_map(|row| row[..side].to_vec())
        .collect();
    let component = |i: usize| extents.iter().map(|e| e[i]).collect::<Vec<_>>();
    let expected = twin::surface(&component(1), &component(0), FOCAL);
    assert_close("surface", &found, &expected, |i| 2e-6 * expected[i]);
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

/// A picture and the low-resolution image behind it.
struct Picture {
    image: reference::Tensor,
    /// Colour on black and opacity of every ray.
    field: reference::Tensor,
}

impl Picture {
    /// Colours slightly beyond [0, 1], never close to a rounding boundary of 8 bits.
    fn new(seed: u64, size: usize, low_res: usize) -> Self {
        let colours = random_map(seed, "colours", [size, size, 3]);
        let offsets = random(seed, "offsets", colours.data.len());
        let field = random_map(seed, "field", [low_res, low_res, 4]);
        // Empty, solid and translucent regions; colours are on black.
        let mut field = field.map(|v| (2.0 * v).clamp(0.0, 1.0));
        for ray in field.data.chunks_exact_mut(4) {
            let opacity = ray[3];
            ray[..3].iter_mut().for_each(|colour| *colour *= opacity);
        }
        let mut image = colours.map(|v| (127.5 + 135.0 * v).round());
        for (value, offset) in image.data.iter_mut().zip(offsets) {
            *value = (*value + 0.4 * offset) / 255.0;
        }
        Self { image, field }
    }

    /// The same with colours that are the field's, enlarged.
    fn of_field(mut self) -> Self {
        let (size, low_res) = (self.image.shape[0], self.field.shape[0]);
        for (i, pixel) in self.image.data.chunks_exact_mut(3).enumerate() {
            let [x, y] = [i % size, i / size].map(|i| shared::resized(i, low_res, size));
            pixel.fill(0.0);
            shared::add_bilinear_clamped(&self.field, x, y, pixel);
        }
        self
    }

    fn size(&self) -> usize {
        self.image.shape[0]
    }

    /// RGBA, `[y][x]`.
    fn displayed(&self, gpu: &Gpu, background: Background) -> Vec<[u8; 4]> {
        let (pixels, infinite) = self.displayed_with_stamp(gpu, background);
        assert_eq!(infinite, 0);
        pixels
    }

    /// Also the word of the stamp.
    fn displayed_with_stamp(&self, gpu: &Gpu, background: Background) -> (Vec<[u8; 4]>, u32) {
        let rays = self.field.data.as_chunks::<4>().0;
        let extents: Vec<_> = rays
            .iter()
            .map(|ray| [ray[3], f32::NAN, f32::NAN, f32::NAN])
            .collect();
        let (_, mut composite) = composite(gpu, &extents);
        // The network's low-resolution images have more channels, which do not matter here.
        let low_res = rays.iter().flat_map(|ray| {
            [ray[0], ray[1], ray[2], f32::NAN]
                .into_iter()
                .chain([f32::NAN; 4])
        });
        let side = self.field.shape[0] as u32;
        composite.low_res = input(gpu, &low_res.collect::<Vec<_>>()).shaped([side, side, 8]);
        let globals = params::Globals {
            alpha: mode(background),
            ..Default::default()
        };
        let size = [self.size() as u32; 2];
        let target = gpu.picture("test", size, wgpu::TextureUsages::STORAGE_BINDING);
        let view = target.create_view(&Default::default());
        let stamp = input(gpu, &[0u32; 4]);
        run(gpu, &[("output", Resource::Texture(&view))], |b| {
            let globals = Tensor::uniform(gpu, "globals", &[globals]).unwrap();
            let image = input_map(gpu, &self.image);
            display(b, &globals, &image, &composite, &stamp).unwrap();
        });
        let downloads = Downloads::new(size[0], size[1]);
        let picture = pollster::block_on(downloads.read(gpu, &target, Some(&stamp)));
        let (picture, words) = picture.unwrap();
        assert_eq!([words[0], words[2], words[3]], [0; 3]);
        (picture.pixels().map(|pixel| pixel.0).collect(), words[1])
    }

    fn compare(&self, gpu: &Gpu, background: Background) {
        let found = self.displayed(gpu, background);
        let expected = twin::display(&self.image, background, &self.field);
        let colours = self.image.data.as_chunks::<3>().0;
        for ((found, expected), colour) in
            found.iter().zip(expected.as_chunks::<4>().0).zip(colours)
        {
            if background == Background::Black {
                assert_eq!(found, expected);
                continue;
            }
            // Single precision turns an alpha near a rounding boundary.
            assert!(
                found[3].abs_diff(expected[3]) <= 1,
                "{found:?}, {expected:?}"
            );
            if found[3] == expected[3] {
                assert_eq!(found, expected);
            }
            let alpha = f32::from(found[3]) / 255.0;
            for (found, colour) in found.iter().zip(colour) {
                let on_black = f32::from(*found)
                    * match background {
                        Background::Straight => alpha,
                        _ => 1.0,
                    };
                let seen = 255.0 * colour.clamp(0.0, 1.0);
                assert!(
                    (on_black - seen).abs() <= 0.51,
                    "{on_black} on black instead of {seen}"
                );
            }
        }
    }
}

const BACKGROUNDS: [Background; 3] = [
    Background::Black,
    Background::Straight,
    Background::Premultiplied,
];

#[test]
fn pictures_are_rounded_to_eight_bits() {
    let cases = (any::<u64>(), 1usize..=40, 1usize..=20);
    check(8, cases, |(seed, size, low_res)| {
        let picture = Picture::new(seed, size, low_res.min(size));
        for background in BACKGROUNDS {
            picture.compare(gpu(), background);
        }
        picture.of_field().compare(gpu(), Background::Straight);
    });
}

#[test]
fn alpha_follows_the_colours_on_black() {
    // Left half: an orange foreground; then nothing. The picture's edge lies within a ray's width.
    let (size, low_res) = (40, 5);
    let orange = [0.8, 0.5, 0.2];
    let mut picture = Picture::new(0, size, low_res);
    for (i, ray) in picture.field.data.chunks_exact_mut(4).enumerate() {
        let opacity = if i % low_res < 3 { 1.0 } else { 0.0 };
        ray.copy_from_slice(&[
            orange[0] * opacity,
            orange[1] * opacity,
            orange[2] * opacity,
            opacity,
        ]);
    }
    // As much of it as is drawn: super-resolved edges reach nine tenths of the colour.
    let covered = |x: usize| [0.9, 0.45, 0.0][x.saturating_sub(20).min(2)];
    for (i, pixel) in picture.image.data.chunks_exact_mut(3).enumerate() {
        let covered = covered(i % size);
        pixel.copy_from_slice(&orange.map(|c| c * covered));
    }
    for (i, pixel) in picture
        .displayed(gpu(), Background::Straight)
        .iter()
        .enumerate()
    {
        let expected = 255.0 * (covered(i % size) / 0.9).min(1.0);
        let close = (f32::from(pixel[3]) - expected).abs() <= 1.0;
        assert!(
            close,
            "column {}: {pixel:?} instead of {expected}",
            i % size
        );
    }
}

#[test]
fn dark_parts_within_the_head_are_opaque() {
    let mut picture = Picture::new(0, 12, 4);
    picture.image.data.fill(0.0);
    for ray in picture.field.data.chunks_exact_mut(4) {
        ray.copy_from_slice(&[0.9, 0.9, 0.9, 1.0]);
    }
    for background in [Background::Straight, Background::Premultiplied] {
        assert_eq!(picture.displayed(gpu(), background), [[0, 0, 0, 255]; 144]);
    }
}

#[test]
fn colours_without_numbers_are_told() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for place in [0, 4, 3 * 21 * 21 - 1] {
            let mut picture = Picture::new(4, 21, 6);
            picture.image.data[place] = value;
            for background in BACKGROUNDS {
                let (_, infinite) = picture.displayed_with_stamp(gpu(), background);
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
    for background in BACKGROUNDS {
        picture.compare(gpu(), background);
    }
    let pixels = picture.displayed(gpu(), Background::Premultiplied);
    let colours: Vec<u8> = pixels.iter().flat_map(|p| &p[..3]).copied().collect();
    assert_eq!(colours[..8], [0, 0, 0, 255, 255, 255, 0, 1]);
    // More colour than the field's opacity explains.
    assert!(pixels[1][3] == 255 && pixels[2][3] >= 1);
}
