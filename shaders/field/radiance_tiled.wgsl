// The radiance field of `radiance`, for devices with 32 KiB of workgroup memory.
//
// A workgroup owns 64 consecutive samples, along x and then y of the dispatch, whose activations stay in
// workgroup memory; a layer is computed in registers and written back in place. Threads with consecutive
// indices own consecutive outputs of the same samples: they read weights from consecutive addresses
// and share activations. A matrix of weights is [inputs][outputs].
//
// Features are gathered by all threads together: eight consecutive ones read a texel or a point's
// entry of the table. The first point layer runs on two neighbours of every sample at a time.

#import gpavatar::cube::in_cube
#import gpavatar::grid::{Thread, group_index}
#import gpavatar::harmonic::{first_octave, next_octave}
#import gpavatar::radiance_inputs::{
    NEIGHBOURS, GLOBAL_WEIGHTS, SKIP_EMPTY, field, opacities, planes, weight, position,
    texels, index_of, neighbour_of,
}
#import gpavatar::radiance_layers::{
    Layer, POINT_OUT, FEATURE_IN, FEATURE_OUT, RGB_IN, RGB_OUT, layer, bias_at,
    ray_of, view, density_bias, density_of, opacity_of, emit,
}
#import gpavatar::stored::unpacked
#import gpavatar::tile::{mac_four, relu}

// 2 takes two neighbours at a time, 1 one.
override TOGETHER: u32 = 2u;
// Parts that run: 1 planes, 2 points, 4 hidden layers.
override PARTS: u32 = 7u;

const SAMPLES = 64u;
const THREADS = 128u;
// The widest first point layer: two vec4s for each of eight threads.
const MOST_POINT_HIDDEN = 64u;
// Row of `activations` that keeps the sum of a sample's point weights after features are gathered.
const WEIGHT_ROW = 31u;
// Rows behind any plane's features that hold, one after the other, three planes' texels and their
// weights, and EMBEDDED rows for each of two neighbours. Then they are overwritten by the
// points' features.
const SCRATCH = 18u;
// Sines of x, y and z, cosines of x, y and z, the vector itself with the neighbour's weight.
const EMBEDDED = 7u;

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

// The bias of the second point layer, times the sum of weights: the layer runs on a weighted sum.
fn biases(bias: vec4<f32>, sums: mat4x4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(bias * sums[0].x, bias * sums[1].x, bias * sums[2].x, bias * sums[3].x);
}

