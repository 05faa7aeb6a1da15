// Bilinear resize [y][x][c] -> [y'][x'][c], optionally followed by a leaky ReLU. Downsampling by 2
// averages 2x2 pixels; upsampling by 2 has weights ¼ and ¾.
//
// One thread per output pixel and four channels: x = column * channels + channel, y = row.
// Error: 4 ulp of the largest of four pixels.

#import gpavatar::activation::lrelu
#import gpavatar::bilinear::{corners, between}
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
    let sizes = vec4<u32>(size.input_width, size.input_height, size.width, size.height);
    let step = vec2<f32>(sizes.xy) / vec2<f32>(sizes.zw);
    let at = corners(id.x / size.channels, id.y, step, size.input_width, size.input_height);
    var value = between(
        fetch(at.pixel.x, c), fetch(at.pixel.y, c), fetch(at.pixel.z, c), fetch(at.pixel.w, c),
        at.fraction,
    );
    if size.activate == 1u {
        value = lrelu(value);
    }
    output[id.y * size.width * size.channels + id.x] = packed(value);
}

fn fetch(pixel: u32, c: u32) -> vec4<f32> {
    return unpacked(input[pixel * size.channels + c]);
}
