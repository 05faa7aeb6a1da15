// Cooperative matrices for devices that have none. SIDE, `staged` and `sums` are the kernel's;
// SUBGROUP is the number of threads that share a matrix.

var<private> lane: u32;

// What is multiplied stays where it is staged.
struct Reference {
    at: u32,
    stride: u32,
}

// Elements `lane`, `lane` + SUBGROUP, ... of a sum [row][column].
struct Share {
    numbers: array<f32, 32>,
}

fn load_staged(at: u32, stride: u32) -> Reference {
    return Reference(at, stride);
}

fn load_sums(at: u32, stride: u32) -> Share {
    var share: Share;
    for (var i = lane; i < SIDE * SIDE; i += SUBGROUP) {
        share.numbers[i / SUBGROUP] = sums[at + i / SIDE * stride + i % SIDE];
    }
    return share;
}

fn store_sums(matrix: Share, at: u32, stride: u32) {
    var share = matrix;
    for (var i = lane; i < SIDE * SIDE; i += SUBGROUP) {
        sums[at + i / SIDE * stride + i % SIDE] = share.numbers[i / SUBGROUP];
    }
}

fn multiply_add(a: Reference, b: Reference, c: Share) -> Share {
    var share = c;
    for (var i = lane; i < SIDE * SIDE; i += SUBGROUP) {
        var sum = share.numbers[i / SUBGROUP];
        for (var k = 0u; k < SIDE; k++) {
            let left = staged[a.at + i / SIDE * a.stride + k];
            let right = staged[b.at + k * b.stride + i % SIDE];
            sum = fma(f32(left), f32(right), sum);
        }
        share.numbers[i / SUBGROUP] = sum;
    }
    return share;
}
