// Matrix-vector product: output = activation(gain · weights · input + bias).
//
// ROW_THREADS threads share a row, each taking every ROW_THREADSth vec4 of it.
// Error: 2 ulp of the absolute products; a normalised input adds 4 ulp.

#import gpavatar::network_weights::{StoredWeights, unpacked_weights}
#import gpavatar::rows::{ROW_THREADS, THREADS, first_row, sum_of_row}

struct Linear {
    rows: u32,
    // Divided by four.
    columns: u32,
    // 1 applies the leaky ReLU.
    activate: u32,
    // 1 first scales the input to unit mean square (StyleGAN's normalisation of a style).
    normalise: u32,
}

@group(0) @binding(0) var<uniform> size: Linear;
@group(0) @binding(1) var<storage, read> input: array<vec4<f32>>; // [columns]
@group(0) @binding(2) var<storage, read> weights: array<StoredWeights>; // [rows][columns]
// Quantisation scale of a row's weights, and its bias.
@group(0) @binding(3) var<storage, read> rows: array<vec2<f32>>; // [rows]
@group(0) @binding(4) var<storage, read_write> output: array<f32>; // [rows]

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = first_row(group) + thread / ROW_THREADS;
    let member = thread % ROW_THREADS;
    let first = min(row, size.rows - 1u) * size.columns;
    var sum = vec4<f32>();
    var squares = vec4<f32>();
    for (var k = member; k < size.columns; k += ROW_THREADS) {
        let x = input[k];
        sum = fma(unpacked_weights(weights[first + k]), x, sum);
        squares = fma(x, x, squares);
    }
    let one = vec4<f32>(1.0);
    // The dot product, and the sum of squares of the input.
    let total = sum_of_row(vec2<f32>(dot(sum, one), dot(squares, one)), thread);
    if member != 0u || row >= size.rows {
        return;
    }
    var value = total.x * rows[row].x;
    if size.normalise == 1u {
        value *= inverseSqrt(total.y / f32(size.columns * 4u) + 1e-8);
    }
    value += rows[row].y;
    if size.activate == 1u {
        value = max(value, 0.2 * value);
    }
    output[row] = value;
}
