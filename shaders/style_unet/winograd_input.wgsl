// A map's tiles for the products of Winograd's F(2x2, 3x3): [y][x][c] -> [position][tile][c].
//
// A tile is the 4x4 pixels that 2x2 outputs of a 3x3 convolution with zero padding 1 read; tiles
// are 2 pixels apart, row by row. Each becomes Bᵀ d B (Lavin and Gray 2015, section 4.1), whose 16
// elements are the positions. A band of the map's rows of tiles is transformed at a time.
//
// One thread per tile and four channels: x = column * channels + channel, y = row of the band.
// Error: 3 ulp of the largest pixel of a tile.

#import gpavatar::conv_epilogue::{conv, modulation, output}
#import gpavatar::conv_input::{MODULATED, UPSAMPLED, pixel, source}
#import gpavatar::stored::packed
#import gpavatar::winograd::{Line, columns, stride}

// Bᵀ v.
fn transformed(v: Line) -> Line {
    return Line(v.a - v.c, v.b + v.c, v.c - v.b, v.b - v.d);
}

fn column(x: u32, y: u32, c: u32) -> Line {
    return Line(
        pixel(x, y, c), pixel(x, y + 1u, c),
        pixel(x, y + 2u, c), pixel(x, y + 3u, c),
    );
}

// Rows 2y-1..2y+3 of the upsampled map in column x of the stored one: a tile's columns are between them.
fn upsampled_column(x: u32, y: u32, c: u32) -> Line {
    let width = conv.width / 2u;
    let last = conv.height / 2u - 1u;
    let above = source(max(y, 1u) * width - width + x, c);
    let here = source(y * width + x, c);
    let below = source(min(y + 1u, last) * width + x, c);
    let zero = vec4<f32>();
    return Line(
        select(zero, mix(above, here, 0.25), y > 0u), mix(above, here, 0.75),
        mix(here, below, 0.25), select(zero, mix(here, below, 0.75), y < last),
    );
}

fn mixed(a: Line, b: Line, fraction: f32) -> Line {
    return Line(
        mix(a.a, b.a, fraction), mix(a.b, b.b, fraction),
        mix(a.c, b.c, fraction), mix(a.d, b.d, fraction),
    );
}

// The columns of a tile.
struct Tile {
    p: Line,
    q: Line,
    r: Line,
    s: Line,
}

// The tile in column x and row y of all.
fn tile_of(x: u32, y: u32, c: u32) -> Tile {
    if UPSAMPLED == 0u {
        let left = 2u * x - 1u;
        let top = 2u * y - 1u;
        return Tile(
            column(left, top, c), column(left + 1u, top, c),
            column(left + 2u, top, c), column(left + 3u, top, c),
        );
    }
    let last = conv.width / 2u - 1u;
    let left = upsampled_column(max(x, 1u) - 1u, y, c);
    let here = upsampled_column(x, y, c);
    let right = upsampled_column(min(x + 1u, last), y, c);
    var tile = Tile(
        mixed(left, here, 0.25), mixed(left, here, 0.75),
        mixed(here, right, 0.25), mixed(here, right, 0.75),
    );
    if x == 0u {
        tile.p = Line();
    }
    if x == last {
        tile.s = Line();
    }
    return tile;
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
    let tile = tile_of(tile_column, conv.band_start + id.y, c);
    let p = transformed(tile.p);
    let q = transformed(tile.q);
    let r = transformed(tile.r);
    let s = transformed(tile.s);

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
