// StyleGAN2's demodulation of all layers at once: √2 / sqrt(Σ_c W²[o][c] s[c]² + 1e-8), with W²
// summed over the taps beforehand and stored like weights. The √2 is the gain that follows each demodulated
// convolution.
//
// A row is one output channel of one layer. ROW_THREADS threads share it.
// Error: 4 ulp, all terms being positive; inverseSqrt is good to 2.

#import gpavatar::network_weights::{StoredWeights, unpacked_weights}
#import gpavatar::rows::{ROW_THREADS, THREADS, first_row, sum_of_row}

struct Demodulation {
    rows: u32,
}

struct Row {
    // First vec4 of the row in `squares`, and of the layer's styles in `modulation`.
    squares: u32,
    modulation: u32,
    // Input channels of the layer divided by four.
    channels: u32,
    // Quantisation scale of the row's squares.
    gain: f32,
}

@group(0) @binding(0) var<uniform> size: Demodulation;
@group(0) @binding(1) var<storage, read> rows: array<Row>; // [rows]
@group(0) @binding(2) var<storage, read> squares: array<StoredWeights>; // [layer][o][c]
@group(0) @binding(3) var<storage, read> modulation: array<vec4<f32>>; // [layer][c]
@group(0) @binding(4) var<storage, read_write> output: array<f32>; // [rows]

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let index = first_row(group) + thread / ROW_THREADS;
    let member = thread % ROW_THREADS;
    let row = rows[min(index, size.rows - 1u)];
    var sum = vec4<f32>();
    for (var k = member; k < row.channels; k += ROW_THREADS) {
        let s = modulation[row.modulation + k];
        sum = fma(unpacked_weights(squares[row.squares + k]), s * s, sum);
    }
    let total = sum_of_row(vec2<f32>(dot(sum, vec4<f32>(1.0)), 0.0), thread).x;
    if member != 0u || index >= size.rows {
        return;
    }
    output[index] = 1.41421356 * inverseSqrt(row.gain * total + 1e-8);
}
