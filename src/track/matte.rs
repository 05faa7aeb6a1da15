//! From the segmentation net's mask to the alpha of a picture.

use crate::error::{Error, Result};

/// Side of the mask.
pub(crate) const MASK: usize = 256;
/// Radius of the window as a share of the picture's longer side.
const RADIUS: f64 = 0.012;
/// Variance of luminance, in 0 to 1, below which the guide is taken for flat.
const FLAT: f64 = 1e-3;
/// Contrast of the alpha about one half.
const GAIN: f64 = 2.0;

/// Refines a mask by the picture's own edges: a guided filter (He, Sun, Tang, "Guided Image Filtering",
/// 2013) of the mask, enlarged bilinearly, by the luminance `g`, then more contrast:
///
/// ```text
/// a = (m(g·p) - m(g)·m(p)) / (m(g²) - m(g)² + 0.001),  b = m(p) - a·m(g)
/// alpha = clamp(2·(m(a)·g + m(b) - ½) + ½, 0, 1)
/// ```
///
/// `m` is the mean over a square window that ends at the picture's border; its radius is 1.2 % of the
/// longer side, at least 1. `rgba` are `width · height` pixels of 4 bytes, of which alpha is not used;
/// `mask` is `[256][256]` from 0 to 1 over the whole picture. `emit` gets the rows of alpha, from 0 to
/// 1, in order. Besides picture and mask, memory is that of a band of rows.
///
/// # Errors
/// [`Error::Argument`] if sizes do not fit or the mask is not finite.
pub(crate) fn refine(
    rgba: &[u8],
    [width, height]: [usize; 2],
    mask: &[f32],
    mut emit: impl FnMut(usize, &[f32]),
) -> Result<()> {
    let expected = width
        .checked_mul(height)
        .and_then(|count| count.checked_mul(4));
    let ok = expected == Some(rgba.len()) && width > 0 && height > 0;
    let found = format_args!("{} bytes for {width} x {height}", rgba.len());
    Error::unless(ok, "picture to matte", "4 bytes a pixel", found)?;
    let ok = mask.len() == MASK * MASK && mask.iter().all(|value| value.is_finite());
    let expected = format_args!("{MASK} x {MASK} finite numbers");
    Error::unless(ok, "mask", expected, mask.len())?;

    let guide = |row: usize| {
        let pixels = rgba[4 * width * row..4 * width * (row + 1)]
            .as_chunks::<4>()
            .0;
        pixels.iter().map(|[r, g, b, _]| {
            let [r, g, b] = [r, g, b].map(|c| f64::from(*c));
            (0.299 * r + 0.587 * g + 0.114 * b) / 255.0
        })
    };
    let columns: Vec<Lerp> = (0..width).map(|column| Lerp::new(column, width)).collect();
    let enlarged = |row: usize| {
        let rows = Lerp::new(row, height);
        let at = |row: usize, column: usize| f64::from(mask[MASK * row + column]);
        columns
            .iter()
            .map(move |columns| rows.of(|row| columns.of(|column| at(row, column))))
    };
    let radius = ((RADIUS * width.max(height) as f64).round() as usize).max(1);

    // Sums over the columns of the windows of the present row: of g, p, g·p, g·g, then of a and b.
    let mut moments = vec![[0.0; 4]; width];
    let mut coefficients = vec![[0.0; 2]; width];
    // Rows of a and b in the window of the row that comes out, and the means of both.
    let kept = (2 * radius + 1).min(height);
    let mut band = vec![vec![[0.0; 2]; width]; kept];
    let mut means = vec![[0.0; 2]; width];
    let mut alpha = vec![0.0; width];
    let add = |moments: &mut [[f64; 4]], row: usize, sign: f64| {
        for ((sums, g), p) in moments.iter_mut().zip(guide(row)).zip(enlarged(row)) {
            for (sum, value) in sums.iter_mut().zip([g, p, g * p, g * g]) {
                *sum += sign * value;
            }
        }
    };
    // A row comes out when the last row of a and b in its window is known.
    for row in 0..height + radius {
        if row < height {
            let entering = if row == 0 {
                0..radius + 1
            } else {
                row + radius..row + radius + 1
            };
            for entering in entering.filter(|row| *row < height) {
                add(&mut moments, entering, 1.0);
            }
            if let Some(leaving) = row.checked_sub(radius + 1) {
                add(&mut moments, leaving, -1.0);
            }
            let target = &mut band[row % kept];
            if let Some(leaving) = row.checked_sub(kept) {
                debug_assert_eq!(leaving % kept, row % kept);
                accumulate(&mut coefficients, target, -1.0);
            }
            let rows = window(row, radius, height);
            along(&moments, radius, rows, |column, [g, p, gp, gg]| {
                let a = (gp - g * p) / (gg - g * g + FLAT);
                target[column] = [a, p - a * g];
            });
            accumulate(&mut coefficients, target, 1.0);
        }
        let Some(out) = row.checked_sub(radius) else {
            continue;
        };
        // Past the last row nothing takes the place of what leaves.
        if row >= height
            && let Some(leaving) = out.checked_sub(radius + 1)
        {
            accumulate(&mut coefficients, &band[leaving % kept], -1.0);
        }
        let rows = window(out, radius, height);
        along(&coefficients, radius, rows, |column, mean| {
            means[column] = mean
        });
        for ((alpha, [a, b]), g) in alpha.iter_mut().zip(&means).zip(guide(out)) {
            let value = GAIN * (a * g + b - 0.5) + 0.5;
            *alpha = value.clamp(0.0, 1.0) as f32;
        }
        emit(out, &alpha);
    }
    Ok(())
}

