// Convolution, 1x1, register-tiled: see conv_register_tile.
// Error: that of `conv_tiled`.

#import gpavatar::conv_epilogue::conv
#import gpavatar::conv_register_tile::{
    TILES, EIGHTHS, Weights, weights, place_of, is_outside, columns_from, four_at, weights_of, gain_of,
    finish,
}
#import gpavatar::conv_tile::Tile

// Adds the products of eight pixels, four channels each.
fn with_products(t: Tile, w: Weights, a: mat4x4<f32>, b: mat4x4<f32>) -> Tile {
    return Tile(
        t.low_a + w.low * a, t.high_a + w.high * a, t.low_b + w.low * b, t.high_b + w.high * b
    );
}

@compute @workgroup_size(TILES, EIGHTHS, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let place = place_of(group, groups, local);
    if is_outside(place) {
        return;
    }
    let inputs = conv.input_channels;
    let y = min(vec2<u32>(place.y) + vec2<u32>(0u, 1u), vec2<u32>(conv.height - 1u));
    let rows = y * (conv.width * inputs);
    let a = columns_from(place.x);
    let b = columns_from(place.x + 4u);
    var r0 = Tile();
    var r1 = Tile();
    for (var c = 0u; c < inputs; c++) {
        let w = weights_of(weights[place.eighth * inputs + c], gain_of(c));
        r0 = with_products(r0, w, four_at(a + rows.x + c), four_at(b + rows.x + c));
        r1 = with_products(r1, w, four_at(a + rows.y + c), four_at(b + rows.y + c));
    }
    finish(place, r0, r1);
}
