//! Functions that several stages share: activations, the harmonic embedding, bilinear sampling,
//! and the fully connected layer.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use super::{Real, Tensor, Vec3, load};
use crate::{Result, Weights};

/// Leaky rectifier: x for x > 0, 0.2 x otherwise.
pub fn lrelu(x: Real) -> Real {
    if x > 0.0 { x } else { 0.2 * x }
}

/// Gaussian error linear unit x Φ(x), Φ being the normal distribution function.
pub fn gelu(x: Real) -> Real {
    let x = f64::from(x);
    (0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2))) as Real
}

/// erf(x) = 2/√π · exp(-x²) · Σ_n 2ⁿ x^(2n+1) / (1·3·…·(2n+1)): no term cancels another, so the
/// sum is good to f64 rounding. Beyond |x| = 6 the function is 1 to that accuracy.
fn erf(x: f64) -> f64 {
    if x.abs() >= 6.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        odd += 2.0;
        term *= 2.0 * x * x / odd;
        sum += term;
    }
    FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

/// ln(1 + exp(βx)) / β with β = 10, written so that no exponential overflows.
pub fn softplus(x: Real) -> Real {
    x.max(0.0) + (-10.0 * x.abs()).exp().ln_1p() / 10.0
}

/// A sigmoid stretched to (-0.001, 1.001), so that 0 and 1 are reached at finite inputs (mip-NeRF,
/// Barron et al. 2021).
pub fn sigmoid_wide(x: Real) -> Real {
    1.002 / (1.0 + (-x).exp()) - 0.001
}

/// Number of values of [`harmonic`].
pub const HARMONICS: usize = 27;

/// Harmonic embedding γ of a vector (NeRF, Mildenhall et al. 2020, eq. 4) with the octaves 1, 2,
/// 4, 8: the twelve sines (x's octaves, y's, z's), the twelve cosines in the same order, then the
/// vector itself.
pub fn harmonic(v: Vec3) -> [Real; HARMONICS] {
    let mut out = [0.0; HARMONICS];
    for (axis, value) in v.to_array().into_iter().enumerate() {
        for octave in 0..4 {
            let (sin, cos) = (value * (1 << octave) as Real).sin_cos();
            out[4 * axis + octave] = sin;
            out[12 + 4 * axis + octave] = cos;
        }
        out[24 + axis] = value;
    }
    out
}

/// Where pixel `i` of an axis resized from `from` to `to` pixels lies on the original axis, in
/// pixels, 0 being the first pixel's centre: the pixel grids share their outer borders.
pub fn resized(i: usize, from: usize, to: usize) -> Real {
    (i as Real + 0.5) * (from as Real / to as Real) - 0.5
}

/// Adds the bilinear sample of `image` at column `x`, row `y` (pixel centres are integers) to
/// `out`. Beyond the outermost centres the image continues with its edge.
pub fn add_bilinear_clamped(image: &Tensor, x: Real, y: Real, out: &mut [Real]) {
    let [height, width, _] = image.image();
    let (x, y) = (
        x.clamp(0.0, (width - 1) as Real),
        y.clamp(0.0, (height - 1) as Real),
    );
    add_bilinear_zeros(image, x, y, 0, out);
}

/// Adds the bilinear sample of `out.len()` channels of `image`, from `first_channel`, at column
/// `x`, row `y` (pixel centres are integers) to `out`. The image continues with zeros, so that
/// the sample fades over one pixel beyond the outermost centres. Returns the share of the sample
/// that lies on the image.
pub fn add_bilinear_zeros(
    image: &Tensor,
    x: Real,
    y: Real,
    first_channel: usize,
    out: &mut [Real],
) -> Real {
    let [height, width, _] = image.image();
    let (column, row) = (x.floor(), y.floor());
    let (fx, fy) = (x - column, y - row);
    let mut coverage = 0.0;
    for (column, row, weight) in [
        (column, row, (1.0 - fx) * (1.0 - fy)),
        (column + 1.0, row, fx * (1.0 - fy)),
        (column, row + 1.0, (1.0 - fx) * fy),
        (column + 1.0, row + 1.0, fx * fy),
    ] {
        let inside = (0.0..width as Real).contains(&column) && (0.0..height as Real).contains(&row);
        if inside {
            let pixel = &image.pixel(row as usize, column as usize)[first_channel..];
            for (out, value) in out.iter_mut().zip(pixel) {
                *out += weight * value;
            }
            coverage += weight;
        }
    }
    coverage
}

/// A fully connected layer y = W x + b.
#[derive(Clone, Debug)]
pub struct Linear {
    /// Wᵀ, `[inputs][outputs]`: the inner loop then runs over outputs.
    transposed: Vec<Real>,
    bias: Vec<Real>,
}

impl Linear {
    /// From `weight` `[outputs][inputs]` and `bias` `[outputs]`.
    pub fn new(weight: &[Real], bias: &[Real]) -> Self {
        let outputs = bias.len();
        let inputs = weight.len() / outputs;
        debug_assert_eq!(weight.len(), inputs * outputs);
        let transposed = (0..inputs)
            .flat_map(|i| (0..outputs).map(move |o| weight[o * inputs + i]))
            .collect();
        Self {
            transposed,
            bias: bias.to_vec(),
        }
    }

    /// The layer `name` of a checkpoint.
    ///
    /// # Errors
    /// If the checkpoint lacks its tensors.
    pub fn load(weights: &Weights, name: &str) -> Result<Self> {
        let weight = load(weights, &format!("{name}.weight"))?;
        let bias = load(weights, &format!("{name}.bias"))?;
        Ok(Self::new(&weight, &bias))
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// y for one x, every element passed through `activation`.
    pub fn apply(&self, x: &[Real], activation: impl Fn(Real) -> Real) -> Vec<Real> {
        debug_assert_eq!(self.transposed.len(), x.len() * self.bias.len());
        let mut y = self.bias.clone();
        for (x, column) in x.iter().zip(self.transposed.chunks_exact(y.len())) {
            for (y, w) in y.iter_mut().zip(column) {
                *y += w * x;
            }
        }
        y.iter_mut().for_each(|y| *y = activation(*y));
        y
    }
}

/// Rectifier max(x, 0).
pub fn relu(x: Real) -> Real {
    x.max(0.0)
}

/// No activation.
pub fn identity(x: Real) -> Real {
    x
}
