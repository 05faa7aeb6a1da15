use glam::Vec3;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::SyntheticRules;
use crate::clusters::members;
use crate::gpu::Resource;
use crate::reference::points::{Neighbour, nearest, weight_sums};
use crate::reference::{self, double, field as twin, shared};
use crate::stage::testing::*;
use crate::weights::tests::tiny_weights;

/// One call of each kernel.
pub(in crate::stage) fn examples(gpu: &Gpu) {
    let weights = weights(1, ModelConfig::default());
    for formats in field_formats() {
        shine(gpu, formats, &weights, &Scene::new(1, weights.config()));
    }
}

// ---- the field -----------------------------------------------------------------------------

/// Made-up weights of a field of these sizes; all else is as small as possible.
fn weights(seed: u64, sizes: ModelConfig) -> Weights {
    // Neither empty nor solid, so that errors show.
    weights_of_density(0.5, seed, sizes)
}

fn weights_of_density(offset: f32, seed: u64, sizes: ModelConfig) -> Weights {
    let offset_density = |rules: &mut SyntheticRules| {
        rules.set_offset("nerf_mlp.density_layers.0.bias", offset);
    };
    weights_with(seed, sizes, offset_density)
}

fn weights_with(
    seed: u64,
    sizes: ModelConfig,
    change: impl FnOnce(&mut SyntheticRules),
) -> Weights {
    let config = ModelConfig {
        plane_channels: sizes.plane_channels,
        neighbours: sizes.neighbours,
        point_feature: sizes.point_feature,
        point_hidden: sizes.point_hidden,
        point_output: sizes.point_output,
        feature_hidden: sizes.feature_hidden,
        rgb_hidden: sizes.rgb_hidden,
        low_res_channels: sizes.low_res_channels,
        point_weighting: sizes.point_weighting,
        points: 300,
        low_res_size: 5,
        coarse_samples: 7,
        ..tiny_weights().config().clone()
    };
    let mut rules = SyntheticRules::new(&config).unwrap();
    change(&mut rules);
    Weights::synthetic(config, seed, rules).unwrap()
}

struct Scene {
    /// In and around the cube.
    at: Sampling,
    points: Vec<Vec3>,
    planes: reference::Tensor,
}

impl Scene {
    /// All positions are multiples of 1/256: no device rounds them, nor the offsets from points.
    fn new(seed: u64, config: &ModelConfig) -> Self {
        let (side, samples) = (config.low_res_size as usize, config.coarse_samples as usize);
        let mut at = Sampling::on_lattice(seed, side, samples, 32);
        at.origin /= 2.0;
        let (size, channels) = (config.plane_size as usize, config.plane_channels as usize);
        Self {
            at,
            points: snapped_vectors(seed, "points", config.points as usize, 256.0),
            planes: random_map(seed, "planes", [size, size, 3 * channels]),
        }
    }

    /// Moves points to some of the samples.
    fn put_points_on_samples(&mut self) {
        let positions = self.at.positions();
        for sample in [0, 17, 100] {
            self.points[2 * sample] = positions[sample];
        }
    }
}

/// The nearest points of a scene's samples, and the sums of their weights.
fn around(config: &ModelConfig, scene: &Scene) -> (Vec<Neighbour>, Vec<f32>) {
    let ranks = config.neighbours as usize;
    let neighbours = nearest(&scene.at.positions(), &scene.points, ranks);
    let sums = weight_sums(&neighbours, ranks);
    (neighbours, sums)
}

