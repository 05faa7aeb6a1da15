// Convolution of any kernel and stride; a 1x1 kernel is a matrix product.
//
// A thread owns four pixels in a row of pixels, times eight output channels: for four input channels
// twelve loads make 128 products. Workgroup x: 8 of these fours; y: 4 eighths of the output channels.
// The grid has one layer: adding its z to a count hides that this is uniform. Mesa's lavapipe compiles
// kernels anew for each dispatch where it knows how often loops run.
// Error: that of a sum of f32 in order, n 2^-24 of the sum of magnitudes for n products.

#import gpavatar::track_layer::{layer, input, finish}
#import gpavatar::track_taps::{SIDE, first_tap, place_of}

// Eight outputs of four input channels.
struct Weights {
    v: array<vec4<f32>, 8>, // [4 inputs][2]
}

@group(0) @binding(2) var<storage, read> weights: array<Weights>; // [o/8][tap][c]

@compute @workgroup_size(8, 4)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let first = 4u * id.x;
    let last = layer.output_size.x * layer.output_size.y - 1u;
    if first > last || 2u * id.y >= layer.output_channels {
        return;
    }
    let pixels = min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last));
    let inputs = layer.input_channels + id.z;
    let first_a = first_tap(pixels.x);
    let first_b = first_tap(pixels.y);
    let first_c = first_tap(pixels.z);
    let first_d = first_tap(pixels.w);
    var low = mat4x4<f32>();
    var high = mat4x4<f32>();
    for (var tap = 0u; tap < SIDE * SIDE; tap++) {
        let offset = vec2<u32>(tap % SIDE, tap / SIDE);
        let a = place_of(first_a + offset);
        let b = place_of(first_b + offset);
        let c = place_of(first_c + offset);
        let d = place_of(first_d + offset);
        let at = vec4<u32>(a.pixel, b.pixel, c.pixel, d.pixel) * inputs;
        let block = (id.y * SIDE * SIDE + tap) * inputs;
        for (var i = 0u; i < inputs; i++) {
            let x = mat4x4<f32>(
                a.gain * input[at.x + i], b.gain * input[at.y + i], c.gain * input[at.z + i], d.gain * input[at.w + i]
            );
            let w = weights[block + i];
            low += mat4x4<f32>(w.v[0], w.v[2], w.v[4], w.v[6]) * x;
            high += mat4x4<f32>(w.v[1], w.v[3], w.v[5], w.v[7]) * x;
        }
    }
    for (var i = 0u; i < 4u; i++) {
        finish(first + i, 2u * id.y, low[i]);
        finish(first + i, 2u * id.y + 1u, high[i]);
    }
}