/// Number of rows (or columns) in the window of one.
fn window(at: usize, radius: usize, count: usize) -> usize {
    (at + radius + 1).min(count) - at.saturating_sub(radius)
}

fn accumulate(sums: &mut [[f64; 2]], row: &[[f64; 2]], sign: f64) {
    for (sums, row) in sums.iter_mut().zip(row) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += sign * value;
        }
    }
}

/// Hands out the mean over the window of each column, from the sums over so many `rows`.
fn along<const N: usize>(
    sums: &[[f64; N]],
    radius: usize,
    rows: usize,
    mut mean: impl FnMut(usize, [f64; N]),
) {
    let mut sum = [0.0; N];
    let add = |sum: &mut [f64; N], column: usize, sign: f64| {
        if let Some(values) = sums.get(column) {
            for (sum, value) in sum.iter_mut().zip(values) {
                *sum += sign * value;
            }
        }
    };
    for column in 0..radius {
        add(&mut sum, column, 1.0);
    }
    for column in 0..sums.len() {
        add(&mut sum, column + radius, 1.0);
        if let Some(leaving) = column.checked_sub(radius + 1) {
            add(&mut sum, leaving, -1.0);
        }
        let count = (rows * window(column, radius, sums.len())) as f64;
        mean(column, sum.map(|sum| sum / count));
    }
}

/// Between which two rows (or columns) of the mask the centre of a picture's lies, the edges clamped.
#[derive(Clone, Copy)]
struct Lerp {
    low: usize,
    part: f64,
}

impl Lerp {
    fn new(at: usize, count: usize) -> Self {
        let last = (MASK - 1) as f64;
        let at = ((at as f64 + 0.5) / count as f64 * MASK as f64 - 0.5).clamp(0.0, last);
        let low = (at as usize).min(MASK - 2);
        Self {
            low,
            part: at - low as f64,
        }
    }

    fn of(self, value: impl Fn(usize) -> f64) -> f64 {
        value(self.low) * (1.0 - self.part) + value(self.low + 1) * self.part
    }
}

/// The mask of a video's frame: it follows the net's with 0.7 of the new one and 0.3 of the `last`.
pub(crate) fn follow(last: &mut [f32], new: &[f32]) {
    for (last, new) in last.iter_mut().zip(new) {
        *last = 0.7 * new + 0.3 * *last;
    }
}

#[cfg(test)]
mod tests;