/// Runs the view and the radiance kernel.
fn shone(builder: ProgramBuilder<'_>, weights: &Weights, scene: &Scene) -> Samples {
    let (gpu, formats, config) = (builder.gpu(), builder.formats(), weights.config());
    let (rays, samples) = (scene.at.directions.len(), scene.at.samples);
    let channels = config.low_res_channels;
    let ranks = config.neighbours as usize;
    let (neighbours, sums) = around(config, scene);

    let layout = params::Rays {
        side: config.low_res_size,
        count: rays as u32,
        coarse: samples as u32,
        fine: 0,
        stride: 1 + config.rgb_hidden / 4,
        channels: channels / 4,
        ..Default::default()
    };
    // Unused ranks name no point, and their sums are NaN.
    let pack_indices = |nearest: &[Neighbour]| {
        let index = |k: usize| nearest.get(k).map_or(0xffff, |n| n.index as u32);
        [0, 2, 4, 6].map(|k| index(k) | index(k + 1) << 16)
    };
    let mut packed: Vec<[u32; 4]> = neighbours.chunks_exact(ranks).map(pack_indices).collect();
    let sums_at = packed.len() as u32;
    let sum_bits = |k: usize| sums.get(k).map_or(u32::MAX, |sum| sum.to_bits());
    packed.push([0, 1, 2, 3].map(sum_bits));
    packed.push([4, 5, 6, 7].map(sum_bits));

    let field = Field::new(gpu, weights, formats).unwrap();
    let points: Vec<_> = scene.points.iter().map(Vec3::to_array).collect();
    let planes = stored_map(gpu, formats.maps, &scene.planes);
    let members = input(gpu, &members(&points));
    let outside = [
        ("planes", Resource::Tensor(&planes)),
        ("members", Resource::Tensor(&members)),
    ];
    let plan = |b: &mut ProgramBuilder<'_>| {
        let (globals, rays, pass) = scene.at.on(gpu, layout);
        let points = Points::cluster(b, config, input(gpu, &pack::vec4s(&points))).unwrap();
        let neighbours = Neighbours {
            tensor: input(gpu, &packed),
            sums_at,
        };
        field.view(b, &rays).unwrap();
        let near = (&points, &neighbours);
        let planned = field.radiance(b, config, &globals, &rays, &pass, near);
        planned.unwrap()
    };
    run_built(builder, &outside, plan)
}

/// Runs the view and the radiance kernel and compares both results. Returns the number of
/// workgroups without any opacity.
fn shine(gpu: &Gpu, formats: Formats, weights: &Weights, scene: &Scene) -> usize {
    let config = weights.config();
    let positions = scene.at.positions();
    let (count, channels) = (positions.len(), config.low_res_channels);
    let (neighbours, sums) = around(config, scene);
    let builder = || ProgramBuilder::new(gpu, formats);
    let whole = shone(builder().whole(), weights, scene);
    let found = shone(builder(), weights, scene);

    let networks = twin::FieldWeights::load(weights).unwrap();
    let (weighting, points) = (config.point_weighting, &scene.points);
    let of_points =
        twin::point_features(&networks, weighting, &positions, points, &neighbours, &sums);
    let of_planes = twin::sample_planes(&scene.planes, &positions);
    let directions = &scene.at.directions;
    let expected = twin::field(&networks, &of_planes, &of_points, &positions, directions);
    let what = format!("{config:?}, {formats:?}");
    let [opacities, of_those_seen] =
        [&whole, &found].map(|samples| read_values(gpu, &samples.opacities));
    let values = read_values(gpu, &whole.values);
    assert_eq!(of_those_seen, opacities, "{what}");
    let group = (skipped_together(gpu) * channels) as usize;
    let found = read_values(gpu, &found.values);
    let skipped = compare_skipped(group, &found, &values, &opacities);
    // Six layers of sums of up to 128 products, each good to a few units in its last place; weights
    // keep the numbers at order one. Rounding to `f16` is off by up to 2^-12 of a number: the
    // weights of five layers, the planes before, and the values after.
    let error = match formats.maps {
        Format::F16 => 12.0 / 4096.0,
        _ => 4e-6,
    };
    assert_close(&what, &opacities, &expected.opacity, |_| error);
    let largest = |values: &[f32]| values.iter().fold(1.0f32, |m, v| m.max(v.abs()));
    let tolerance = error * largest(&expected.values.data);
    assert_close(&what, &values, &expected.values.data, |i| {
        tolerance + rounding(formats.samples, expected.values.data[i])
    });
    let partly = |alpha: &&f32| (0.01..0.99).contains(*alpha);
    let seen = expected.opacity.iter().filter(partly).count();
    assert!(seen > count / 4 || seen == 0);
    assert!(expected.opacity.contains(&0.0));
    skipped
}

/// Of `shaders/shared/values.wgsl`: 2^-25.
const NEGLIGIBLE: f32 = f32::EPSILON / 4.0;

