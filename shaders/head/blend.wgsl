// Linear combination of blend shapes: output = base + Σ_b coefficients[b] basis[b].
//
// One thread per vertex.
// Error: an ulp of the largest term per shape.

#import gpavatar::grid::{GROUP_SIZE, Thread, thread_index}

struct Blend {
    vertices: u32,
    // Blend shapes.
    shapes: u32,
}

@group(0) @binding(0) var<uniform> size: Blend;
@group(0) @binding(1) var<storage, read> base: array<vec4<f32>>; // [vertex], w unused
@group(0) @binding(2) var<storage, read> basis: array<vec4<f32>>; // [shape][vertex], w unused
@group(0) @binding(3) var<storage, read> coefficients: array<f32>; // [shape]
@group(0) @binding(4) var<storage, read_write> output: array<vec4<f32>>; // [vertex], w = 0

@compute @workgroup_size(GROUP_SIZE)
fn main(thread: Thread) {
    let vertex = thread_index(thread);
    if vertex >= size.vertices {
        return;
    }
    var position = base[vertex];
    for (var shape = 0u; shape < size.shapes; shape++) {
        position += coefficients[shape] * basis[shape * size.vertices + vertex];
    }
    output[vertex] = position;
}
