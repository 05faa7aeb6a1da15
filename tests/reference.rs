//! The scalar reference at the edges of its domain, and where no golden file reaches.

mod common;

use common::{Within, case, difference, sources, vectors};
use glam::{Mat3, Vec3};
use gpavatar::reference::field::{FieldWeights, field, point_features, sample_planes};
use gpavatar::reference::pipeline::{build, prepare, render};
use gpavatar::reference::points::{Neighbour, Walk, nearest, nearest_in_clusters, weight_sums};
use gpavatar::reference::style_unet::{Conv, Noise, Residual, conv, resample, style_unet};
use gpavatar::reference::{Tensor, fusion, head, output, rays, shared, source};
use gpavatar::{Attention, Background, Camera, Error, ModelConfig, PointWeighting, SourceImage};

/// Deterministic test data in [-1, 1).
fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn noise_tensor<const N: usize>(shape: [usize; N], seed: u64) -> Tensor {
    Tensor::new(shape, noise(shape.iter().product(), seed))
}

/// A camera looking along +z from `position`.
fn ahead_from(position: [f32; 3]) -> Camera {
    let [x, y, z] = position;
    Camera::from_transform([
        [1.0, 0.0, 0.0, -x],
        [0.0, 1.0, 0.0, -y],
        [0.0, 0.0, 1.0, -z],
    ])
}

#[test]
fn camera_inside_the_cube_keeps_or_clamps_near() {
    let camera = ahead_from([0.0; 3]);
    let inside = rays::generate(&camera, 5);
    let clamped = rays::generate(&camera.with_clamp_near(true), 5);
    for ray in 0..25 {
        // Seen from its centre, the cube reaches as far back as ahead, 1/|d_z|.
        let reach = 1.0 / inside.directions[ray].z;
        assert!((inside.far[ray] - reach).abs() < 1e-6);
        assert_eq!(inside.near[ray], -inside.far[ray]);
        assert_eq!(clamped.near[ray], 0.0);
        assert_eq!(clamped.far[ray], inside.far[ray]);
    }
    let depths = rays::coarse_depths(&inside, 4);
    assert!(depths.chunks_exact(4).all(|d| d[1] < 0.0 && d[2] > 0.0));
}

#[test]
fn rays_that_miss_the_cube_or_leave_it_behind_are_marked() {
    let behind = rays::generate(&ahead_from([0.0, 0.0, 5.0]).with_clamp_near(true), 4);
    let beside = rays::generate(&ahead_from([5.0, 0.0, -5.0]), 4);
    for rays in [behind, beside] {
        assert!(rays.near.iter().chain(&rays.far).all(|t| *t == -1.0));
        assert!(rays::coarse_depths(&rays, 8).iter().all(|t| *t == -1.0));
    }
}

#[test]
fn rays_run_left_to_right_and_top_to_bottom() {
    let rays = rays::generate(&ahead_from([0.0; 3]).with_focal(2.0), 3);
    // +x is left and +y up, so the first pixel looks to (+½, +½, 1).
    let corner = Vec3::new(0.5, 0.5, 1.0).normalize();
    assert!(rays.directions[0].abs_diff_eq(corner, 1e-7));
    assert_eq!(rays.directions[4], Vec3::Z);
    assert!(rays.directions[5].x < 0.0 && rays.directions[5].y == 0.0);
}

#[test]
fn importance_of_equal_weights_is_equidistant() {
    // Equal weights, none at all included, make the distribution function a straight line.
    let depths: Vec<f32> = (0..8).map(|i| 3.0 + i as f32).collect();
    for weight in [0.0, 0.125] {
        let fine = rays::importance(&depths, &[weight; 8], 8, 14);
        for (j, t) in fine[1..13].iter().enumerate() {
            let expected = 3.0 + (j as f32 + 1.5) * 0.5;
            assert!((t - expected).abs() < 1e-5, "{t} instead of {expected}");
        }
    }
}

#[test]
fn importance_survives_a_distribution_without_steps() {
    // A first weight of 1e12 leaves every further step at 1e-17: the function is 1 throughout,
    // and the samples fall into the middle of the last interval.
    let depths = [1.0, 2.0, 3.0, 4.0];
    let fine = rays::importance(&depths, &[1e12, 0.0, 0.0, 0.0], 4, 3);
    assert_eq!(fine, [3.5, 3.5, 3.5]);
}