/// Samples whose values are skipped together: a workgroup's, or a thread's where threads share nothing.
fn skipped_together(gpu: &Gpu) -> u32 {
    match variant(gpu) {
        (source, _) if source.name == kernels::RADIANCE_REGISTER.name => {
            kernels::radiance_register::SAMPLES
        }
        (_, owned) => owned,
    }
}

/// Fails unless each workgroup's values are the whole field's, or are missing because no sample has
/// opacity to speak of. Returns the number of workgroups without values.
#[track_caller]
fn compare_skipped(group: usize, found: &[f32], whole: &[f32], opacities: &[f32]) -> usize {
    let channels = whole.len() / opacities.len();
    let groups = found.chunks(group).zip(whole.chunks(group));
    let groups = groups.zip(opacities.chunks(group / channels));
    let mut skipped = 0;
    for (i, ((found, whole), opacities)) in groups.enumerate() {
        if opacities.iter().all(|opacity| *opacity <= NEGLIGIBLE) {
            assert!(found.iter().all(|value| value.is_nan()), "workgroup {i}");
            skipped += 1;
        } else {
            assert_eq!(found, whole, "workgroup {i}");
        }
    }
    skipped
}

/// The released network, the small one that this crate ships, and the narrowest and widest fields
/// that the kernel takes.
fn sizes() -> impl Strategy<Value = ModelConfig> {
    let widths = select(vec![
        [32, 64, 32, 128, 64, 32],
        [16, 32, 32, 64, 32, 16],
        [4, 16, 4, 8, 8, 4],
        [60, 64, 64, 128, 64, 64],
        [4, 112, 12, 72, 40, 20],
    ]);
    (widths, 1u32..40).prop_map(|(widths, point_feature)| ModelConfig {
        point_feature,
        ..of_widths(widths)
    })
}

fn of_widths(widths: [u32; 6]) -> ModelConfig {
    ModelConfig {
        plane_channels: widths[0],
        point_hidden: widths[1],
        point_output: widths[2],
        feature_hidden: widths[3],
        rgb_hidden: widths[4],
        low_res_channels: widths[5],
        ..ModelConfig::default()
    }
}

fn by_either_weighting(sizes: ModelConfig) -> [ModelConfig; 2] {
    [PointWeighting::Released, PointWeighting::Paper].map(|point_weighting| ModelConfig {
        point_weighting,
        ..sizes.clone()
    })
}

fn shine_on_both(formats: Formats, weights: &Weights, scene: &Scene) {
    for gpu in [gpu(), subgroups()] {
        shine(gpu, formats, weights, scene);
    }
}

#[test]
fn the_field_of_every_size() {
    let cases = (any::<u64>(), sizes(), select(field_formats().to_vec()));
    check(12, cases, |(seed, sizes, formats)| {
        for sizes in by_either_weighting(sizes) {
            let weights = weights(seed, sizes);
            shine_on_both(formats, &weights, &Scene::new(seed, weights.config()));
        }
    });
}

#[test]
fn the_field_of_every_number_of_neighbours() {
    for neighbours in [1, 4, 5, 8] {
        let sizes = ModelConfig {
            neighbours,
            ..ModelConfig::default()
        };
        for sizes in by_either_weighting(sizes) {
            let weights = weights(2, sizes);
            shine_on_both(Formats::F32, &weights, &Scene::new(2, weights.config()));
        }
    }
}

#[test]
fn workgroups_without_any_opacity_are_skipped() {
    for sizes in by_either_weighting(ModelConfig::default()) {
        let weights = weights(4, sizes.clone());
        let mut scene = Scene::new(4, weights.config());
        let samples = scene.at.samples;
        // Enough consecutive rays miss the cube to put the samples 63..140 outside.
        for ray in 9..20 {
            scene.at.directions[ray] = Vec3::new(0.0, 0.0, 1.0);
            let depths = &mut scene.at.depths[ray * samples..][..samples];
            for (i, depth) in depths.iter_mut().enumerate() {
                *depth = 2.0 + i as f32 / 4.0;
            }
        }
        // The inside of the cube is empty, too.
        let empty = weights_of_density(-6.0, 4, sizes);
        for gpu in [gpu(), subgroups()] {
            for formats in field_formats() {
                let owned = skipped_together(gpu) as usize;
                let all = scene.at.depths.len().div_ceil(owned);
                let outside = 140 / owned - 63usize.div_ceil(owned);
                let skipped = shine(gpu, formats, &weights, &scene);
                // A few samples may be without opacity elsewhere, too.
                let most = outside + usize::from(owned < 32);
                assert!(
                    (outside..=most).contains(&skipped),
                    "{formats:?}: {skipped}"
                );
                let skipped = shine(gpu, formats, &empty, &scene);
                assert_eq!(skipped, all, "{formats:?}");
            }
        }
    }
}

