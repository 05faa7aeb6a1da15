use glam::Vec3;

use super::{RenderInput, Renderer};
use crate::camera::Camera;
use crate::clusters::members;
use crate::config::{ModelConfig, PointWeighting};
use crate::drive::Drive;
use crate::gpu::{Gpu, ProgramBuilder, Resource, Tuner};
use crate::options::{ModelOptions, Precision, RenderOptions, Tuning};
use crate::reference::double;
use crate::stage::testing::{gpu, input, random, read, read_values, software, subgroups};
use crate::weights::tests::tiny_weights;
use crate::weights::{SyntheticRules, Weights};

fn weights(point_weighting: PointWeighting) -> Weights {
    // Neither empty nor solid.
    weights_of_density(point_weighting, 0.5)
}

fn weights_of_density(point_weighting: PointWeighting, offset: f32) -> Weights {
    let config = ModelConfig {
        point_weighting,
        low_res_size: 8,
        coarse_samples: 12,
        fine_samples: 12,
        ..tiny_weights().config().clone()
    };
    let mut rules = SyntheticRules::new(&config).unwrap();
    rules.set_offset("nerf_mlp.density_layers.0.bias", offset);
    Weights::synthetic(config, 9, rules).unwrap()
}

/// Made-up points of a head.
fn points(config: &ModelConfig) -> Vec<[f32; 3]> {
    let points = random(1, "points", 3 * config.points as usize);
    points.as_chunks::<3>().0.to_vec()
}

/// Made-up planes of an avatar.
fn planes(config: &ModelConfig) -> Vec<f32> {
    let texels = 3 * config.plane_channels * config.plane_size * config.plane_size;
    random(1, "planes", texels as usize)
}

/// Bits of picture, low-resolution image and depth from each camera.
fn render(b: ProgramBuilder<'_>, weights: &Weights, cameras: &[Camera]) -> Vec<Vec<u32>> {
    rendered(b, weights, cameras).0
}

/// Also the renderer.
fn rendered(
    b: ProgramBuilder<'_>,
    weights: &Weights,
    cameras: &[Camera],
) -> (Vec<Vec<u32>>, Renderer) {
    let gpu = b.gpu();
    let config = weights.config();
    let tuner = Tuner::new(gpu, &Tuning::Estimate).unwrap();
    let renderer = Renderer::plan(b, &tuner, weights, None, Precision::F32).unwrap();
    let points = points(config);
    let planes = input(gpu, &planes(config));
    let members = input(gpu, &members(&points));
    let resources = [("planes", &planes), ("members", &members)];
    let resources = resources.map(|(name, tensor)| (name, Resource::Tensor(tensor)));
    let avatar = renderer.program.bind(gpu, &resources);
    let slot = renderer.slot(gpu, true).unwrap();
    let picture = |camera: &Camera| {
        let drive = Drive::points(points.clone()).camera(*camera);
        let frame = RenderInput::new(&drive, config.points, None, &[]).unwrap();
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        let options = RenderOptions::default();
        let bindings = (&avatar, &*slot);
        let times = Default::default();
        (renderer.record(gpu, &mut encoder, &frame, bindings, &options, times)).unwrap();
        renderer.keep(&mut encoder, &slot);
        gpu.queue().submit([encoder.finish()]);
        let tensors = slot.tensors.as_ref().unwrap();
        let image = read_values(gpu, &tensors.image);
        assert!(image.iter().all(|value| value.is_finite()));
        let results = [&tensors.image, &tensors.low_res, &slot.depth];
        results.map(|tensor| read(gpu, tensor)).concat()
    };
    (cameras.iter().map(picture).collect(), renderer)
}

/// Where opacities are small, the distribution of the fine samples has none but small steps: digits
/// that opacities lose move the samples.
#[test]
fn fine_depths_of_a_nearly_transparent_scene_are_those_of_float64() {
    let camera = Camera::orbit(10.0, 10.0, 25.0);
    for weighting in [PointWeighting::Paper, PointWeighting::Released] {
        for offset in [-1.2, -0.9, -0.6] {
            let weights = weights_of_density(weighting, offset);
            let config = weights.config();
            let (side, channels) = (config.plane_size as usize, config.plane_channels as usize);
            let planes = double::reals(&planes(config));
            let planes = double::Tensor::new([side, side, 3 * channels], planes);
            let points = points(config);
            let at: Vec<_> = points.iter().map(|p| Vec3::from(*p).as_dvec3()).collect();
            let noise = double::style_unet::Noise::Stored;
            let exact = double::pipeline::render(&weights, &planes, &at, &camera, noise).unwrap();
            let opacities = &exact.coarse.radiance.opacity;
            let largest = opacities
                .iter()
                .fold(0.0, |largest: f64, a| largest.max(*a));
            assert!(largest < 0.1, "nearly transparent: {largest}");
            let traced = ModelOptions {
                trace: true,
                ..ModelOptions::default()
            };
            for gpu in [gpu(), software(), subgroups()] {
                let builder = ProgramBuilder::new(gpu, Precision::F32.field()).options(&traced);
                let (_, renderer) = rendered(builder, &weights, &[camera]);
                let (_, depths) = (renderer.program.taps())
                    .find(|(name, _)| *name == "fine.depths")
                    .unwrap();
                let found = read_values(gpu, depths);
                assert_eq!(found.len(), exact.depths[1].len());
                // Rays that miss the cube have the depth -1 exactly.
                let pairs = found.iter().zip(&exact.depths[1]);
                let pairs = pairs.filter(|(_, exact)| **exact > 0.0);
                let errors = pairs.map(|(found, exact)| (f64::from(*found) - exact).abs());
                let mut errors: Vec<f64> = errors.collect();
                errors.sort_by(f64::total_cmp);
                let (median, most) = (errors[errors.len() / 2], errors[errors.len() * 99 / 100]);
                let what = format!("{:?}, {weighting:?}, {offset}", gpu.kind());
                println!("{what}: median {median:.1e}, 99 % {most:.1e}");
                assert!(
                    median <= 2e-6 && most <= 2e-4,
                    "{what}: {median:e}, {most:e}"
                );
            }
        }
    }
}

#[test]
fn what_is_left_out_of_empty_space_changes_no_picture() {
    let cameras = [
        Camera::orbit(10.0, 10.0, 25.0),
        // Most rays miss the cube, some close to its edges.
        Camera::orbit(16.0, 20.0, 45.0),
        Camera::orbit(60.0, 0.0, 0.0),
    ];
    let devices: [&Gpu; 3] = [gpu(), software(), subgroups()];
    for gpu in devices {
        for weighting in [PointWeighting::Paper, PointWeighting::Released] {
            let weights = weights(weighting);
            let builder = || ProgramBuilder::new(gpu, Precision::F32.field());
            let left_out = render(builder(), &weights, &cameras);
            let whole = render(builder().whole(), &weights, &cameras);
            assert!(left_out == whole, "{:?}, {weighting:?}", gpu.kind());
        }
    }
}
