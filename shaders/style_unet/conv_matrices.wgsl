#define_import_path gpavatar::conv_matrices

// The matrices of conv_cooperative, SIDE x SIDE, and the workgroup memory that they are loaded from.
//
// In the variant for tests, any device computes their products: SUBGROUP threads share a matrix,
// and each holds every SUBGROUPth number.

enable f16;

// Input channels that are staged at a time.
const CHUNK = 16u;
// Skews pixels and rows of weights, so that the rows of a matrix begin in different banks: by a
// multiple of the 16 bytes that matrices have to be aligned to.
const SKEW = 8u;
const PIXEL_STRIDE = CHUNK + SKEW;
// Sums of SIDE x SIDE that a workgroup finishes at a time.
const TASKS = 4u;

#ifdef MATRIX_16
const SIDE = 16u;
const STAGED = 9696u;
#else
const SIDE = 8u;
const STAGED = 5472u;
#endif

// The rectangle with its border [y][x][CHUNK], then weights [tap of a row][CHUNK][output channels]:
// with SIDE 16 at most 18 * 18 * 24 + 3 * 16 * 40 (one channel group), 18 * 10 * 24 + 3 * 16 * 72,
// 18 * 6 * 24 + 3 * 16 * 136; with SIDE 8 at most 10 * 18 * 24 + 3 * 16 * 24.
var<workgroup> staged: array<f16, STAGED>;
// A sum of each task [task][pixel][output channel].
var<workgroup> sums: array<f32, TASKS * SIDE * SIDE>;

#ifdef EMULATED_MATRICES
// Threads that share a matrix.
override SUBGROUP: u32 = 32u;

var<private> lane: u32;

// Factors stay where they are staged.
struct Factor {
    at: u32,
    stride: u32,
}

alias Pixels = Factor;
alias Weights = Factor;

// Numbers `lane`, `lane` + SUBGROUP, ... of a sum [row][column].
struct Sums {
    numbers: array<f32, 32>,
}

fn load_pixels(at: u32) -> Pixels {
    return Factor(at, PIXEL_STRIDE);
}

fn load_weights(at: u32, stride: u32) -> Weights {
    return Factor(at, stride);
}

fn load_sums(at: u32) -> Sums {
    var share: Sums;
    for (var i = lane; i < SIDE * SIDE; i += SUBGROUP) {
        share.numbers[i / SUBGROUP] = sums[at + i];
    }
    return share;
}

fn store_sums(at: u32, sum: Sums) {
    var share = sum;
    for (var i = lane; i < SIDE * SIDE; i += SUBGROUP) {
        sums[at + i] = share.numbers[i / SUBGROUP];
    }
}

fn multiply_add(a: Pixels, b: Weights, c: Sums) -> Sums {
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
#else
enable wgpu_cooperative_matrix;

#ifdef MATRIX_16
alias Pixels = coop_mat16x16<f16, A>;
alias Weights = coop_mat16x16<f16, B>;
alias Sums = coop_mat16x16<f32, C>;
#else
alias Pixels = coop_mat8x8<f16, A>;
alias Weights = coop_mat8x8<f16, B>;
alias Sums = coop_mat8x8<f32, C>;
#endif

fn load_pixels(at: u32) -> Pixels {
    return coopLoadT<Pixels>(&staged[at], PIXEL_STRIDE);
}

fn load_weights(at: u32, stride: u32) -> Weights {
    return coopLoadT<Weights>(&staged[at], stride);
}

fn load_sums(at: u32) -> Sums {
    return coopLoadT<Sums>(&sums[at], SIDE);
}

fn store_sums(at: u32, sum: Sums) {
    coopStoreT(sum, &sums[at], SIDE);
}

fn multiply_add(a: Pixels, b: Weights, c: Sums) -> Sums {
    return coopMultiplyAdd(a, b, c);
}
#endif
