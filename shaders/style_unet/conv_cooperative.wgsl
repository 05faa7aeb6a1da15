// Convolution, 3x3 with zero padding 1 or 1x1, as a product of cooperative matrices.
//
// A workgroup owns a rectangle of pixels, SIDE wide, times BLOCKS SIDE CHANNEL_GROUPS output channels, in
// four tasks: each is a subgroup's and covers LINES lines of SIDE pixels times BLOCKS SIDE channels, in
// up to sixteen sums of SIDE x SIDE. CHUNK input channels at a time, the rectangle with its border is
// staged in half precision; weights are read where they are stored, as matrices. Products are summed in
// full precision. Subgroups may have any size: too few take the tasks in turn, and idle ones repeat the
// last. Workgroup x, y: rectangles; z: groups of output channels.
// Error: weights and modulated pixels in half precision, 2^-11 of the absolute products; sums as in
// `conv_tiled`.

#import gpavatar::conv_epilogue::{conv, store}
#import gpavatar::conv_input::{MODULATED, pixel, modulated}
#import gpavatar::conv_matrices::{
    KERNEL_SIZE, CHUNK, FINISHED, TASKS, SIDE, staged, sums, pixel_stride,
    Sums, load_pixels, load_weights, load_sums, store_sums, multiply_add,
}
#ifdef EMULATED_MATRICES
#import gpavatar::conv_matrices::{SUBGROUP, lane}
#endif
#import gpavatar::halves::in_range

// Tasks next to each other along the output channels (1, 2 or 4); the others are below each other.
override CHANNEL_GROUPS: u32 = 1u;
// Lines of a task (1, 2 or 4), and its matrices of output channels (1, 2 or 4).
override LINES: u32 = 4u;
override BLOCKS: u32 = 4u;

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
        stage(place * pixel_stride() + quarter * 4u, value);
    }
}

