#define_import_path gpavatar::sums

// Sums over the threads of a workgroup.

const THREADS = 64u;
const RUN = 8u;

var<workgroup> sums: array<vec4<f32>, 2u * THREADS>; // [thread][low, high]
var<workgroup> of_runs: array<vec4<f32>, 2u * THREADS / RUN>; // [run][low, high]

// The sum of all threads' `low` for thread 0, that of their `high` for thread 1.
fn sum_of(low: vec4<f32>, high: vec4<f32>, thread: u32) -> vec4<f32> {
    sums[2u * thread] = low;
    sums[2u * thread + 1u] = high;
    workgroupBarrier();
    if thread < 2u * THREADS / RUN {
        // Threads begin at different places, which lie in different banks.
        let first = thread / 2u * 2u * RUN + thread % 2u;
        var run = vec4<f32>();
        for (var i = 0u; i < RUN; i++) {
            run += sums[first + 2u * ((i + thread / 2u) % RUN)];
        }
        of_runs[thread] = run;
    }
    workgroupBarrier();
    var total = vec4<f32>();
    if thread < 2u {
        for (var i = thread; i < 2u * THREADS / RUN; i += 2u) {
            total += of_runs[i];
        }
    }
    return total;
}
