// Depthwise convolution: each channel by itself.
//
// One thread for four channels of a pixel.
// Error: that of a sum of f32 in order.

#import gpavatar::grid::{GROUP_SIZE, Thread, thread_index}
#import gpavatar::track_layer::{layer, input, finish}
#import gpavatar::track_taps::{SIDE, first_tap, place_of}

@group(0) @binding(2) var<storage, read> weights: array<vec4<f32>>; // [tap][c]

@compute @workgroup_size(GROUP_SIZE)
fn main(thread: Thread) {
    let id = thread_index(thread);
    let channels = layer.input_channels;
    let pixel = id / channels;
    let channel = id % channels;
    if pixel >= layer.output_size.x * layer.output_size.y {
        return;
    }
    let corner = first_tap(pixel);
    var sum = vec4<f32>();
    for (var tap = 0u; tap < SIDE * SIDE; tap++) {
        let place = place_of(corner + vec2<u32>(tap % SIDE, tap / SIDE));
        sum += weights[tap * channels + channel] * (place.gain * input[place.pixel * channels + channel]);
    }
    finish(pixel, channel, sum);
}
