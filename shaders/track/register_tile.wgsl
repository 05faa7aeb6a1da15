#define_import_path gpavatar::track_register_tile

// What the register-tiled convolutions share: a thread owns sixteen pixels in a row of pixels.

#import gpavatar::track_layer::{layer, input, channels, finish_with}
#import gpavatar::track_taps::{SIDE, first_tap}

// Whether a thread has sixteen output channels instead of eight.
override WIDE: u32 = 0u;

// Columns and rows of four pixels' first taps.
struct Corners {
    x: vec4<u32>,
    y: vec4<u32>,
}

fn corners_of(first: u32) -> Corners {
    let last = layer.output_size.x * layer.output_size.y - 1u;
    let a = first_tap(min(first, last));
    let b = first_tap(min(first + 1u, last));
    let c = first_tap(min(first + 2u, last));
    let d = first_tap(min(first + 3u, last));
    return Corners(vec4<u32>(a.x, b.x, c.x, d.x), vec4<u32>(a.y, b.y, c.y, d.y));
}

// Four pixels: where their taps lie in the input, and 0 for each that is outside.
struct Four {
    at: vec4<u32>,
    gain: vec4<f32>,
}

fn four_taps(corners: Corners, tap: u32) -> Four {
    let x = corners.x + tap % SIDE;
    let y = corners.y + tap / SIDE;
    let size = layer.input_size;
    let inside = (x < vec4<u32>(size.x)) & (y < vec4<u32>(size.y));
    return Four(
        select(vec4<u32>(), y * size.x + x, inside) * layer.input_channels,
        select(vec4<f32>(), vec4<f32>(1.0), inside),
    );
}

fn four_at(four: Four, channel: u32) -> mat4x4<f32> {
    let at = four.at + channel;
    let x = mat4x4<f32>(input[at.x], input[at.y], input[at.z], input[at.w]);
    if SIDE == 1u {
        return x;
    }
    return mat4x4<f32>(x[0] * four.gain.x, x[1] * four.gain.y, x[2] * four.gain.z, x[3] * four.gain.w);
}

// Sums of four output channels of sixteen pixels.
struct Sums {
    a: mat4x4<f32>,
    b: mat4x4<f32>,
    c: mat4x4<f32>,
    d: mat4x4<f32>,
}

// Four inputs of sixteen pixels.
struct Inputs {
    a: mat4x4<f32>,
    b: mat4x4<f32>,
    c: mat4x4<f32>,
    d: mat4x4<f32>,
}

fn with_products(s: Sums, w: mat4x4<f32>, x: Inputs) -> Sums {
    return Sums(s.a + w * x.a, s.b + w * x.b, s.c + w * x.c, s.d + w * x.d);
}

fn store(first: u32, channel: u32, s: Sums) {
    if channel >= layer.output_channels {
        return;
    }
    let finishing = channels[channel];
    for (var i = 0u; i < 4u; i++) {
        finish_with(finishing, first + i, channel, s.a[i]);
        finish_with(finishing, first + 4u + i, channel, s.b[i]);
        finish_with(finishing, first + 8u + i, channel, s.c[i]);
        finish_with(finishing, first + 12u + i, channel, s.d[i]);
    }
}