#[test]
fn importance_of_a_missing_ray_stays_at_its_one_depth() {
    let fine = rays::importance(&[-1.0; 8], &[0.0; 8], 8, 8);
    assert_eq!(fine, [-1.0; 8]);
}

#[test]
fn importance_concentrates_where_the_weight_is() {
    let depths: Vec<f32> = (0..8).map(|i| i as f32).collect();
    let mut weights = [0.0; 8];
    weights[5] = 1.0;
    let fine = rays::importance(&depths, &weights, 8, 16);
    // The function climbs between the mid-points 4 and 5.
    assert!(fine.iter().all(|t| (4.0..=5.0).contains(t)), "{fine:?}");
    assert!(fine.is_sorted());
}

#[test]
fn composite_stops_at_an_opaque_sample() {
    let shares = rays::composite(&[0.25, 0.5, 1.0, 0.5], 4);
    assert_eq!(shares, [0.25, 0.375, 0.375, 0.0]);
}

/// A field of made-up weights around a hundred points.
fn small_field() -> (FieldWeights, Vec<Vec3>) {
    let layer = |inputs: usize, outputs: usize, seed: u64| {
        shared::Linear::new(&noise(inputs * outputs, seed), &noise(outputs, seed + 100))
    };
    let weights = FieldWeights {
        points_feature: noise_tensor([100, 4], 1),
        point_layers: [layer(4 + 27, 8, 2), layer(8, 6, 3)],
        feature_layers: [layer(4 + 6, 8, 4), layer(8, 8, 5), layer(8, 8, 6)],
        density_layer: layer(8, 1, 7),
        rgb_layers: [layer(8 + 27, 8, 8), layer(8, 5, 9)],
    };
    (weights, vectors(&noise(300, 10)))
}

#[test]
fn a_sample_on_a_point_stays_finite() {
    let (weights, points) = small_field();
    let nearby = points[41] + Vec3::new(1e-3, 0.0, 0.0);
    let positions = [points[7], nearby];
    let neighbours = nearest(&positions, &points, 4);
    assert_eq!((neighbours[0].index, neighbours[0].dist2), (7, 0.0));
    let sums = weight_sums(&neighbours, 4);
    assert_eq!(sums[0], 1e12 + 1.0 / neighbours[4].dist2);

    for weighting in [PointWeighting::Released, PointWeighting::Paper] {
        let features = point_features(&weights, weighting, &positions, &points, &neighbours, &sums);
        assert!(features.data.iter().all(|v| v.is_finite()), "{weighting:?}");

        let planes = sample_planes(&noise_tensor([8, 8, 12], 11), &positions);
        let radiance = field(&weights, &planes, &features, &positions, &[Vec3::Z; 2]);
        assert!(radiance.opacity.iter().all(|a| (0.0..=1.0).contains(a)));
        assert!(radiance.values.data.iter().all(|v| v.is_finite()));
    }

    // The paper's weights give everything to the point that the sample lies on: each neighbour at a
    // distance of about 0.1 has a share of 1e-6.
    let paper = |neighbours: &[Neighbour]| {
        let (weighting, at) = (PointWeighting::Paper, &positions[..1]);
        point_features(&weights, weighting, at, &points, neighbours, &[])
    };
    let (one, four) = (paper(&neighbours[..1]), paper(&neighbours[..4]));
    for (one, four) in one.data.iter().zip(&four.data) {
        assert!((one - four).abs() < 1e-3, "{one} {four}");
    }
}

#[test]
fn opacity_vanishes_outside_the_open_cube() {
    let (weights, points) = small_field();
    let below_one = 1.0f32.next_down();
    let positions = [
        Vec3::splat(below_one),
        Vec3::new(1.0, 0.0, 0.0),
        Vec3::new(0.0, -1.0, 0.0),
        Vec3::new(0.0, 0.0, 1.5),
        Vec3::new(0.0, f32::NAN, 0.0),
    ];
    let planes = Tensor::zeros([5, 4]);
    let neighbours = nearest(&positions, &points, 2);
    let sums = weight_sums(&neighbours, 2);
    let weighting = PointWeighting::Released;
    let features = point_features(&weights, weighting, &positions, &points, &neighbours, &sums);
    let radiance = field(&weights, &planes, &features, &positions, &[Vec3::X; 5]);
    assert!(radiance.opacity[0] > 0.0);
    assert_eq!(radiance.opacity[1..], [0.0; 4]);
}

