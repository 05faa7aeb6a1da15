// Convolution like `conv`, register-tiled for software adapters, which load number by number.
//
// A thread owns sixteen pixels, times eight output channels or, where WIDE is set, sixteen: no workgroup
// memory, and few loads for each product. Workgroup x: 8 of these pixels' runs; y: the output channels.
// Error: that of `conv`.

#import gpavatar::track_layer::layer
#import gpavatar::track_register_tile::{WIDE, Inputs, Sums, corners_of, four_taps, four_at, with_products, store}
#import gpavatar::track_taps::SIDE

// Eight outputs of four input channels.
struct Weights {
    v: array<vec4<f32>, 8>, // [4 inputs][2]
}

@group(0) @binding(2) var<storage, read> weights: array<Weights>; // [o/8][tap][c]

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
