// Linear blend skinning of an identity's template under expression and pose (SMPL, FLAME):
// v = Σ_j w_j G_j (template + Σ_e c_e expression[e] + Σ_p f_p correctives[p]), scale within G.
//
// One thread per vertex.
// Error: an ulp of the largest term per shape and joint.

#import gpavatar::grid::{GROUP_SIZE, Thread, thread_index}

struct Skin {
    vertices: u32,
    // Expression blend shapes and pose correctives, in this order in `basis` and `coefficients`.
    shapes: u32,
    joints: u32,
    // First float of the joint matrices in `coefficients`.
    matrices: u32,
}

@group(0) @binding(0) var<uniform> size: Skin;
@group(0) @binding(1) var<storage, read> basis: array<vec4<f32>>; // [shape][vertex], w unused
@group(0) @binding(2) var<storage, read> skinning: array<f32>; // [joint][vertex]
@group(0) @binding(3) var<storage, read> coefficients: array<f32>; // [shape], then [joint][3][4]
@group(0) @binding(4) var<storage, read_write> points: array<vec4<f32>>; // [vertex], w = 0
@group(1) @binding(0) var<storage, read> identity: array<vec4<f32>>; // [vertex], w unused

// Largest coordinate of a point, that of given points as well.
const FARTHEST: f32 = 1e6;

@compute @workgroup_size(GROUP_SIZE)
fn main(thread: Thread) {
    let vertex = thread_index(thread);
    if vertex >= size.vertices {
        return;
    }
    var position = identity[vertex].xyz;
    for (var shape = 0u; shape < size.shapes; shape++) {
        position += coefficients[shape] * basis[shape * size.vertices + vertex].xyz;
    }
    let homogeneous = vec4<f32>(position, 1.0);
    var posed = vec3<f32>();
    for (var joint = 0u; joint < size.joints; joint++) {
        let m = size.matrices + joint * 12u;
        let moved = vec3<f32>(
            dot(row(m), homogeneous), dot(row(m + 4u), homogeneous), dot(row(m + 8u), homogeneous)
        );
        posed += skinning[joint * size.vertices + vertex] * moved;
    }
    // Coefficients may be any numbers: overflows, NaN included, go where no ray looks.
    let bounded = select(vec3<f32>(FARTHEST), posed, all(abs(posed) <= vec3<f32>(FARTHEST)));
    points[vertex] = vec4<f32>(bounded, 0.0);
}

fn row(at: u32) -> vec4<f32> {
    return vec4<f32>(
        coefficients[at], coefficients[at + 1u], coefficients[at + 2u], coefficients[at + 3u]
    );
}
