// Convolution, 3x3 with zero padding 1 or 1x1, whose sums are split over the threads of a workgroup
// (split-K): for maps with too few pixels to occupy a device.
//
// A workgroup owns 8 pixels, row by row, times 8 output channels. Each of its threads takes every
// 64th pair of a tap and four input channels; then the threads' sums are added in workgroup memory.
// Workgroup x: pixels; y: eighths of the output channels.
// Error: that of `conv_tiled`.

#import gpavatar::conv_epilogue::{conv, store}
#import gpavatar::conv_input::{pixel, modulated}
#import gpavatar::conv_weights::{KERNEL_SIZE, block}

const PIXELS = 8u;
const THREADS = 64u;

// Partial sums of each thread, then of each quarter of the threads.
var<workgroup> sums: array<vec4<f32>, 1024>; // [pixel][2 o][thread]

// Channels 4c..4c+4 of the pixel that the tap reads for pixel `at`; zero outside of the image.
fn fetch(at: u32, tap: u32, c: u32) -> vec4<f32> {
    let border = KERNEL_SIZE / 2u;
    let x = at % conv.width + tap % KERNEL_SIZE - border;
    let y = at / conv.width + tap / KERNEL_SIZE - border;
    return modulated(pixel(x, y, c), c);
}

// A column for each of four pixels.
fn fetch_four(at: u32, tap: u32, c: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        fetch(at, tap, c), fetch(at + 1u, tap, c),
        fetch(at + 2u, tap, c), fetch(at + 3u, tap, c),
    );
}

// Stores a thread's sums of four pixels, from `row` on.
fn keep(row: u32, thread: u32, low: mat4x4<f32>, high: mat4x4<f32>) {
    let at = row * THREADS + thread;
    sums[at] = low[0];
    sums[at + THREADS] = high[0];
    sums[at + 2u * THREADS] = low[1];
    sums[at + 3u * THREADS] = high[1];
    sums[at + 4u * THREADS] = low[2];
    sums[at + 5u * THREADS] = high[2];
    sums[at + 6u * THREADS] = low[3];
    sums[at + 7u * THREADS] = high[3];
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let first = group.x * PIXELS;
    let count = KERNEL_SIZE * KERNEL_SIZE * conv.input_channels;

    // Four output channels of four pixels each.
    var low_a = mat4x4<f32>();
    var high_a = mat4x4<f32>();
    var low_b = mat4x4<f32>();
    var high_b = mat4x4<f32>();
    for (var k = thread; k < count; k += THREADS) {
        let c = k % conv.input_channels;
        let tap = k / conv.input_channels;
        let at = (group.y * count + k) * 8u;
        let low = block(at);
        let high = block(at + 1u);
        let a = fetch_four(first, tap, c);
        let b = fetch_four(first + 4u, tap, c);
        low_a += low * a;
        high_a += high * a;
        low_b += low * b;
        high_b += high * b;
    }
    keep(0u, thread, low_a, high_a);
    keep(8u, thread, low_b, high_b);
    workgroupBarrier();

    // A quarter of the threads' sums of one of the 16 rows. Threads begin at different columns, hence
    // in different banks.
    let row = thread % 16u;
    let quarter = row * THREADS + thread / 16u * 16u;
    var total = vec4<f32>();
    for (var i = 0u; i < 16u; i++) {
        total += sums[quarter + (i + row) % 16u];
    }
    workgroupBarrier();
    sums[thread] = total;
    workgroupBarrier();
    if thread < 16u {
        let pixel = first + thread / 2u;
        store(
            pixel % conv.width, pixel / conv.width, group.y * 2u + thread % 2u,
            sums[thread] + sums[thread + 16u] + sums[thread + 32u] + sums[thread + 48u],
        );
    }
}
