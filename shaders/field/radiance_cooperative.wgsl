// The radiance field of `radiance`, its layers as products of cooperative matrices with activations
// in half precision. All widths are multiples of SIDE.
//
// A workgroup owns SAMPLES consecutive samples, whose activations stay in workgroup memory. A layer
// is four tasks: each is a subgroup's and covers SIDE samples times up to 8 SIDE outputs, in eight
// sums of SIDE x SIDE. The weights of 32 inputs at a time are staged in half precision; products are
// summed in full precision. Subgroups may have any size: too few take the tasks in turn, and idle
// ones repeat the last.

enable f16;
enable wgpu_cooperative_matrix;

#import gpavatar::cube::in_cube
#import gpavatar::halves::in_range
#import gpavatar::radiance_inputs::{
    GLOBAL_WEIGHTS, SKIP_EMPTY, field, weights, opacities, weight, position,
    planes_around, plane_features, points_around, point_features,
}
#import gpavatar::radiance_layers::{
    Layer, POINT_OUT, FEATURE_IN, FEATURE_OUT, RGB_IN, RGB_OUT, LAYERS, layer, bias_at,
    ray_of, view, density_bias, density_of, opacity_of, emit,
}
#import gpavatar::stored::unpacked

// Samples times inputs, inputs times outputs, samples times outputs.
#ifdef MATRIX_16
const SIDE = 16u;
alias Inputs = coop_mat16x16<f16, A>;
alias Weights = coop_mat16x16<f16, B>;
alias Sums = coop_mat16x16<f32, C>;
// A task sums all outputs of a layer, at most 128, before it overwrites the inputs.
const ACTIVATIONS = ROWS;
const HIDDEN = 0u;
#else
const SIDE = 8u;
alias Inputs = coop_mat8x8<f16, A>;
alias Weights = coop_mat8x8<f16, B>;
alias Sums = coop_mat8x8<f32, C>;
// More than 64 outputs of a layer do not fit into a task's sums. The first ones are kept beside the
// inputs; only hidden features have that many.
const ACTIVATIONS = 2u * ROWS;
const HIDDEN = ROWS;
#endif

const THREADS = 128u;
const TASKS = 4u;
const SAMPLES = TASKS * SIDE;
// Sums of a task, next to each other along the outputs.
const BLOCKS = 8u;
// Inputs whose weights are staged at a time.
const CHUNK = 32u;
// From one sample, or one row of weights, to the next: skewed, so that the rows of a matrix begin in
// different banks, by a multiple of the 16 bytes that matrices have to be aligned to.
const SKEW = 8u;
const STRIDE = 128u + SKEW;
const WEIGHT_STRIDE = BLOCKS * SIDE + SKEW;
const ROWS = SAMPLES * STRIDE;

// Channels of the samples [sample][c]; those between the hidden feature layers begin at HIDDEN.
var<workgroup> activations: array<f16, ACTIVATIONS>;
var<workgroup> staged: array<f16, CHUNK * WEIGHT_STRIDE>; // [input][output]
// A sum of each task [task][sample][output]; from ZERO on, one of zeros.
const ZERO = TASKS * SIDE * SIDE;
var<workgroup> sums: array<f32, ZERO + SIDE * SIDE>;
// Sum of each sample's point weights.
var<workgroup> weight_sums: array<f32, SAMPLES>;
// Two, four or all of a task's sums: sums beyond a layer's last output are zero.
var<workgroup> used_sums: u32;

fn keep(at: u32, value: vec4<f32>) {
    let rounded = vec4<f16>(in_range(value));
    activations[at] = rounded.x;
    activations[at + 1u] = rounded.y;
    activations[at + 2u] = rounded.z;
    activations[at + 3u] = rounded.w;
}

fn kept(at: u32) -> vec4<f32> {
    return vec4<f32>(vec4<f16>(
        activations[at], activations[at + 1u], activations[at + 2u], activations[at + 3u]
    ));
}

// The planes' features, then the mean of the neighbours' hidden features. The sum of their weights
// may be too small for a half, so the next layer's sums are multiplied by it.
fn gather(at: vec3<f32>, sample: u32, local: u32, lane: u32, lanes: u32) {
    let planes = planes_around(at);
    for (var c = lane; c < field.plane_channels; c += lanes) {
        keep(local * STRIDE + c * 4u, plane_features(planes, c));
    }
    let points = points_around(at, sample);
    for (var c = lane * 4u; c < field.point_hidden; c += lanes * 4u) {
        let hidden = 1.0 / points.weight * point_features(points, c);
        let first = local * STRIDE + (field.plane_channels + c) * 4u;
        keep(first, hidden[0]);
        keep(first + 4u, hidden[1]);
        keep(first + 8u, hidden[2]);
        keep(first + 12u, hidden[3]);
    }
    if lane == 0u {
        weight_sums[local] = select(1.0, points.weight, GLOBAL_WEIGHTS == 1u);
    }
}

