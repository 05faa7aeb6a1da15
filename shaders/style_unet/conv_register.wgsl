// Convolution, 3x3 with zero padding 1, register-tiled: see conv_register_tile.
// Error: that of `conv_tiled`.

#import gpavatar::conv_epilogue::conv
#import gpavatar::conv_register_tile::{
    PIXELS, TILES, EIGHTHS, Weights, weights, place_of, is_outside, columns_from, channels_at, four_at,
    scaled_four, weights_of, gain_of, finish,
}
#import gpavatar::conv_tile::Tile

// Where the columns that a tile reads begin. Outside of the image it reads the nearest pixel, times 0.
struct Columns {
    left: u32,
    a: vec4<u32>,
    b: vec4<u32>,
    right: u32,
    left_gain: f32,
    a_gain: vec4<f32>,
    b_gain: vec4<f32>,
    right_gain: f32,
}

// Four input channels of eight pixels of a row and of their two neighbours.
struct Pixels {
    left: vec4<f32>,
    a: mat4x4<f32>,
    b: mat4x4<f32>,
    right: vec4<f32>,
}

// 1 for each of four pixels from x on that is in the image.
fn gains_from(x: u32) -> vec4<f32> {
    let inside = vec4<u32>(x) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(conv.width);
    return select(vec4<f32>(), vec4<f32>(1.0), inside);
}

fn pixels_at(at: u32, gain: f32, columns: Columns) -> Pixels {
    return Pixels(
        gain * columns.left_gain * channels_at(at + columns.left),
        scaled_four(four_at(at + columns.a), gain * columns.a_gain),
        scaled_four(four_at(at + columns.b), gain * columns.b_gain),
        gain * columns.right_gain * channels_at(at + columns.right),
    );
}

// Adds a row of three taps.
fn with_taps(t: Tile, u: Weights, v: Weights, w: Weights, p: Pixels) -> Tile {
    let left_a = mat4x4<f32>(p.left, p.a[0], p.a[1], p.a[2]);
    let left_b = mat4x4<f32>(p.a[3], p.b[0], p.b[1], p.b[2]);
    let right_a = mat4x4<f32>(p.a[1], p.a[2], p.a[3], p.b[0]);
    let right_b = mat4x4<f32>(p.b[1], p.b[2], p.b[3], p.right);
    return Tile(
        t.low_a + (u.low * left_a + v.low * p.a + w.low * right_a),
        t.high_a + (u.high * left_a + v.high * p.a + w.high * right_a),
        t.low_b + (u.low * left_b + v.low * p.b + w.low * right_b),
        t.high_b + (u.high * left_b + v.high * p.b + w.high * right_b),
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
    let width = conv.width;
    let height = vec2<u32>(conv.height);
    let inputs = conv.input_channels;
    let columns = Columns(
        (max(place.x, 1u) - 1u) * inputs,
        columns_from(place.x),
        columns_from(place.x + 4u),
        min(place.x + PIXELS, width - 1u) * inputs,
        select(0.0, 1.0, place.x > 0u),
        gains_from(place.x),
        gains_from(place.x + 4u),
        select(0.0, 1.0, place.x + PIXELS < width),
    );
    var r0 = Tile();
    var r1 = Tile();
    for (var ky = 0u; ky < 3u; ky++) {
        // Above the image y wraps to a huge number.
        let y = vec2<u32>(place.y + ky - 1u) + vec2<u32>(0u, 1u);
        let gains = select(vec2<f32>(), vec2<f32>(1.0), y < height);
        let rows = select(vec2<u32>(), y, y < height) * (width * inputs);
        let first = (place.eighth * 9u + ky * 3u) * inputs;
        for (var c = 0u; c < inputs; c++) {
            let gain = gain_of(c);
            let u = weights_of(weights[first + c], gain);
            let v = weights_of(weights[first + inputs + c], gain);
            let w = weights_of(weights[first + 2u * inputs + c], gain);
            r0 = with_taps(r0, u, v, w, pixels_at(rows.x + c, gains.x, columns));
            r1 = with_taps(r1, u, v, w, pixels_at(rows.y + c, gains.y, columns));
        }
    }
    finish(place, r0, r1);
}
