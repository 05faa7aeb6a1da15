// The radiance field at a pass' samples: features of the tri-planes and of the nearest points, and the
// multi-layer perceptron that turns both into opacity and values.
//
// A workgroup owns 32 consecutive samples, along x and then y of the dispatch. Their activations stay
// in workgroup memory; a layer is computed in registers and written back in place. Two threads gather a
// sample's features. In a layer a thread owns every fourth sample, eight in all, and 4 or 8 outputs.
// Error: opacity and values to 4e-6 of the largest (six layers of sums of up to 128 products); an opacity
// to 1e-5 of itself, beside what its density is off by.

#import gpavatar::cube::in_cube
#import gpavatar::grid::{Thread, group_index}
#import gpavatar::radiance_inputs::{
    GLOBAL_WEIGHTS, SKIP_EMPTY, field, opacities, weight, four_weights, position,
    planes_around, plane_features, points_around, point_features,
}
#import gpavatar::radiance_layers::{
    Layer, POINT_OUT, FEATURE_IN, FEATURE_OUT, RGB_IN, RGB_OUT, layer, bias_at,
    ray_of, view, density_bias, density_of, opacity_of, emit,
}
#import gpavatar::samples::march
#import gpavatar::tile::{mac_four, relu}
#import gpavatar::values::NEGLIGIBLE

const SAMPLES = 32u;
const THREADS = 64u;
// Row of `activations` that keeps the sum of a sample's point weights while features are gathered.
const WEIGHT_ROW = 31u;

var<workgroup> activations: array<vec4<f32>, 1024>; // [c][sample]

// Four channels of eight samples.
struct Tile {
    low: mat4x4<f32>,
    high: mat4x4<f32>,
}

fn filled(value: vec4<f32>) -> Tile {
    let four = mat4x4<f32>(value, value, value, value);
    return Tile(four, four);
}

// Counts the samples that a predicate holds for, in the first element of `activations`. This
// overwrites their first row: there is no other memory left.
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

fn load_four(at: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        activations[at], activations[at + 4u], activations[at + 8u], activations[at + 12u]
    );
}

fn keep_four(at: u32, value: mat4x4<f32>) {
    activations[at] = value[0];
    activations[at + 4u] = value[1];
    activations[at + 8u] = value[2];
    activations[at + 12u] = value[3];
}

fn keep(tile: Tile, at: u32) {
    keep_four(at, tile.low);
    keep_four(at + 16u, tile.high);
}

// Outputs 4o..4o+4 of a layer for the samples s, s + 4, …, from the inputs in rows `first` and on.
fn product(l: Layer, first: u32, o: u32, s: u32, start: Tile) -> Tile {
    var tile = start;
    for (var k = 0u; k < l.inputs; k++) {
        let w = four_weights(l.matrix + (k * l.outputs + o) * 4u);
        let x = row(first + k, s);
        tile.low = mac_four(tile.low, w, load_four(x));
        tile.high = mac_four(tile.high, w, load_four(x + 16u));
    }
    return tile;
}

// A hidden layer of the features in place; the thread owns the outputs of o and o + 1.
fn hidden_layer(l: Layer, o: u32, s: u32) {
    var low = filled(vec4<f32>());
    var high = low;
    if o < l.outputs {
        low = filled(weight(bias_at(l) + o));
        high = filled(weight(bias_at(l) + o + 1u));
        for (var k = 0u; k < l.inputs; k++) {
            let at = l.matrix + (k * l.outputs + o) * 4u;
            let p = four_weights(at);
            let q = four_weights(at + 4u);
            let x = load_four(row(k, s));
            low.low = mac_four(low.low, p, x);
            high.low = mac_four(high.low, q, x);
            let y = load_four(row(k, s) + 16u);
            low.high = mac_four(low.high, p, y);
            high.high = mac_four(high.high, q, y);
        }
    }
    workgroupBarrier();
    if o < l.outputs {
        keep(Tile(relu(low.low), relu(low.high)), row(o, s));
        keep(Tile(relu(high.low), relu(high.high)), row(o + 1u, s));
    }
    workgroupBarrier();
}