// Offset of the inputs of layer `i`, or of its outputs, in a sample's activations.
fn begin(i: u32, outputs: bool) -> u32 {
    if i == POINT_OUT {
        // After the planes' features.
        return field.plane_channels * 4u;
    }
    let hidden = (i == FEATURE_IN && outputs) || (i == FEATURE_OUT && !outputs);
    return select(0u, HIDDEN, hidden);
}

// Weights of the inputs 4k..4k+CHUNK for `outputs` outputs from 4o on, all in vec4s.
fn stage_weights(thread: u32, l: Layer, k: u32, o: u32, outputs: u32) {
    let rows = min(l.inputs - k, CHUNK / 4u) * 4u;
    for (var i = thread; i < rows * outputs; i += THREADS) {
        // Consecutive in both memories: i = (input / 4 * outputs + output) * 4 + input % 4
        let output = i / 4u % outputs;
        let block = i / 4u / outputs;
        var value = vec4<f32>();
        if o + output < l.outputs {
            value = unpacked(weights[l.matrix + ((k + block) * l.outputs + o + output) * 4u + i % 4u]);
        }
        let rounded = vec4<f16>(value);
        let at = (block * 4u + i % 4u) * WEIGHT_STRIDE + output * 4u;
        staged[at] = rounded.x;
        staged[at + 1u] = rounded.y;
        staged[at + 2u] = rounded.z;
        staged[at + 3u] = rounded.w;
    }
}

// Finishes a sum of each task in `tasks`, of the `block`th SIDE outputs of layer `i`.
fn finish(
    thread: u32,
    first_sample: u32,
    tasks: vec2<u32>,
    task: u32,
    i: u32,
    l: Layer,
    block: u32,
    sum: Sums,
) {
    coopStoreT(sum, &sums[task * SIDE * SIDE], SIDE);
    workgroupBarrier();
    let quarters = SIDE / 4u;
    for (var j = thread; j < SAMPLES * quarters; j += THREADS) {
        let local = j / quarters;
        let owner = local / SIDE;
        let o = block * quarters + j % quarters;
        if owner >= tasks.x && owner < tasks.y && o < l.outputs {
            let at = j * 4u;
            let value = vec4<f32>(sums[at], sums[at + 1u], sums[at + 2u], sums[at + 3u]);
            activate(value, first_sample, local, i, l, o);
        }
    }
    workgroupBarrier();
}

// Outputs 4o..4o+4 of layer `i` for a sample, from its products' sums.
fn activate(sum: vec4<f32>, first_sample: u32, local: u32, i: u32, l: Layer, o: u32) {
    var value = sum + weight(bias_at(l) + o);
    let sample = first_sample + local;
    if i == RGB_OUT {
        emit(value, sample, o);
        return;
    }
    if i == POINT_OUT {
        value *= weight_sums[local];
    } else {
        if i == RGB_IN {
            value += view(ray_of(sample), o);
        }
        value = max(value, vec4<f32>());
    }
    keep(begin(i, true) + local * STRIDE + o * 4u, value);
}

var<workgroup> holding: atomic<u32>;
var<workgroup> any_holds: u32;

