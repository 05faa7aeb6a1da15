#define_import_path gpavatar::conv_tile

// The accumulators of a thread in the tiled kernels: 8 pixels of a row times 8 output channels.

#import gpavatar::conv_epilogue::store
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
    store_four(x, y, o, t.low_a, t.high_a);
    store_four(x + 4u, y, o, t.low_b, t.high_b);
}

fn store_four(x: u32, y: u32, o: u32, low: mat4x4<f32>, high: mat4x4<f32>) {
    store(x, y, o, low[0]);
    store(x, y, o + 1u, high[0]);
    store(x + 1u, y, o, low[1]);
    store(x + 1u, y, o + 1u, high[1]);
    store(x + 2u, y, o, low[2]);
    store(x + 2u, y, o + 1u, high[2]);
    store(x + 3u, y, o, low[3]);
    store(x + 3u, y, o + 1u, high[3]);
}