#[test]
fn a_sample_on_a_point_stays_finite() {
    for sizes in by_either_weighting(ModelConfig::default()) {
        let weights = weights(3, sizes);
        let mut scene = Scene::new(3, weights.config());
        scene.put_points_on_samples();
        shine_on_both(Formats::F32, &weights, &scene);
    }
}

/// Densities that are the layer's bias alone: 1e-9 to more than 1 as opacities.
#[test]
fn opacities_keep_single_precision_in_nearly_empty_space() {
    for gpu in [gpu(), software(), subgroups()] {
        for formats in field_formats() {
            let mut smallest = f64::INFINITY;
            // Multiples of 1/8 are exact in 16 bits, too.
            for eighths in -15..=16 {
                let bias = eighths as f32 / 8.0;
                let weights = weights_with(6, ModelConfig::default(), |rules| {
                    rules.set_constant("nerf_mlp.density_layers.0.weight", 0.0);
                    rules.set_constant("nerf_mlp.density_layers.0.bias", bias);
                });
                let scene = Scene::new(6, weights.config());
                let samples = shone(ProgramBuilder::new(gpu, formats), &weights, &scene);
                let found = read_values(gpu, &samples.opacities);
                let expected = -(-double::shared::softplus(bias.into())).exp_m1();
                let seen = found.iter().filter(|opacity| **opacity != 0.0);
                let seen: Vec<f64> = seen.map(|opacity| f64::from(*opacity)).collect();
                assert!(seen.len() > found.len() / 4);
                for found in seen {
                    let error = (found / expected - 1.0).abs();
                    let what = format_args!("{:?}, {formats:?}, bias {bias}", gpu.kind());
                    assert!(error <= 1e-5, "{what}: {found:e} for {expected:e}");
                }
                smallest = smallest.min(expected);
            }
            assert!(smallest < 1e-9);
        }
    }
}

// ---- harmonic embedding --------------------------------------------------------------------

#[test]
fn harmonic_embeddings_keep_single_precision() {
    // A layer that passes every embedded number on, and one zero.
    const OUTPUTS: usize = 28;
    let harmonics = ModelConfig::HARMONICS as usize;
    let mut layer = vec![0.0f32; harmonics * OUTPUTS];
    for i in 0..harmonics {
        layer[i * OUTPUTS + i] = 1.0;
    }
    let field = Field {
        weights: input(gpu(), &[0.0f32]),
        view: input(gpu(), &layer),
        layout: params::Field {
            rgb_hidden: OUTPUTS as u32 / 4,
            ..Default::default()
        },
        work: 0.0,
    };
    let directions = random_vectors(4, "directions", 500).into_iter();
    let mut directions: Vec<Vec3> = directions.map(Vec3::normalize).collect();
    directions.extend(Vec3::AXES.iter().flat_map(|axis| [*axis, -*axis]));
    let layout = params::Rays {
        count: directions.len() as u32,
        stride: 1 + OUTPUTS as u32 / 4,
        ..Default::default()
    };
    let rays = rays_in(gpu(), layout, &directions);
    run(gpu(), &[], |b| field.view(b, &rays).unwrap());

    let elements = 4 * layout.count * layout.stride;
    let found = written(gpu(), &rays.tensor, elements as usize);
    for (found, direction) in found.chunks_exact(4 + OUTPUTS).zip(&directions) {
        assert_eq!(&found[..3], &direction.to_array());
        let mut expected = shared::harmonic(*direction).to_vec();
        expected.push(0.0);
        // Each of three doublings doubles the error of the angle, and adds its own.
        assert_close("γ", &found[4..], &expected, |_| 10.0 * f32::EPSILON);
    }
}
