use crate::gpu::kernels::{params, style_unet as kernels};
use crate::gpu::{Dispatch, Gpu, Tensor};
use crate::stage::testing::*;

pub(super) fn generate_noise(gpu: &Gpu, count: usize, seed: [u32; 2]) -> Vec<f32> {
    let globals = params::Globals {
        seed,
        ..Default::default()
    };
    let globals = Tensor::uniform(gpu, "globals", &[globals]).unwrap();
    let kernel = gpu.kernel(&kernels::NOISE, &[]).unwrap();
    let maps = output(gpu, 2 * count);
    run(gpu, &[], |b| {
        b.dispatch(
            Dispatch::new("noise", &kernel)
                .uniform("size", params::Noise::from(count as u32))
                .bind("globals", &globals)
                .bind("noise", &maps)
                .row_of_threads(count as u32),
        );
    });
    let mut noise = written(gpu, &maps, 2 * count);
    let generated = noise.split_off(count);
    let kept = noise.iter().all(|value| value.to_bits() == u32::MAX);
    assert!(kept, "the stored maps are overwritten");
    generated
}

/// The mean of `f` over all values.
fn mean(values: &[f32], f: impl Fn(f64) -> f64) -> f64 {
    values.iter().map(|v| f(f64::from(*v))).sum::<f64>() / values.len() as f64
}

/// Mean of the products of neighbours at a distance.
fn correlation(left: &[f32], right: &[f32]) -> f64 {
    let pairs = left.iter().zip(right);
    let products = pairs.map(|(a, b)| f64::from(*a) * f64::from(*b));
    products.sum::<f64>() / left.len().min(right.len()) as f64
}

#[test]
fn generated_noise_is_standard_normal_and_independent() {
    const COUNT: usize = 200_001;
    let noise = generate_noise(gpu(), COUNT, [12345, 678]);
    // Five standard errors of each estimate.
    let within = |what: &str, found: f64, expected: f64, variance: f64| {
        let tolerance = 5.0 * (variance / COUNT as f64).sqrt();
        let difference = (found - expected).abs();
        assert!(
            difference < tolerance,
            "{what} {found}, expected {expected} ± {tolerance}"
        );
    };
    within("mean", mean(&noise, |v| v), 0.0, 1.0);
    within("variance", mean(&noise, |v| v * v), 1.0, 2.0);
    within("skewness", mean(&noise, |v| v.powi(3)), 0.0, 15.0);
    within("kurtosis", mean(&noise, |v| v.powi(4)), 3.0, 96.0);
    // 24 bits reach √(2 ln 2²⁴) = 5.77. The largest of this many numbers is below 4 with a
    // probability of 1 in 3e5.
    let largest = noise.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    assert!((4.0..5.8).contains(&largest), "largest {largest}");
    let uncorrelated =
        |what: &str, other: &[f32]| within(what, correlation(&noise, other), 0.0, 1.0);
    for distance in [1, 2, 3, 64, 256] {
        uncorrelated("correlation", &noise[distance..]);
    }
    for seed in [[12346, 678], [12345, 679], [678, 12345]] {
        let other = generate_noise(gpu(), COUNT, seed);
        uncorrelated("correlation of two seeds", &other);
    }
    assert_eq!(generate_noise(gpu(), COUNT, [12345, 678]), noise);
}

/// Like the shader, except for the accuracy of the functions.
fn gaussian(counter: u32, seed: [u32; 2]) -> f64 {
    let mut v =
        [counter, seed[0], seed[1]].map(|x| x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let mix = |v: &mut [u32; 3]| {
        for (target, a, b) in [(0, 1, 2), (1, 2, 0), (2, 0, 1)] {
            v[target] = v[target].wrapping_add(v[a].wrapping_mul(v[b]));
        }
    };
    mix(&mut v);
    v = v.map(|x| x ^ x >> 16);
    mix(&mut v);
    let unit = |bits: u32| f64::from(bits >> 8) / f64::from(1 << 24);
    let radius = (-2.0 * (unit(v[0]) + f64::powi(2.0, -24)).ln()).sqrt();
    radius * (std::f64::consts::TAU * (unit(v[1]) - 0.5)).cos()
}

#[test]
fn generated_noise_is_the_same_on_every_device() {
    let seed = [0xdead_beef, 0x0bad_cafe];
    let expected: Vec<f32> = (0..1000).map(|i| gaussian(i, seed) as f32).collect();
    let found = generate_noise(gpu(), 1000, seed);
    // Each of two doublings doubles the error of the cosine, which is scaled by up to 5.8.
    assert_close("noise", &found, &expected, |_| 2e-6);
}
