// The radiance field at a pass' samples: tri-plane features, features of the nearest points, and
// the multi-layer perceptron that turns both into opacity and values.
//
// A workgroup of 64 threads owns 32 consecutive samples. Their activations stay in workgroup
// memory, [c][sample]; every layer is computed in registers and written back in place. In a layer,
// a thread owns 8 samples (every fourth one) times 4 or 8 output channels.

#import gpavatar::activation::{sigmoid_wide, softplus}
#import gpavatar::cube::in_cube
#import gpavatar::radiance_inputs::{
    march, frame, field, rays, depths, opacities, weight, four_weights, store_values,
    texels, plane_features, neighbours_of, point_hidden,
}
#import gpavatar::tile::mac

// Nearest points that count, at most 8.
override NEIGHBOURS: u32 = 8u;
// 1 weighs a point by its 1/d² over the sum of that rank over the whole pass (the released
// network); 0 by 1/d over the sum of the sample's points (the paper).
override GLOBAL_WEIGHTS: u32 = 1u;
// 1 leaves the values of samples alone that have no opacity, wherever that saves a workgroup's work.
override SKIP_EMPTY: u32 = 1u;

const SAMPLES = 32u;
const THREADS = 64u;
// Row of `activations` that keeps the sum of a sample's point weights while features are gathered.
const WEIGHT_ROW = 31u;

var<workgroup> activations: array<vec4<f32>, 1024>; // [c][sample]

// Eight samples times four channels.
struct Tile {
    a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>,
    e: vec4<f32>, f: vec4<f32>, g: vec4<f32>, h: vec4<f32>,
}

fn filled(value: vec4<f32>) -> Tile {
    return Tile(value, value, value, value, value, value, value, value);
}

// Puts into the first place of `activations` how many samples something holds for. That takes its
// first row, as there is no other memory left.
fn count_samples(thread: u32, holds: bool) {
    if thread < SAMPLES {
        activations[thread] = vec4<f32>(f32(holds));
    }
    workgroupBarrier();
    if thread == 0u {
        var count = activations[0];
        for (var i = 1u; i < SAMPLES; i++) {
            count += activations[i];
        }
        activations[0] = count;
    }
}

fn row(c: u32, sample: u32) -> u32 {
    return c * SAMPLES + sample;
}

// Output channels 4o..4o+4 of a layer for the samples `sample`, `sample + 4`, ….
fn product(matrix: u32, inputs: u32, outputs: u32, o: u32, sample: u32, start: Tile) -> Tile {
    var tile = start;
    for (var k = 0u; k < inputs; k++) {
        let w = matrix + (k * outputs + o) * 4u;
        let a = four_weights(w);
        let x = row(k, sample);
        tile.a = mac(tile.a, a, activations[x + 0u]);
        tile.b = mac(tile.b, a, activations[x + 4u]);
        tile.c = mac(tile.c, a, activations[x + 8u]);
        tile.d = mac(tile.d, a, activations[x + 12u]);
        tile.e = mac(tile.e, a, activations[x + 16u]);
        tile.f = mac(tile.f, a, activations[x + 20u]);
        tile.g = mac(tile.g, a, activations[x + 24u]);
        tile.h = mac(tile.h, a, activations[x + 28u]);
    }
    return tile;
}

fn relu(tile: Tile) -> Tile {
    let zero = vec4<f32>();
    return Tile(
        max(tile.a, zero), max(tile.b, zero), max(tile.c, zero), max(tile.d, zero),
        max(tile.e, zero), max(tile.f, zero), max(tile.g, zero), max(tile.h, zero),
    );
}

fn keep(tile: Tile, o: u32, sample: u32) {
    let at = row(o, sample);
    activations[at] = tile.a;
    activations[at + 4u] = tile.b;
    activations[at + 8u] = tile.c;
    activations[at + 12u] = tile.d;
    activations[at + 16u] = tile.e;
    activations[at + 20u] = tile.f;
    activations[at + 24u] = tile.g;
    activations[at + 28u] = tile.h;
}

// ---- features ------------------------------------------------------------------------------

fn gather_planes(at: vec3<f32>, sample: u32, lane: u32, lanes: u32) {
    let xy = texels(at.xy);
    let xz = texels(at.xz);
    let zy = texels(at.zy);
    for (var c = lane; c < field.plane_channels; c += lanes) {
        activations[row(c, sample)] = plane_features(xy, xz, zy, c);
    }
}

