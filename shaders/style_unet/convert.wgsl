// Converts a map from `f32` to its stored format, or back, at the ends of a network.
//
// One thread per four elements.
// Error: none in 32 bits; in 16, 2^-11 of a number, and numbers stop at 65504.

#import gpavatar::grid::{GROUP_SIZE, Thread, thread_index}
#import gpavatar::stored::{Stored, packed, unpacked}

struct Convert {
    // Elements divided by four.
    count: u32,
}

// 1 stores the `f32` numbers, 0 restores them.
override STORE: u32 = 1u;

@group(0) @binding(0) var<uniform> size: Convert;
@group(0) @binding(1) var<storage, read_write> full: array<vec4<f32>>; // [count]
@group(0) @binding(2) var<storage, read_write> stored: array<Stored>; // [count]

@compute @workgroup_size(GROUP_SIZE)
fn main(thread: Thread) {
    let i = thread_index(thread);
    if i >= size.count {
        return;
    }
    if STORE == 1u {
        stored[i] = packed(full[i]);
    } else {
        full[i] = unpacked(stored[i]);
    }
}