// Sets `any_holds` to whether a predicate holds for any thread.
fn find_any(thread: u32, holds: bool) {
    if thread == 0u {
        atomicStore(&holding, 0u);
    }
    workgroupBarrier();
    if holds {
        atomicStore(&holding, 1u);
    }
    workgroupBarrier();
    if thread == 0u {
        any_holds = atomicLoad(&holding);
    }
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let first_sample = (group.y * groups.x + group.x) * SAMPLES;

    // Gathering: several threads per sample.
    let local = thread % SAMPLES;
    let lane = thread / SAMPLES;
    let gathered = min(first_sample + local, field.count - 1u);
    let at = position(gathered);
    find_any(thread, SKIP_EMPTY == 0u || in_cube(at));
    if workgroupUniformLoad(&any_holds) == 0u {
        if thread < SAMPLES && first_sample + thread < field.count {
            opacities[first_sample + thread] = 0.0;
        }
        return;
    }
    gather(at, gathered, local, lane, THREADS / SAMPLES);
    for (var i = thread; i < SIDE * SIDE; i += THREADS) {
        sums[ZERO + i] = 0.0;
    }
    workgroupBarrier();

    for (var i = 0u; i < LAYERS; i++) {
        let l = layer(i);
        let blocks = l.outputs * 4u / SIDE;
        for (var n = 0u; n < blocks; n += BLOCKS) {
            if thread == 0u {
                used_sums = select(select(2u, 4u, blocks - n > 2u), BLOCKS, blocks - n > 4u);
            }
            // Cooperative matrices need provably uniform control flow.
            let used = workgroupUniformLoad(&used_sums);
            for (var first = 0u; first < TASKS; first += subgroups) {
                let task = min(first + subgroup, TASKS - 1u);
                // Backends differ in the value of an uninitialised matrix.
                let zero = coopLoadT<Sums>(&sums[ZERO], SIDE);
                var a = zero;
                var b = zero;
                var c = zero;
                var d = zero;
                var e = zero;
                var f = zero;
                var g = zero;
                var h = zero;
                for (var k = 0u; k < l.inputs; k += CHUNK / 4u) {
                    stage_weights(thread, l, k, n * (SIDE / 4u), used * (SIDE / 4u));
                    workgroupBarrier();
                    let rows = min((l.inputs - k) * 4u, CHUNK);
                    for (var row = 0u; row < rows; row += SIDE) {
                        let start = begin(i, false) + task * SIDE * STRIDE + k * 4u + row;
                        let x = coopLoadT<Inputs>(&activations[start], STRIDE);
                        let w = row * WEIGHT_STRIDE;
                        let wa = coopLoadT<Weights>(&staged[w], WEIGHT_STRIDE);
                        a = coopMultiplyAdd(x, wa, a);
                        let wb = coopLoadT<Weights>(&staged[w + SIDE], WEIGHT_STRIDE);
                        b = coopMultiplyAdd(x, wb, b);
                        if used > 2u {
                            let wc = coopLoadT<Weights>(&staged[w + 2u * SIDE], WEIGHT_STRIDE);
                            c = coopMultiplyAdd(x, wc, c);
                            let wd = coopLoadT<Weights>(&staged[w + 3u * SIDE], WEIGHT_STRIDE);
                            d = coopMultiplyAdd(x, wd, d);
                        }
                        if used > 4u {
                            let we = coopLoadT<Weights>(&staged[w + 4u * SIDE], WEIGHT_STRIDE);
                            e = coopMultiplyAdd(x, we, e);
                            let wf = coopLoadT<Weights>(&staged[w + 5u * SIDE], WEIGHT_STRIDE);
                            f = coopMultiplyAdd(x, wf, f);
                            let wg = coopLoadT<Weights>(&staged[w + 6u * SIDE], WEIGHT_STRIDE);
                            g = coopMultiplyAdd(x, wg, g);
                            let wh = coopLoadT<Weights>(&staged[w + 7u * SIDE], WEIGHT_STRIDE);
                            h = coopMultiplyAdd(x, wh, h);
                        }
                    }
                    workgroupBarrier();
                }
                let tasks = vec2<u32>(first, first + subgroups);
                finish(thread, first_sample, tasks, task, i, l, n, a);
                finish(thread, first_sample, tasks, task, i, l, n + 1u, b);
                if used > 2u {
                    finish(thread, first_sample, tasks, task, i, l, n + 2u, c);
                    finish(thread, first_sample, tasks, task, i, l, n + 3u, d);
                }
                if used > 4u {
                    finish(thread, first_sample, tasks, task, i, l, n + 4u, e);
                    finish(thread, first_sample, tasks, task, i, l, n + 5u, f);
                    finish(thread, first_sample, tasks, task, i, l, n + 6u, g);
                    finish(thread, first_sample, tasks, task, i, l, n + 7u, h);
                }
            }
        }
        // Threads below SAMPLES have gathered their own sample.
        if i == FEATURE_OUT {
            var opacity = 0.0;
            if thread < SAMPLES && first_sample + thread < field.count {
                var density = density_bias();
                for (var k = 0u; k < field.feature_hidden; k++) {
                    density += density_of(k, kept(thread * STRIDE + k * 4u));
                }
                opacity = opacity_of(density, at);
                opacities[first_sample + thread] = opacity;
            }
            find_any(thread, SKIP_EMPTY == 0u || opacity > 0.0);
            if workgroupUniformLoad(&any_holds) == 0u {
                return;
            }
        }
    }
}
