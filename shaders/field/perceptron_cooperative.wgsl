// The layers of the radiance field after features are gathered, as products of cooperative matrices with
// activations in half precision. All widths are multiples of SIDE.
//
// A workgroup owns SAMPLES consecutive samples, whose activations stay in workgroup memory. They are
// TASKS tasks: a subgroup's matrices cover TASK_SAMPLES samples times up to 8 SIDE outputs of a layer,
// in sixteen sums of SIDE x SIDE, and LANES threads load and finish the same samples. Weights
// are read where they are stored; products are summed in full precision. Subgroups may have any
// size: too few take the tasks in turn, and idle ones repeat the last.

#import gpavatar::cube::in_cube
#import gpavatar::halves::in_range
#import gpavatar::radiance_features::{features_of, weight_of}
#import gpavatar::radiance_inputs::{SKIP_EMPTY, field, opacities, weight, position}
#import gpavatar::radiance_layers::{
    Layer, POINT_OUT, FEATURE_IN, FEATURE_OUT, RGB_IN, RGB_OUT, LAYERS, layer, bias_at,
    ray_of, view, density_bias, density_of, opacity_of, emit,
}
#import gpavatar::radiance_matrices::{
    SIDE, TASKS, TASK_SAMPLES, SAMPLES, STRIDE, SUM_STRIDE, HIDDEN, memory,
    Sums, load_inputs, load_weights, store_sums, multiply_add,
}
#ifdef EMULATED_MATRICES
#import gpavatar::radiance_matrices::{SUBGROUP, subgroup_lane, cleared_sums}
#else
#import gpavatar::radiance_matrices::load_sums
#endif
#import gpavatar::stored::{Stored, unpacked}

// Threads that load and finish the samples of a task.
const LANES = 32u;
const THREADS = TASKS * LANES;
// Sums of a task next to each other along the outputs.
const BLOCKS = 8u;
const QUARTERS = SIDE / 4u;
// Number of a sample in `sums` that keeps its sum of point weights.
const WEIGHT = SIDE;

@group(0) @binding(11) var<storage, read> features: array<Stored>; // see radiance_features

fn keep(at: u32, value: vec4<f32>) {
    let rounded = vec4<f16>(in_range(value));
    memory.activations[at] = rounded.x;
    memory.activations[at + 1u] = rounded.y;
    memory.activations[at + 2u] = rounded.z;
    memory.activations[at + 3u] = rounded.w;
}

fn kept(at: u32) -> vec4<f32> {
    return vec4<f32>(vec4<f16>(
        memory.activations[at], memory.activations[at + 1u],
        memory.activations[at + 2u], memory.activations[at + 3u],
    ));
}

// Four sums of a sample.
fn summed(local: u32, quarter: u32) -> vec4<f32> {
    let at = local * SUM_STRIDE + quarter * 4u;
    return vec4<f32>(memory.sums[at], memory.sums[at + 1u], memory.sums[at + 2u], memory.sums[at + 3u]);
}

