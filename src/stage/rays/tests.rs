use glam::{Mat3, Vec3};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::Camera;
use crate::gpu::Gpu;
use crate::pipeline::camera_uniform;
use crate::reference::field::Radiance;
use crate::reference::{self, rays as twin};
use crate::stage::testing::*;

/// One call of each kernel.
pub(in crate::stage) fn examples(gpu: &Gpu) {
    let camera = Camera::orbit(6.0, 20.0, 30.0).with_focal(3.0);
    generate(gpu, &camera, 9, 5).compare();
    for format in [Format::F32, Format::F16] {
        let field = Marched::random(1, format, [7, 11], 8);
        field.compare_importance(gpu, 6);
        field.compare_merge(gpu, &Marched::random(2, format, [7, 6], 8));
    }
}

/// The sizes that the rays' kernels read.
fn config(side: usize, coarse: usize, fine: usize, channels: usize) -> ModelConfig {
    ModelConfig {
        low_res_size: side as u32,
        coarse_samples: coarse as u32,
        fine_samples: fine as u32,
        low_res_channels: channels as u32,
        rgb_hidden: 8,
        ..ModelConfig::default()
    }
}

// ---- generate ------------------------------------------------------------------------------

/// The kernel's rays and depths for a camera.
struct Generated {
    camera: Camera,
    origin: Vec3,
    coarse: usize,
    directions: Vec<Vec3>,
    /// `[ray][coarse]`
    depths: Vec<f32>,
}

fn generate(gpu: &Gpu, camera: &Camera, side: usize, coarse: usize) -> Generated {
    generate_at(gpu, camera, camera.origin(), side, coarse)
}

/// The same with the camera's origin replaced.
fn generate_at(gpu: &Gpu, camera: &Camera, origin: Vec3, side: usize, coarse: usize) -> Generated {
    let globals = params::Globals {
        origin: origin.extend(f32::NAN).to_array(),
        ..camera_uniform(camera)
    };
    let (rays, pass) = run(gpu, &[], |b| {
        let globals = Tensor::uniform(gpu, "globals", &[globals]).unwrap();
        Rays::generate(b, &config(side, coarse, 2, 4), &globals).unwrap()
    });
    let records: Vec<[f32; 4]> = read(gpu, &rays.tensor);
    let direction = |record: &[[f32; 4]]| {
        let rest = record[1..].as_flattened();
        let written = rest.iter().any(|v| !v.is_nan());
        assert!(!written, "only the direction is written");
        Vec3::from_slice(&record[0])
    };
    let mut depths: Vec<f32> = read(gpu, &pass.depths);
    // The buffer is padded to a whole vec4.
    depths.truncate(side * side * coarse);
    let records = records.chunks_exact(rays.layout.stride as usize);
    Generated {
        camera: *camera,
        origin,
        coarse,
        directions: records.map(direction).collect(),
        depths,
    }
}

impl Generated {
    #[track_caller]
    fn compare(&self) {
        let side = self.directions.len().isqrt();
        let mut rays = twin::generate(&self.camera, side);
        // A rotation and a normalisation of numbers up to one.
        let expected = flat(&rays.directions);
        assert_close("directions", &flat(&self.directions), &expected, |_| {
            4.0 * f32::EPSILON
        });

        // Depths divide by directions, so both sides use the same ones.
        for ray in 0..self.directions.len() {
            rays.directions[ray] = self.directions[ray];
            (rays.near[ray], rays.far[ray]) =
                twin::cube(self.origin, rays.directions[ray], self.camera.clamp_near);
        }
        let expected = twin::coarse_depths(&rays, self.coarse);
        assert_close("depths", &self.depths, &expected, |i| {
            let ray = i / self.coarse;
            8.0 * f32::EPSILON * rays.near[ray].abs().max(rays.far[ray].abs())
        });
    }
}

