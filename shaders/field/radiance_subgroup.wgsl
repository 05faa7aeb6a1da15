// The radiance field at a pass' samples, for threads that share weights by broadcast: what
// `radiance` computes.
//
// A workgroup is eight threads with 4 samples each. Every weight is loaded once, by one of the threads, and handed to the others: for
// adapters where a load costs far more than a broadcast (CPU implementations load thread by
// thread). Needs subgroups of at least eight threads.

#import gpavatar::activation::{sigmoid_wide, softplus}
#import gpavatar::cube::in_cube
#import gpavatar::harmonic::{OCTAVES, first_octave, next_octave}
#import gpavatar::radiance_inputs::{
    march, frame, field, rays, depths, opacities, weight, store_values,
    texels, plane_features, Neighbours, neighbours_of, Hidden, embedded, table_of, weighted,
}
#import gpavatar::tile::mac

// Nearest points that count, at most 8.
override NEIGHBOURS: u32 = 8u;
// 1 weighs a point by its 1/d² over the sum of that rank over the whole pass (the released
// network); 0 by 1/d over the sum of the sample's points (the paper).
override GLOBAL_WEIGHTS: u32 = 1u;
// 1 leaves the values of samples alone that have no opacity, wherever that saves a workgroup's work.
override SKIP_EMPTY: u32 = 1u;

const THREADS = 8u;
const SAMPLES = 4u;

// All activations, [row][sample][thread], a row being four channels. Layers read from one half and
// write to the other. Threads keep to their own, so there are no barriers: this is workgroup memory
// only because drivers on the CPU take long to compile large private arrays.
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

// A layer of the perceptron: where its matrix and bias begin, its rows of inputs and outputs, and
// where they are in `activations`.
struct Layer {
    matrix: u32,
    inputs: u32,
    outputs: u32,
    read: u32,
    write: u32,
}

// In the order in which they run. There is one piece of code for all of them: drivers on the CPU
// take seconds to compile a kernel of many loads.
const POINT_OUT = 0u;
const FEATURE_IN = 1u;
const FEATURE_OUT = 2u;
const RGB_IN = 3u;
const RGB_OUT = 4u;
const LAYERS = 5u;

fn layer(i: u32) -> Layer {
    switch i {
        case POINT_OUT: {
            // Behind the planes' features.
            return Layer(
                field.point_out, field.point_hidden, field.point_output, 0u,
                HALF + field.plane_channels,
            );
        }
        case FEATURE_IN: {
            return Layer(
                field.feature_in, field.plane_channels + field.point_output, field.feature_hidden,
                HALF, 0u,
            );
        }
        case FEATURE_OUT: {
            return Layer(field.feature_out, field.feature_hidden, field.feature_hidden, 0u, HALF);
        }
        case RGB_IN: {
            return Layer(field.rgb_in, field.feature_hidden, field.rgb_hidden, HALF, 0u);
        }
        default: {
            return Layer(field.rgb_out, field.rgb_hidden, march.channels, 0u, HALF);
        }
    }
}

// Runs a layer without its activation, its bias `times` as often for each sample.
fn run(l: Layer, times: vec4<f32>, thread: u32) {
    for (var o = 0u; o < l.outputs; o += 4u) {
        // The last block may have fewer channels: what its other sums are, nobody keeps.
        let last = l.outputs - o - 1u;
        let own_bias = l.matrix + l.inputs * l.outputs * 4u + o + min(thread, last);
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
            let x = place(l.read + k, 0u, thread);
            block.a = multiplied(block.a, w, activations[x]);
            block.b = multiplied(block.b, w, activations[x + THREADS]);
            block.c = multiplied(block.c, w, activations[x + 2u * THREADS]);
            block.d = multiplied(block.d, w, activations[x + 3u * THREADS]);
        }
        keep(l.write + o, last + 1u, 0u, thread, block.a);
        keep(l.write + o, last + 1u, 1u, thread, block.b);
        keep(l.write + o, last + 1u, 2u, thread, block.c);
        keep(l.write + o, last + 1u, 3u, thread, block.d);
    }
}

// ---- features ------------------------------------------------------------------------------

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

// The planes' features into the second half, the points' hidden features into the first one;
// returns the sum of the point weights.
fn gather(at: vec3<f32>, sample: u32, local: u32, thread: u32) -> f32 {
    let xy = texels(at.xy);
    let xz = texels(at.xz);
    let zy = texels(at.zy);
    for (var c = 0u; c < field.plane_channels; c++) {
        activations[place(HALF + c, local, thread)] = plane_features(xy, xz, zy, c);
    }
    var sum = 0.0;
    for (var batch = 0u; batch * 4u < NEIGHBOURS; batch++) {
        let n = neighbours_of(at, sample, batch, NEIGHBOURS, GLOBAL_WEIGHTS == 1u);
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

// ---- the whole -----------------------------------------------------------------------------

fn position(sample: u32) -> vec3<f32> {
    let direction = rays[sample / field.samples * march.stride].xyz;
    return frame.origin.xyz + depths[sample] * direction;
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    // Consecutive threads own consecutive samples, which read the same texels and points.
    let first = (group.y * groups.x + group.x) * THREADS * SAMPLES + thread;
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

    for (var i = 0u; i < LAYERS; i++) {
        let l = layer(i);
        // The second point layer runs on a weighted sum: its bias as often as the weights say.
        run(l, select(vec4<f32>(1.0), sums, i == POINT_OUT), thread);
        if i == POINT_OUT || i == RGB_OUT {
            continue;
        }
        for (var s = 0u; s < SAMPLES; s++) {
            let ray = min(first + s * THREADS, field.count - 1u) / field.samples;
            for (var o = 0u; o < l.outputs; o++) {
                let at = place(l.write + o, s, thread);
                var value = activations[at];
                if i == RGB_IN {
                    // The viewing direction's half of the layer, computed once per ray.
                    value += rays[ray * march.stride + 1u + o];
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
    emit_values(first, thread);
}

// Whether any of a thread's samples is in the cube.
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

// Stores the opacities of a thread's samples; whether there are any.
fn emit_opacities(first: u32, thread: u32) -> bool {
    var seen = false;
    for (var s = 0u; s < SAMPLES; s++) {
        let sample = first + s * THREADS;
        if sample >= field.count {
            break;
        }
        var density = weight(field.density + field.feature_hidden).x;
        for (var k = 0u; k < field.feature_hidden; k++) {
            density += dot(weight(field.density + k), activations[place(HALF + k, s, thread)]);
        }
        let opacity = select(0.0, 1.0 - exp(-softplus(density)), in_cube(position(sample)));
        opacities[sample] = opacity;
        seen |= opacity > 0.0;
    }
    return seen;
}

// Stores the values of a thread's samples; the first three are colours.
fn emit_values(first: u32, thread: u32) {
    for (var s = 0u; s < SAMPLES; s++) {
        let sample = first + s * THREADS;
        if sample >= field.count {
            break;
        }
        for (var o = 0u; o < march.channels; o++) {
            var value = activations[place(HALF + o, s, thread)];
            if o == 0u {
                value = vec4<f32>(sigmoid_wide(value).xyz, value.w);
            }
            store_values(sample * march.channels + o, value);
        }
    }
}