// The planes' features, then the weighted hidden features of all neighbours.
fn gather(at: vec3<f32>, sample: u32, local: u32, lane: u32, lanes: u32) {
    let planes = planes_around(at);
    for (var c = lane; c < field.plane_channels; c += lanes) {
        activations[row(c, local)] = plane_features(planes, c);
    }
    let points = points_around(at, sample);
    let scale = select(1.0 / points.weight, 1.0, GLOBAL_WEIGHTS == 1u);
    for (var c = lane * 4u; c < field.point_hidden; c += lanes * 4u) {
        let hidden = scale * point_features(points, c);
        let first = field.plane_channels + c;
        activations[row(first, local)] = hidden[0];
        activations[row(first + 1u, local)] = hidden[1];
        activations[row(first + 2u, local)] = hidden[2];
        activations[row(first + 3u, local)] = hidden[3];
    }
    if lane == 0u {
        let sum = select(1.0, points.weight, GLOBAL_WEIGHTS == 1u);
        activations[row(WEIGHT_ROW, local)] = vec4<f32>(sum);
    }
}

// The bias of the second point layer, times the sum of weights: the layer runs on a weighted sum.
fn biases(bias: vec4<f32>, at: u32) -> mat4x4<f32> {
    let sums = load_four(at);
    return mat4x4<f32>(bias * sums[0], bias * sums[1], bias * sums[2], bias * sums[3]);
}

fn views(sample: u32, o: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        view(ray_of(sample), o), view(ray_of(sample + 4u), o),
        view(ray_of(sample + 8u), o), view(ray_of(sample + 12u), o),
    );
}

fn emit_four(value: mat4x4<f32>, sample: u32, o: u32) {
    emit(value[0], sample, o);
    emit(value[1], sample + 4u, o);
    emit(value[2], sample + 8u, o);
    emit(value[3], sample + 12u, o);
}

@compute @workgroup_size(THREADS)
fn main(own: Thread) {
    let thread = own.local;
    let first = group_index(own) * SAMPLES;
    let local = thread % SAMPLES;
    let gathered = min(first + local, field.count - 1u);
    let at = position(gathered);
    count_samples(thread, SKIP_EMPTY == 0u || in_cube(at));
    if workgroupUniformLoad(&activations[0]).x == 0.0 {
        if thread < SAMPLES && first + thread < field.count {
            opacities[first + thread] = 0.0;
        }
        return;
    }
    gather(at, gathered, local, thread / SAMPLES, THREADS / SAMPLES);
    workgroupBarrier();

    // Layers: sixteen groups of channels times four of samples.
    let o = thread / 4u;
    let s = thread % 4u;
    var tile = filled(vec4<f32>());
    let point_out = layer(POINT_OUT);
    if o < point_out.outputs {
        let bias = weight(bias_at(point_out) + o);
        let sums = row(WEIGHT_ROW, s);
        tile = Tile(biases(bias, sums), biases(bias, sums + 16u));
        tile = product(point_out, field.plane_channels, o, s, tile);
    }
    workgroupBarrier();
    if o < point_out.outputs {
        keep(tile, row(field.plane_channels + o, s));
    }
    workgroupBarrier();
    hidden_layer(layer(FEATURE_IN), o * 2u, s);
    hidden_layer(layer(FEATURE_OUT), o * 2u, s);

    // Opacity, and the hidden layer of the values; both read the same features.
    var opacity = 0.0;
    if thread < SAMPLES && first + thread < field.count {
        var density = density_bias();
        for (var k = 0u; k < field.feature_hidden; k++) {
            density += density_of(k, activations[row(k, thread)]);
        }
        // Threads below SAMPLES have gathered their own sample.
        opacity = opacity_of(density, at);
        opacities[first + thread] = opacity;
    }
    let kept = activations[thread];
    count_samples(thread, SKIP_EMPTY == 0u || opacity > NEGLIGIBLE);
    if workgroupUniformLoad(&activations[0]).x == 0.0 {
        return;
    }
    if thread < SAMPLES {
        activations[thread] = kept;
    }
    workgroupBarrier();
    let rgb_in = layer(RGB_IN);
    if o < rgb_in.outputs {
        tile = product(rgb_in, 0u, o, s, filled(weight(bias_at(rgb_in) + o)));
        tile.low = relu(tile.low + views(first + s, o));
        tile.high = relu(tile.high + views(first + s + 16u, o));
    }
    workgroupBarrier();
    if o < rgb_in.outputs {
        keep(tile, row(o, s));
    }
    workgroupBarrier();
    let rgb_out = layer(RGB_OUT);
    if o < march.channels {
        tile = product(rgb_out, 0u, o, s, filled(weight(bias_at(rgb_out) + o)));
        emit_four(tile.low, first + s, o);
        emit_four(tile.high, first + s + 16u, o);
    }
}