// The weighted hidden features of all neighbours, behind the planes' features.
fn gather_points(at: vec3<f32>, sample: u32, local: u32, lane: u32, lanes: u32) {
    let near = neighbours_of(at, sample, 0u, NEIGHBOURS, GLOBAL_WEIGHTS == 1u);
    let far = neighbours_of(at, sample, 1u, NEIGHBOURS, GLOBAL_WEIGHTS == 1u);
    var sum = dot(near.weight + far.weight, vec4<f32>(1.0));
    var scale = 1.0;
    if GLOBAL_WEIGHTS == 0u {
        scale = 1.0 / sum;
        sum = 1.0;
    }
    for (var c = lane * 4u; c < field.point_hidden; c += lanes * 4u) {
        var hidden = point_hidden(near, c);
        if NEIGHBOURS > 4u {
            hidden += point_hidden(far, c);
        }
        hidden = scale * hidden;
        let first = field.plane_channels + c;
        activations[row(first, local)] = hidden[0];
        activations[row(first + 1u, local)] = hidden[1];
        activations[row(first + 2u, local)] = hidden[2];
        activations[row(first + 3u, local)] = hidden[3];
    }
    if lane == 0u {
        activations[row(WEIGHT_ROW, local)] = vec4<f32>(sum);
    }
}

// ---- the whole -----------------------------------------------------------------------------

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let first = (group.y * groups.x + group.x) * SAMPLES;

    // Gathering: two threads per sample.
    let local = thread % SAMPLES;
    let lane = thread / SAMPLES;
    let gathered = min(first + local, field.count - 1u);
    let direction = rays[gathered / field.samples * march.stride].xyz;
    let at = frame.origin.xyz + depths[gathered] * direction;
    count_samples(thread, SKIP_EMPTY == 0u || in_cube(at));
    if workgroupUniformLoad(&activations[0]).x == 0.0 {
        if thread < SAMPLES && first + thread < field.count {
            opacities[first + thread] = 0.0;
        }
        return;
    }
    gather_planes(at, local, lane, THREADS / SAMPLES);
    gather_points(at, gathered, local, lane, THREADS / SAMPLES);
    workgroupBarrier();

    // Layers: sixteen groups of channels times four of samples.
    let o = thread / 4u;
    let s = thread % 4u;

    // Second point layer, on the weighted sum; its bias as often as the weights say.
    var tile = filled(vec4<f32>());
    if o < field.point_output {
        let matrix = field.point_out;
        let bias = weight(matrix + field.point_hidden * field.point_output * 4u + o);
        let sums = row(WEIGHT_ROW, s);
        tile = Tile(
            bias * activations[sums], bias * activations[sums + 4u],
            bias * activations[sums + 8u], bias * activations[sums + 12u],
            bias * activations[sums + 16u], bias * activations[sums + 20u],
            bias * activations[sums + 24u], bias * activations[sums + 28u],
        );
        // The hidden features begin behind the planes' rows.
        let offset = field.plane_channels * SAMPLES;
        tile = product(matrix, field.point_hidden, field.point_output, o, offset + s, tile);
    }
    workgroupBarrier();
    if o < field.point_output {
        keep(tile, field.plane_channels + o, s);
    }
    workgroupBarrier();

    // Two hidden layers of eight channels a thread.
    hidden_layer(field.feature_in, field.plane_channels + field.point_output, o * 2u, s);
    hidden_layer(field.feature_out, field.feature_hidden, o * 2u, s);

    // Opacity, and the hidden layer of the values; both read the same features.
    var opacity = 0.0;
    if thread < SAMPLES && first + thread < field.count {
        var density = weight(field.density + field.feature_hidden).x;
        for (var k = 0u; k < field.feature_hidden; k++) {
            density += dot(weight(field.density + k), activations[row(k, thread)]);
        }
        // Threads below SAMPLES have gathered their own sample.
        opacity = select(0.0, 1.0 - exp(-softplus(density)), in_cube(at));
        opacities[first + thread] = opacity;
    }
    let kept = activations[thread];
    count_samples(thread, SKIP_EMPTY == 0u || opacity > 0.0);
    if workgroupUniformLoad(&activations[0]).x == 0.0 {
        return;
    }
    if thread < SAMPLES {
        activations[thread] = kept;
    }
    workgroupBarrier();
    tile = filled(vec4<f32>());
    if o < field.rgb_hidden {
        let bias = filled(weight(field.rgb_in + field.feature_hidden * field.rgb_hidden * 4u + o));
        tile = product(field.rgb_in, field.feature_hidden, field.rgb_hidden, o, s, bias);
        tile = relu(with_view(tile, first + s, o));
    }
    workgroupBarrier();
    if o < field.rgb_hidden {
        keep(tile, o, s);
    }
    workgroupBarrier();

    if o < march.channels {
        let bias = filled(weight(field.rgb_out + field.rgb_hidden * march.channels * 4u + o));
        tile = product(field.rgb_out, field.rgb_hidden, march.channels, o, s, bias);
        emit(tile.a, first + s, o);
        emit(tile.b, first + s + 4u, o);
        emit(tile.c, first + s + 8u, o);
        emit(tile.d, first + s + 12u, o);
        emit(tile.e, first + s + 16u, o);
        emit(tile.f, first + s + 20u, o);
        emit(tile.g, first + s + 24u, o);
        emit(tile.h, first + s + 28u, o);
    }
}

