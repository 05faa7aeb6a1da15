// Sums of the reciprocal squared distances over all samples of a pass, per rank of the neighbour.
//
// One workgroup; its threads stride over the partial sums of the search.

#import gpavatar::sums::{THREADS, sum_of}

struct WeightSums {
    count: u32,
}

@group(0) @binding(0) var<uniform> size: WeightSums;
@group(0) @binding(1) var<storage, read> partials: array<vec4<f32>>; // [count][2]
@group(0) @binding(2) var<storage, read_write> output: array<vec4<f32>>; // [2]

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) thread: u32) {
    var near_sums = vec4<f32>();
    var far_sums = vec4<f32>();
    for (var i = thread; i < size.count; i += THREADS) {
        near_sums += partials[i * 2u];
        far_sums += partials[i * 2u + 1u];
    }
    let total = sum_of(near_sums, far_sums, thread);
    if thread < 2u {
        output[thread] = total;
    }
}