// Eight consecutive threads read consecutive features of a task's sample.
fn load_features(owner: u32, lane: u32, first_sample: u32) {
    let width = field.plane_channels + field.point_hidden;
    for (var i = lane / 8u; i < TASK_SAMPLES; i += LANES / 8u) {
        let local = owner * TASK_SAMPLES + i;
        let first = features_of(min(first_sample + local, field.count - 1u));
        for (var c = lane % 8u; c < width; c += 8u) {
            keep(local * STRIDE + c * 4u, unpacked(features[first + c]));
        }
        if lane % 8u == 0u {
            memory.sums[local * SUM_STRIDE + WEIGHT] = weight_of(features[first + width]);
        }
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

#ifndef EMULATED_MATRICES
fn clear_sums(owner: u32, lane: u32) {
    for (var j = lane; j < SIDE * SIDE; j += LANES) {
        memory.sums[(owner * TASK_SAMPLES + j / SIDE) * SUM_STRIDE + j % SIDE] = 0.0;
    }
}
#endif

// Finishes two sums of each task in `tasks`, of the `block`th SIDE outputs of layer `i`.
fn finish(
    thread: u32,
    first_sample: u32,
    tasks: vec2<u32>,
    task: u32,
    i: u32,
    l: Layer,
    block: u32,
    low: Sums,
    high: Sums,
) {
    let at = task * TASK_SAMPLES * SUM_STRIDE;
    store_sums(at, low);
    store_sums(at + SIDE * SUM_STRIDE, high);
    workgroupBarrier();
    let owner = thread / LANES;
    if owner >= tasks.x && owner < tasks.y {
        for (var j = thread % LANES; j < TASK_SAMPLES * QUARTERS; j += LANES) {
            let local = owner * TASK_SAMPLES + j / QUARTERS;
            let o = block * QUARTERS + j % QUARTERS;
            if o < l.outputs {
                activate(summed(local, j % QUARTERS), first_sample, local, i, l, o);
            }
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
        value *= memory.sums[local * SUM_STRIDE + WEIGHT];
    } else {
        if i == RGB_IN {
            value += view(ray_of(sample), o);
        }
        value = max(value, vec4<f32>());
    }
    keep(begin(i, true) + local * STRIDE + o * 4u, value);
}

// Sets `holding` to whether a predicate holds for any thread.
fn find_any(thread: u32, holds: bool) {
    if thread == 0u {
        atomicStore(&memory.holding, 0u);
    }
    workgroupBarrier();
    if holds {
        atomicStore(&memory.holding, 1u);
    }
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
#ifndef EMULATED_MATRICES
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
#endif
) {
#ifdef EMULATED_MATRICES
    subgroup_lane = thread % SUBGROUP;
    let subgroup = thread / SUBGROUP;
    let subgroups = THREADS / SUBGROUP;
#endif
    let first_sample = field.first + (group.y * groups.x + group.x) * SAMPLES;

    // A thread's own sample; with 8x8 matrices there are fewer than threads.
    let owner = thread / LANES;
    let lane = thread % LANES;
    let owns = lane < TASK_SAMPLES;
    let local = owner * TASK_SAMPLES + min(lane, TASK_SAMPLES - 1u);
    let at = position(min(first_sample + local, field.count - 1u));
    find_any(thread, SKIP_EMPTY == 0u || in_cube(at));
    if workgroupUniformLoad(&memory.holding) == 0u {
        if owns && first_sample + local < field.count {
            opacities[first_sample + local] = 0.0;
        }
        return;
    }
    load_features(owner, lane, first_sample);

    for (var i = 0u; i < LAYERS; i++) {
        let l = layer(i);
        let blocks = l.outputs / QUARTERS;
        for (var n = 0u; n < blocks; n += BLOCKS) {
            if thread == 0u {
                let most = select(select(2u, 4u, blocks - n > 2u), BLOCKS, blocks - n > 4u);
                atomicStore(&memory.used_sums, most);
            }
            // Cooperative matrices need provably uniform control flow.
            let used = workgroupUniformLoad(&memory.used_sums);
            // Sums beyond the last output are dropped.
            let last = blocks - n - 1u;
            for (var first = 0u; first < TASKS; first += subgroups) {
                let task = min(first + subgroup, TASKS - 1u);
                let tasks = vec2<u32>(first, first + subgroups);
                let task_sums = task * TASK_SAMPLES * SUM_STRIDE;
                let task_rows = task * TASK_SAMPLES * STRIDE;
#ifdef EMULATED_MATRICES
                for (var place = 0u; place < 2u * BLOCKS; place++) {
                    cleared_sums(place);
                }
#else
                // Backends differ in the value of an uninitialised matrix.
                clear_sums(owner, lane);
                workgroupBarrier();
                let zero = load_sums(task_sums);
                var a_low = zero;
                var a_high = zero;
                var b_low = zero;
                var b_high = zero;
                var c_low = zero;
                var c_high = zero;
                var d_low = zero;
                var d_high = zero;
                var e_low = zero;
                var e_high = zero;
                var f_low = zero;
                var f_high = zero;
                var g_low = zero;
                var g_high = zero;
                var h_low = zero;
                var h_high = zero;
#endif
                for (var k = 0u; k < l.inputs / QUARTERS; k++) {
                    let start = begin(i, false) + task_rows + k * SIDE;
                    let x = load_inputs(start);
                    let y = load_inputs(start + SIDE * STRIDE);
                    let w = l.matrix * 4u + (k * blocks + n) * SIDE * SIDE;
#ifdef EMULATED_MATRICES
                    for (var b = 0u; b < used; b++) {
                        let wb = load_weights(w + min(b, last) * SIDE * SIDE);
                        multiply_add(x, wb, Sums(2u * b));
                        multiply_add(y, wb, Sums(2u * b + 1u));
                    }
#else
                    let wa = load_weights(w);
                    a_low = multiply_add(x, wa, a_low);
                    a_high = multiply_add(y, wa, a_high);
                    let wb = load_weights(w + min(1u, last) * SIDE * SIDE);
                    b_low = multiply_add(x, wb, b_low);
                    b_high = multiply_add(y, wb, b_high);
                    if used > 2u {
                        let wc = load_weights(w + min(2u, last) * SIDE * SIDE);
                        c_low = multiply_add(x, wc, c_low);
                        c_high = multiply_add(y, wc, c_high);
                        let wd = load_weights(w + min(3u, last) * SIDE * SIDE);
                        d_low = multiply_add(x, wd, d_low);
                        d_high = multiply_add(y, wd, d_high);
                    }
                    if used > 4u {
                        let we = load_weights(w + min(4u, last) * SIDE * SIDE);
                        e_low = multiply_add(x, we, e_low);
                        e_high = multiply_add(y, we, e_high);
                        let wf = load_weights(w + min(5u, last) * SIDE * SIDE);
                        f_low = multiply_add(x, wf, f_low);
                        f_high = multiply_add(y, wf, f_high);
                        let wg = load_weights(w + min(6u, last) * SIDE * SIDE);
                        g_low = multiply_add(x, wg, g_low);
                        g_high = multiply_add(y, wg, g_high);
                        let wh = load_weights(w + min(7u, last) * SIDE * SIDE);
                        h_low = multiply_add(x, wh, h_low);
                        h_high = multiply_add(y, wh, h_high);
                    }
#endif
                }
#ifdef EMULATED_MATRICES
                for (var b = 0u; b < used; b++) {
                    finish(thread, first_sample, tasks, task, i, l, n + b, Sums(2u * b), Sums(2u * b + 1u));
                }
#else
                finish(thread, first_sample, tasks, task, i, l, n, a_low, a_high);
                finish(thread, first_sample, tasks, task, i, l, n + 1u, b_low, b_high);
                if used > 2u {
                    finish(thread, first_sample, tasks, task, i, l, n + 2u, c_low, c_high);
                    finish(thread, first_sample, tasks, task, i, l, n + 3u, d_low, d_high);
                }
                if used > 4u {
                    finish(thread, first_sample, tasks, task, i, l, n + 4u, e_low, e_high);
                    finish(thread, first_sample, tasks, task, i, l, n + 5u, f_low, f_high);
                    finish(thread, first_sample, tasks, task, i, l, n + 6u, g_low, g_high);
                    finish(thread, first_sample, tasks, task, i, l, n + 7u, h_low, h_high);
                }
#endif
            }
        }
        if i == FEATURE_OUT {
            var opacity = 0.0;
            if owns && first_sample + local < field.count {
                var density = density_bias();
                for (var k = 0u; k < field.feature_hidden; k++) {
                    density += density_of(k, kept(local * STRIDE + k * 4u));
                }
                opacity = opacity_of(density, at);
                opacities[first_sample + local] = opacity;
            }
            find_any(thread, SKIP_EMPTY == 0u || opacity > 0.0);
            if workgroupUniformLoad(&memory.holding) == 0u {
                return;
            }
        }
    }
}
