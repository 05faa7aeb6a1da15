#define_import_path gpavatar::track_layer

// What the layers of the tracker's networks share: parameters, bindings, and what finishes a sum before
// it is stored. Maps are [y][x][c], four channels in a vec4; channels that are not there are 0.

struct TrackLayer {
    // Width and height.
    input_size: vec2<u32>,
    output_size: vec2<u32>,
    // Columns and rows of zeros in front.
    pad: vec2<u32>,
    // Channels divided by four, as stored.
    input_channels: u32,
    output_channels: u32,
    // Behind these the skipped map is 0.
    skip_channels: u32,
}

// Four output channels.
struct Channels {
    bias: vec4<f32>,
    // What negative results are multiplied by: 1 without an activation, 0 for ReLU.
    slope: vec4<f32>,
}

// Activations besides the slope.
const HARD_SWISH = 1u;
const LOGISTIC = 2u;
// One of these, or 0.
override ACTIVATION: u32 = 0u;

// A map that is added: of the output's size, or the largest of 2 x 2 pixels of one of twice that.
const SAME = 1u;
const POOLED = 2u;
// One of these, or 0.
override SKIP: u32 = 0u;

@group(0) @binding(0) var<uniform> layer: TrackLayer;
@group(0) @binding(1) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> channels: array<Channels>;
@group(0) @binding(4) var<storage, read> skip: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> output: array<vec4<f32>>;

fn skipped(pixel: u32, channel: u32) -> vec4<f32> {
    let stride = layer.skip_channels;
    if SKIP == 0u || channel >= stride {
        return vec4<f32>();
    }
    if SKIP == SAME {
        return skip[pixel * stride + channel];
    }
    let width = layer.output_size.x;
    let row = 2u * width * stride;
    let at = pixel / width * 2u * row + pixel % width * 2u * stride + channel;
    return max(max(skip[at], skip[at + stride]), max(skip[at + row], skip[at + row + stride]));
}

// Finishes and stores four channels of a pixel. Outside of the map nothing happens.
fn finish(pixel: u32, channel: u32, sum: vec4<f32>) {
    if channel < layer.output_channels {
        finish_with(channels[channel], pixel, channel, sum);
    }
}

// The same with what finishes these channels, which are in the map.
fn finish_with(by: Channels, pixel: u32, channel: u32, sum: vec4<f32>) {
    if pixel >= layer.output_size.x * layer.output_size.y {
        return;
    }
    let x = sum + by.bias + skipped(pixel, channel);
    var y = select(by.slope * x, x, x >= vec4<f32>());
    if ACTIVATION == HARD_SWISH {
        y = x * clamp(x + 3.0, vec4<f32>(), vec4<f32>(6.0)) / 6.0;
    } else if ACTIVATION == LOGISTIC {
        // Infinite exponentials end at 0.
        y = 1.0 / (1.0 + exp(-x));
    }
    output[pixel * layer.output_channels + channel] = y;
}
