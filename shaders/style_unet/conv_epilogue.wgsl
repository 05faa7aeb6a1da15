#define_import_path gpavatar::conv_epilogue

// The convolution kernels' common part: parameters, bindings, and the epilogue that finishes an
// accumulated output before it is stored.

#import gpavatar::activation::{lrelu, sigmoid_wide}
#import gpavatar::bilinear::{corners, between}
#import gpavatar::globals::Globals
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
    // Winograd's transforms: first row of tiles, and number of rows.
    band_start: u32,
    band_rows: u32,
}

// Four output channels.
struct Channels {
    // Quantisation scale of their weights.
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
// The register-tiled kernels scale the input channels by the modulation. Others are compiled for it.
const MODULATE = 128u;

@group(0) @binding(0) var<uniform> conv: Conv;
@group(0) @binding(1) var<uniform> globals: Globals;
@group(0) @binding(2) var<storage, read> input: array<Stored>; // [y][x][c]
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
        value += noise[globals.noise_base + conv.noise_offset + pixel] * globals.noise_gain * conv.noise_gain;
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
    let at = corners(x, y, vec2<f32>(0.5), conv.width / 2u, conv.height / 2u);
    return between(
        half(at.pixel.x, o), half(at.pixel.y, o), half(at.pixel.z, o), half(at.pixel.w, o),
        at.fraction,
    );
}

fn half(pixel: u32, o: u32) -> vec4<f32> {
    return unpacked(operand[pixel * conv.output_channels + o]);
}
