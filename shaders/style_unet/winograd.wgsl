#define_import_path gpavatar::winograd

// What both of Winograd's transforms share.

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

// Tiles of a band, with room up to what the products' kernels take at a time.
fn stride() -> u32 {
    return (columns() * conv.band_rows + 31u) / 32u * 32u;
}
