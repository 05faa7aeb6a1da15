#define_import_path gpavatar::projection

// The network in front of the attention, for queries and keys alike: layer normalisation over the
// channels, then three linear layers of the same width with GELU in between.

#import gpavatar::activation::gelu
#import gpavatar::tile::mac

// Channels of a plane texel in vec4s, at most 16.
struct Texel {
    c: array<vec4<f32>, 16>,
}

// Normalisation weight and bias [c]; then per layer the matrix [inputs][outputs][4 inputs], each
// vec4 four outputs, and its bias [o].
@group(0) @binding(0) var<storage, read> projection: array<vec4<f32>>;

fn project(input: Texel, channels: u32) -> Texel {
    var x = normalise(input, channels);
    for (var layer = 0u; layer < 3u; layer++) {
        let first = 2u * channels + layer * (4u * channels + 1u) * channels;
        x = linear(x, channels, first);
        if layer < 2u {
            for (var c = 0u; c < channels; c++) {
                x.c[c] = gelu(x.c[c]);
            }
        }
    }
    return x;
}

fn normalise(input: Texel, channels: u32) -> Texel {
    var x = input;
    let scale = 1.0 / f32(channels * 4u);
    var mean = 0.0;
    for (var c = 0u; c < channels; c++) {
        mean += dot(x.c[c], vec4<f32>(scale));
    }
    var variance = 0.0;
    for (var c = 0u; c < channels; c++) {
        x.c[c] -= mean;
        variance += dot(x.c[c], x.c[c]) * scale;
    }
    let deviation = inverseSqrt(variance + 1e-5);
    for (var c = 0u; c < channels; c++) {
        x.c[c] = x.c[c] * deviation * projection[c] + projection[channels + c];
    }
    return x;
}

fn linear(x: Texel, channels: u32, first: u32) -> Texel {
    var y: Texel;
    for (var o = 0u; o < channels; o++) {
        var sum = projection[first + 4u * channels * channels + o];
        for (var c = 0u; c < channels; c++) {
            let at = first + (c * channels + o) * 4u;
            let block = mat4x4<f32>(
                projection[at], projection[at + 1u], projection[at + 2u], projection[at + 3u]
            );
            sum = mac(sum, block, x.c[c]);
        }
        y.c[o] = sum;
    }
    return y;
}
