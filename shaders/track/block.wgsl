// Depthwise convolution, then one of 1x1.
//
// A workgroup makes 32 pixels: it keeps their depthwise results, at most 128 channels of each, in its
// memory. A thread then owns four pixels times four output channels at a time.
// Error: that of two sums of f32 in order.

#import gpavatar::track_layer::{layer, input, finish}
#import gpavatar::track_taps::{SIDE, first_tap, place_of}

const PIXELS = 32u;
const THREADS = 64u;
// Input channels divided by four.
const MOST = 32u;

// Four outputs of four input channels: a column for each input.
@group(0) @binding(2) var<storage, read> weights: array<mat4x4<f32>>; // [c][o]
// Kernels of the depthwise convolution, then its biases.
@group(0) @binding(6) var<storage, read> kernels: array<vec4<f32>>; // [tap][c]

var<workgroup> inner: array<vec4<f32>, PIXELS * MOST>; // [pixel][c]

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let inputs = min(layer.input_channels + group.z, MOST); // See `conv`.
    let first = group.x * PIXELS;
    let last = layer.output_size.x * layer.output_size.y - 1u;
    for (var i = local; i < PIXELS * inputs; i += THREADS) {
        let channel = i % inputs;
        let pixel = min(first + i / inputs, last);
        let corner = first_tap(pixel);
        var sum = kernels[SIDE * SIDE * inputs + channel];
        for (var tap = 0u; tap < SIDE * SIDE; tap++) {
            let place = place_of(corner + vec2<u32>(tap % SIDE, tap / SIDE));
            sum += kernels[tap * inputs + channel] * (place.gain * input[place.pixel * inputs + channel]);
        }
        inner[i] = sum;
    }
    workgroupBarrier();
    let outputs = layer.output_channels;
    for (var i = local; i < PIXELS / 4u * outputs; i += THREADS) {
        let four = i % (PIXELS / 4u) * 4u;
        let output = i / (PIXELS / 4u);
        var sums = mat4x4<f32>();
        for (var c = 0u; c < inputs; c++) {
            let at = four * inputs + c;
            sums += weights[c * outputs + output] * mat4x4<f32>(
                inner[at], inner[at + inputs], inner[at + 2u * inputs], inner[at + 3u * inputs]
            );
        }
        for (var p = 0u; p < 4u; p++) {
            finish(first + four + p, output, sums[p]);
        }
    }
}
