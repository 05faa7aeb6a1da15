#define_import_path gpavatar::activation

// Pointwise non-linearities of the network. WGSL allows exp (3 + 2 |x|) units in the last place.

fn lrelu(x: vec4<f32>) -> vec4<f32> {
    return max(x, 0.2 * x);
}

// Logistic function, widened so that the ends of [0, 1] are reached: 1.002 σ(x) - 0.001.
fn sigmoid_wide(x: vec4<f32>) -> vec4<f32> {
    return 1.002 / (1.0 + exp(-x)) - 0.001;
}

// ln(1 + exp(10 x)) / 10, written so that neither branch overflows. Relative error: that of exp, 5e-6 for
// the smallest density that counts.
fn softplus(x: f32) -> f32 {
    return max(x, 0.0) + 0.1 * log1p(exp(-abs(10.0 * x)));
}

// ln(1 + x) for x from 0 to 1, to 2e-7 of the result: 2 artanh(x / (2 + x)) by its series. WGSL's log is
// off by up to 2^-21 near 1, and 1 + x has lost the digits of a small x.
fn log1p(x: f32) -> f32 {
    let s = x / (2.0 + x);
    let z = s * s;
    return 2.0 * s * (1.0 + z * (1.0 / 3.0 + z * (1.0 / 5.0 + z * (1.0 / 7.0 + z * (1.0 / 9.0
        + z * (1.0 / 11.0 + z * (1.0 / 13.0 + z / 15.0)))))));
}

// 1 - exp(-x) for x from 0 on, to 1e-6 of the result: by its series where the difference would cancel.
fn opacity_of_density(x: f32) -> f32 {
    let series = x * (1.0 - x / 2.0 * (1.0 - x / 3.0 * (1.0 - x / 4.0 * (1.0 - x / 5.0
        * (1.0 - x / 6.0 * (1.0 - x / 7.0 * (1.0 - x / 8.0 * (1.0 - x / 9.0))))))));
    return select(1.0 - exp(-x), series, x < 0.5);
}

// 1 - erf(a) for a from 0 on, to 1.5e-7 (Abramowitz & Stegun 7.1.26).
fn erfc(a: vec4<f32>) -> vec4<f32> {
    let t = 1.0 / (1.0 + 0.3275911 * a);
    let tail = t * (0.254829592 + t * (-0.284496736
        + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return tail * exp(-a * a);
}

// x Φ(x), to 2e-7 of |x|.
fn gelu(x: vec4<f32>) -> vec4<f32> {
    let c = erfc(abs(x) * 0.70710678);
    return 0.5 * x * select(2.0 - c, c, x < vec4<f32>());
}
