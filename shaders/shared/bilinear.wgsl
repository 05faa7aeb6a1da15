#define_import_path gpavatar::bilinear

// The two taps of one axis of a bilinear resize (pixel centres at +½, edges clamped).
struct Taps {
    low: u32,
    high: u32,
    // Weight of `high`.
    fraction: f32,
}

// Taps of output index `index` when an axis of `input_size` is resized by 1/`step`.
fn taps(index: u32, step: f32, input_size: u32) -> Taps {
    let at = max((f32(index) + 0.5) * step - 0.5, 0.0);
    let low = min(u32(at), input_size - 1u);
    return Taps(low, min(low + 1u, input_size - 1u), at - f32(low));
}
