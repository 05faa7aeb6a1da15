// The radiance field at a pass' samples, its layers as products of cooperative matrices: what
// `radiance` computes, with activations in half precision. All widths are multiples of SIDE.
//
// A workgroup owns SAMPLES consecutive samples, whose activations stay in workgroup memory. A layer
// is four tasks: each is a subgroup's and covers SIDE samples times up to 8 SIDE outputs, in eight
// sums of SIDE x SIDE. The weights of 32 inputs at a time are staged in half precision; products are
// summed in full precision. Subgroups of any size will do: too few take the tasks in turn, and idle
// ones repeat the last.

enable f16;
enable wgpu_cooperative_matrix;

#import gpavatar::activation::{sigmoid_wide, softplus}
#import gpavatar::cube::in_cube
#import gpavatar::radiance_inputs::{march, frame, field, rays, depths, weights, opacities, weight}
#import gpavatar::radiance_inputs::{texels, plane_features, neighbours_of, point_hidden}
#import gpavatar::radiance_inputs::store_values
#import gpavatar::stored::unpacked

// Samples times inputs, inputs times outputs, samples times outputs.
#ifdef MATRIX_16
const SIDE = 16u;
alias Inputs = coop_mat16x16<f16, A>;
alias Weights = coop_mat16x16<f16, B>;
alias Sums = coop_mat16x16<f32, C>;
// A task sums all outputs of a layer, at most 128, before any takes the place of its inputs.
const ACTIVATIONS = ROWS;
const HIDDEN = 0u;
#else
const SIDE = 8u;
alias Inputs = coop_mat8x8<f16, A>;
alias Weights = coop_mat8x8<f16, B>;
alias Sums = coop_mat8x8<f32, C>;
// More than 64 outputs of a layer do not fit into the sums of a task: the first ones are kept while
// the inputs are still needed. Only hidden features are as many.
const ACTIVATIONS = 2u * ROWS;
const HIDDEN = ROWS;
#endif

// Nearest points that count, at most 8.
override NEIGHBOURS: u32 = 8u;
// 1 weighs a point by its 1/d² over the sum of that rank over the whole pass (the released
// network); 0 by 1/d over the sum of the sample's points (the paper).
override GLOBAL_WEIGHTS: u32 = 1u;
// 1 leaves the values of samples alone that have no opacity, wherever that saves a workgroup's work.
override SKIP_EMPTY: u32 = 1u;

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
// Two, four or all of a task's sums: those behind a layer's last output are of zeros.
var<workgroup> used_sums: u32;

fn keep(at: u32, value: vec4<f32>) {
    // What is larger than the largest half becomes that one rather than infinity.
    let rounded = vec4<f16>(clamp(value, vec4<f32>(-65504.0), vec4<f32>(65504.0)));
    activations[at] = rounded.x;
    activations[at + 1u] = rounded.y;
    activations[at + 2u] = rounded.z;
    activations[at + 3u] = rounded.w;
}

// ---- features ------------------------------------------------------------------------------

fn gather_planes(at: vec3<f32>, local: u32, lane: u32, lanes: u32) {
    let xy = texels(at.xy);
    let xz = texels(at.xz);
    let zy = texels(at.zy);
    for (var c = lane; c < field.plane_channels; c += lanes) {
        keep(local * STRIDE + c * 4u, plane_features(xy, xz, zy, c));
    }
}

// The mean of the neighbours' hidden features, behind the planes' features. What they weigh in all
// may be too little for a half, and is multiplied with the sums of the next layer.
fn gather_points(at: vec3<f32>, sample: u32, local: u32, lane: u32, lanes: u32) {
    let near = neighbours_of(at, sample, 0u, NEIGHBOURS, GLOBAL_WEIGHTS == 1u);
    let far = neighbours_of(at, sample, 1u, NEIGHBOURS, GLOBAL_WEIGHTS == 1u);
    let sum = dot(near.weight + far.weight, vec4<f32>(1.0));
    for (var c = lane * 4u; c < field.point_hidden; c += lanes * 4u) {
        var hidden = point_hidden(near, c);
        if NEIGHBOURS > 4u {
            hidden += point_hidden(far, c);
        }
        hidden = 1.0 / sum * hidden;
        let first = local * STRIDE + (field.plane_channels + c) * 4u;
        keep(first, hidden[0]);
        keep(first + 4u, hidden[1]);
        keep(first + 8u, hidden[2]);
        keep(first + 12u, hidden[3]);
    }
    if lane == 0u {
        weight_sums[local] = select(1.0, sum, GLOBAL_WEIGHTS == 1u);
    }
}

