#define_import_path gpavatar::conv_input

// The map that a convolution reads, or its double, as bilinear interpolation gives it.

#import gpavatar::bilinear::taps
#import gpavatar::conv_epilogue::{conv, input}
#import gpavatar::stored::unpacked

// Channels 4c..4c+4 of a pixel; zero outside of the image. Left of and above it coordinates wrap to
// huge numbers.
fn pixel(x: u32, y: u32, c: u32, upsampled: bool) -> vec4<f32> {
    if x >= conv.width || y >= conv.height {
        return vec4<f32>();
    }
    if !upsampled {
        return source(y * conv.width + x, c);
    }
    let width = conv.width / 2u;
    let tx = taps(x, 0.5, width);
    let ty = taps(y, 0.5, conv.height / 2u);
    let top = ty.low * width;
    let bottom = ty.high * width;
    return mix(
        mix(source(top + tx.low, c), source(top + tx.high, c), tx.fraction),
        mix(source(bottom + tx.low, c), source(bottom + tx.high, c), tx.fraction),
        ty.fraction,
    );
}

// Channels 4c..4c+4 of a pixel of the map as it is.
fn source(at: u32, c: u32) -> vec4<f32> {
    return unpacked(input[at * conv.input_channels + c]);
}
