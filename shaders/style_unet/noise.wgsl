// Fills the second half of the noise buffer with standard normal numbers.
//
// One thread per element; the same seed gives the same numbers.

#import gpavatar::frame::Frame
#import gpavatar::grid::thread_index
#import gpavatar::random::gaussian

struct Noise {
    // Elements of all maps together.
    count: u32,
}

@group(0) @binding(0) var<uniform> size: Noise;
@group(0) @binding(1) var<uniform> frame: Frame;
@group(0) @binding(2) var<storage, read_write> noise: array<f32>; // [stored|generated][count]

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = thread_index(group, groups, local);
    if i < size.count {
        noise[size.count + i] = gaussian(i, frame.seed);
    }
}