// ---- layers --------------------------------------------------------------------------------

// A layer of the perceptron: where its matrix and bias begin, its inputs and outputs in vec4s, and
// where they are in `activations`.
struct Layer {
    matrix: u32,
    inputs: u32,
    outputs: u32,
    read: u32,
    write: u32,
}

// In the order in which they run.
const POINT_OUT = 0u;
const FEATURE_IN = 1u;
const FEATURE_OUT = 2u;
const RGB_IN = 3u;
const RGB_OUT = 4u;
const LAYERS = 5u;

fn layer(i: u32) -> Layer {
    let features = field.feature_hidden;
    switch i {
        case POINT_OUT: {
            // Behind the planes' features.
            let first = field.plane_channels * 4u;
            return Layer(field.point_out, field.point_hidden, field.point_output, first, first);
        }
        case FEATURE_IN: {
            let inputs = field.plane_channels + field.point_output;
            return Layer(field.feature_in, inputs, features, 0u, HIDDEN);
        }
        case FEATURE_OUT: {
            return Layer(field.feature_out, features, features, HIDDEN, 0u);
        }
        case RGB_IN: {
            return Layer(field.rgb_in, features, field.rgb_hidden, 0u, 0u);
        }
        default: {
            return Layer(field.rgb_out, field.rgb_hidden, march.channels, 0u, 0u);
        }
    }
}

// Weights of the inputs 4k..4k+CHUNK for so many outputs from 4o on, all in vec4s.
fn stage_weights(thread: u32, l: Layer, k: u32, o: u32, outputs: u32) {
    let rows = min(l.inputs - k, CHUNK / 4u) * 4u;
    for (var i = thread; i < rows * outputs; i += THREADS) {
        // Neighbours in memory are neighbours here: i = (input / 4 * outputs + output) * 4 + input % 4
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
    var value = sum + weight(l.matrix + l.inputs * l.outputs * 4u + o);
    let sample = first_sample + local;
    if i == RGB_OUT {
        emit(value, sample, o);
        return;
    }
    if i == POINT_OUT {
        value *= weight_sums[local];
    } else {
        if i == RGB_IN {
            // The viewing direction's half of the layer, computed once per ray.
            let ray = min(sample, field.count - 1u) / field.samples;
            value += rays[ray * march.stride + 1u + o];
        }
        value = max(value, vec4<f32>());
    }
    keep(l.write + local * STRIDE + o * 4u, value);
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

// ---- empty space ---------------------------------------------------------------------------

var<workgroup> holding: atomic<u32>;
var<workgroup> any_holds: u32;

// Whether something holds for any thread, into `any_holds`.
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

// ---- the whole -----------------------------------------------------------------------------

@compute @workgroup_size(128)
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
    let direction = rays[gathered / field.samples * march.stride].xyz;
    let at = frame.origin.xyz + depths[gathered] * direction;
    find_any(thread, SKIP_EMPTY == 0u || in_cube(at));
    if workgroupUniformLoad(&any_holds) == 0u {
        if thread < SAMPLES && first_sample + thread < field.count {
            opacities[first_sample + thread] = 0.0;
        }
        return;
    }
    gather_planes(at, local, lane, THREADS / SAMPLES);
    gather_points(at, gathered, local, lane, THREADS / SAMPLES);
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
            // Matrices need conditions that are known to be uniform.
            let used = workgroupUniformLoad(&used_sums);
            for (var first = 0u; first < TASKS; first += subgroups) {
                let task = min(first + subgroup, TASKS - 1u);
                // Backends do not agree on what a matrix without a value holds.
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
                        let start = l.read + task * SIDE * STRIDE + k * 4u + row;
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
                opacity = opacity_of(at, l.write + thread * STRIDE);
                opacities[first_sample + thread] = opacity;
            }
            find_any(thread, SKIP_EMPTY == 0u || opacity > 0.0);
            if workgroupUniformLoad(&any_holds) == 0u {
                return;
            }
        }
    }
}

// The opacity of a sample, whose features begin at `first`.
fn opacity_of(at: vec3<f32>, first: u32) -> f32 {
    var density = weight(field.density + field.feature_hidden).x;
    for (var k = 0u; k < field.feature_hidden; k++) {
        let start = first + k * 4u;
        let features = vec4<f16>(
            activations[start], activations[start + 1u],
            activations[start + 2u], activations[start + 3u],
        );
        density += dot(weight(field.density + k), vec4<f32>(features));
    }
    return select(0.0, 1.0 - exp(-softplus(density)), in_cube(at));
}