#[test]
fn nearest_points_are_sorted_and_ties_go_to_the_lower_index() {
    let mut points = vectors(&noise(600, 21));
    points[150] = points[20];
    points[60] = points[20];
    let positions = [points[20] + Vec3::splat(0.01), Vec3::splat(0.3)];
    let found = nearest(&positions, &points, 8);
    for (position, found) in positions.iter().zip(found.chunks_exact(8)) {
        let at = |(index, point): (usize, &Vec3)| Neighbour {
            index,
            dist2: position.distance_squared(*point),
        };
        let mut all: Vec<Neighbour> = points.iter().enumerate().map(at).collect();
        all.sort_by(|a, b| a.dist2.total_cmp(&b.dist2));
        assert_eq!(found, &all[..8]);
    }
    assert_eq!([0, 1, 2].map(|i| found[i].index), [20, 60, 150]);
}

#[test]
fn searches_in_clusters_find_the_nearest_points_with_fewer_distances() {
    let points = vectors(&noise(600, 33));
    let samples = 12;
    // Two bundles of eight rays.
    let starts = vectors(&noise(2 * 3, 34));
    let positions: Vec<Vec3> = (0..16)
        .map(|ray| starts[ray / 8] + (ray % 8) as f32 * 0.01 * Vec3::X)
        .flat_map(|start| (0..samples).map(move |i| start + i as f32 * Vec3::splat(0.02)))
        .collect();
    let expected = nearest(&positions, &points, 8);
    for (segment, together) in [(5, 1), (samples, 1), (samples, 8)] {
        let walk = Walk {
            samples,
            segment,
            together,
        };
        let (found, tests) = nearest_in_clusters(&positions, walk, &points, 8);
        assert_eq!(found, expected, "{walk:?}");
        let all = (positions.len() * points.len()) as u64;
        assert!(tests.points < all / 2, "{walk:?}: {tests:?} of {all}");
    }
}

#[test]
fn plane_samples_fade_over_half_a_texel_beyond_the_border() {
    // Only plane 0 holds anything: a constant 3, a third of which is the mean.
    let mut planes = Tensor::zeros([4, 4, 3]);
    planes.data.iter_mut().step_by(3).for_each(|v| *v = 3.0);
    let texel = 2.0 / 4.0;
    let at = |x: f32| sample_planes(&planes, &[Vec3::new(x, 0.0, 0.0)]).data[0];
    assert_eq!(at(0.0), 1.0);
    assert_eq!(at(1.0 - texel / 2.0), 1.0);
    assert_eq!(at(1.0), 0.5);
    assert_eq!(at(1.0 + texel / 2.0), 0.0);
    assert_eq!(at(-30.0), 0.0);
}

#[test]
fn planes_are_read_at_xy_xz_zy() {
    // Texel values that reveal the plane, the row and the column.
    let mut planes = Tensor::zeros([4, 4, 3]);
    for (i, value) in planes.data.iter_mut().enumerate() {
        let (texel, plane) = (i / 3, i % 3);
        *value = 3.0 * ((texel / 4) * 10 + texel % 4) as f32 * 100f32.powi(plane as i32);
    }
    // Centres of texels 0, 1, 2, 3 lie at -¾, -¼, ¼, ¾; x in column 0, y in 1, z in 3.
    let position = Vec3::new(-0.75, -0.25, 0.75);
    let found = sample_planes(&planes, &[position]).data[0];
    let (xy, xz, zy) = (10.0, 30.0, 13.0);
    assert_eq!(found, xy + 100.0 * xz + 10_000.0 * zy);
}

#[test]
fn attention_as_a_ratio() {
    // Products q·k of 3 and 1, then of 1 and -1, whose sum has no direction to share along.
    let query = Tensor::new([1, 2, 3], vec![1.0; 6]);
    let key = |a: f32, b: f32| Tensor::new([1, 2, 3], vec![a, a, a, b, b, b]);
    let keys = [key(3.0, 1.0), key(1.0, -1.0)];
    let found = fusion::attention(Attention::Ratio, &query, &keys, 7.0);
    assert_eq!(found.shape, [1, 2, 3, 2]);
    assert_eq!(found.data[..6], [0.75, 0.25, 0.75, 0.25, 0.75, 0.25]);
    assert_eq!(found.data[6..], [0.5; 6]);

    let planes = [4.0, 8.0].map(|value| Tensor::new([1, 2, 3], vec![value; 6]));
    let fused = fusion::fuse(&planes, &found).data;
    assert_eq!(fused, [5.0, 5.0, 5.0, 6.0, 6.0, 6.0]);
}

