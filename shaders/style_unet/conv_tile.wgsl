#define_import_path gpavatar::conv_tile

// The accumulators of a thread in the tiled kernels: 8 pixels of a row times 8 output channels.

#import gpavatar::conv_epilogue::{Finish, finish_of, finished, store_finished}
#import gpavatar::tile::mac_four

// The low and the high four channels of the first and the last four pixels.
struct Tile {
    low_a: mat4x4<f32>,
    high_a: mat4x4<f32>,
    low_b: mat4x4<f32>,
    high_b: mat4x4<f32>,
}

// Adds four input channels of all pixels times their weights.
fn accumulated(
    t: Tile, low: mat4x4<f32>, high: mat4x4<f32>, a: mat4x4<f32>, b: mat4x4<f32>
) -> Tile {
    return Tile(
        mac_four(t.low_a, low, a), mac_four(t.high_a, high, a),
        mac_four(t.low_b, low, b), mac_four(t.high_b, high, b),
    );
}

// Finishes output channels 4o..4o+8 of the pixels (x, y) to (x + 7, y).
fn store_tile(x: u32, y: u32, o: u32, t: Tile) {
    let low = finish_of(o);
    let high = finish_of(o + 1u);
    let low_a = finished_four(x, y, o, t.low_a, low);
    let high_a = finished_four(x, y, o + 1u, t.high_a, high);
    let low_b = finished_four(x + 4u, y, o, t.low_b, low);
    let high_b = finished_four(x + 4u, y, o + 1u, t.high_b, high);
    store_four(x, y, o, low_a);
    store_four(x, y, o + 1u, high_a);
    store_four(x + 4u, y, o, low_b);
    store_four(x + 4u, y, o + 1u, high_b);
}

fn finished_four(x: u32, y: u32, o: u32, sums: mat4x4<f32>, finish: Finish) -> mat4x4<f32> {
    return mat4x4<f32>(
        finished(x, y, o, sums[0], finish), finished(x + 1u, y, o, sums[1], finish),
        finished(x + 2u, y, o, sums[2], finish), finished(x + 3u, y, o, sums[3], finish),
    );
}

fn store_four(x: u32, y: u32, o: u32, values: mat4x4<f32>) {
    store_finished(x, y, o, values[0]);
    store_finished(x + 1u, y, o, values[1]);
    store_finished(x + 2u, y, o, values[2]);
    store_finished(x + 3u, y, o, values[3]);
}
