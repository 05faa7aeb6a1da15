#define_import_path gpavatar::track_taps

// Where the taps of square kernels lie.

#import gpavatar::track_layer::layer

override SIDE: u32 = 1u;
override STRIDE: u32 = 1u;

struct Place {
    // The pixel's number in the input, 0 outside of it.
    pixel: u32,
    // 1 in the input, 0 outside.
    gain: f32,
}

// Tap (column, row) of an output pixel.
fn tap_of(pixel: u32, column: u32, row: u32) -> Place {
    let width = layer.output_size.x;
    // In front of the input this wraps to a huge number.
    let at = vec2<u32>(pixel % width, pixel / width) * STRIDE + vec2<u32>(column, row) - layer.pad;
    let inside = all(at < layer.input_size);
    return Place(select(0u, at.y * layer.input_size.x + at.x, inside), select(0.0, 1.0, inside));
}
