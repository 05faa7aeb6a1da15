// Convolution, 3x3 with zero padding 1 or 1x1, as an implicit matrix product in workgroup memory.
//
// A workgroup owns a rectangle of pixels times 8 CHANNEL_GROUPS output channels; each of its 128
// threads 8 pixels of a row times 8 output channels, in named accumulators. Four input channels at
// a time, the rectangle with its border and all taps' weights are staged and used 9 times 64 times;
// with one tap, CHUNK times as many.
// Workgroup x, y: rectangles; z: groups of output channels.
// In half arithmetic all that is staged, its products and the sums of what is staged at a time are of
// 16 bits; longer sums are of 32.

#import gpavatar::conv_epilogue::{conv, weights, modulation, store}
#import gpavatar::conv_input::pixel
#import gpavatar::network_weights::unpacked_weights
#ifdef ARITHMETIC_F16
enable f16;

alias Four = vec4<f16>;
alias Block = mat4x4<f16>;

// Weights are in units of their output channel's largest: they are staged so much smaller that sums
// of 36 products stay within 65,504 for inputs as large as 58,000.
const SCALE = 1.0 / 32.0;

// As gpavatar::tile::mac.
fn mac(acc: Four, w: Block, x: Four) -> Four {
    return fma(w[3], x.wwww, fma(w[2], x.zzzz, fma(w[1], x.yyyy, fma(w[0], x.xxxx, acc))));
}
#else
#import gpavatar::tile::mac

alias Four = vec4<f32>;
alias Block = mat4x4<f32>;

const SCALE = 1.0;
#endif

// 3 or 1.
override KERNEL_SIZE: u32 = 3u;
// 1 scales the input channels by the layer's modulation.
override MODULATED: u32 = 0u;
// 1 reads the double of the map.
override UPSAMPLED: u32 = 0u;
// 1 multiplies each of 16 rows by weights of its own, those of the tap of its number. Workgroups are
// then one row high.
override TAP_PER_ROW: u32 = 0u;
// Threads along the output channels (2, 4, 8 or 16) and along x (8 pixels each).
override CHANNEL_GROUPS: u32 = 8u;
override COLUMN_GROUPS: u32 = 2u;
// Input channels that are staged at a time, divided by four: 1 for 3x3, up to 4 for 1x1.
override CHUNK: u32 = 1u;

const THREADS = 128u;

// The rectangle with its border, then the weights [tap][4 inputs][output channels / 4]: at most
// 34 * 18 + 9 * 4 * 4 (two channel groups), 34 * 10 + 9 * 4 * 8, 18 * 10 + 9 * 4 * 16. With one tap,
// all rectangles of the chunk, then all weights: 4 * 128 + 4 * 4 * 16, 4 * 64 + 4 * 4 * 32.
var<workgroup> staged: array<Four, 768>;

fn block(at: u32) -> Block {
    let stride = 2u * CHANNEL_GROUPS;
    return Block(
        staged[at], staged[at + stride], staged[at + 2u * stride], staged[at + 3u * stride]
    );
}

