// Depthwise convolution, 3x3 with zero padding 1, register-tiled for software adapters, which load number
// by number.
//
// One thread for four channels of 4 x 2 pixels.
// Error: that of a sum of f32 in order.

#import gpavatar::grid::{GROUP_SIZE, Thread, thread_index}
#import gpavatar::track_layer::{layer, input, channels, finish_with}

@group(0) @binding(2) var<storage, read> weights: array<vec4<f32>>; // [tap][c]

// Six pixels of a row.
struct Row {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
    e: vec4<f32>,
    f: vec4<f32>,
}

// Pixel (x, y), 0 outside: in front of the map they wrap to huge numbers.
fn pixel_at(x: u32, y: u32, channel: u32) -> vec4<f32> {
    let size = layer.input_size;
    let inside = x < size.x && y < size.y;
    let at = select(0u, y * size.x + x, inside);
    return select(0.0, 1.0, inside) * input[at * layer.input_channels + channel];
}

fn row_at(x: u32, y: u32, channel: u32) -> Row {
    return Row(
        pixel_at(x, y, channel), pixel_at(x + 1u, y, channel), pixel_at(x + 2u, y, channel),
        pixel_at(x + 3u, y, channel), pixel_at(x + 4u, y, channel), pixel_at(x + 5u, y, channel),
    );
}

// Adds a row of three taps to four pixels.
fn with_taps(s: mat4x4<f32>, taps: mat3x4<f32>, r: Row) -> mat4x4<f32> {
    let u = taps[0];
    let v = taps[1];
    let w = taps[2];
    return mat4x4<f32>(
        s[0] + u * r.a + v * r.b + w * r.c,
        s[1] + u * r.b + v * r.c + w * r.d,
        s[2] + u * r.c + v * r.d + w * r.e,
        s[3] + u * r.d + v * r.e + w * r.f,
    );
}

@compute @workgroup_size(GROUP_SIZE)
fn main(thread: Thread) {
    let id = thread_index(thread);
    let stride = layer.input_channels;
    let size = layer.output_size;
    let across = (size.x + 3u) / 4u;
    let channel = id % stride;
    let x = id / stride % across * 4u;
    let y = id / stride / across * 2u;
    if y >= size.y {
        return;
    }
    var upper = mat4x4<f32>();
    var lower = mat4x4<f32>();
    // The taps of the row above the current one.
    var above = mat3x4<f32>();
    for (var row = 0u; row < 4u; row++) {
        let pixels = row_at(x - 1u, y + row - 1u, channel);
        lower = with_taps(lower, above, pixels);
        if row < 3u {
            let k = 3u * row * stride + channel;
            above = mat3x4<f32>(weights[k], weights[k + stride], weights[k + 2u * stride]);
            upper = with_taps(upper, above, pixels);
        }
    }
    let finishing = channels[channel];
    for (var i = 0u; i < 4u; i++) {
        if x + i < size.x {
            finish_with(finishing, y * size.x + x + i, channel, upper[i]);
            finish_with(finishing, (y + 1u) * size.x + x + i, channel, lower[i]);
        }
    }
}
