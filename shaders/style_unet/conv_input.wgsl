#define_import_path gpavatar::conv_input

// The map that a convolution reads: as it is stored, or upsampled 2x by bilinear interpolation.

#import gpavatar::bilinear::{corners, between}
#import gpavatar::conv_epilogue::{conv, input, modulation}
#import gpavatar::stored::unpacked

// 1 scales the input channels by the layer's modulation.
override MODULATED: u32 = 0u;
// 1 reads the 2x-upsampled map.
override UPSAMPLED: u32 = 0u;

// Channels 4c..4c+4 of a pixel; zero outside of the image. Left of and above it coordinates wrap to
// huge numbers.
fn pixel(x: u32, y: u32, c: u32) -> vec4<f32> {
    if x >= conv.width || y >= conv.height {
        return vec4<f32>();
    }
    if UPSAMPLED == 0u {
        return source(y * conv.width + x, c);
    }
    let at = corners(x, y, vec2<f32>(0.5), conv.width / 2u, conv.height / 2u);
    return between(
        source(at.pixel.x, c), source(at.pixel.y, c), source(at.pixel.z, c), source(at.pixel.w, c),
        at.fraction,
    );
}

// Channels 4c..4c+4 of a pixel of the map as it is stored.
fn source(at: u32, c: u32) -> vec4<f32> {
    return unpacked(input[at * conv.input_channels + c]);
}

// A pixel's channels 4c..4c+4 as the layer's modulation scales them.
fn modulated(value: vec4<f32>, c: u32) -> vec4<f32> {
    if MODULATED == 1u {
        return value * modulation[conv.modulation_offset + c];
    }
    return value;
}
