// Convolution, 3x3 with zero padding 1 or 1x1, register-tiled: no workgroup memory, no barriers. For
// adapters whose workgroup memory costs more than repeated loads (CPU implementations).
//
// A thread owns a tile of 8 pixels in a row times 8 output channels. Workgroup x, continued along z:
// 8 of the image's tiles, row by row; y: 4 eighths of the output channels.
// Error: that of `conv_tiled`.

#import gpavatar::conv_epilogue::conv
#import gpavatar::conv_input::{source, modulated}
#import gpavatar::conv_tile::{Tile, accumulated, store_tile}
#import gpavatar::conv_weights::{KERNEL_SIZE, block}

// 1 multiplies each of 16 rows by its own weights, those of the tap of the row's number.
override TAP_PER_ROW: u32 = 0u;

// Pixels of a thread's tile; tiles and eighths of the output channels of a workgroup.
const PIXELS = 8u;
const TILES = 8u;
const EIGHTHS = 4u;

// Channels 4c..4c+4 of pixel x of the row that starts at `row`, zero outside of it. Left of the image
// x wraps to a huge number.
fn fetch(x: u32, row: u32, c: u32) -> vec4<f32> {
    if x >= conv.width {
        return vec4<f32>();
    }
    return modulated(source(row + x, c), c);
}

@compute @workgroup_size(TILES, EIGHTHS, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let tile = (group.z * groups.x + group.x) * TILES + local.x;
    let eighth = group.y * EIGHTHS + local.y;
    let tiles = (conv.width + PIXELS - 1u) / PIXELS;
    let x = tile % tiles * PIXELS;
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

    var sums = Tile();
    for (var ky = 0u; ky < KERNEL_SIZE; ky++) {
        let sy = y + ky - KERNEL_SIZE / 2u;
        if sy >= conv.height {
            continue;
        }
        let row = sy * conv.width;
        let tap = first + ky * KERNEL_SIZE * tap_stride;
        for (var c = 0u; c < conv.input_channels; c++) {
            let w = tap + c * 8u;
            let x1 = fetch(x, row, c);
            let x2 = fetch(x + 1u, row, c);
            let x3 = fetch(x + 2u, row, c);
            let x4 = fetch(x + 3u, row, c);
            let x5 = fetch(x + 4u, row, c);
            let x6 = fetch(x + 5u, row, c);
            let x7 = fetch(x + 6u, row, c);
            let x8 = fetch(x + 7u, row, c);
            let a = mat4x4<f32>(x1, x2, x3, x4);
            let b = mat4x4<f32>(x5, x6, x7, x8);
            if KERNEL_SIZE == 1u {
                sums = accumulated(sums, block(w), block(w + 1u), a, b);
            } else {
                let x0 = fetch(x - 1u, row, c);
                let x9 = fetch(x + 8u, row, c);
                sums = accumulated(
                    sums, block(w), block(w + 1u),
                    mat4x4<f32>(x0, x1, x2, x3), mat4x4<f32>(x4, x5, x6, x7),
                );
                let v = w + tap_stride;
                sums = accumulated(sums, block(v), block(v + 1u), a, b);
                let u = v + tap_stride;
                sums = accumulated(
                    sums, block(u), block(u + 1u),
                    mat4x4<f32>(x2, x3, x4, x5), mat4x4<f32>(x6, x7, x8, x9),
                );
            }
        }
    }
    store_tile(x, y, o, sums);
}
