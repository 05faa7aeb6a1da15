#define_import_path gpavatar::winograd

// Tiles of Winograd's transforms.

#import gpavatar::conv_epilogue::conv

// Four values in a row or in a column.
struct Line {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
}

// Tiles side by side.
fn columns() -> u32 {
    return (conv.width + 1u) / 2u;
}

// Bands have room for a multiple of this many tiles: the products' kernels take up to as many at a
// time.
const TILES = 32u;

// Tiles of a band.
fn stride() -> u32 {
    return (columns() * conv.band_rows + TILES - 1u) / TILES * TILES;
}
