#define_import_path gpavatar::sums

// Sums over the threads of a workgroup.

const THREADS = 64u;

var<workgroup> sums: array<vec4<f32>, 2u * THREADS>; // [low, high][thread]

// The sum of all threads' `low` for thread 0, that of their `high` for thread 1.
fn sum_of(low: vec4<f32>, high: vec4<f32>, thread: u32) -> vec4<f32> {
    sums[thread] = low;
    sums[THREADS + thread] = high;
    workgroupBarrier();
    var total = vec4<f32>();
    if thread < 2u {
        for (var i = 0u; i < THREADS; i++) {
            total += sums[thread * THREADS + i];
        }
    }
    return total;
}
