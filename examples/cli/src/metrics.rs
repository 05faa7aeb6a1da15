//! How alike pictures are.
//!
//! Colours are 0 to 1 and sums are of 64 bits. Where a function takes `pixels`, these are indices
//! `y · side + x`; a mean over none of them is `None`.

/// A square picture: red, green and blue, row by row from the top.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    pub side: usize,
    /// `side · side` colours.
    pub colours: Vec<[f32; 3]>,
}

impl Picture {
    /// All pixels.
    pub fn pixels(&self) -> Vec<usize> {
        (0..self.colours.len()).collect()
    }
}

/// The mean of some numbers.
pub fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let add = |(count, sum), value| (count + 1, sum + value);
    let (count, sum) = values.into_iter().fold((0u64, 0.0), add);
    (count > 0).then(|| sum / count as f64)
}

/// The differences `a - b` of all channels of some pixels.
fn differences(a: &Picture, b: &Picture, pixels: &[usize]) -> impl Iterator<Item = f64> {
    let channels = |i: &usize| {
        let (a, b) = (a.colours[*i], b.colours[*i]);
        [0, 1, 2].map(|c| f64::from(a[c]) - f64::from(b[c]))
    };
    pixels.iter().flat_map(channels)
}

/// Mean absolute difference over the channels of some pixels.
pub fn l1(a: &Picture, b: &Picture, pixels: &[usize]) -> Option<f64> {
    mean(differences(a, b, pixels).map(f64::abs))
}

/// Peak signal-to-noise ratio over the channels of some pixels, in dB: `10 · log10(1 / mse)`,
/// infinite for equal colours.
pub fn psnr(a: &Picture, b: &Picture, pixels: &[usize]) -> Option<f64> {
    let mse = mean(differences(a, b, pixels).map(|d| d * d));
    mse.map(|mse| -10.0 * mse.log10())
}

/// Structural similarity (Wang et al., "Image quality assessment: from error visibility to
/// structural similarity", 2004, equation 13) with square windows of [`SSIM_WINDOW`] pixels of
/// equal weight, biased variances and a peak of 1: the mean over the channels of every window that
/// lies in the picture.
pub fn ssim(a: &Picture, b: &Picture) -> Option<f64> {
    const C1: f64 = 0.01 * 0.01;
    const C2: f64 = 0.03 * 0.03;
    let side = a.side;
    let corners = || 0..(side + 1).saturating_sub(SSIM_WINDOW);
    let window = |x: usize, y: usize| {
        let row = move |y: usize| (x..x + SSIM_WINDOW).map(move |x| y * side + x);
        (y..y + SSIM_WINDOW).flat_map(row)
    };
    let similarity = |x: usize, y: usize, channel: usize| {
        let [mut sum_a, mut sum_b, mut sum_aa, mut sum_bb, mut sum_ab] = [0.0; 5];
        for i in window(x, y) {
            let [a, b] = [a, b].map(|picture| f64::from(picture.colours[i][channel]));
            sum_a += a;
            sum_b += b;
            sum_aa += a * a;
            sum_bb += b * b;
            sum_ab += a * b;
        }
        let of_window = |sum: f64| sum / (SSIM_WINDOW * SSIM_WINDOW) as f64;
        let (mean_a, mean_b) = (of_window(sum_a), of_window(sum_b));
        let variances = of_window(sum_aa + sum_bb) - mean_a * mean_a - mean_b * mean_b;
        let covariance = of_window(sum_ab) - mean_a * mean_b;
        (2.0 * mean_a * mean_b + C1) * (2.0 * covariance + C2)
            / ((mean_a * mean_a + mean_b * mean_b + C1) * (variances + C2))
    };
    let corners = corners().flat_map(|y| corners().map(move |x| (x, y)));
    mean(corners.flat_map(|(x, y)| [0, 1, 2].map(|channel| similarity(x, y, channel))))
}

/// Side of the windows of [`ssim`].
pub const SSIM_WINDOW: usize = 7;

/// The pixels whose centres are in one of some ellipses `[cx, cy, rx, ry]`, in pixels.
pub fn in_ellipses(side: usize, ellipses: &[[f64; 4]]) -> Vec<usize> {
    let inside = |i: &usize| {
        let (x, y) = ((i % side) as f64 + 0.5, (i / side) as f64 + 0.5);
        let within =
            |[cx, cy, rx, ry]: &[f64; 4]| ((x - cx) / rx).powi(2) + ((y - cy) / ry).powi(2) <= 1.0;
        ellipses.iter().any(within)
    };
    (0..side * side).filter(inside).collect()
}

/// The pixels of a box `[left, top, right, bottom]`, without its right column and bottom row.
pub fn in_box(side: usize, [left, top, right, bottom]: [usize; 4]) -> Vec<usize> {
    let row = |y: usize| (left..right).map(move |x| y * side + x);
    (top..bottom).flat_map(row).collect()
}

/// The pixels, among the given ones, whose difference in one channel is above `threshold`.
pub fn changing(a: &Picture, b: &Picture, pixels: &[usize], threshold: f64) -> Vec<usize> {
    let changes = |i: &usize| differences(a, b, &[*i]).any(|d| d.abs() > threshold);
    pixels.iter().copied().filter(changes).collect()
}

/// How well the change from one picture to another agrees with the true change.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Agreement {
    /// Cosine of the angle between the two difference pictures: 1 if the same places change alike.
    pub cosine: f64,
    /// How much of the true change there is, in the sense of least squares: 1 if all of it.
    pub amplitude: f64,
}

impl Agreement {
    /// Compares the change `rendered[0] - rendered[1]` with the change `truth[0] - truth[1]`, over whole
    /// pictures. `None` if the truth does not change; the cosine is 0 if the rendering does not.
    pub fn new(rendered: [&Picture; 2], truth: [&Picture; 2]) -> Option<Self> {
        let pixels = truth[0].pixels();
        let [rendered, truth] = [rendered, truth].map(|[a, b]| differences(a, b, &pixels));
        let [mut ab, mut aa, mut bb] = [0.0; 3];
        for (a, b) in rendered.zip(truth) {
            ab += a * b;
            aa += a * a;
            bb += b * b;
        }
        (bb > 0.0).then(|| Self {
            cosine: if aa > 0.0 { ab / (aa * bb).sqrt() } else { 0.0 },
            amplitude: ab / bb,
        })
    }

    /// The means of both.
    pub fn mean(all: &[Self]) -> Option<Self> {
        Some(Self {
            cosine: mean(all.iter().map(|agreement| agreement.cosine))?,
            amplitude: mean(all.iter().map(|agreement| agreement.amplitude))?,
        })
    }
}

#[cfg(test)]
mod tests;
