// Fills the second half of the noise buffer with standard normal numbers.
//
// One thread per element; the same seed gives the same numbers.
// Error: 2e-6.

#import gpavatar::globals::Globals
#import gpavatar::grid::{GROUP_SIZE, Thread, thread_index}
#import gpavatar::random::gaussian

struct Noise {
    // Elements of all maps together.
    count: u32,
}

@group(0) @binding(0) var<uniform> size: Noise;
@group(0) @binding(1) var<uniform> globals: Globals;
@group(0) @binding(2) var<storage, read_write> noise: array<f32>; // [stored|generated][count]

@compute @workgroup_size(GROUP_SIZE)
fn main(thread: Thread) {
    let i = thread_index(thread);
    if i < size.count {
        noise[size.count + i] = gaussian(i, globals.seed);
    }
}