// The second point layer, in place.
fn point_layer(thread: u32) {
    let l = layer(POINT_OUT);
    if l.outputs <= 8u {
        let o = thread % 8u;
        let s = thread / 8u;
        var tile = four(vec4<f32>());
        if o < l.outputs {
            let bias = weight(bias_at(l) + o);
            tile = biases(bias, load_sixteenths(row(WEIGHT_ROW, s)));
            tile = product_of_four(l, field.plane_channels, o, s, tile);
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
            let bias = weight(bias_at(l) + o);
            let sums = row(WEIGHT_ROW, s);
            tile = Tile(biases(bias, load_eighths(sums)), biases(bias, load_eighths(sums + 32u)));
            tile = product_of_eight(l, field.plane_channels, o, s, tile);
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

// ---- features of the planes ----------------------------------------------------------------

// Keeps where the texels around the samples begin, and their weights.
fn find_texels(thread: u32, first: u32) {
    for (var i = thread; i < 3u * SAMPLES; i += THREADS) {
        let local = i % SAMPLES;
        let plane = i / SAMPLES;
        let at = position(min(first + local, field.count - 1u));
        let found = texels(select(select(at.xy, at.xz, plane == 1u), at.zy, plane == 2u));
        let begin = (found.index * 3u + plane) * field.plane_channels;
        let kept = SCRATCH + 2u * plane;
        activations[row(kept, local)] = bitcast<vec4<f32>>(begin);
        activations[row(kept + 1u, local)] = found.weight;
    }
}

// Channels 4c..4c+4 of a sample in a plane.
fn plane_sum(plane: u32, local: u32, c: u32) -> vec4<f32> {
    let kept = SCRATCH + 2u * plane;
    let at = bitcast<vec4<u32>>(activations[row(kept, local)]) + c;
    let share = activations[row(kept + 1u, local)];
    return share.x * unpacked(planes[at.x]) + share.y * unpacked(planes[at.y])
        + share.z * unpacked(planes[at.z]) + share.w * unpacked(planes[at.w]);
}

// The mean of the planes' features.
fn gather_planes(o: u32, s: u32) {
    for (var c = o; c < field.plane_channels; c += 8u) {
        for (var local = s; local < SAMPLES; local += 16u) {
            let sum = plane_sum(0u, local, c) + plane_sum(1u, local, c) + plane_sum(2u, local, c);
            activations[row(c, local)] = sum / 3.0;
        }
    }
}

// ---- features of the points ----------------------------------------------------------------

// Keeps the embedded direction to one of a sample's neighbours, and the neighbour's weight.
fn keep_embedded(sample: u32, local: u32, pair: u32, second: u32) {
    let found = neighbour_of(position(sample), sample, 2u * pair + second);
    let direction = found.direction;
    let a = first_octave(direction);
    let b = next_octave(a);
    let c = next_octave(b);
    let d = next_octave(c);
    let kept = SCRATCH + second * EMBEDDED;
    activations[row(kept, local)] = vec4<f32>(a.sine.x, b.sine.x, c.sine.x, d.sine.x);
    activations[row(kept + 1u, local)] = vec4<f32>(a.sine.y, b.sine.y, c.sine.y, d.sine.y);
    activations[row(kept + 2u, local)] = vec4<f32>(a.sine.z, b.sine.z, c.sine.z, d.sine.z);
    activations[row(kept + 3u, local)] = vec4<f32>(a.cosine.x, b.cosine.x, c.cosine.x, d.cosine.x);
    activations[row(kept + 4u, local)] = vec4<f32>(a.cosine.y, b.cosine.y, c.cosine.y, d.cosine.y);
    activations[row(kept + 5u, local)] = vec4<f32>(a.cosine.z, b.cosine.z, c.cosine.z, d.cosine.z);
    activations[row(kept + 6u, local)] = vec4<f32>(direction, found.weight);
}

// The first point layer applied to a point's own feature.
fn table_at(point: u32, c: u32) -> vec4<f32> {
    return weight(field.vertex_table + point * field.point_hidden + c);
}

fn tables(sample: vec4<u32>, rank: u32, c: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        table_at(index_of(sample.x, rank), c), table_at(index_of(sample.y, rank), c),
        table_at(index_of(sample.z, rank), c), table_at(index_of(sample.w, rank), c),
    );
}

// Weights of three inputs.
fn three_inputs_at(at: u32, stride: u32) -> mat4x4<f32> {
    return mat4x4<f32>(weight(at), weight(at + stride), weight(at + 2u * stride), vec4<f32>());
}

// acc + w x for the three numbers of a vector.
fn mac_vector(acc: vec4<f32>, w: mat4x4<f32>, x: vec4<f32>) -> vec4<f32> {
    return fma(w[2], x.zzzz, fma(w[1], x.yyyy, fma(w[0], x.xxxx, acc)));
}

fn mac_vectors(acc: mat4x4<f32>, w: mat4x4<f32>, x: mat4x4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        mac_vector(acc[0], w, x[0]), mac_vector(acc[1], w, x[1]),
        mac_vector(acc[2], w, x[2]), mac_vector(acc[3], w, x[3]),
    );
}

// Each sample's features times its neighbour's weight.
fn shared_out(x: mat4x4<f32>, share: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(x[0] * share.x, x[1] * share.y, x[2] * share.z, x[3] * share.w);
}

// The neighbours' weighted sum of relu(table + layer · γ(direction)). The thread owns the channels
// of o and o + 8 for the samples s, s + 16, ….
fn gather_points(thread: u32, first: u32, o: u32, s: u32) {
    let stride = field.point_hidden;
    let last = field.count - 1u;
    // Sums beyond the last channel are dropped.
    let own = min(o, stride - 1u);
    let other = min(o + 8u, stride - 1u);
    var low = four(vec4<f32>());
    var high = low;
    var shares = vec4<f32>();
    let sample = min(first + s + vec4<u32>(0u, 16u, 32u, 48u), vec4<u32>(last));
    for (var pair = 0u; 2u * pair < NEIGHBOURS; pair++) {
        let near_rank = 2u * pair;
        let far_rank = near_rank + 1u;
        if TOGETHER == 2u {
            var near_low = tables(sample, near_rank, own);
            var near_high = tables(sample, near_rank, other);
            var far_low = tables(sample, far_rank, own);
            var far_high = tables(sample, far_rank, other);
            let local = thread % SAMPLES;
            keep_embedded(min(first + local, last), local, pair, thread / SAMPLES);
            workgroupBarrier();
            for (var q = 0u; q + 1u < EMBEDDED; q++) {
                let at = field.offset_layer + 4u * q * stride;
                let p = inputs_at(at + own, stride);
                let r = inputs_at(at + other, stride);
                let x = load_sixteenths(row(SCRATCH + q, s));
                near_low = mac_four(near_low, p, x);
                near_high = mac_four(near_high, r, x);
                let y = load_sixteenths(row(SCRATCH + EMBEDDED + q, s));
                far_low = mac_four(far_low, p, y);
                far_high = mac_four(far_high, r, y);
            }
            let at = field.offset_layer + 4u * (EMBEDDED - 1u) * stride;
            let zero = vec4<f32>();
            let p = mat4x4<f32>(
                weight(at + own), weight(at + own + stride), weight(at + own + 2u * stride), zero
            );
            let r = mat4x4<f32>(
                weight(at + other), weight(at + other + stride), weight(at + other + 2u * stride), zero
            );
            let x = load_sixteenths(row(SCRATCH + EMBEDDED - 1u, s));
            let y = load_sixteenths(row(SCRATCH + 2u * EMBEDDED - 1u, s));
            let near = vec4<f32>(x[0].w, x[1].w, x[2].w, x[3].w);
            let far = vec4<f32>(y[0].w, y[1].w, y[2].w, y[3].w);
            low += shared_out(relu(mac_vectors(near_low, p, x)), near);
            low += shared_out(relu(mac_vectors(far_low, p, y)), far);
            high += shared_out(relu(mac_vectors(near_high, r, x)), near);
            high += shared_out(relu(mac_vectors(far_high, r, y)), far);
            shares += near + far;
        } else {
            let local = thread % SAMPLES;
            keep_embedded(min(first + local, last), local, pair, thread / SAMPLES);
            workgroupBarrier();
            // One neighbour at a time: both would take too many registers.
            for (var second = 0u; second < 2u; second++) {
                let rank = 2u * pair + second;
                let embedded = SCRATCH + second * EMBEDDED;
                var l = tables(sample, rank, own);
                var h = tables(sample, rank, other);
                for (var q = 0u; q + 1u < EMBEDDED; q++) {
                    let at = field.offset_layer + 4u * q * stride;
                    let x = load_sixteenths(row(embedded + q, s));
                    l = mac_four(l, inputs_at(at + own, stride), x);
                    h = mac_four(h, inputs_at(at + other, stride), x);
                }
                let at = field.offset_layer + 4u * (EMBEDDED - 1u) * stride;
                let x = load_sixteenths(row(embedded + EMBEDDED - 1u, s));
                let share = vec4<f32>(x[0].w, x[1].w, x[2].w, x[3].w);
                low += shared_out(relu(mac_vectors(l, three_inputs_at(at + own, stride), x)), share);
                high += shared_out(relu(mac_vectors(h, three_inputs_at(at + other, stride), x)), share);
                shares += share;
            }
        }
        workgroupBarrier();
    }
    if GLOBAL_WEIGHTS == 0u {
        low = shared_out(low, 1.0 / shares);
        high = shared_out(high, 1.0 / shares);
        shares = vec4<f32>(1.0);
    }
    if o < stride {
        keep_sixteenths(row(field.plane_channels + o, s), low);
    }
    if o + 8u < stride {
        keep_sixteenths(row(field.plane_channels + o + 8u, s), high);
    }
    if o == 0u {
        keep_sixteenths(row(WEIGHT_ROW, s), mat4x4<f32>(
            vec4<f32>(shares.x), vec4<f32>(shares.y), vec4<f32>(shares.z), vec4<f32>(shares.w)
        ));
    }
    workgroupBarrier();
}

@compute @workgroup_size(THREADS)
fn main(own: Thread) {
    let thread = own.local;
    let first = group_index(own) * SAMPLES;
    let at = position(min(first + thread % SAMPLES, field.count - 1u));
    count_samples(thread, SKIP_EMPTY == 0u || in_cube(at));
    if workgroupUniformLoad(&activations[0]).x == 0.0 {
        if thread < SAMPLES && first + thread < field.count {
            opacities[first + thread] = 0.0;
        }
        return;
    }
    find_texels(thread, first);
    workgroupBarrier();
    if (PARTS & 1u) != 0u {
        gather_planes(thread % 8u, thread / 8u);
    }
    workgroupBarrier();
    if (PARTS & 2u) != 0u {
        gather_points(thread, first, thread % 8u, thread / 8u);
    }
    if (PARTS & 4u) != 0u {
        point_layer(thread);
        hidden_layer(layer(FEATURE_IN), thread % 16u, thread / 16u);
        hidden_layer(layer(FEATURE_OUT), thread % 16u, thread / 16u);
    }

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
