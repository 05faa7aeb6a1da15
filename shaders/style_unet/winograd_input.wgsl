// The tiles of a map as Winograd's F(2x2, 3x3) multiplies them: [y][x][c] -> [position][tile][c].
//
// A tile is the 4x4 pixels that 2x2 outputs of a 3x3 convolution with zero padding 1 read; tiles
// are 2 pixels apart, row by row. Each becomes Bᵀ d B (Lavin and Gray 2015, section 4.1), whose 16
// elements are the positions. A band of the map's rows of tiles is transformed at a time.
//
// One thread per tile and four channels: x = column * channels + channel, y = row of the band.

#import gpavatar::conv_epilogue::{conv, input, modulation, output}
#import gpavatar::stored::{packed, unpacked}
#import gpavatar::winograd::{Line, columns, stride}

// 1 scales the input channels by the layer's modulation.
override MODULATED: u32 = 0u;

// Channels 4c..4c+4 of a pixel; zero outside of the image.
fn fetch(x: u32, y: u32, c: u32) -> vec4<f32> {
    // Left of and above the image wraps to huge numbers.
    if x >= conv.width || y >= conv.height {
        return vec4<f32>();
    }
    return unpacked(input[(y * conv.width + x) * conv.input_channels + c]);
}

// Bᵀ v.
fn transformed(v: Line) -> Line {
    return Line(v.a - v.c, v.b + v.c, v.c - v.b, v.b - v.d);
}

fn column(x: u32, y: u32, c: u32) -> Line {
    return transformed(
        Line(fetch(x, y, c), fetch(x, y + 1u, c), fetch(x, y + 2u, c), fetch(x, y + 3u, c))
    );
}

fn store_row(at: u32, row: Line, gain: vec4<f32>) {
    let values = transformed(row);
    let next = stride() * conv.input_channels;
    output[at] = packed(values.a * gain);
    output[at + next] = packed(values.b * gain);
    output[at + 2u * next] = packed(values.c * gain);
    output[at + 3u * next] = packed(values.d * gain);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let c = id.x % conv.input_channels;
    let tile_column = id.x / conv.input_channels;
    if tile_column >= columns() {
        return;
    }
    let x = 2u * tile_column - 1u;
    let y = 2u * (conv.band_start + id.y) - 1u;
    let p = column(x, y, c);
    let q = column(x + 1u, y, c);
    let r = column(x + 2u, y, c);
    let s = column(x + 3u, y, c);

    var gain = vec4<f32>(1.0);
    if MODULATED == 1u {
        gain = modulation[conv.modulation_offset + c];
    }
    let at = (id.y * columns() + tile_column) * conv.input_channels + c;
    let next_row = 4u * stride() * conv.input_channels;
    store_row(at, Line(p.a, q.a, r.a, s.a), gain);
    store_row(at + next_row, Line(p.b, q.b, r.b, s.b), gain);
    store_row(at + 2u * next_row, Line(p.c, q.c, r.c, s.c), gain);
    store_row(at + 3u * next_row, Line(p.d, q.d, r.d, s.d), gain);
}
