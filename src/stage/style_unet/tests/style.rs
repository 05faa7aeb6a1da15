use proptest::prelude::*;

use crate::gpu::kernels::{params, style_unet as kernels};
use crate::gpu::{Gpu, Tensor};
use crate::options::{Format, Formats};
use crate::reference::style_unet as twin;
use crate::stage::style_unet::Linear;
use crate::stage::style_unet::conv::quantise;
use crate::stage::testing::*;
use crate::weights::pack;

fn weights_in(format: Format) -> Formats {
    Formats {
        weights: format,
        ..Formats::F32
    }
}

fn weight_formats() -> impl Strategy<Value = Format> {
    proptest::sample::select(vec![Format::F32, Format::Snorm16])
}

pub(super) fn multiply(
    gpu: &Gpu,
    format: Format,
    seed: u64,
    [rows, columns]: [u32; 2],
    activate: bool,
    normalise: bool,
) {
    let random = |name: &str, count: u32| random(seed, name, count as usize);
    let x = random("input", columns);
    let weights = random("weights", rows * columns);
    let weights = rounded_weights(format, weights, columns as usize);
    let bias = random("bias", rows);
    let layer = Linear::new(gpu, "linear".into(), (weights.clone(), format), &bias).unwrap();
    let parameters = params::Linear {
        rows,
        columns: columns / 4,
        activate: activate.into(),
        normalise: normalise.into(),
    };
    let row_threads = 8 << (seed % 4);
    let kernel = (&kernels::LINEAR, [("ROW_THREADS", row_threads)]);
    let found = computed(gpu, weights_in(format), rows as usize, kernel, |dispatch| {
        dispatch
            .uniform("size", parameters)
            .bind("input", &input(gpu, &x))
            .bind("weights", &layer.weights)
            .bind("rows", &layer.rows)
            .threads([row_threads * rows, 1, 1])
    });
    let normalised = normalise.then(|| twin::style_normalise(&x));
    let x = normalised.unwrap_or(x);
    let expected = twin::linear(&x, &weights, &bias, activate);
    let absolute = |values: &[f32]| values.iter().map(|v| v.abs()).collect::<Vec<_>>();
    let [x, weights, bias] = [&x, &weights, &bias].map(|values| absolute(values));
    let magnitude = twin::linear(&x, &weights, &bias, false);
    let what = format!("{rows} x {columns}, activate {activate}, normalise {normalise}");
    // As for convolutions.
    assert_close(&what, &found, &expected, |i| {
        4.0 * f32::EPSILON * magnitude[i]
    });
}

#[test]
fn matrices_multiply_vectors() {
    let how = (weight_formats(), any::<[bool; 2]>());
    let cases = (any::<u64>(), 1u32..=70, 1u32..=160, how);
    check(24, cases, |(seed, rows, vec4s, how)| {
        let (format, [activate, normalise]) = how;
        multiply(gpu(), format, seed, [rows, 4 * vec4s], activate, normalise);
    });
}

#[test]
fn a_style_of_zeros_stays_finite_when_normalised() {
    let kernel = (&kernels::LINEAR, []);
    let parameters = params::Linear {
        rows: 1,
        columns: 2,
        activate: 0,
        normalise: 1,
    };
    let found = computed(gpu(), Formats::F32, 1, kernel, |dispatch| {
        dispatch
            .uniform("size", parameters)
            .bind("input", &input(gpu(), &[0.0f32; 8]))
            .bind("weights", &input(gpu(), &[1.0f32; 8]))
            .bind("rows", &input(gpu(), &[1.0, 0.25f32]))
    });
    assert_eq!(found, [0.25]);
}

/// Demodulates 3x3 layers of these outputs and inputs, each followed by rows without channels up to
/// a whole vec4.
pub(super) fn demodulate(gpu: &Gpu, format: Format, seed: u64, layers: &[(usize, usize)]) {
    let (mut rows, mut squares, mut modulation, mut expected) = (vec![], vec![], vec![], vec![]);
    for (layer, &(outputs, inputs)) in layers.iter().enumerate() {
        let weight = random(seed, &format!("weight {layer}"), outputs * inputs * 9);
        let style = random(seed, &format!("style {layer}"), inputs);
        let vec4s = inputs.div_ceil(4);
        let square = |kernel: &[f32]| kernel.iter().map(|w| w * w).sum();
        let sums: Vec<f32> = weight.chunks_exact(9).map(square).collect();
        let mut sums = pack::rows(&sums, inputs as u32);
        for (output, scale) in quantise(&mut sums, outputs, format).into_iter().enumerate() {
            let first = squares.len() / 4 + output * vec4s;
            let row = [first, modulation.len() / 4, vec4s].map(|value| value as u32);
            rows.push([row[0], row[1], row[2], scale.to_bits()]);
        }
        rows.resize(rows.len().next_multiple_of(4), [0; 4]);
        squares.extend(sums);
        modulation.extend(pack::vector(&style));
        let factors = twin::demodulation(&weight, &style, outputs);
        expected.extend(factors.iter().map(|d| d * std::f32::consts::SQRT_2));
        // √2 / √1e-8
        expected.resize(rows.len(), 14_142.136);
    }
    let squares = Tensor::from_values(gpu, "squares", format, &squares).unwrap();
    let parameters = params::Demodulation::from(rows.len() as u32);
    let row_threads = 8 << (seed % 4);
    let kernel = (&kernels::DEMODULATION, [("ROW_THREADS", row_threads)]);
    let found = computed(gpu, weights_in(format), rows.len(), kernel, |dispatch| {
        dispatch
            .uniform("size", parameters)
            .bind("rows", &input(gpu, &rows))
            .bind("squares", &squares)
            .bind("modulation", &input(gpu, &modulation))
            .threads([row_threads * parameters.rows, 1, 1])
    });
    // All terms are positive, so the sums are good to a few units in the last place of both twins,
    // and the root halves that, also what rounding moves squares by: at most 1/65534 of the largest,
    // where sums over random filters are all of one order and styles differ more.
    let rounded = match format {
        Format::Snorm16 => 1e-4,
        _ => 0.0,
    };
    assert_close(&format!("{layers:?}, {format:?}"), &found, &expected, |i| {
        (4.0 * f32::EPSILON + rounded) * expected[i]
    });
}

#[test]
fn demodulation_of_several_layers() {
    let layer = || (1usize..=40, 1usize..=70);
    let layers = prop::collection::vec(layer(), 1..=4);
    let cases = (any::<u64>(), weight_formats(), layers);
    check(12, cases, |(seed, format, layers)| {
        demodulate(gpu(), format, seed, &layers);
    });
}
