// Convolution like `conv_register`, whose threads share weights by broadcast: for adapters where a load
// costs far more than that. Needs subgroups of at least eight threads. Workgroup x: 8 runs of sixteen
// pixels; y: the output channels.
// Error: that of `conv`.

#import gpavatar::track_layer::layer
#import gpavatar::track_register_tile::{WIDE, Inputs, Sums, corners_of, four_taps, four_at, with_products, store}
#import gpavatar::track_taps::SIDE

@group(0) @binding(2) var<storage, read> weights: array<vec4<f32>>; // [o/8][tap][c][4 inputs][2]

// Four outputs of four input channels, of eight vectors that the threads hold.
fn shared_low(v: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        subgroupBroadcast(v, 0u), subgroupBroadcast(v, 2u), subgroupBroadcast(v, 4u), subgroupBroadcast(v, 6u)
    );
}

fn shared_high(v: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        subgroupBroadcast(v, 1u), subgroupBroadcast(v, 3u), subgroupBroadcast(v, 5u), subgroupBroadcast(v, 7u)
    );
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    // No thread leaves early: all hold weights.
    let first = 16u * (8u * group.x + local);
    let eighth = group.y << WIDE;
    let inputs = layer.input_channels + group.z; // See `conv`.
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
            let v = weights[((eighth * SIDE * SIDE + tap) * inputs + i) * 8u + local];
            p = with_products(p, shared_low(v), x);
            q = with_products(q, shared_high(v), x);
            if WIDE != 0u {
                let v = weights[((next * SIDE * SIDE + tap) * inputs + i) * 8u + local];
                r = with_products(r, shared_low(v), x);
                s = with_products(s, shared_high(v), x);
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
