#define_import_path gpavatar::bilinear

// Bilinear resizes: pixel centres at +½, edges clamped.

// Two indices along an axis, and the weight of `high`.
struct Taps {
    low: u32,
    high: u32,
    fraction: f32,
}

// Output index `index` when an axis of `input_size` is resized by 1/`step`.
fn taps(index: u32, step: f32, input_size: u32) -> Taps {
    let at = max((f32(index) + 0.5) * step - 0.5, 0.0);
    let low = min(u32(at), input_size - 1u);
    return Taps(low, min(low + 1u, input_size - 1u), at - f32(low));
}

// Four pixels [y][x], row by row, and the weights of the right and of the lower ones.
struct Corners {
    pixel: vec4<u32>,
    fraction: vec2<f32>,
}

// Output pixel (x, y) when a map of `width` and `height` is resized by 1/`step` along each axis.
fn corners(x: u32, y: u32, step: vec2<f32>, width: u32, height: u32) -> Corners {
    let tx = taps(x, step.x, width);
    let ty = taps(y, step.y, height);
    let columns = vec4<u32>(tx.low, tx.high, tx.low, tx.high);
    let rows = vec4<u32>(ty.low, ty.low, ty.high, ty.high);
    return Corners(rows * width + columns, vec2<f32>(tx.fraction, ty.fraction));
}

// Interpolates between the values at four corners.
fn between(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, fraction: vec2<f32>) -> vec4<f32> {
    return mix(mix(a, b, fraction.x), mix(c, d, fraction.x), fraction.y);
}
