// The radiance field of `radiance`, by threads that share weights by broadcast: for adapters where
// a load costs far more than a broadcast (CPU implementations load thread by thread).
//
// A workgroup is eight threads with 4 samples each; consecutive threads own consecutive samples.
// One thread loads a weight and broadcasts it to the others. Needs subgroups of at least eight
// threads.
// Error: that of `radiance`.

#import gpavatar::cube::in_cube
#import gpavatar::grid::{Thread, group_index}
#import gpavatar::harmonic::{OCTAVES, first_octave, next_octave}
#import gpavatar::radiance_inputs::{
    NEIGHBOURS, GLOBAL_WEIGHTS, SKIP_EMPTY, field, opacities, weight, position,
    planes_around, plane_features, Neighbours, neighbours_of, Hidden, embedded, table_of, weighted,
}
#import gpavatar::radiance_layers::{
    Layer, POINT_OUT, FEATURE_IN, FEATURE_OUT, RGB_IN, RGB_OUT, LAYERS, layer, bias_at,
    ray_of, view, density_bias, density_of, opacity_of, emit,
}
#import gpavatar::samples::march
#import gpavatar::tile::mac
#import gpavatar::values::NEGLIGIBLE

const THREADS = 8u;
const SAMPLES = 4u;

// All activations, [row][sample][thread], where a row is four channels. Layers read from one half
// and write to the other. Threads use only their own, so there are no barriers: this is workgroup
// memory only because drivers on the CPU take long to compile large private arrays.
const HALF = 32u;
var<workgroup> activations: array<vec4<f32>, 2048>;

fn place(row: u32, sample: u32, thread: u32) -> u32 {
    return (row * SAMPLES + sample) * THREADS + thread;
}

// Four samples times 16 channels; column i of a matrix holds the channels 4i..4i+4.
struct Block {
    a: mat4x4<f32>,
    b: mat4x4<f32>,
    c: mat4x4<f32>,
    d: mat4x4<f32>,
}

// Weights of 16 output channels for four input channels: for every four outputs a matrix whose
// column i belongs to input i.
struct Weights {
    a: mat4x4<f32>,
    b: mat4x4<f32>,
    c: mat4x4<f32>,
    d: mat4x4<f32>,
}

// The vec4s of the first four threads.
fn broadcast_low(value: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        subgroupBroadcast(value, 0u), subgroupBroadcast(value, 1u),
        subgroupBroadcast(value, 2u), subgroupBroadcast(value, 3u),
    );
}

// The vec4s of the last four threads.
fn broadcast_high(value: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        subgroupBroadcast(value, 4u), subgroupBroadcast(value, 5u),
        subgroupBroadcast(value, 6u), subgroupBroadcast(value, 7u),
    );
}

fn multiplied(sum: mat4x4<f32>, w: Weights, x: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        mac(sum[0], w.a, x), mac(sum[1], w.b, x), mac(sum[2], w.c, x), mac(sum[3], w.d, x)
    );
}

// Keeps the first `rows` rows.
fn keep(row: u32, rows: u32, sample: u32, thread: u32, value: mat4x4<f32>) {
    let at = place(row, sample, thread);
    let next = SAMPLES * THREADS;
    activations[at] = value[0];
    if rows > 1u {
        activations[at + next] = value[1];
    }
    if rows > 2u {
        activations[at + 2u * next] = value[2];
    }
    if rows > 3u {
        activations[at + 3u * next] = value[3];
    }
}

// First row of a layer's inputs, and of its outputs.
fn rows_of(i: u32) -> vec2<u32> {
    switch i {
        case POINT_OUT: {
            // After the planes' features.
            return vec2<u32>(0u, HALF + field.plane_channels);
        }
        case FEATURE_IN, RGB_IN: {
            return vec2<u32>(HALF, 0u);
        }
        default: {
            return vec2<u32>(0u, HALF);
        }
    }
}

