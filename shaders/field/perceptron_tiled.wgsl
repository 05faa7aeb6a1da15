// The layers of the radiance field after features are gathered, for devices with 32 KiB of workgroup memory.
//
// A workgroup owns 64 consecutive samples, along x and then y of the dispatch, whose activations stay in
// workgroup memory; a layer is computed in registers and written back in place. Threads with consecutive
// indices own consecutive outputs of the same samples: they read weights from consecutive addresses
// and share activations. A matrix of weights is [inputs][outputs].

#import gpavatar::cube::in_cube
#import gpavatar::grid::{Thread, group_index}
#import gpavatar::radiance_features::{features_of, weight_of}
#import gpavatar::radiance_inputs::{SKIP_EMPTY, field, opacities, weight, position}
#import gpavatar::radiance_layers::{
    Layer, POINT_OUT, FEATURE_IN, FEATURE_OUT, RGB_IN, RGB_OUT, layer, bias_at,
    ray_of, view, density_bias, density_of, opacity_of, emit,
}
#import gpavatar::stored::{Stored, unpacked}
#import gpavatar::tile::{mac_four, relu}

@group(0) @binding(11) var<storage, read> features: array<Stored>; // see radiance_features

const SAMPLES = 64u;
const THREADS = 128u;
// Row of `activations` behind all features, that keeps the sums of samples' point weights.
const WEIGHT_ROW = 31u;
// [c][sample], see row.
var<workgroup> activations: array<vec4<f32>, 2048>;

// Rotates samples from row to row, so that threads that write different rows of a sample use
// different banks.
fn row(c: u32, sample: u32) -> u32 {
    return c * SAMPLES + (sample ^ (c & 7u));
}

// Four channels of eight samples.
struct Tile {
    low: mat4x4<f32>,
    high: mat4x4<f32>,
}

fn four(value: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(value, value, value, value);
}

fn filled(value: vec4<f32>) -> Tile {
    return Tile(four(value), four(value));
}

// Counts the samples that a predicate holds for, in the first element of `activations`. This
// overwrites their first row: there is no other memory left.
fn count_samples(thread: u32, holds: bool) {
    if thread < SAMPLES {
        activations[thread] = vec4<f32>(f32(holds));
    }
    workgroupBarrier();
    if thread == 0u {
        var count = activations[0].x;
        for (var i = 1u; i < SAMPLES; i++) {
            count += activations[i].x;
        }
        activations[0] = vec4<f32>(count);
    }
}

// The samples of a row from `at` on, every eighth or sixteenth.
fn load_eighths(at: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        activations[at], activations[at + 8u], activations[at + 16u], activations[at + 24u]
    );
}

fn load_sixteenths(at: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        activations[at], activations[at + 16u], activations[at + 32u], activations[at + 48u]
    );
}

fn keep_eighths(at: u32, value: mat4x4<f32>) {
    activations[at] = value[0];
    activations[at + 8u] = value[1];
    activations[at + 16u] = value[2];
    activations[at + 24u] = value[3];
}

fn keep_sixteenths(at: u32, value: mat4x4<f32>) {
    activations[at] = value[0];
    activations[at + 16u] = value[1];
    activations[at + 32u] = value[2];
    activations[at + 48u] = value[3];
}

fn keep(at: u32, tile: Tile) {
    keep_eighths(at, tile.low);
    keep_eighths(at + 32u, tile.high);
}

// Weights of four inputs.
fn inputs_at(at: u32, stride: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        weight(at), weight(at + stride), weight(at + 2u * stride), weight(at + 3u * stride)
    );
}

// ---- layers --------------------------------------------------------------------------------

// Outputs 4o..4o+4 of a layer for the samples s, s + 8, …, from the inputs in rows `first` and on.
fn product_of_eight(l: Layer, first: u32, o: u32, s: u32, start: Tile) -> Tile {
    var tile = start;
    for (var k = 0u; k < l.inputs; k++) {
        let w = inputs_at(l.matrix + k * 4u * l.outputs + o, l.outputs);
        let x = row(first + k, s);
        tile.low = mac_four(tile.low, w, load_eighths(x));
        tile.high = mac_four(tile.high, w, load_eighths(x + 32u));
    }
    return tile;
}

// The same for the samples s, s + 16, ….
fn product_of_four(l: Layer, first: u32, o: u32, s: u32, start: mat4x4<f32>) -> mat4x4<f32> {
    var tile = start;
    for (var k = 0u; k < l.inputs; k++) {
        let w = inputs_at(l.matrix + k * 4u * l.outputs + o, l.outputs);
        tile = mac_four(tile, w, load_sixteenths(row(first + k, s)));
    }
    return tile;
}

// A hidden layer of the features in place; the thread owns the outputs of o and o + 16.
fn hidden_layer(l: Layer, o: u32, s: u32) {
    var low = filled(vec4<f32>());
    var high = low;
    // Sums beyond the last output are dropped.
    let other = min(o + 16u, l.outputs - 1u);
    if o < l.outputs {
        low = filled(weight(bias_at(l) + o));
        high = filled(weight(bias_at(l) + other));
        for (var k = 0u; k < l.inputs; k++) {
            let at = l.matrix + k * 4u * l.outputs;
            let p = inputs_at(at + o, l.outputs);
            let q = inputs_at(at + other, l.outputs);
            let first = row(k, s);
            let x = load_eighths(first);
            low.low = mac_four(low.low, p, x);
            high.low = mac_four(high.low, q, x);
            let y = load_eighths(first + 32u);
            low.high = mac_four(low.high, p, y);
            high.high = mac_four(high.high, q, y);
        }
    }
    workgroupBarrier();
    if o < l.outputs {
        keep(row(o, s), Tile(relu(low.low), relu(low.high)));
    }
    if o + 16u < l.outputs {
        keep(row(o + 16u, s), Tile(relu(high.low), relu(high.high)));
    }
    workgroupBarrier();
}

