// Twice the width and height, bilinear.
//
// One thread for four channels of a pixel.

#import gpavatar::bilinear::{corners, between}
#import gpavatar::grid::{GROUP_SIZE, Thread, thread_index}
#import gpavatar::track_layer::{layer, input, finish}

@compute @workgroup_size(GROUP_SIZE)
fn main(thread: Thread) {
    let id = thread_index(thread);
    let stride = layer.output_channels;
    let pixel = id / stride;
    let channel = id % stride;
    let width = layer.output_size.x;
    if pixel >= width * layer.output_size.y {
        return;
    }
    let size = layer.input_size;
    let at = corners(pixel % width, pixel / width, vec2<f32>(0.5), size.x, size.y);
    let p = at.pixel * stride + channel;
    finish(pixel, channel, between(input[p.x], input[p.y], input[p.z], input[p.w], at.fraction));
}
