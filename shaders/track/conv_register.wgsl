// Convolution like `conv`, register-tiled for software adapters, which load number by number.
//
// A thread owns sixteen pixels, times eight output channels or, where WIDE is set, sixteen: no workgroup
// memory, and few loads for each product. Workgroup x: 8 of these pixels' runs; y: the output channels.
// Error: that of `conv`.

#import gpavatar::track_layer::{layer, input, channels, finish_with}
#import gpavatar::track_taps::{SIDE, first_tap}

override WIDE: u32 = 0u;

// Eight outputs of four input channels.
struct Weights {
    v: array<vec4<f32>, 8>, // [4 inputs][2]
}

@group(0) @binding(2) var<storage, read> weights: array<Weights>; // [o/8][tap][c]

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

@compute @workgroup_size(8, 4)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let first = 16u * id.x;
    let eighth = id.y << WIDE;
    if first >= layer.output_size.x * layer.output_size.y || 2u * eighth >= layer.output_channels {
        return;
    }
    let inputs = layer.input_channels + id.z; // See `conv`.
    let eighths = (layer.output_channels + 1u) / 2u;
    let next = min(eighth + 1u, eighths - 1u);
    let corners_a = corners_of(first);
    let corners_b = corners_of(first + 4u);
    let corners_c = corners_of(first + 8u);
    let corners_d = corners_of(first + 12u);
    var p = Sums();
    var q = Sums();
    var r = Sums();
    var s = Sums();
    for (var tap = 0u; tap < SIDE * SIDE; tap++) {
        let a = four_taps(corners_a, tap);
        let b = four_taps(corners_b, tap);
        let c = four_taps(corners_c, tap);
        let d = four_taps(corners_d, tap);
        for (var i = 0u; i < inputs; i++) {
            let x = Inputs(four_at(a, i), four_at(b, i), four_at(c, i), four_at(d, i));
            let w = weights[(eighth * SIDE * SIDE + tap) * inputs + i];
            p = with_products(p, mat4x4<f32>(w.v[0], w.v[2], w.v[4], w.v[6]), x);
            q = with_products(q, mat4x4<f32>(w.v[1], w.v[3], w.v[5], w.v[7]), x);
            if WIDE != 0u {
                let w = weights[(next * SIDE * SIDE + tap) * inputs + i];
                r = with_products(r, mat4x4<f32>(w.v[0], w.v[2], w.v[4], w.v[6]), x);
                s = with_products(s, mat4x4<f32>(w.v[1], w.v[3], w.v[5], w.v[7]), x);
            }
        }
    }
    store(first, 2u * eighth, p);
    store(first, 2u * eighth + 1u, q);
    if WIDE != 0u && next > eighth {
        store(first, 2u * next, r);
        store(first, 2u * next + 1u, s);
    }
}
