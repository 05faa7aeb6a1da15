#define_import_path gpavatar::activation

// Pointwise non-linearities of the network.

fn lrelu(x: vec4<f32>) -> vec4<f32> {
    return max(x, 0.2 * x);
}

// Logistic function, widened so that the ends of [0, 1] are reached: 1.002 σ(x) - 0.001.
fn sigmoid_wide(x: vec4<f32>) -> vec4<f32> {
    return 1.002 / (1.0 + exp(-x)) - 0.001;
}

// ln(1 + exp(10 x)) / 10, written so that neither branch overflows.
fn softplus(x: f32) -> f32 {
    return max(x, 0.0) + 0.1 * log(1.0 + exp(-abs(10.0 * x)));
}

// Error function to 1.5e-7 (Abramowitz & Stegun 7.1.26).
fn erf(x: vec4<f32>) -> vec4<f32> {
    let a = abs(x);
    let t = 1.0 / (1.0 + 0.3275911 * a);
    let tail = t * (0.254829592 + t * (-0.284496736
        + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return sign(x) * (1.0 - tail * exp(-a * a));
}

fn gelu(x: vec4<f32>) -> vec4<f32> {
    return 0.5 * x * (1.0 + erf(x * 0.70710678));
}
