// Convolution, 3x3 with zero padding 1 or 1x1, as a product of cooperative matrices.
//
// A workgroup owns a rectangle of pixels, SIDE wide, times 2 SIDE CHANNEL_GROUPS output channels,
// in four tasks: each is a subgroup's and covers 4 lines of SIDE pixels times 2 SIDE channels, in
// eight sums of SIDE x SIDE. Sixteen input channels at a time, the rectangle with its border and
// the weights of one row of taps are staged in half precision; products are summed in full
// precision. Subgroups may have any size: too few take the tasks in turn, and idle ones repeat the
// last. Workgroup x, y: rectangles; z: groups of output channels.

#import gpavatar::conv_epilogue::{conv, store}
#import gpavatar::conv_input::{MODULATED, pixel, modulated}
#import gpavatar::conv_matrices::{
    CHUNK, SKEW, PIXEL_STRIDE, TASKS, SIDE, staged, sums,
    Sums, load_pixels, load_weights, load_sums, store_sums, multiply_add,
}
#ifdef EMULATED_MATRICES
#import gpavatar::conv_matrices::{SUBGROUP, lane}
#endif
#import gpavatar::conv_weights::{KERNEL_SIZE, weight}
#import gpavatar::halves::in_range

// Tasks next to each other along the output channels (1, 2 or 4); the others are below each other.
override CHANNEL_GROUPS: u32 = 2u;

const THREADS = 128u;

fn stage(at: u32, value: vec4<f32>) {
    let rounded = vec4<f16>(value);
    staged[at] = rounded.x;
    staged[at + 1u] = rounded.y;
    staged[at + 2u] = rounded.z;
    staged[at + 3u] = rounded.w;
}

// Input channels 4c..4c+CHUNK of the rectangle at (left, top); zero outside of the image and beyond
// the last channel.
fn stage_pixels(thread: u32, left: u32, top: u32, c: u32, width: u32, pixels: u32) {
    for (var i = thread; i < pixels * (CHUNK / 4u); i += THREADS) {
        let quarter = i % (CHUNK / 4u);
        let place = i / (CHUNK / 4u);
        let x = left + place % width;
        let y = top + place / width;
        var value = vec4<f32>();
        if c + quarter < conv.input_channels {
            value = modulated(pixel(x, y, c + quarter), c + quarter);
            if MODULATED == 1u {
                value = in_range(value);
            }
        }
        stage(place * PIXEL_STRIDE + quarter * 4u, value);
    }
}

// Weights of input channels 4c..4c+CHUNK in the taps of row `ky`, to memory from `start` on.
fn stage_weights(thread: u32, start: u32, first_eighth: u32, c: u32, ky: u32) {
    let taps = KERNEL_SIZE * KERNEL_SIZE;
    let eighths = 2u * SIDE * CHANNEL_GROUPS / 8u;
    let last = (conv.output_channels - 1u) / 2u;
    for (var i = thread; i < KERNEL_SIZE * eighths * CHUNK * 2u; i += THREADS) {
        // Consecutive in both memories: i = ((kx * eighths + eighth) * CHUNK + row) * 2 + half of
        // the eighth
        let row = i / 2u % CHUNK;
        let eighth = i / (2u * CHUNK) % eighths;
        let kx = i / (2u * CHUNK) / eighths;
        var value = vec4<f32>();
        // The pixels' zeros beyond the last channel need finite weights.
        if c + row / 4u < conv.input_channels {
            let tap = min(first_eighth + eighth, last) * taps + ky * KERNEL_SIZE + kx;
            value = weight(((tap * conv.input_channels + c) * 4u + row) * 2u + i % 2u);
        }
        let at = (kx * CHUNK + row) * (eighths * 8u + SKEW) + eighth * 8u + i % 2u * 4u;
        stage(start + at, value);
    }
}

