// Sums of the reciprocal squared distances over all samples of a pass, per rank of the neighbour.
//
// One workgroup; its threads stride over the partial sums of the search.
// Error: an ulp per addition, all terms being positive: some 50 in turn for a million samples.

#import gpavatar::sums::{THREADS, sum_of}

const LOADS = 4u;

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
    // Several loads at a time.
    for (var first = thread; first < size.count; first += LOADS * THREADS) {
        for (var i = 0u; i < LOADS; i++) {
            let partial = first + i * THREADS;
            if partial < size.count {
                near_sums += partials[partial * 2u];
                far_sums += partials[partial * 2u + 1u];
            }
        }
    }
    let total = sum_of(near_sums, far_sums, thread);
    if thread < 2u {
        output[thread] = total;
    }
}
