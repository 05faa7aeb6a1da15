// Sum of two feature maps of one shape. One thread per four elements.

#import gpavatar::grid::thread_index
#import gpavatar::stored::{Stored, packed, unpacked}

struct Add {
    // Elements divided by four.
    count: u32,
}

@group(0) @binding(0) var<uniform> size: Add;
@group(0) @binding(1) var<storage, read> left: array<Stored>; // [count]
@group(0) @binding(2) var<storage, read> right: array<Stored>; // [count]
@group(0) @binding(3) var<storage, read_write> output: array<Stored>; // [count]

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = thread_index(group, groups, local);
    if i < size.count {
        output[i] = packed(unpacked(left[i]) + unpacked(right[i]));
    }
}