#[test]
fn rays_of_any_camera() {
    let angles = (-180.0f32..180.0, -80.0f32..80.0);
    let lens = (0.5f32..15.0, any::<bool>());
    let cases = (0.1f32..14.0, angles, lens, 2usize..=20, 2usize..=33);
    check(30, cases, |(distance, angles, lens, side, coarse)| {
        let ((azimuth, elevation), (focal, clamp)) = (angles, lens);
        let camera = Camera::orbit(distance, elevation, azimuth);
        let camera = camera.with_focal(focal).with_clamp_near(clamp);
        generate(gpu(), &camera, side, coarse).compare();
    });
}

#[test]
fn a_camera_inside_the_cube_keeps_or_clamps_near() {
    let camera = Camera::look_at([0.1, 0.2, 0.3], [0.0; 3], [0.0, 1.0, 0.0]).with_focal(1.0);
    let kept = generate(gpu(), &camera, 6, 16);
    kept.compare();
    for depths in kept.depths.chunks_exact(16) {
        assert!(depths[0] < 0.0 && depths[15] > 0.0);
    }
    let camera = camera.with_clamp_near(true);
    let clamped = generate(gpu(), &camera, 6, 16);
    clamped.compare();
    assert!(clamped.depths.iter().all(|depth| *depth > 0.0));
}

#[test]
fn a_camera_that_looks_away_misses_everything() {
    for clamp in [false, true] {
        let camera = Camera::look_at([0.0, 0.0, 4.0], [0.0, 0.0, 9.0], [0.0, 1.0, 0.0]);
        let missed = generate(gpu(), &camera.with_clamp_near(clamp), 9, 4);
        missed.compare();
        assert!(missed.depths.iter().all(|depth| *depth == -1.0));
    }
}

/// A camera turned by 45° about y. At focal length 1, two of its four corner rays run exactly within
/// a plane of constant x.
fn diagonal() -> Camera {
    let half = std::f32::consts::FRAC_1_SQRT_2;
    let axes = Mat3::from_cols_array_2d(&[[half, 0.0, -half], [0.0, 1.0, 0.0], [half, 0.0, half]]);
    Camera::from_axes(axes, Vec3::ZERO).with_focal(1.0)
}

#[test]
fn rays_parallel_to_a_face_hit_as_their_origin_lies() {
    // Beyond these a ray is outside; those on a face are inside.
    let inside = [0.0, 0.5, 1.0, -1.0].map(|x| (x, true));
    let outside = [1.0f32.next_up(), -1.5].map(|x| (x, false));
    for (x, hits) in inside.into_iter().chain(outside) {
        let found = generate_at(gpu(), &diagonal(), Vec3::new(x, 0.0, -1.5), 2, 4);
        if x.abs() != 1.0 {
            // On a face the twin divides zero by zero, like the authors' code.
            found.compare();
        }
        let mut parallel: Vec<usize> = (0..4).collect();
        parallel.retain(|ray| found.directions[*ray].x == 0.0);
        assert_eq!(parallel.len(), 2, "{:?}", found.directions);
        for ray in parallel {
            let depths = &found.depths[4 * ray..][..4];
            let inside = depths.iter().all(|t| (0.6..1.8).contains(t));
            let missed = depths.iter().all(|t| *t == -1.0);
            assert_eq!((inside, missed), (hits, !hits), "x = {x}: {depths:?}");
        }
    }
}

#[test]
fn rays_that_are_nearly_parallel_to_a_face_enter_through_it() {
    // At focal length 200, the outer rays move by 0.005 along x on their way of 1 along z.
    let camera = Camera::look_at([0.0; 3], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]).with_focal(200.0);
    for x in [1.002f32, -1.002] {
        let found = generate_at(gpu(), &camera, Vec3::new(x, 0.0, -1.5), 3, 4);
        found.compare();
        let hits = found
            .depths
            .chunks_exact(4)
            .filter(|depths| depths[0] > 0.0);
        assert_eq!(hits.count(), 3, "x = {x}: {:?}", found.depths);
    }
}