// Outputs of samples times the samples' sums of weights: the point layer runs on a weighted mean.
fn of_sums(x: mat4x4<f32>, sums: mat4x4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(x[0] * sums[0], x[1] * sums[1], x[2] * sums[2], x[3] * sums[3]);
}

// The second point layer, in place.
fn point_layer(thread: u32) {
    let l = layer(POINT_OUT);
    if l.outputs <= 8u {
        let o = thread % 8u;
        let s = thread / 8u;
        var tile = four(vec4<f32>());
        if o < l.outputs {
            tile = product_of_four(l, field.plane_channels, o, s, four(weight(bias_at(l) + o)));
            tile = of_sums(tile, load_sixteenths(row(WEIGHT_ROW, s)));
        }
        workgroupBarrier();
        if o < l.outputs {
            keep_sixteenths(row(field.plane_channels + o, s), tile);
        }
    } else {
        let o = thread % 16u;
        let s = thread / 16u;
        var tile = filled(vec4<f32>());
        if o < l.outputs {
            tile = product_of_eight(l, field.plane_channels, o, s, filled(weight(bias_at(l) + o)));
            let sums = row(WEIGHT_ROW, s);
            tile.low = of_sums(tile.low, load_eighths(sums));
            tile.high = of_sums(tile.high, load_eighths(sums + 32u));
        }
        workgroupBarrier();
        if o < l.outputs {
            keep(row(field.plane_channels + o, s), tile);
        }
    }
    workgroupBarrier();
}

fn views(sample: u32, o: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        view(ray_of(sample), o), view(ray_of(sample + 8u), o),
        view(ray_of(sample + 16u), o), view(ray_of(sample + 24u), o),
    );
}

// Stores values 4o..4o+4 of every `step`th sample.
fn emit_four(value: mat4x4<f32>, sample: u32, step: u32, o: u32) {
    emit(value[0], sample, o);
    emit(value[1], sample + step, o);
    emit(value[2], sample + 2u * step, o);
    emit(value[3], sample + 3u * step, o);
}

// The layers of the values.
fn shade(thread: u32, first: u32) {
    let o = thread % 16u;
    let s = thread / 16u;
    let l = layer(RGB_IN);
    var tile = filled(vec4<f32>());
    if o < l.outputs {
        tile = product_of_eight(l, 0u, o, s, filled(weight(bias_at(l) + o)));
        tile.low = relu(tile.low + views(first + s, o));
        tile.high = relu(tile.high + views(first + s + 32u, o));
    }
    workgroupBarrier();
    if o < l.outputs {
        keep(row(o, s), tile);
    }
    workgroupBarrier();
    let out = layer(RGB_OUT);
    if out.outputs <= 8u {
        let o = thread % 8u;
        let s = thread / 8u;
        if o < out.outputs {
            emit_four(product_of_four(out, 0u, o, s, four(weight(bias_at(out) + o))), first + s, 16u, o);
        }
    } else if o < out.outputs {
        tile = product_of_eight(out, 0u, o, s, filled(weight(bias_at(out) + o)));
        emit_four(tile.low, first + s, 8u, o);
        emit_four(tile.high, first + s + 32u, 8u, o);
    }
}

// ---- features ------------------------------------------------------------------------------

// Eight consecutive threads read consecutive features of a sample.
fn load_features(first: u32, o: u32, s: u32) {
    let width = field.plane_channels + field.point_hidden;
    let last = field.count - 1u;
    let a = features_of(min(first + s, last));
    let b = features_of(min(first + s + 16u, last));
    let c = features_of(min(first + s + 32u, last));
    let d = features_of(min(first + s + 48u, last));
    for (var i = o; i < width; i += 8u) {
        keep_sixteenths(row(i, s), mat4x4<f32>(
            unpacked(features[a + i]), unpacked(features[b + i]),
            unpacked(features[c + i]), unpacked(features[d + i]),
        ));
    }
    if o == 0u {
        keep_sixteenths(row(WEIGHT_ROW, s), mat4x4<f32>(
            vec4<f32>(weight_of(features[a + width])), vec4<f32>(weight_of(features[b + width])),
            vec4<f32>(weight_of(features[c + width])), vec4<f32>(weight_of(features[d + width])),
        ));
    }
}

@compute @workgroup_size(THREADS)
fn main(own: Thread) {
    let thread = own.local;
    let first = field.first + group_index(own) * SAMPLES;
    let at = position(min(first + thread % SAMPLES, field.count - 1u));
    count_samples(thread, SKIP_EMPTY == 0u || in_cube(at));
    if workgroupUniformLoad(&activations[0]).x == 0.0 {
        if thread < SAMPLES && first + thread < field.count {
            opacities[first + thread] = 0.0;
        }
        return;
    }
    load_features(first, thread % 8u, thread / 8u);
    workgroupBarrier();
    point_layer(thread);
    hidden_layer(layer(FEATURE_IN), thread % 16u, thread / 16u);
    hidden_layer(layer(FEATURE_OUT), thread % 16u, thread / 16u);

    var opacity = 0.0;
    if thread < SAMPLES && first + thread < field.count {
        var density = density_bias();
        for (var k = 0u; k < field.feature_hidden; k++) {
            density += density_of(k, activations[row(k, thread)]);
        }
        opacity = opacity_of(density, at);
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
    shade(thread, first);
}