// A layer of `feature_hidden` channels with ReLU, in place; the thread owns the channels of o and
// o + 1.
fn hidden_layer(matrix: u32, inputs: u32, o: u32, s: u32) {
    let outputs = field.feature_hidden;
    var low = filled(vec4<f32>());
    var high = low;
    if o < outputs {
        let bias = matrix + inputs * outputs * 4u + o;
        low = filled(weight(bias));
        high = filled(weight(bias + 1u));
        for (var k = 0u; k < inputs; k++) {
            let w = matrix + (k * outputs + o) * 4u;
            let p = four_weights(w);
            let q = four_weights(w + 4u);
            let x = row(k, s);
            let xa = activations[x + 0u];
            low.a = mac(low.a, p, xa);
            high.a = mac(high.a, q, xa);
            let xb = activations[x + 4u];
            low.b = mac(low.b, p, xb);
            high.b = mac(high.b, q, xb);
            let xc = activations[x + 8u];
            low.c = mac(low.c, p, xc);
            high.c = mac(high.c, q, xc);
            let xd = activations[x + 12u];
            low.d = mac(low.d, p, xd);
            high.d = mac(high.d, q, xd);
            let xe = activations[x + 16u];
            low.e = mac(low.e, p, xe);
            high.e = mac(high.e, q, xe);
            let xf = activations[x + 20u];
            low.f = mac(low.f, p, xf);
            high.f = mac(high.f, q, xf);
            let xg = activations[x + 24u];
            low.g = mac(low.g, p, xg);
            high.g = mac(high.g, q, xg);
            let xh = activations[x + 28u];
            low.h = mac(low.h, p, xh);
            high.h = mac(high.h, q, xh);
        }
    }
    workgroupBarrier();
    if o < outputs {
        keep(relu(low), o, s);
        keep(relu(high), o + 1u, s);
    }
    workgroupBarrier();
}

// Adds the viewing direction's half of the layer, computed once per ray.
fn with_view(tile: Tile, sample: u32, o: u32) -> Tile {
    return Tile(
        tile.a + view(sample, o), tile.b + view(sample + 4u, o),
        tile.c + view(sample + 8u, o), tile.d + view(sample + 12u, o),
        tile.e + view(sample + 16u, o), tile.f + view(sample + 20u, o),
        tile.g + view(sample + 24u, o), tile.h + view(sample + 28u, o),
    );
}

fn view(sample: u32, o: u32) -> vec4<f32> {
    let ray = min(sample, field.count - 1u) / field.samples;
    return rays[ray * march.stride + 1u + o];
}

// Stores values 4o..4o+4 of a sample; the first three are colours.
fn emit(value: vec4<f32>, sample: u32, o: u32) {
    if sample >= field.count {
        return;
    }
    var result = value;
    if o == 0u {
        result = vec4<f32>(sigmoid_wide(value).xyz, value.w);
    }
    store_values(sample * march.channels + o, result);
}
