#define_import_path gpavatar::conv_epilogue

// What the convolution kernels share: parameters, bindings, and everything that happens to an
// accumulated output before it is stored.

#import gpavatar::activation::{lrelu, sigmoid_wide}
#import gpavatar::bilinear::taps
#import gpavatar::frame::Frame
#import gpavatar::network_weights::StoredWeights
#import gpavatar::stored::{Stored, packed, unpacked}

struct Conv {
    width: u32,
    height: u32,
    // Channels divided by four, as stored.
    input_channels: u32,
    output_channels: u32,
    // First vec4 of this layer in `modulation` and `demodulation`.
    modulation_offset: u32,
    demodulation_offset: u32,
    // First element of this layer's map in `noise`, and its learned gain.
    noise_offset: u32,
    noise_gain: f32,
    flags: u32,
    // Of Winograd's transforms: first row of tiles, and how many there are.
    band_start: u32,
    band_rows: u32,
}

// Of four output channels.
struct Channels {
    // What their weights are in units of.
    gain: vec4<f32>,
    bias: vec4<f32>,
}

const DEMODULATE = 1u;
const NOISE = 2u;
const LRELU = 4u;
// y = y * scale + shift; the operand is [2][y][x][c]: scale, then shift.
const SCALE_SHIFT = 8u;
// y = y + operand [y][x][c].
const RESIDUAL = 16u;
// y = y + bilinear x2 of the operand [y/2][x/2][c].
const RESIDUAL_UPSAMPLED = 32u;
const SIGMOID = 64u;

@group(0) @binding(0) var<uniform> conv: Conv;
@group(0) @binding(1) var<uniform> frame: Frame;
@group(0) @binding(2) var<storage, read> input: array<Stored>; // [y][x][c]
@group(0) @binding(3) var<storage, read> weights: array<StoredWeights>; // [o/8][tap][c][8]
@group(0) @binding(4) var<storage, read> channels: array<Channels>; // [o]
@group(0) @binding(5) var<storage, read> modulation: array<vec4<f32>>; // [layer][c]
@group(0) @binding(6) var<storage, read> demodulation: array<vec4<f32>>; // [layer][o]
@group(0) @binding(7) var<storage, read> noise: array<f32>; // [stored|generated][layer][y][x]
@group(0) @binding(8) var<storage, read> operand: array<Stored>; // see the flags
@group(0) @binding(9) var<storage, read_write> output: array<Stored>; // [y][x][o]

fn has(flag: u32) -> bool {
    return (conv.flags & flag) != 0u;
}

// Finishes and stores output channels 4o..4o+4 of the pixel (x, y); outside of the image nothing happens.
fn store(x: u32, y: u32, o: u32, accumulated: vec4<f32>) {
    if x >= conv.width || y >= conv.height || o >= conv.output_channels {
        return;
    }
    let pixel = y * conv.width + x;
    let at = pixel * conv.output_channels + o;
    var value = accumulated * channels[o].gain;
    if has(DEMODULATE) {
        value *= demodulation[conv.demodulation_offset + o];
    }
    if has(NOISE) {
        value += noise[frame.noise_base + conv.noise_offset + pixel] * frame.noise_gain * conv.noise_gain;
    }
    value += channels[o].bias;
    if has(LRELU) {
        value = lrelu(value);
    }
    if has(SCALE_SHIFT) {
        let shift = conv.width * conv.height * conv.output_channels;
        value = value * unpacked(operand[at]) + unpacked(operand[shift + at]);
    }
    if has(RESIDUAL) {
        value += unpacked(operand[at]);
    }
    if has(RESIDUAL_UPSAMPLED) {
        value += upsampled(x, y, o);
    }
    if has(SIGMOID) {
        value = sigmoid_wide(value);
    }
    output[at] = packed(value);
}

fn upsampled(x: u32, y: u32, o: u32) -> vec4<f32> {
    let width = conv.width / 2u;
    let tx = taps(x, 0.5, width);
    let ty = taps(y, 0.5, conv.height / 2u);
    let top = ty.low * width;
    let bottom = ty.high * width;
    return mix(
        mix(half(top + tx.low, o), half(top + tx.high, o), tx.fraction),
        mix(half(bottom + tx.low, o), half(bottom + tx.high, o), tx.fraction),
        ty.fraction,
    );
}

fn half(pixel: u32, o: u32) -> vec4<f32> {
    return unpacked(operand[pixel * conv.output_channels + o]);
}
