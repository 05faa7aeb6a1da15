// Queries of the multi tri-planes attention, from the learned query planes. They depend on no
// input: this runs once per model.
//
// One thread per texel and plane.
// Error: three layers of sums of `channels` products, each 2 ulp of the absolute products; gelu to 2e-7
// of its argument.

#import gpavatar::grid::{GROUP_SIZE, Thread, thread_index}
#import gpavatar::projection::{Texel, project}

struct Query {
    // Texels times planes.
    count: u32,
    // Channels of a plane divided by four.
    channels: u32,
}

@group(0) @binding(1) var<uniform> size: Query;
@group(0) @binding(2) var<storage, read> input: array<vec4<f32>>; // [texel][plane][c]
@group(0) @binding(3) var<storage, read_write> output: array<vec4<f32>>; // [texel][plane][c]

@compute @workgroup_size(GROUP_SIZE)
fn main(thread: Thread) {
    let index = thread_index(thread);
    if index >= size.count {
        return;
    }
    var x: Texel;
    for (var c = 0u; c < size.channels; c++) {
        x.c[c] = input[index * size.channels + c];
    }
    let y = project(x, size.channels);
    for (var c = 0u; c < size.channels; c++) {
        output[index * size.channels + c] = y.c[c];
    }
}