// Finishes two sums of each task in `tasks`: line `line`, from the `column`th SIDE channels on.
fn finish(
    thread: u32,
    group: vec3<u32>,
    tasks: vec2<u32>,
    task: u32,
    line: u32,
    column: u32,
    left: Sums,
    right: Sums,
) {
    let at = task * SIDE * SIDE * FINISHED;
    store_sums(at, left);
    if BLOCKS > 1u {
        store_sums(at + SIDE, right);
    }
    workgroupBarrier();
    let quarters = FINISHED * SIDE / 4u;
    for (var i = thread; i < TASKS * SIDE * quarters; i += THREADS) {
        let owner = i / (SIDE * quarters);
        if owner >= tasks.x && owner < tasks.y && (BLOCKS > 1u || i % quarters < SIDE / 4u) {
            let pixel_groups = TASKS / CHANNEL_GROUPS;
            let x = group.x * SIDE + i / quarters % SIDE;
            let y = (group.y * pixel_groups + owner / CHANNEL_GROUPS) * LINES + line;
            let block = (group.z * CHANNEL_GROUPS + owner % CHANNEL_GROUPS) * BLOCKS + column;
            let o = block * (SIDE / 4u) + i % quarters;
            let begin = i * 4u;
            store(x, y, o, vec4<f32>(sums[begin], sums[begin + 1u], sums[begin + 2u], sums[begin + 3u]));
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
    let lines = LINES * TASKS / CHANNEL_GROUPS;
    let staged_width = SIDE + 2u * border;
    let staged_pixels = staged_width * (lines + 2u * border);
    let left = group.x * SIDE - border;
    let top = group.y * lines - border;
    let row = staged_width * pixel_stride();
    // Matrices of a tap, and of a block of output channels.
    let of_tap = (conv.input_channels * 4u + CHUNK - 1u) / CHUNK * (CHUNK / SIDE);
    let of_block = KERNEL_SIZE * KERNEL_SIZE * of_tap;
    let last_block = (conv.output_channels * 4u - 1u) / SIDE;

    for (var first = 0u; first < TASKS; first += subgroups) {
        let task = min(first + subgroup, TASKS - 1u);
        let line = task / CHANNEL_GROUPS * LINES;
        // Beyond the last block, the last one again: nothing of it is stored.
        let block = (group.z * CHANNEL_GROUPS + task % CHANNEL_GROUPS) * BLOCKS;
        let wa = min(block, last_block) * of_block;
        let wb = min(block + 1u, last_block) * of_block;
        let wc = min(block + 2u, last_block) * of_block;
        let wd = min(block + 3u, last_block) * of_block;

        // Backends differ in the value of an uninitialised matrix.
        for (var i = thread; i < SIDE * SIDE; i += THREADS) {
            sums[i] = 0.0;
        }
        workgroupBarrier();
        let zero = load_sums(0u);
        var a0 = zero;
        var a1 = zero;
        var a2 = zero;
        var a3 = zero;
        var b0 = zero;
        var b1 = zero;
        var b2 = zero;
        var b3 = zero;
        var c0 = zero;
        var c1 = zero;
        var c2 = zero;
        var c3 = zero;
        var d0 = zero;
        var d1 = zero;
        var d2 = zero;
        var d3 = zero;
        for (var c = 0u; c < conv.input_channels; c += CHUNK / 4u) {
            stage_pixels(thread, left, top, c, staged_width, staged_pixels);
            workgroupBarrier();
            for (var tap = 0u; tap < KERNEL_SIZE * KERNEL_SIZE; tap++) {
                let ky = tap / KERNEL_SIZE;
                let kx = tap % KERNEL_SIZE;
                for (var k = 0u; k < CHUNK; k += SIDE) {
                    let w = tap * of_tap + c * 4u / SIDE + k / SIDE;
                    let p = (line + ky) * row + kx * pixel_stride() + k;
                    let x0 = load_pixels(p);
                    var x1 = x0;
                    var x2 = x0;
                    var x3 = x0;
                    if LINES > 1u {
                        x1 = load_pixels(p + row);
                    }
                    if LINES > 2u {
                        x2 = load_pixels(p + 2u * row);
                        x3 = load_pixels(p + 3u * row);
                    }
                    let a = load_weights((wa + w) * SIDE * SIDE);
                    a0 = multiply_add(x0, a, a0);
                    if LINES > 1u {
                        a1 = multiply_add(x1, a, a1);
                    }
                    if LINES > 2u {
                        a2 = multiply_add(x2, a, a2);
                        a3 = multiply_add(x3, a, a3);
                    }
                    if BLOCKS > 1u {
                        let b = load_weights((wb + w) * SIDE * SIDE);
                        b0 = multiply_add(x0, b, b0);
                        if LINES > 1u {
                            b1 = multiply_add(x1, b, b1);
                        }
                        if LINES > 2u {
                            b2 = multiply_add(x2, b, b2);
                            b3 = multiply_add(x3, b, b3);
                        }
                    }
                    if BLOCKS > 2u {
                        let e = load_weights((wc + w) * SIDE * SIDE);
                        c0 = multiply_add(x0, e, c0);
                        if LINES > 1u {
                            c1 = multiply_add(x1, e, c1);
                        }
                        if LINES > 2u {
                            c2 = multiply_add(x2, e, c2);
                            c3 = multiply_add(x3, e, c3);
                        }
                        let d = load_weights((wd + w) * SIDE * SIDE);
                        d0 = multiply_add(x0, d, d0);
                        if LINES > 1u {
                            d1 = multiply_add(x1, d, d1);
                        }
                        if LINES > 2u {
                            d2 = multiply_add(x2, d, d2);
                            d3 = multiply_add(x3, d, d3);
                        }
                    }
                }
            }
            workgroupBarrier();
        }
        let tasks = vec2<u32>(first, first + subgroups);
        finish(thread, group, tasks, task, 0u, 0u, a0, b0);
        if LINES > 1u {
            finish(thread, group, tasks, task, 1u, 0u, a1, b1);
        }
        if LINES > 2u {
            finish(thread, group, tasks, task, 2u, 0u, a2, b2);
            finish(thread, group, tasks, task, 3u, 0u, a3, b3);
        }
        if BLOCKS > 2u {
            finish(thread, group, tasks, task, 0u, 2u, c0, d0);
            if LINES > 1u {
                finish(thread, group, tasks, task, 1u, 2u, c1, d1);
            }
            if LINES > 2u {
                finish(thread, group, tasks, task, 2u, 2u, c2, d2);
                finish(thread, group, tasks, task, 3u, 2u, c3, d3);
            }
        }
    }
}
