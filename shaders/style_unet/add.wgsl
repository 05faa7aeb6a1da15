// Sum of two feature maps of one shape. One thread per four elements.
// Error: 1 ulp.

#import gpavatar::grid::{GROUP_SIZE, Thread, thread_index}
#import gpavatar::stored::{Stored, packed, unpacked}

struct Add {
    // Elements divided by four.
    count: u32,
}

@group(0) @binding(0) var<uniform> size: Add;
@group(0) @binding(1) var<storage, read> left: array<Stored>; // [count]
@group(0) @binding(2) var<storage, read> right: array<Stored>; // [count]
@group(0) @binding(3) var<storage, read_write> output: array<Stored>; // [count]

@compute @workgroup_size(GROUP_SIZE)
fn main(thread: Thread) {
    let i = thread_index(thread);
    if i < size.count {
        output[i] = packed(unpacked(left[i]) + unpacked(right[i]));
    }
}
