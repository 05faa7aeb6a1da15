#define_import_path gpavatar::rows

// Rows of matrices, whose products several threads share.

// 8, 16, 32 or 64.
override ROW_THREADS: u32 = 8u;

const THREADS = 64u;

// First row of a workgroup.
fn first_row(group: vec3<u32>) -> u32 {
    return group.x * (THREADS / ROW_THREADS);
}

var<workgroup> partials: array<vec2<f32>, THREADS>;

// The sum over the threads of a row, for the first of them.
fn sum_of_row(value: vec2<f32>, thread: u32) -> vec2<f32> {
    let member = thread % ROW_THREADS;
    partials[thread] = value;
    workgroupBarrier();
    // Every eighth sum, then all.
    var total = vec2<f32>();
    if member < 8u {
        for (var i = 0u; i < ROW_THREADS; i += 8u) {
            total += partials[thread + i];
        }
    }
    workgroupBarrier();
    partials[thread] = total;
    workgroupBarrier();
    total = vec2<f32>();
    if member == 0u {
        for (var i = 0u; i < 8u; i++) {
            total += partials[thread + i];
        }
    }
    return total;
}