#[test]
fn attention_as_a_softmax_survives_large_products() {
    let query = Tensor::new([1, 1, 3], vec![1e4; 3]);
    let keys = [1e4, -1e4].map(|value| Tensor::new([1, 1, 3], vec![value; 3]));
    let found = fusion::attention(Attention::Softmax, &query, &keys, 1.0);
    assert_eq!(found.data, [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
}

#[test]
fn a_pointwise_convolution_commutes_with_resampling() {
    let x = noise_tensor([6, 10, 3], 31);
    let (weight, bias) = (noise(12, 32), noise(4, 33));
    let pointwise = Conv {
        weight: &weight,
        size: 1,
        outputs: 4,
        bias: Some(&bias),
        ..Conv::default()
    };
    let activated = Conv {
        lrelu: true,
        ..pointwise
    };
    let after = conv(&resample(&x, [12, 20], false), &activated);
    let before = resample(&conv(&x, &pointwise), [12, 20], true);
    // Values of order one, a handful of roundings.
    difference("commuted", &before.data, &after.data).all_within(1e-6);
}

#[test]
fn a_convolution_applies_its_parts_in_order() {
    // One pixel, one input: only the centre tap of the 3x3 filter sees it.
    let [x, scale, shift, same] =
        [3.0, 10.0, 0.5, 100.0].map(|value| Tensor::new([1, 1, 1], vec![value]));
    let mut weight = [9.0; 9];
    weight[4] = 2.0;
    let all = Conv {
        weight: &weight,
        size: 3,
        outputs: 1,
        modulation: Some(&[-1.0]),
        demodulation: Some(&[0.5]),
        noise: Some((&[4.0], 0.25)),
        bias: Some(&[-3.0]),
        lrelu: true,
        affine: Some((&scale, &shift)),
        residual: Residual::Same(&same),
    };
    // lrelu(0.5 · (2 · -1 · 3) + 0.25 · 4 - 3) = lrelu(-5) = -1, then · 10 + 0.5 + 100.
    assert_eq!(conv(&x, &all).data, [90.5]);
}

#[test]
fn activations_at_known_values() {
    // Φ(1) and Φ(-2) from tables of the normal distribution, to a float's precision.
    assert!((shared::gelu(1.0) - 0.841_344_8).abs() < 1e-7);
    assert!((shared::gelu(-2.0) + 0.045_500_264).abs() < 1e-8);
    assert_eq!(shared::gelu(20.0), 20.0);
    assert_eq!(shared::gelu(-20.0), 0.0);
    assert!((shared::softplus(0.0) - 0.069_314_72).abs() < 1e-8);
    assert_eq!(shared::softplus(1e30), 1e30);
    assert_eq!(shared::softplus(-1e30), 0.0);
    assert_eq!(shared::sigmoid_wide(f32::NEG_INFINITY), -0.001);
    let harmonic = shared::harmonic(Vec3::new(0.1, 0.2, 0.3));
    // sin(0.2 · 4), cos(0.3 · 8), z.
    assert!((harmonic[6] - 0.717_356_1).abs() < 1e-6);
    assert!((harmonic[23] + 0.737_393_7).abs() < 1e-6);
    assert_eq!(harmonic[26], 0.3);
}

#[test]
fn rotation_by_a_vector() {
    // SMPL's shift of 1e-8 leaves no rotation exactly as it is.
    assert_eq!(head::rodrigues(Vec3::ZERO), Mat3::IDENTITY);
    let r = Vec3::new(0.3, -1.2, 0.7);
    let expected = Mat3::from_axis_angle(r.normalize(), r.length());
    assert!(head::rodrigues(r).abs_diff_eq(expected, 1e-6));
}

#[test]
fn depth_puts_the_background_farthest() {
    // Half a surface at 2 before a background at 10: 1 + 5.
    let depth = output::normalise_depth(&[4.0, 1.0, 0.0], &[1.0, 0.5, 0.0], 10.0);
    let expected = [0.0, 2.0 / 6.0, 1.0];
    let close = |(d, e): (&f32, f32)| (d - e).abs() < 1e-6;
    assert!(depth.iter().zip(expected).all(close), "{depth:?}");
    assert_eq!(output::normalise_depth(&[3.0; 4], &[1.0; 4], 9.0), [0.0; 4]);
}

#[test]
fn display_rounds_clamps_and_divides_by_alpha() {
    let image = Tensor::new([1, 2, 3], vec![-0.001, 0.5, 1.001, 0.25, 0.0, 0.125]);
    let field = Tensor::new([1, 1, 4], vec![0.25, 0.0, 0.125, 0.5]);
    let opaque = output::display(&image, Background::Black, &field);
    assert_eq!(opaque, [0, 128, 255, 255, 64, 0, 32, 255]);
    // 0.54 of the foreground (0.5, 0, 0.25), of which nine tenths count as all.
    let image = Tensor::new([1, 2, 3], vec![0.0, 0.0, 0.0, 0.27, 0.0, 0.135]);
    let straight = output::display(&image, Background::Straight, &field);
    assert_eq!(straight, [0, 0, 0, 0, 115, 0, 57, 153]);
    let premultiplied = output::display(&image, Background::Premultiplied, &field);
    assert_eq!(premultiplied, [0, 0, 0, 0, 69, 0, 34, 153]);
}

#[test]
fn a_warp_fades_at_the_border_with_the_square_of_the_coverage() {
    let picture = Tensor::new([4, 4, 3], vec![1.0; 48]);
    // A quarter of a pixel to the left: column 0 of the view samples ¾ of the picture's.
    let homography = [[1.0, 0.0, -0.25], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    let view = source::warp(&picture, &homography, 4);
    assert_eq!(view.pixel(2, 0), [0.75 * 0.75; 3]);
    assert_eq!(view.pixel(2, 1), [1.0; 3]);
}

#[test]
fn a_canonical_source_of_the_right_size_passes_unchanged() {
    let config = ModelConfig {
        source_size: 8,
        ..ModelConfig::default()
    };
    let pixels: Vec<u8> = (0..8 * 8).flat_map(|i| [i, 2 * i, 3 * i, 255]).collect();
    let source = SourceImage::from_rgba8(8, 8, pixels).unwrap();
    let view = prepare(&config, &source).unwrap();
    let expected = (0..8 * 8)
        .flat_map(|i| [i, 2 * i, 3 * i])
        .map(|v| v as f32 / 255.0);
    assert_eq!(view, Tensor::new([8, 8, 3], expected.collect()));
}

#[test]
fn given_noise_maps_replace_the_stored_ones() {
    let case = case("small_paper_one_source");
    let encoder = case.weights.config().encoder();
    let maps: Vec<Vec<f32>> = (0..7)
        .map(|i| format!("style_tplane.stylegan_decoder.noises.noise{i}"))
        .map(|name| case.weights.f32(&name).unwrap().into_owned())
        .collect();
    let encode = |noise| {
        let planes = style_unet(&case.weights, &encoder, &sources(&case)[0], noise);
        planes.unwrap().data
    };
    let stored = encode(Noise::Stored);
    assert_eq!(encode(Noise::Maps(&maps)), stored);
    let silent: Vec<Vec<f32>> = maps.iter().map(|map| vec![0.0; map.len()]).collect();
    let without = encode(Noise::Zero);
    assert_eq!(encode(Noise::Maps(&silent)), without);
    assert_ne!(without, stored);
}

#[test]
fn unusable_input_is_an_error() {
    let case = case("small_paper_one_source");
    let build = |sources: &[Tensor]| build(&case.weights, sources, Noise::Stored).map(|_| ());
    let mut too_bright = sources(&case)[0].clone();
    too_bright.data[5] = 1.5;
    let mut not_a_number = sources(&case)[0].clone();
    not_a_number.data[5] = f32::NAN;
    let planes = Tensor::zeros([32, 32, 96]);
    let render = |planes: &Tensor, points: &[Vec3], camera: &Camera| {
        render(&case.weights, planes, points, camera, Noise::Stored).map(|_| ())
    };
    let mut infinite_points = case.points.clone();
    infinite_points[17].y = f32::INFINITY;
    let results = [
        build(&[]),
        build(&[Tensor::zeros([32, 64, 3])]),
        build(&[too_bright]),
        build(&[not_a_number]),
        render(&Tensor::zeros([32, 32, 48]), &case.points, &case.camera),
        render(&planes, &case.points[1..], &case.camera),
        render(&planes, &infinite_points, &case.camera),
        render(&planes, &case.points, &case.camera.with_focal(0.0)),
    ];
    for result in results {
        assert!(matches!(result, Err(Error::Argument { .. })), "{result:?}");
    }
}
