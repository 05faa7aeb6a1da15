#define_import_path gpavatar::track_taps

// Where the taps of square kernels lie.

#import gpavatar::track_layer::layer

// Width and height of a kernel, and pixels of the input from one output to the next.
override SIDE: u32 = 1u;
override STRIDE: u32 = 1u;

struct Place {
    // The pixel's number in the input, 0 outside of it.
    pixel: u32,
    // 1 in the input, 0 outside.
    gain: f32,
}

// Column and row of an output pixel's first tap. In front of the input they wrap to huge numbers.
fn first_tap(pixel: u32) -> vec2<u32> {
    let width = layer.output_size.x;
    let row = pixel / width;
    return vec2<u32>(pixel - row * width, row) * STRIDE - layer.pad;
}

fn place_of(at: vec2<u32>) -> Place {
    let inside = all(at < layer.input_size);
    return Place(select(0u, at.y * layer.input_size.x + at.x, inside), select(0.0, 1.0, inside));
}