// Runs a layer without its activation, its bias multiplied by `times` for each sample.
fn run(l: Layer, rows: vec2<u32>, times: vec4<f32>, thread: u32) {
    for (var o = 0u; o < l.outputs; o += 4u) {
        // The last block may have fewer channels: its other sums are dropped.
        let last = l.outputs - o - 1u;
        let own_bias = bias_at(l) + o + min(thread, last);
        let bias = broadcast_low(weight(own_bias));
        var block = Block(times.x * bias, times.y * bias, times.z * bias, times.w * bias);
        let low = l.matrix + o * 4u + min(thread, last * 4u + 3u);
        let high = l.matrix + o * 4u + min(thread + THREADS, last * 4u + 3u);
        for (var k = 0u; k < l.inputs; k++) {
            let at = k * l.outputs * 4u;
            let first = weight(low + at);
            let second = weight(high + at);
            let w = Weights(
                broadcast_low(first), broadcast_high(first),
                broadcast_low(second), broadcast_high(second),
            );
            let x = place(rows.x + k, 0u, thread);
            block.a = multiplied(block.a, w, activations[x]);
            block.b = multiplied(block.b, w, activations[x + THREADS]);
            block.c = multiplied(block.c, w, activations[x + 2u * THREADS]);
            block.d = multiplied(block.d, w, activations[x + 3u * THREADS]);
        }
        keep(rows.y + o, last + 1u, 0u, thread, block.a);
        keep(rows.y + o, last + 1u, 1u, thread, block.b);
        keep(rows.y + o, last + 1u, 2u, thread, block.c);
        keep(rows.y + o, last + 1u, 3u, thread, block.d);
    }
}

// Adds an octave's sines or cosines of x and y, then of z and the other function's x, and so on:
// two embedded numbers per load.
fn embed_pair(
    hidden: Hidden, first: vec4<f32>, second: vec4<f32>, at_first: u32, at_second: u32, thread: u32
) -> Hidden {
    let loaded = weight(select(at_first, at_second, thread >= 4u) + (thread & 3u));
    return embedded(
        embedded(hidden, first, broadcast_low(loaded)), second, broadcast_high(loaded)
    );
}

// Channels 4c..4c+16 of Σ_k weight_k relu(table[k] + layer · γ(direction_k)) over four neighbours.
fn shared_hidden(n: Neighbours, c: u32, thread: u32) -> mat4x4<f32> {
    var hidden = table_of(n, c);
    let stride = field.point_hidden;
    let first = field.offset_layer + c;
    // From one component's rows to the next one's.
    let next = OCTAVES * stride;
    var a = first_octave(vec3<f32>(n.x.x, n.y.x, n.z.x));
    var b = first_octave(vec3<f32>(n.x.y, n.y.y, n.z.y));
    var g = first_octave(vec3<f32>(n.x.z, n.y.z, n.z.z));
    var d = first_octave(vec3<f32>(n.x.w, n.y.w, n.z.w));
    for (var octave = 0u; octave < OCTAVES; octave++) {
        let sine = first + octave * stride;
        let cosine = sine + 3u * next;
        hidden = embed_pair(
            hidden,
            vec4<f32>(a.sine.x, b.sine.x, g.sine.x, d.sine.x),
            vec4<f32>(a.cosine.x, b.cosine.x, g.cosine.x, d.cosine.x),
            sine, cosine, thread,
        );
        hidden = embed_pair(
            hidden,
            vec4<f32>(a.sine.y, b.sine.y, g.sine.y, d.sine.y),
            vec4<f32>(a.cosine.y, b.cosine.y, g.cosine.y, d.cosine.y),
            sine + next, cosine + next, thread,
        );
        hidden = embed_pair(
            hidden,
            vec4<f32>(a.sine.z, b.sine.z, g.sine.z, d.sine.z),
            vec4<f32>(a.cosine.z, b.cosine.z, g.cosine.z, d.cosine.z),
            sine + 2u * next, cosine + 2u * next, thread,
        );
        a = next_octave(a);
        b = next_octave(b);
        g = next_octave(g);
        d = next_octave(d);
    }
    let plain = first + 6u * next;
    hidden = embed_pair(hidden, n.x, n.y, plain, plain + stride, thread);
    let loaded = weight(plain + 2u * stride + (thread & 3u));
    return weighted(n, embedded(hidden, n.z, broadcast_low(loaded)));
}