// Finishes one of the eight sums of each task in `tasks`: line `line` and the `column`th SIDE
// channels.
fn finish(
    thread: u32,
    group: vec3<u32>,
    tasks: vec2<u32>,
    task: u32,
    line: u32,
    column: u32,
    sum: Sums,
) {
    store_sums(task * SIDE * SIDE, sum);
    workgroupBarrier();
    for (var i = thread; i < TASKS * SIDE * SIDE / 4u; i += THREADS) {
        let owner = i / (SIDE * SIDE / 4u);
        if owner >= tasks.x && owner < tasks.y {
            let pixel_groups = TASKS / CHANNEL_GROUPS;
            let x = group.x * SIDE + i / (SIDE / 4u) % SIDE;
            let y = (group.y * pixel_groups + owner / CHANNEL_GROUPS) * 4u + line;
            let block = (group.z * CHANNEL_GROUPS + owner % CHANNEL_GROUPS) * 2u + column;
            let o = block * (SIDE / 4u) + i % (SIDE / 4u);
            let at = i * 4u;
            store(x, y, o, vec4<f32>(sums[at], sums[at + 1u], sums[at + 2u], sums[at + 3u]));
        }
    }
    workgroupBarrier();
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
#ifndef EMULATED_MATRICES
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
#endif
) {
#ifdef EMULATED_MATRICES
    lane = thread % SUBGROUP;
    let subgroup = thread / SUBGROUP;
    let subgroups = THREADS / SUBGROUP;
#endif
    let border = KERNEL_SIZE / 2u;
    let lines = 4u * TASKS / CHANNEL_GROUPS;
    let staged_width = SIDE + 2u * border;
    let staged_pixels = staged_width * (lines + 2u * border);
    let first_weight = staged_pixels * PIXEL_STRIDE;
    let channels = 2u * SIDE * CHANNEL_GROUPS;
    let weight_stride = channels + SKEW;
    let first_eighth = group.z * (channels / 8u);
    let left = group.x * SIDE - border;
    let top = group.y * lines - border;

    for (var first = 0u; first < TASKS; first += subgroups) {
        let task = min(first + subgroup, TASKS - 1u);
        let line = task / CHANNEL_GROUPS * 4u;
        let channel = task % CHANNEL_GROUPS * 2u * SIDE;

        // Backends differ in the value of an uninitialised matrix.
        for (var i = thread; i < SIDE * SIDE; i += THREADS) {
            sums[i] = 0.0;
        }
        workgroupBarrier();
        let zero = load_sums(0u);
        var a0 = zero;
        var b0 = zero;
        var a1 = zero;
        var b1 = zero;
        var a2 = zero;
        var b2 = zero;
        var a3 = zero;
        var b3 = zero;
        for (var c = 0u; c < conv.input_channels; c += CHUNK / 4u) {
            for (var ky = 0u; ky < KERNEL_SIZE; ky++) {
                if ky == 0u {
                    stage_pixels(thread, left, top, c, staged_width, staged_pixels);
                }
                stage_weights(thread, first_weight, first_eighth, c, ky);
                workgroupBarrier();
                for (var kx = 0u; kx < KERNEL_SIZE; kx++) {
                    for (var k = 0u; k < CHUNK; k += SIDE) {
                        let w = first_weight + (kx * CHUNK + k) * weight_stride + channel;
                        let wa = load_weights(w, weight_stride);
                        let wb = load_weights(w + SIDE, weight_stride);
                        let row = staged_width * PIXEL_STRIDE;
                        let p = (line + ky) * row + kx * PIXEL_STRIDE + k;
                        let x0 = load_pixels(p);
                        a0 = multiply_add(x0, wa, a0);
                        b0 = multiply_add(x0, wb, b0);
                        let x1 = load_pixels(p + row);
                        a1 = multiply_add(x1, wa, a1);
                        b1 = multiply_add(x1, wb, b1);
                        let x2 = load_pixels(p + 2u * row);
                        a2 = multiply_add(x2, wa, a2);
                        b2 = multiply_add(x2, wb, b2);
                        let x3 = load_pixels(p + 3u * row);
                        a3 = multiply_add(x3, wa, a3);
                        b3 = multiply_add(x3, wb, b3);
                    }
                }
                workgroupBarrier();
            }
        }
        let tasks = vec2<u32>(first, first + subgroups);
        finish(thread, group, tasks, task, 0u, 0u, a0);
        finish(thread, group, tasks, task, 0u, 1u, b0);
        finish(thread, group, tasks, task, 1u, 0u, a1);
        finish(thread, group, tasks, task, 1u, 1u, b1);
        finish(thread, group, tasks, task, 2u, 0u, a2);
        finish(thread, group, tasks, task, 2u, 1u, b2);
        finish(thread, group, tasks, task, 3u, 0u, a3);
        finish(thread, group, tasks, task, 3u, 1u, b3);
    }
}
