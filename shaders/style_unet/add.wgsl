// Sum of two feature maps of one shape. One thread per four elements.

struct Add {
    // Elements divided by four.
    count: u32,
}

@group(0) @binding(0) var<uniform> size: Add;
@group(0) @binding(1) var<storage, read> left: array<vec4<f32>>; // [count]
@group(0) @binding(2) var<storage, read> right: array<vec4<f32>>; // [count]
@group(0) @binding(3) var<storage, read_write> output: array<vec4<f32>>; // [count]

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + thread;
    if i < size.count {
        output[i] = left[i] + right[i];
    }
}