// Finishes output channels 4o..4o+8 of four pixels of a row.
fn store_four(x: u32, y: u32, o: u32, a: mat4x4<f32>, b: mat4x4<f32>) {
    store(x, y, o, a[0]);
    store(x, y, o + 1u, b[0]);
    store(x + 1u, y, o, a[1]);
    store(x + 1u, y, o + 1u, b[1]);
    store(x + 2u, y, o, a[2]);
    store(x + 2u, y, o + 1u, b[2]);
    store(x + 3u, y, o, a[3]);
    store(x + 3u, y, o + 1u, b[3]);
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let border = KERNEL_SIZE / 2u;
    let taps = KERNEL_SIZE * KERNEL_SIZE;
    let tile_width = COLUMN_GROUPS * 8u;
    let tile_height = THREADS / (CHANNEL_GROUPS * COLUMN_GROUPS);
    let staged_width = tile_width + 2u * border;
    let staged_pixels = staged_width * (tile_height + 2u * border);
    let staged_weights = taps * 8u * CHANNEL_GROUPS;
    // Between the pixels of two steps.
    let next = select(staged_pixels, staged_width, KERNEL_SIZE == 3u);

    let channel_group = thread % CHANNEL_GROUPS;
    let pixel_group = thread / CHANNEL_GROUPS;
    let column = (pixel_group % COLUMN_GROUPS) * 8u;
    let line = pixel_group / COLUMN_GROUPS;
    // First eighth of output channels of this workgroup, and how many there are in all.
    let first_eighth = group.z * CHANNEL_GROUPS;
    let eighths = (conv.output_channels + 1u) / 2u;

    var a0 = Four();
    var b0 = Four();
    var a1 = Four();
    var b1 = Four();
    var a2 = Four();
    var b2 = Four();
    var a3 = Four();
    var b3 = Four();
    var a4 = Four();
    var b4 = Four();
    var a5 = Four();
    var b5 = Four();
    var a6 = Four();
    var b6 = Four();
    var a7 = Four();
    var b7 = Four();
#ifdef ARITHMETIC_F16
    var a03 = mat4x4<f32>();
    var a47 = mat4x4<f32>();
    var b03 = mat4x4<f32>();
    var b47 = mat4x4<f32>();
#endif
    for (var chunk = 0u; chunk < conv.input_channels; chunk += CHUNK) {
        for (var i = thread; i < staged_pixels * CHUNK; i += THREADS) {
            // i = place * CHUNK + channel: neighbouring threads read neighbours in memory.
            let place = i / CHUNK;
            let c = chunk + i % CHUNK;
            let x = group.x * tile_width + place % staged_width - border;
            let y = group.y * tile_height + place / staged_width - border;
            var value = vec4<f32>();
            if c < conv.input_channels {
                value = pixel(x, y, c, UPSAMPLED == 1u);
                if MODULATED == 1u {
                    value *= modulation[conv.modulation_offset + c];
#ifdef ARITHMETIC_F16
                    // What is larger than the largest half becomes that one rather than infinity.
                    value = clamp(value, vec4<f32>(-65504.0), vec4<f32>(65504.0));
#endif
                }
            }
            staged[i % CHUNK * staged_pixels + place] = Four(value);
        }
        for (var i = thread; i < staged_weights * CHUNK; i += THREADS) {
            // i = ((channel * taps + tap) * 4 + input) * 2 CHANNEL_GROUPS + quarter of the output
            // channels. Behind the last channel zeros are multiplied, by any weights.
            let c = min(chunk + i / staged_weights, conv.input_channels - 1u);
            let quarter = i % (2u * CHANNEL_GROUPS);
            let row = i % staged_weights / (2u * CHANNEL_GROUPS);
            let eighth = min(first_eighth + quarter / 2u, eighths - 1u);
            var tap = eighth * taps + row / 4u;
            if TAP_PER_ROW == 1u {
                tap = eighth * 16u + group.y;
            }
            let at = (tap * conv.input_channels + c) * 4u + row % 4u;
            let value = unpacked_weights(weights[at * 2u + quarter % 2u]);
            staged[staged_pixels * CHUNK + i] = Four(SCALE * value);
        }
        workgroupBarrier();
        // Rows of taps, or channels of the chunk.
        for (var step = 0u; step < KERNEL_SIZE * CHUNK; step++) {
            let row = line * staged_width + column + step * next;
            let w = staged_pixels * CHUNK + 2u * channel_group + step * KERNEL_SIZE * 8u * CHANNEL_GROUPS;
            let x0 = staged[row];
            let x1 = staged[row + 1u];
            let x2 = staged[row + 2u];
            let x3 = staged[row + 3u];
            let x4 = staged[row + 4u];
            let x5 = staged[row + 5u];
            let x6 = staged[row + 6u];
            let x7 = staged[row + 7u];
            {
                let wa = block(w);
                let wb = block(w + 1u);
                a0 = mac(a0, wa, x0);
                b0 = mac(b0, wb, x0);
                a1 = mac(a1, wa, x1);
                b1 = mac(b1, wb, x1);
                a2 = mac(a2, wa, x2);
                b2 = mac(b2, wb, x2);
                a3 = mac(a3, wa, x3);
                b3 = mac(b3, wb, x3);
                a4 = mac(a4, wa, x4);
                b4 = mac(b4, wb, x4);
                a5 = mac(a5, wa, x5);
                b5 = mac(b5, wb, x5);
                a6 = mac(a6, wa, x6);
                b6 = mac(b6, wb, x6);
                a7 = mac(a7, wa, x7);
                b7 = mac(b7, wb, x7);
            }
            if KERNEL_SIZE == 3u {
                let x8 = staged[row + 8u];
                let x9 = staged[row + 9u];
                {
                    let wa = block(w + 8u * CHANNEL_GROUPS);
                    let wb = block(w + 8u * CHANNEL_GROUPS + 1u);
                    a0 = mac(a0, wa, x1);
                    b0 = mac(b0, wb, x1);
                    a1 = mac(a1, wa, x2);
                    b1 = mac(b1, wb, x2);
                    a2 = mac(a2, wa, x3);
                    b2 = mac(b2, wb, x3);
                    a3 = mac(a3, wa, x4);
                    b3 = mac(b3, wb, x4);
                    a4 = mac(a4, wa, x5);
                    b4 = mac(b4, wb, x5);
                    a5 = mac(a5, wa, x6);
                    b5 = mac(b5, wb, x6);
                    a6 = mac(a6, wa, x7);
                    b6 = mac(b6, wb, x7);
                    a7 = mac(a7, wa, x8);
                    b7 = mac(b7, wb, x8);
                }
                {
                    let wa = block(w + 16u * CHANNEL_GROUPS);
                    let wb = block(w + 16u * CHANNEL_GROUPS + 1u);
                    a0 = mac(a0, wa, x2);
                    b0 = mac(b0, wb, x2);
                    a1 = mac(a1, wa, x3);
                    b1 = mac(b1, wb, x3);
                    a2 = mac(a2, wa, x4);
                    b2 = mac(b2, wb, x4);
                    a3 = mac(a3, wa, x5);
                    b3 = mac(b3, wb, x5);
                    a4 = mac(a4, wa, x6);
                    b4 = mac(b4, wb, x6);
                    a5 = mac(a5, wa, x7);
                    b5 = mac(b5, wb, x7);
                    a6 = mac(a6, wa, x8);
                    b6 = mac(b6, wb, x8);
                    a7 = mac(a7, wa, x9);
                    b7 = mac(b7, wb, x9);
                }
            }
        }
#ifdef ARITHMETIC_F16
        a03 += mat4x4<f32>(
            vec4<f32>(a0), vec4<f32>(a1), vec4<f32>(a2), vec4<f32>(a3)
        );
        a47 += mat4x4<f32>(
            vec4<f32>(a4), vec4<f32>(a5), vec4<f32>(a6), vec4<f32>(a7)
        );
        b03 += mat4x4<f32>(
            vec4<f32>(b0), vec4<f32>(b1), vec4<f32>(b2), vec4<f32>(b3)
        );
        b47 += mat4x4<f32>(
            vec4<f32>(b4), vec4<f32>(b5), vec4<f32>(b6), vec4<f32>(b7)
        );
        a0 = Four();
        b0 = Four();
        a1 = Four();
        b1 = Four();
        a2 = Four();
        b2 = Four();
        a3 = Four();
        b3 = Four();
        a4 = Four();
        b4 = Four();
        a5 = Four();
        b5 = Four();
        a6 = Four();
        b6 = Four();
        a7 = Four();
        b7 = Four();
#endif
        workgroupBarrier();
    }

    let x = group.x * tile_width + column;
    let y = group.y * tile_height + line;
    let o = (first_eighth + channel_group) * 2u;
#ifndef ARITHMETIC_F16
    let a03 = mat4x4<f32>(a0, a1, a2, a3);
    let a47 = mat4x4<f32>(a4, a5, a6, a7);
    let b03 = mat4x4<f32>(b0, b1, b2, b3);
    let b47 = mat4x4<f32>(b4, b5, b6, b7);
#endif
    store_four(x, y, o, a03 * (1.0 / SCALE), b03 * (1.0 / SCALE));
    store_four(x + 4u, y, o, a47 * (1.0 / SCALE), b47 * (1.0 / SCALE));
}
