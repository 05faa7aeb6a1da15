#define_import_path gpavatar::conv_register_tile

// What the register-tiled convolutions share. A thread owns a tile of 8 x 2 pixels times 8 output
// channels: no workgroup memory, no barriers, and few loads for each product. They are for software
// adapters, which load number by number and compile each copy of inlined code.
//
// Workgroup x, continued along z: 8 of the image's tiles, row by row; y: 4 eighths of the output
// channels.

#import gpavatar::conv_epilogue::{MODULATE, conv, has, input, modulation, store}
#import gpavatar::conv_tile::Tile
#import gpavatar::network_weights::{StoredWeights, unpacked_weights}
#import gpavatar::stored::unpacked

// Width and height of a tile; tiles and eighths of the output channels of a workgroup.
const PIXELS = 8u;
const ROWS = 2u;
const TILES = 8u;
const EIGHTHS = 4u;

// Eight outputs of four input channels.
struct Block {
    v: array<StoredWeights, 8>, // [4 inputs][2]
}

@group(0) @binding(3) var<storage, read> weights: array<Block>; // [o/8][tap][c]

struct Place {
    x: u32,
    y: u32,
    eighth: u32,
}

fn place_of(group: vec3<u32>, groups: vec3<u32>, local: vec3<u32>) -> Place {
    let tile = (group.z * groups.x + group.x) * TILES + local.x;
    let tiles = (conv.width + PIXELS - 1u) / PIXELS;
    return Place(tile % tiles * PIXELS, tile / tiles * ROWS, group.y * EIGHTHS + local.y);
}

// Whether a tile is outside of the image or of the output channels.
fn is_outside(place: Place) -> bool {
    return place.y >= conv.height || place.eighth * 2u >= conv.output_channels;
}

// Where four pixels of a row begin in `input`, from x on; the last one of the image is repeated.
fn columns_from(x: u32) -> vec4<u32> {
    return min(vec4<u32>(x) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(conv.width - 1u)) * conv.input_channels;
}

// Four channels that begin there.
fn channels_at(at: u32) -> vec4<f32> {
    return unpacked(input[at]);
}

fn four_at(at: vec4<u32>) -> mat4x4<f32> {
    return mat4x4<f32>(channels_at(at.x), channels_at(at.y), channels_at(at.z), channels_at(at.w));
}

// Each column times its gain.
fn scaled_four(m: mat4x4<f32>, gain: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(m[0] * gain.x, m[1] * gain.y, m[2] * gain.z, m[3] * gain.w);
}

// Weights of four input channels for the low and the high four of eight outputs.
struct Weights {
    low: mat4x4<f32>,
    high: mat4x4<f32>,
}

// The weights of a block, times the input channels' gains.
fn weights_of(block: Block, gain: vec4<f32>) -> Weights {
    return Weights(
        scaled_four(
            mat4x4<f32>(
                unpacked_weights(block.v[0]), unpacked_weights(block.v[2]),
                unpacked_weights(block.v[4]), unpacked_weights(block.v[6]),
            ),
            gain,
        ),
        scaled_four(
            mat4x4<f32>(
                unpacked_weights(block.v[1]), unpacked_weights(block.v[3]),
                unpacked_weights(block.v[5]), unpacked_weights(block.v[7]),
            ),
            gain,
        ),
    );
}

// The layer's modulation of the input channels 4c..4c+4.
fn gain_of(c: u32) -> vec4<f32> {
    if has(MODULATE) {
        return modulation[conv.modulation_offset + c];
    }
    return vec4<f32>(1.0);
}

// Finishes a tile from its rows, by one copy of the epilogue.
fn finish(place: Place, r0: Tile, r1: Tile) {
    var sums = array<mat4x4<f32>, 8>(
        r0.low_a, r0.high_a, r0.low_b, r0.high_b, r1.low_a, r1.high_a, r1.low_b, r1.high_b,
    );
    for (var i = 0u; i < 32u; i++) {
        let x = place.x + i / 8u % 2u * 4u + i % 4u;
        store(x, place.y + i / 16u, place.eighth * 2u + i / 4u % 2u, sums[i / 4u][i % 4u]);
    }
}