#[test]
fn a_camera_on_a_face_sees_what_is_before_it() {
    for (ahead, hits) in [(-1.0, true), (1.0, false)] {
        let camera = Camera::look_at([0.0; 3], [0.0, 0.0, ahead], [0.0, 1.0, 0.0]);
        let found = generate_at(gpu(), &camera, Vec3::Z, 4, 4);
        found.compare();
        for t in found.depths {
            assert!(if hits { t > 0.0 } else { t == -1.0 });
        }
    }
}

// ---- importance, merge ---------------------------------------------------------------------

/// A pass and the field's results for it.
struct Marched {
    rays: usize,
    samples: usize,
    /// `[ray][sample]`, sorted.
    depths: Vec<f32>,
    radiance: Radiance,
    /// Format of the values.
    format: Format,
}

impl Marched {
    /// Opacities of several kinds, by ray.
    fn random(seed: u64, format: Format, [side, samples]: [usize; 2], channels: usize) -> Self {
        let rays = side * side;
        let count = rays * samples;
        let depths = random(seed, "depths", count).into_iter();
        let mut depths: Vec<f32> = depths.map(|t| 9.0 + t).collect();
        for depths in depths.chunks_exact_mut(samples) {
            depths.sort_by(f32::total_cmp);
        }
        let opacity = random(seed, "opacity", count).into_iter().enumerate();
        let opacity = opacity.map(|(i, v)| match i / samples % 6 {
            // Surfaces, haze, empty, uniform, a single spike, solid from the start.
            0 => v.abs(),
            1 => 0.1 * v.abs(),
            2 => 0.0,
            3 => 0.05,
            4 if i % samples == samples / 2 => 0.95,
            4 => 0.0,
            _ => v.abs().round(),
        });
        let values = random(seed, "values", count * channels);
        Self {
            rays,
            samples,
            depths,
            radiance: Radiance {
                opacity: opacity.collect(),
                values: rounded_map(format, reference::Tensor::new([count, channels], values)),
            },
            format,
        }
    }

    fn channels(&self) -> usize {
        self.radiance.values.row_length()
    }

    fn on(&self, gpu: &Gpu) -> (Pass, Samples) {
        let samples = Samples {
            opacities: input(gpu, &self.radiance.opacity),
            values: stored_map(gpu, self.format, &self.radiance.values),
        };
        (pass_at(gpu, self.samples, &self.depths), samples)
    }

    fn layout(&self, gpu: &Gpu, coarse: usize, fine: usize) -> Rays {
        let layout = params::Rays {
            side: self.rays.isqrt() as u32,
            count: self.rays as u32,
            coarse: coarse as u32,
            fine: fine as u32,
            stride: 1,
            channels: self.channels().div_ceil(4) as u32,
            ..Default::default()
        };
        Rays {
            layout,
            tensor: input(gpu, &[0.0f32]),
        }
    }

    /// `[ray][fine]`.
    fn fine_depths(&self, gpu: &Gpu, fine: usize) -> Vec<f32> {
        let rays = self.layout(gpu, self.samples, fine);
        let (pass, samples) = self.on(gpu);
        let plan = |b: &mut ProgramBuilder<'_>| rays.importance(b, &pass, &samples).unwrap();
        let found = run_in(gpu, stored_in(self.format), &[], plan);
        assert_eq!(found.samples as usize, fine);
        let mut depths: Vec<f32> = read(gpu, &found.depths);
        depths.truncate(self.rays * fine);
        depths
    }

