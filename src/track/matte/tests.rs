use super::*;
use crate::error::refused;
use crate::track::landmarks::tests::golden;
use crate::weights::TensorFile;

fn alpha(rgba: &[u8], size: [usize; 2], mask: &[f32]) -> Vec<f32> {
    let mut alpha = Vec::new();
    refine(rgba, size, mask, |row, values| {
        assert_eq!(row * size[0], alpha.len());
        alpha.extend_from_slice(values);
    })
    .unwrap();
    assert_eq!(alpha.len(), size[0] * size[1]);
    alpha
}

#[test]
fn the_astronaut_is_matted() {
    let picture = image::open(TensorFile::golden_path("track/astronaut.png"))
        .unwrap()
        .to_rgba8();
    let file = golden();
    let mask = file.f32("astronaut.matte").unwrap();
    let found = alpha(&picture, [512, 512], &mask);
    let expected = file.f32("astronaut.alpha").unwrap();
    let pairs = expected.iter().enumerate().map(|(i, expected)| {
        let (row, column) = (4 * (i / 128), 4 * (i % 128));
        f64::from((found[512 * row + column] - expected).abs())
    });
    let (mean, worst) = (
        pairs.clone().sum::<f64>() / expected.len() as f64,
        pairs.fold(0.0, f64::max),
    );
    println!("alpha: mean {mean:.1e}, worst {worst:.1e}");
    assert!(mean <= 2e-3 && worst <= 2e-2, "{mean} {worst}");
}

/// By the definition, window by window.
fn by_definition(rgba: &[u8], [width, height]: [usize; 2], mask: &[f32]) -> Vec<f32> {
    let radius = ((0.012 * width.max(height) as f64).round() as usize).max(1);
    let mean = |values: &[f64]| -> Vec<f64> {
        let at = |i: usize| {
            let (row, column) = (i / width, i % width);
            let rows = row.saturating_sub(radius)..(row + radius + 1).min(height);
            let (mut sum, mut count) = (0.0, 0.0);
            for row in rows {
                for column in column.saturating_sub(radius)..(column + radius + 1).min(width) {
                    (sum, count) = (sum + values[row * width + column], count + 1.0);
                }
            }
            sum / count
        };
        (0..width * height).map(at).collect()
    };
    let g: Vec<f64> = rgba
        .chunks(4)
        .map(|p| {
            (0.299 * f64::from(p[0]) + 0.587 * f64::from(p[1]) + 0.114 * f64::from(p[2])) / 255.0
        })
        .collect();
    let p: Vec<f64> = (0..width * height)
        .map(|i| {
            let at = |at: usize, count: usize| {
                ((at as f64 + 0.5) / count as f64 * 256.0 - 0.5).clamp(0.0, 255.0)
            };
            let (y, x) = (at(i / width, height), at(i % width, width));
            let pixel = |r: f64, c: f64| {
                f64::from(mask[256 * r.min(255.0) as usize + c.min(255.0) as usize])
            };
            let (fy, fx) = (y.fract(), x.fract());
            let (y, x) = (y.floor(), x.floor());
            (pixel(y, x) * (1.0 - fx) + pixel(y, x + 1.0) * fx) * (1.0 - fy)
                + (pixel(y + 1.0, x) * (1.0 - fx) + pixel(y + 1.0, x + 1.0) * fx) * fy
        })
        .collect();
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).collect::<Vec<_>>();
    let (mg, mp) = (mean(&g), mean(&p));
    let (mgp, mgg) = (mean(&product(&g, &p)), mean(&product(&g, &g)));
    let a: Vec<f64> = (0..g.len())
        .map(|i| (mgp[i] - mg[i] * mp[i]) / (mgg[i] - mg[i] * mg[i] + 1e-3))
        .collect();
    let b: Vec<f64> = (0..g.len()).map(|i| mp[i] - a[i] * mg[i]).collect();
    let (ma, mb) = (mean(&a), mean(&b));
    (0..g.len())
        .map(|i| (2.0 * (ma[i] * g[i] + mb[i] - 0.5) + 0.5).clamp(0.0, 1.0) as f32)
        .collect()
}

#[test]
fn windows_end_at_the_border() {
    let mask: Vec<f32> = (0..MASK * MASK)
        .map(|i| ((i * 7919) % 1009) as f32 / 1008.0)
        .collect();
    // Radii of 1 to 4, pictures smaller than a window, single rows and columns.
    for size in [
        [1, 1],
        [2, 1],
        [1, 9],
        [3, 2],
        [40, 7],
        [7, 40],
        [90, 130],
        [300, 5],
        [320, 200],
    ] {
        let rgba: Vec<u8> = (0..4 * size[0] * size[1])
            .map(|i| ((i * 2654435761) >> 7) as u8)
            .collect();
        let (found, expected) = (alpha(&rgba, size, &mask), by_definition(&rgba, size, &mask));
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert!(
                (found - expected).abs() < 1e-5,
                "{size:?} at {i}: {found} {expected}"
            );
        }
    }
}

#[test]
fn bad_pictures_and_masks_are_refused() {
    let (rgba, mask) = ([0; 16], vec![0.5; MASK * MASK]);
    let nothing = |_: usize, _: &[f32]| panic!("a row");
    refused!(refine(&rgba, [3, 2], &mask, nothing), Argument);
    refused!(refine(&[], [0, 2], &mask, nothing), Argument);
    refused!(refine(&rgba, [usize::MAX, 2], &mask, nothing), Argument);
    refused!(refine(&rgba, [2, 2], &mask[1..], nothing), Argument);
    let mut wrong = mask;
    wrong[5] = f32::NAN;
    refused!(refine(&rgba, [2, 2], &wrong, nothing), Argument);
}

#[test]
fn a_mask_follows_the_net() {
    let mut last = [1.0, 0.0];
    follow(&mut last, &[0.0, 1.0]);
    assert_eq!(last, [0.3, 0.7]);
}
