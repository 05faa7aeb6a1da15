// Point by point: a map, perhaps times one number for each channel, plus the skipped map.
//
// One thread for four channels of a pixel.

#import gpavatar::grid::{GROUP_SIZE, Thread, thread_index}
#import gpavatar::track_layer::{layer, input, finish}

// Whether there is a map besides the skipped one, and whether it has gates.
override MAP: u32 = 1u;
override GATED: u32 = 0u;

@group(0) @binding(2) var<storage, read> gates: array<vec4<f32>>; // [c]

@compute @workgroup_size(GROUP_SIZE)
fn main(thread: Thread) {
    let id = thread_index(thread);
    let channel = id % layer.output_channels;
    let pixel = id / layer.output_channels;
    if pixel >= layer.output_size.x * layer.output_size.y {
        return;
    }
    var value = vec4<f32>();
    if MAP != 0u {
        value = input[id];
    }
    if GATED != 0u {
        value *= gates[channel];
    }
    finish(pixel, channel, value);
}
