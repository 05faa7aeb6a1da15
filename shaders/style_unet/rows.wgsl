#define_import_path gpavatar::rows

// Rows of matrices, whose products several threads share.

// 8, 16, 32 or 64.
override ROW_THREADS: u32 = 8u;

const THREADS = 64u;

// First row of a workgroup.
fn first_row(group: vec3<u32>) -> u32 {
    return group.x * (THREADS / ROW_THREADS);
}
