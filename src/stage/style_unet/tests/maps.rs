use proptest::prelude::*;

use crate::gpu::kernels::{params, style_unet as kernels};
use crate::gpu::{Dispatch, Gpu};
use crate::options::Format;
use crate::reference::style_unet as twin;
use crate::stage::testing::*;

pub(super) fn resize(
    gpu: &Gpu,
    format: Format,
    seed: u64,
    [from, to]: [[u32; 2]; 2],
    channels: u32,
    activate: bool,
) {
    let shape = [from[0], from[1], channels].map(|n| n as usize);
    let map = rounded_map(format, random_map(seed, "map", shape));
    let vec4s = channels.div_ceil(4);
    let parameters = params::Resample {
        input_width: from[1],
        input_height: from[0],
        width: to[1],
        height: to[0],
        channels: vec4s,
        activate: activate.into(),
        ..Default::default()
    };
    let elements = (to[0] * to[1] * vec4s * 4) as usize;
    let kernel = (&kernels::RESAMPLE, []);
    let found = computed(gpu, stored_in(format), elements, kernel, |dispatch| {
        dispatch
            .uniform("size", parameters)
            .bind("input", &stored_map(gpu, format, &map))
            .threads([to[1] * vec4s, to[0], 1])
    });
    let found = unpadded(&found, channels);
    let expected = twin::resample(&map, to.map(|side| side as usize), activate);
    // A place in pixels is good to two units in its last place, however the device divides, and
    // neighbouring pixels differ by two at most.
    let tolerance = f32::EPSILON * (4.0 + 4.0 * from[0].max(from[1]) as f32);
    let what = format!("{from:?} to {to:?}, {channels} channels, {format:?}, seed {seed}");
    assert_close(&what, &found, &expected.data, |i| {
        tolerance + rounding(format, expected.data[i])
    });
}

#[test]
fn maps_are_resized_to_any_size() {
    let sides = || [1u32..=24, 1..=24];
    let layout = (1u32..=40, formats(), any::<bool>());
    let cases = (any::<u64>(), sides(), sides(), layout);
    check(24, cases, |(seed, from, to, layout)| {
        let (channels, format, activate) = layout;
        let double = from.map(|side| 2 * side);
        for sizes in [[from, to], [from, double], [double, from]] {
            resize(gpu(), format, seed, sizes, channels, activate);
        }
    });
}

pub(super) fn sum(gpu: &Gpu, format: Format, seed: u64, vec4s: u32, grid: [u32; 3]) {
    let map = |name| rounded_map(format, random_map(seed, name, [1, vec4s as usize, 4]));
    let (left, right) = (map("left"), map("right"));
    let (kernel, elements) = ((&kernels::ADD, []), left.data.len());
    let found = computed(gpu, stored_in(format), elements, kernel, |dispatch| {
        dispatch
            .uniform("size", params::Add::from(vec4s))
            .bind("left", &stored_map(gpu, format, &left))
            .bind("right", &stored_map(gpu, format, &right))
            .grid(grid)
    });
    let expected = twin::add(&left, &right).data;
    assert_close("sum", &found, &expected, |i| rounding(format, expected[i]));
}

#[test]
fn maps_are_added_whatever_the_shape_of_the_grid() {
    for (vec4s, grid) in [
        (1, [1, 1, 1]),
        (64, [1, 1, 1]),
        (65, [2, 1, 1]),
        (300, [5, 1, 1]),
        // Folded, with workgroups to spare.
        (300, [2, 3, 1]),
    ] {
        sum(gpu(), Format::F32, 7, vec4s, grid);
        sum(gpu(), Format::F16, 7, vec4s, grid);
    }
}

/// Stores a map in a format and restores it.
pub(super) fn convert_and_back(gpu: &Gpu, format: Format, seed: u64, vec4s: u32) {
    let count = 4 * vec4s as usize;
    let mut values = random(seed, "map", count);
    // Beyond the largest half on both sides, and below the smallest.
    values[..4].copy_from_slice(&[1e6, -1e6, 1e-9, 0.0]);
    let (map, given) = (stored_output(gpu, format, count), input(gpu, &values));
    let restored = output(gpu, count);
    run_in(gpu, stored_in(format), &[], |b| {
        for (store, full) in [(1, &given), (0, &restored)] {
            let kernel = b.kernel(&kernels::CONVERT, &[("STORE", store)]).unwrap();
            b.dispatch(
                Dispatch::new("format", &kernel)
                    .uniform("size", params::Convert::from(vec4s))
                    .bind("full", full)
                    .bind("stored", &map)
                    .row_of_threads(vec4s),
            );
        }
    });
    let found = written(gpu, &restored, count);
    assert_eq!(found, stored_written(gpu, format, &map, count));
    let largest = match format {
        Format::F16 => 65504.0,
        _ => f32::MAX,
    };
    let expected: Vec<f32> = (values.iter().map(|v| v.clamp(-largest, largest))).collect();
    assert_close("restored map", &found, &expected, |i| {
        rounding(format, expected[i])
    });
}

#[test]
fn maps_are_stored_and_restored() {
    let cases = (any::<u64>(), formats(), 1u32..=400);
    check(8, cases, |(seed, format, vec4s)| {
        convert_and_back(gpu(), format, seed, vec4s);
    });
}
