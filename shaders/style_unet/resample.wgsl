// Bilinear resize [y][x][c] -> [y'][x'][c] (pixel centres at +½, edges clamped), optionally
// followed by a leaky ReLU. Halving averages 2x2 pixels, doubling has weights ¼ and ¾.
//
// One thread per output pixel and four channels: x = column * channels + channel, y = row.

#import gpavatar::activation::lrelu
#import gpavatar::bilinear::taps
#import gpavatar::stored::{Stored, packed, unpacked}

struct Resample {
    input_width: u32,
    input_height: u32,
    width: u32,
    height: u32,
    // Divided by four.
    channels: u32,
    // 1 applies the leaky ReLU.
    activate: u32,
}

@group(0) @binding(0) var<uniform> size: Resample;
@group(0) @binding(1) var<storage, read> input: array<Stored>; // [y][x][c]
@group(0) @binding(2) var<storage, read_write> output: array<Stored>; // [y'][x'][c]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= size.width * size.channels {
        return;
    }
    let c = id.x % size.channels;
    let tx = taps(id.x / size.channels, f32(size.input_width) / f32(size.width), size.input_width);
    let ty = taps(id.y, f32(size.input_height) / f32(size.height), size.input_height);
    let top = ty.low * size.input_width;
    let bottom = ty.high * size.input_width;
    var value = mix(
        mix(fetch(top + tx.low, c), fetch(top + tx.high, c), tx.fraction),
        mix(fetch(bottom + tx.low, c), fetch(bottom + tx.high, c), tx.fraction),
        ty.fraction,
    );
    if size.activate == 1u {
        value = lrelu(value);
    }
    output[id.y * size.width * size.channels + id.x] = packed(value);
}

fn fetch(pixel: u32, c: u32) -> vec4<f32> {
    return unpacked(input[pixel * size.channels + c]);
}
