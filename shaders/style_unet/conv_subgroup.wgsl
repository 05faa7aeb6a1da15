// Convolution, 3x3 with zero padding 1 or 1x1, whose threads share weights by broadcast.
//
// A workgroup is eight threads, each with 4 pixels of a row and all with the same 16 output
// channels. One thread loads a weight and broadcasts it to the others: for adapters where a load
// costs far more than a broadcast (CPU implementations load thread by thread). Needs subgroups of
// at least eight threads. Workgroup x, continued along z: 8 of the image's tiles of 4 pixels, row
// by row; y: 16 output channels.
// Error: that of `conv_tiled`.

#import gpavatar::conv_epilogue::{conv, modulation, store}
#import gpavatar::conv_input::{MODULATED, source}
#import gpavatar::conv_weights::{KERNEL_SIZE, weight}

// 1 multiplies each of 16 rows by its own weights, those of the tap of the row's number. Rows are
// then multiples of 32 wide, so that a workgroup lies in one row.
override TAP_PER_ROW: u32 = 0u;

const THREADS = 8u;
// Pixels of a thread.
const PIXELS = 4u;

// Weights of four input channels for 16 output channels: column i of a matrix holds the outputs
// 4i..4i+4.
struct Weights {
    x: mat4x4<f32>,
    y: mat4x4<f32>,
    z: mat4x4<f32>,
    w: mat4x4<f32>,
}

fn loaded(at: u32, gain: f32) -> vec4<f32> {
    return weight(at) * gain;
}

// The threads' loads from the first and the second eight output channels, as [4 inputs][2].
fn shared_weights(low: vec4<f32>, high: vec4<f32>) -> Weights {
    return Weights(
        mat4x4<f32>(
            subgroupBroadcast(low, 0u), subgroupBroadcast(low, 1u),
            subgroupBroadcast(high, 0u), subgroupBroadcast(high, 1u),
        ),
        mat4x4<f32>(
            subgroupBroadcast(low, 2u), subgroupBroadcast(low, 3u),
            subgroupBroadcast(high, 2u), subgroupBroadcast(high, 3u),
        ),
        mat4x4<f32>(
            subgroupBroadcast(low, 4u), subgroupBroadcast(low, 5u),
            subgroupBroadcast(high, 4u), subgroupBroadcast(high, 5u),
        ),
        mat4x4<f32>(
            subgroupBroadcast(low, 6u), subgroupBroadcast(low, 7u),
            subgroupBroadcast(high, 6u), subgroupBroadcast(high, 7u),
        ),
    );
}

fn scaled(sum: mat4x4<f32>, w: mat4x4<f32>, x: f32) -> mat4x4<f32> {
    let s = vec4<f32>(x);
    return mat4x4<f32>(
        fma(w[0], s, sum[0]), fma(w[1], s, sum[1]), fma(w[2], s, sum[2]), fma(w[3], s, sum[3])
    );
}

// sum + w x, for 16 output channels and four input channels.
fn mac(sum: mat4x4<f32>, w: Weights, x: vec4<f32>) -> mat4x4<f32> {
    return scaled(scaled(scaled(scaled(sum, w.x, x.x), w.y, x.y), w.z, x.z), w.w, x.w);
}

// Channels 4c..4c+4 of the pixel at x in the row that starts at `row`; zero outside of the image.
fn fetch(x: u32, row: u32, inside: bool, c: u32) -> vec4<f32> {
    // Left of the image x wraps to a huge number, which this catches, too.
    if !inside || x >= conv.width {
        return vec4<f32>();
    }
    return source(row + x, c);
}

fn store_all(x: u32, y: u32, o: u32, sums: mat4x4<f32>) {
    store(x, y, o, sums[0]);
    store(x, y, o + 1u, sums[1]);
    store(x, y, o + 2u, sums[2]);
    store(x, y, o + 3u, sums[3]);
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let tile = (group.z * groups.x + group.x) * THREADS + thread;
    let tiles = (conv.width + PIXELS - 1u) / PIXELS;
    let x = tile % tiles * PIXELS;
    let y = tile / tiles;
    let border = KERNEL_SIZE / 2u;
    var taps = KERNEL_SIZE * KERNEL_SIZE;
    var tap = 0u;
    if TAP_PER_ROW == 1u {
        taps = 16u;
        tap = y;
    }
    // vec4s between two taps.
    let stride = conv.input_channels * 8u;
    let last = (conv.output_channels - 1u) / 2u;
    let low = (group.y * 2u * taps + tap) * stride + thread;
    let high = (min(group.y * 2u + 1u, last) * taps + tap) * stride + thread;
    // The thread's weights belong to input channel `thread / 2` of four.
    let own = vec4<u32>(thread / 2u) == vec4<u32>(0u, 1u, 2u, 3u);

    var a = mat4x4<f32>();
    var b = mat4x4<f32>();
    var c = mat4x4<f32>();
    var d = mat4x4<f32>();
    for (var i = 0u; i < conv.input_channels; i++) {
        var gain = 1.0;
        if MODULATED == 1u {
            let m = modulation[conv.modulation_offset + i];
            gain = dot(select(vec4<f32>(), m, own), vec4<f32>(1.0));
        }
        for (var ky = 0u; ky < KERNEL_SIZE; ky++) {
            let sy = y + ky - border;
            let inside = sy < conv.height;
            let row = sy * conv.width;
            let at = ky * KERNEL_SIZE * stride + i * 8u;
            let p0 = fetch(x - border, row, inside, i);
            let p1 = fetch(x + 1u - border, row, inside, i);
            let p2 = fetch(x + 2u - border, row, inside, i);
            let p3 = fetch(x + 3u - border, row, inside, i);
            let u = shared_weights(loaded(low + at, gain), loaded(high + at, gain));
            a = mac(a, u, p0);
            b = mac(b, u, p1);
            c = mac(c, u, p2);
            d = mac(d, u, p3);
            if KERNEL_SIZE == 3u {
                let p4 = fetch(x + 3u, row, inside, i);
                let p5 = fetch(x + 4u, row, inside, i);
                let next = at + stride;
                let v = shared_weights(loaded(low + next, gain), loaded(high + next, gain));
                a = mac(a, v, p1);
                b = mac(b, v, p2);
                c = mac(c, v, p3);
                d = mac(d, v, p4);
                let third = next + stride;
                let w = shared_weights(loaded(low + third, gain), loaded(high + third, gain));
                a = mac(a, w, p2);
                b = mac(b, w, p3);
                c = mac(c, w, p4);
                d = mac(d, w, p5);
            }
        }
    }
    let o = group.y * 4u;
    store_all(x, y, o, a);
    store_all(x + 1u, y, o, b);
    store_all(x + 2u, y, o, c);
    store_all(x + 3u, y, o, d);
}
