// Winograd's output transform: products [position][tile][o] -> [y][x][o], with the convolution's epilogue.
//
// The 2x2 outputs of a tile are Aᵀ m A (Lavin and Gray 2015, section 4.1) of its 16 products m. A
// band of the map's rows of tiles is finished at a time.
//
// One thread per tile and four channels: x = column * channels + channel, y = row of the band.
// Error: 4 ulp of the largest pixel times the largest weight, each summed over a tile.

#import gpavatar::conv_epilogue::{conv, input, store}
#import gpavatar::stored::unpacked
#import gpavatar::winograd::{Line, columns, stride}

// The products of a row of positions.
fn products(at: u32) -> Line {
    let next = stride() * conv.output_channels;
    return Line(
        unpacked(input[at]), unpacked(input[at + next]),
        unpacked(input[at + 2u * next]), unpacked(input[at + 3u * next]),
    );
}

fn left(row: Line) -> vec4<f32> {
    return row.a + row.b + row.c;
}

fn right(row: Line) -> vec4<f32> {
    return row.b - row.c - row.d;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let o = id.x % conv.output_channels;
    let tile_column = id.x / conv.output_channels;
    if tile_column >= columns() {
        return;
    }
    let at = (id.y * columns() + tile_column) * conv.output_channels + o;
    let next_row = 4u * stride() * conv.output_channels;
    let p = products(at);
    let q = products(at + next_row);
    let r = products(at + 2u * next_row);
    let s = products(at + 3u * next_row);

    let x = 2u * tile_column;
    let y = 2u * (conv.band_start + id.y);
    store(x, y, o, left(p) + left(q) + left(r));
    store(x + 1u, y, o, right(p) + right(q) + right(r));
    store(x, y + 1u, o, left(q) - left(r) - left(s));
    store(x + 1u, y + 1u, o, right(q) - right(r) - right(s));
}