    fn compare_importance(&self, gpu: &Gpu, fine: usize) {
        let depths = self.fine_depths(gpu, fine);
        let weights = twin::composite(&self.radiance.opacity, self.samples);
        let expected = twin::importance(&self.depths, &weights, self.samples, fine);
        for ray in 0..self.rays {
            let depths = &depths[fine * ray..][..fine];
            let edges = &self.depths[self.samples * ray..][..self.samples];
            let weights = &weights[self.samples * ray..][..self.samples];
            let total: f32 = weights.iter().map(|w| w + 1e-5).sum();
            // The steepest slope of the inverse distribution. It magnifies the distribution's
            // rounding, one unit for each term.
            let slopes = edges.windows(2).zip(&weights[1..]);
            let slope = slopes.map(|(t, w)| (t[1] - t[0]) / ((w + 1e-5) / total));
            let slope = slope.fold(0.0, f32::max);
            let tolerance = f32::EPSILON * (slope * self.samples as f32 + 4.0 * edges[0].abs());
            let expected = &expected[fine * ray..][..fine];
            assert_close(&format!("ray {ray}"), depths, expected, |_| tolerance);
            let sorted = depths.is_sorted_by(|a, b| *a <= *b + tolerance);
            let (first, last) = (edges[0] - tolerance, edges[self.samples - 1] + tolerance);
            let within = depths.iter().all(|t| (first..=last).contains(t));
            assert!(sorted && within, "{depths:?}");
        }
    }

    /// Values as the field leaves them where it computes nothing: samples without opacity have
    /// none.
    fn visible_values(&self, gpu: &Gpu) -> Tensor {
        let mut values = self.radiance.values.clone();
        let rows = values.data.chunks_exact_mut(self.channels());
        for (row, opacity) in rows.zip(&self.radiance.opacity) {
            if *opacity == 0.0 {
                row.fill(f32::NAN);
            }
        }
        stored_map(gpu, self.format, &values)
    }

    /// Values `[ray][channels]`, padded, and extents `[ray]`.
    fn merged(&self, gpu: &Gpu, fine: &Self) -> (Vec<f32>, Vec<[f32; 4]>) {
        let rays = self.layout(gpu, self.samples, fine.samples);
        let (coarse_pass, mut coarse_samples) = self.on(gpu);
        let (fine_pass, mut fine_samples) = fine.on(gpu);
        coarse_samples.values = self.visible_values(gpu);
        fine_samples.values = fine.visible_values(gpu);
        let side = rays.layout.side as usize;
        let config = config(side, self.samples, fine.samples, self.channels());
        let found = run_in(gpu, stored_in(self.format), &[], |b| {
            let coarse = (&coarse_pass, &coarse_samples);
            let fine = (&fine_pass, &fine_samples);
            rays.merge(b, &config, coarse, fine).unwrap()
        });
        (read(gpu, &found.low_res), read(gpu, &found.extent))
    }

    fn compare_merge(&self, gpu: &Gpu, fine: &Self) {
        let (low_res, extent) = self.merged(gpu, fine);
        let of_fine = (&fine.depths[..], &fine.radiance);
        let expected = twin::merge((&self.depths, &self.radiance), of_fine, self.rays);
        // Products and sums of as many factors and terms as there are samples, in the same order.
        let tolerance = f32::EPSILON * (self.samples + fine.samples) as f32;
        let low_res = unpadded(&low_res, self.channels() as u32);
        assert_close("values", &low_res, &expected.values.data, |_| tolerance);
        let component = |i: usize| extent.iter().map(|e| e[i]).collect::<Vec<_>>();
        assert_close("opacity", &component(0), &expected.opacity, |_| tolerance);
        let farthest = expected.farthest.abs();
        assert_close("depth", &component(1), &expected.depth, |_| {
            tolerance * farthest
        });
        let last = |pass: &Self, ray: usize| pass.depths[pass.samples * (ray + 1) - 1];
        let largest = |ray| last(self, ray).max(last(fine, ray));
        let expected: Vec<f32> = (0..self.rays).map(largest).collect();
        assert_close("largest depth", &component(2), &expected, |_| 0.0);
    }
}

#[test]
fn fine_samples_follow_the_coarse_weights() {
    let counts = (2usize..=33, 2usize..=40);
    let stored = (formats(), select(vec![4usize, 8, 32]));
    let cases = (any::<u64>(), 2usize..=9, counts, stored);
    check(16, cases, |(seed, side, (coarse, fine), stored)| {
        let (format, channels) = stored;
        let coarse = Marched::random(seed, format, [side, coarse], channels);
        coarse.compare_importance(gpu(), fine);
    });
}

