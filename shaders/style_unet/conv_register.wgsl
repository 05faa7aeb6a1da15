// Convolution, 3x3 with zero padding 1 or 1x1, register-tiled: no workgroup memory, no barriers.
//
// A thread owns a tile of 8 pixels in a row times 8 output channels. Workgroups along x, continued
// along z, take 8 of the image's tiles each, row by row; along y 4 eighths of the output channels
// each. For adapters whose workgroup memory costs more than repeated loads
// (CPU implementations).

#import gpavatar::conv_epilogue::{conv, input, weights, modulation, store}
#import gpavatar::network_weights::unpacked_weights
#import gpavatar::stored::unpacked
#import gpavatar::tile::mac

// 3 or 1.
override KERNEL_SIZE: u32 = 3u;
// 1 scales the input channels by the layer's modulation.
override MODULATED: u32 = 0u;
// 1 multiplies each of 16 rows by weights of its own, those of the tap of its number.
override TAP_PER_ROW: u32 = 0u;

// Pixel `left + i - 1` of the row that starts at `row`, zero outside of it; channels 4c..4c+4.
fn fetch(left: u32, row: u32, c: u32, i: u32) -> vec4<f32> {
    // Left of the image wraps to a huge number, which the comparison catches, too.
    let x = left + i - 1u;
    if x >= conv.width {
        return vec4<f32>();
    }
    let value = unpacked(input[(row + x) * conv.input_channels + c]);
    if MODULATED == 1u {
        return value * modulation[conv.modulation_offset + c];
    }
    return value;
}

// The 4x4 block of weights at vec4 `at`: four input channels, eight output channels apart.
fn block(at: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        unpacked_weights(weights[at]), unpacked_weights(weights[at + 2u]),
        unpacked_weights(weights[at + 4u]), unpacked_weights(weights[at + 6u]),
    );
}

@compute @workgroup_size(8, 4, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let tile = (group.z * groups.x + group.x) * 8u + local.x;
    let eighth = group.y * 4u + local.y;
    let tiles = (conv.width + 7u) / 8u;
    let x = tile % tiles * 8u;
    let y = tile / tiles;
    let o = eighth * 2u;
    if y >= conv.height || o >= conv.output_channels {
        return;
    }
    // vec4s between two taps, and the first weight of these output channels.
    let tap_stride = conv.input_channels * 8u;
    var first = eighth * KERNEL_SIZE * KERNEL_SIZE * tap_stride;
    if TAP_PER_ROW == 1u {
        first = (eighth * 16u + y) * tap_stride;
    }

    var a0 = vec4<f32>();
    var b0 = vec4<f32>();
    var a1 = vec4<f32>();
    var b1 = vec4<f32>();
    var a2 = vec4<f32>();
    var b2 = vec4<f32>();
    var a3 = vec4<f32>();
    var b3 = vec4<f32>();
    var a4 = vec4<f32>();
    var b4 = vec4<f32>();
    var a5 = vec4<f32>();
    var b5 = vec4<f32>();
    var a6 = vec4<f32>();
    var b6 = vec4<f32>();
    var a7 = vec4<f32>();
    var b7 = vec4<f32>();
    for (var ky = 0u; ky < KERNEL_SIZE; ky++) {
        let sy = y + ky - KERNEL_SIZE / 2u;
        if sy >= conv.height {
            continue;
        }
        let row = sy * conv.width;
        let tap = first + ky * KERNEL_SIZE * tap_stride;
        for (var c = 0u; c < conv.input_channels; c++) {
            let w = tap + c * 8u;
            let x1 = fetch(x, row, c, 1u);
            let x2 = fetch(x, row, c, 2u);
            let x3 = fetch(x, row, c, 3u);
            let x4 = fetch(x, row, c, 4u);
            let x5 = fetch(x, row, c, 5u);
            let x6 = fetch(x, row, c, 6u);
            let x7 = fetch(x, row, c, 7u);
            let x8 = fetch(x, row, c, 8u);
            if KERNEL_SIZE == 1u {
                let wa = block(w);
                let wb = block(w + 1u);
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
            } else {
                let x0 = fetch(x, row, c, 0u);
                let x9 = fetch(x, row, c, 9u);
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
                {
                    let wa = block(w + tap_stride);
                    let wb = block(w + tap_stride + 1u);
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
                    let wa = block(w + 2u * tap_stride);
                    let wb = block(w + 2u * tap_stride + 1u);
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
    }
    store(x + 0u, y, o, a0);
    store(x + 0u, y, o + 1u, b0);
    store(x + 1u, y, o, a1);
    store(x + 1u, y, o + 1u, b1);
    store(x + 2u, y, o, a2);
    store(x + 2u, y, o + 1u, b2);
    store(x + 3u, y, o, a3);
    store(x + 3u, y, o + 1u, b3);
    store(x + 4u, y, o, a4);
    store(x + 4u, y, o + 1u, b4);
    store(x + 5u, y, o, a5);
    store(x + 5u, y, o + 1u, b5);
    store(x + 6u, y, o, a6);
    store(x + 6u, y, o + 1u, b6);
    store(x + 7u, y, o, a7);
    store(x + 7u, y, o + 1u, b7);
}