// The planes' features go into the second half, the points' hidden features into the first one.
// Returns the sum of the point weights.
fn gather(at: vec3<f32>, sample: u32, local: u32, thread: u32) -> f32 {
    let planes = planes_around(at);
    for (var c = 0u; c < field.plane_channels; c++) {
        activations[place(HALF + c, local, thread)] = plane_features(planes, c);
    }
    var sum = 0.0;
    for (var batch = 0u; batch * 4u < NEIGHBOURS; batch++) {
        let n = neighbours_of(at, sample, batch);
        sum += dot(n.weight, vec4<f32>(1.0));
        for (var c = 0u; c < field.point_hidden; c += 4u) {
            var hidden = shared_hidden(n, c, thread);
            if batch == 1u {
                let at = place(c, local, thread);
                let next = SAMPLES * THREADS;
                hidden += mat4x4<f32>(
                    activations[at], activations[at + next],
                    activations[at + 2u * next], activations[at + 3u * next],
                );
            }
            keep(c, 4u, local, thread, hidden);
        }
    }
    if GLOBAL_WEIGHTS == 0u {
        for (var c = 0u; c < field.point_hidden; c++) {
            activations[place(c, local, thread)] /= sum;
        }
        sum = 1.0;
    }
    return sum;
}

@compute @workgroup_size(THREADS)
fn main(own: Thread) {
    let thread = own.local;
    let first = group_index(own) * THREADS * SAMPLES + thread;
    if SKIP_EMPTY == 1u && !subgroupAny(reaches_cube(first)) {
        clear_opacities(first);
        return;
    }
    var sums = vec4<f32>();
    for (var s = 0u; s < SAMPLES; s++) {
        let sample = min(first + s * THREADS, field.count - 1u);
        let sum = gather(position(sample), sample, s, thread);
        sums = select(sums, vec4<f32>(sum), vec4<u32>(s) == vec4<u32>(0u, 1u, 2u, 3u));
    }

    // One piece of code for all layers: drivers on the CPU take seconds to compile many loads.
    for (var i = 0u; i < LAYERS; i++) {
        let l = layer(i);
        let rows = rows_of(i);
        // The second point layer runs on a weighted sum, so its bias is multiplied by the weights'
        // sum.
        run(l, rows, select(vec4<f32>(1.0), sums, i == POINT_OUT), thread);
        if i == POINT_OUT || i == RGB_OUT {
            continue;
        }
        for (var s = 0u; s < SAMPLES; s++) {
            let ray = ray_of(first + s * THREADS);
            for (var o = 0u; o < l.outputs; o++) {
                let at = place(rows.y + o, s, thread);
                var value = activations[at];
                if i == RGB_IN {
                    value += view(ray, o);
                }
                activations[at] = max(value, vec4<f32>());
            }
        }
        if i == FEATURE_OUT {
            let seen = emit_opacities(first, thread);
            if SKIP_EMPTY == 1u && !subgroupAny(seen) {
                return;
            }
        }
    }
    for (var s = 0u; s < SAMPLES; s++) {
        for (var o = 0u; o < march.channels; o++) {
            emit(activations[place(HALF + o, s, thread)], first + s * THREADS, o);
        }
    }
}

// Predicate: any of a thread's samples is in the cube.
fn reaches_cube(first: u32) -> bool {
    var reaches = false;
    for (var s = 0u; s < SAMPLES; s++) {
        let sample = first + s * THREADS;
        reaches |= sample < field.count && in_cube(position(min(sample, field.count - 1u)));
    }
    return reaches;
}

fn clear_opacities(first: u32) {
    for (var s = 0u; s < SAMPLES; s++) {
        if first + s * THREADS < field.count {
            opacities[first + s * THREADS] = 0.0;
        }
    }
}

// Stores the opacities of a thread's samples. Returns true if any is not zero.
fn emit_opacities(first: u32, thread: u32) -> bool {
    var seen = false;
    for (var s = 0u; s < SAMPLES; s++) {
        let sample = first + s * THREADS;
        if sample >= field.count {
            break;
        }
        var density = density_bias();
        for (var k = 0u; k < field.feature_hidden; k++) {
            density += density_of(k, activations[place(HALF + k, s, thread)]);
        }
        let opacity = opacity_of(density, position(sample));
        opacities[sample] = opacity;
        seen |= opacity > NEGLIGIBLE;
    }
    return seen;
}