/// Opacities that are no opacities count as none, so that no index is made of such a depth.
#[test]
fn depths_are_finite_whatever_the_opacities_are() {
    let field = Marched::random(3, Format::F32, [6, 9], 4);
    let strange = [
        f32::NAN,
        -f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        -0.5,
        1.5,
        3e38,
    ];
    for value in strange {
        for places in [0..1, 8..9, 3..6, 0..9] {
            let mut empty = Marched::random(3, Format::F32, [6, 9], 4);
            let mut hostile = Marched::random(3, Format::F32, [6, 9], 4);
            for ray in 0..field.rays {
                let places = 9 * ray + places.start..9 * ray + places.end;
                empty.radiance.opacity[places.clone()].fill(0.0);
                hostile.radiance.opacity[places].fill(value);
            }
            let [found, expected] = [&hostile, &empty].map(|field| field.fine_depths(gpu(), 7));
            assert!(found.iter().all(|depth| depth.is_finite()));
            assert_eq!(found, expected, "{value} at {places:?}");
        }
    }
}

/// Accumulated opacity and mean depth, relatively, of rays with one opacity throughout.
#[test]
fn small_opacities_keep_their_digits() {
    let (side, samples) = (8, 16);
    let mut passes = [5, 6].map(|seed| Marched::random(seed, Format::F32, [side, samples], 4));
    let opacity = |ray: usize| 10f32.powf(-9.0 + ray as f32 * 9.0 / (side * side - 1) as f32);
    for pass in &mut passes {
        for (ray, opacities) in pass.radiance.opacity.chunks_exact_mut(samples).enumerate() {
            opacities.fill(opacity(ray));
        }
    }
    let [coarse, fine] = &passes;
    let (_, extent) = coarse.merged(gpu(), fine);
    for (ray, extent) in extent.iter().enumerate() {
        let depths = passes
            .iter()
            .flat_map(|pass| &pass.depths[ray * samples..][..samples]);
        let mut depths: Vec<f64> = depths.map(|depth| f64::from(*depth)).collect();
        depths.sort_by(f64::total_cmp);
        let opacity = f64::from(opacity(ray));
        let (mut transmittance, mut depth) = (1.0, 0.0);
        for t in depths {
            depth += opacity * transmittance * t;
            transmittance *= 1.0 - opacity;
        }
        // Without the difference 1 - transmittance, which cancels.
        let accumulated = -f64::exp_m1(2.0 * samples as f64 * f64::ln_1p(-opacity));
        for (found, expected) in [(extent[0], accumulated), (extent[1], depth)] {
            let error = (f64::from(found) / expected - 1.0).abs();
            assert!(
                error <= 1e-5,
                "{found} for {expected}, at opacity {opacity}"
            );
        }
    }
}

#[test]
fn a_ray_that_misses_keeps_its_one_depth() {
    let [missed, fine] = [(5, 8), (6, 6)].map(|(seed, samples)| {
        let mut pass = Marched::random(seed, Format::F32, [3, samples], 4);
        pass.depths.fill(-1.0);
        pass.radiance.opacity.fill(0.0);
        pass
    });
    missed.compare_importance(gpu(), 6);
    missed.compare_merge(gpu(), &fine);
}

#[test]
fn both_passes_are_composited_by_depth() {
    let counts = (2usize..=33, 2usize..=40);
    let how = (formats(), select(vec![4usize, 8, 32]), any::<bool>());
    let cases = (any::<u64>(), 2usize..=9, counts, how);
    check(16, cases, |(seed, side, (coarse, fine), how)| {
        let (format, channels, ties) = how;
        let mut coarse = Marched::random(seed, format, [side, coarse], channels);
        let mut fine = Marched::random(seed ^ 1, format, [side, fine], channels);
        if ties {
            // Depths of a few values, most of them in both passes: coarse ones go first.
            for t in coarse.depths.iter_mut().chain(&mut fine.depths) {
                *t = (4.0 * *t).round() / 4.0;
            }
        }
        coarse.compare_merge(gpu(), &fine);
    });
}
