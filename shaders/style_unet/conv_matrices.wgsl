#define_import_path gpavatar::conv_matrices

// The matrices of conv_cooperative, SIDE x SIDE, and the workgroup memory that they are loaded from.
//
// In the variant for tests, any device computes their products: SUBGROUP threads share a matrix,
// and each holds every SUBGROUPth number.

enable f16;

// 3 or 1.
override KERNEL_SIZE: u32 = 3u;
// Input channels that are staged at a time: 16, or 32 if tasks have fewer than four lines.
override CHUNK: u32 = 16u;

// Skews pixels, so that the rows of a matrix begin in different banks: by a multiple of the 16 bytes
// that matrices have to be aligned to.
const SKEW = 8u;
const TASKS = 4u;
// Sums of each task that a workgroup finishes at a time.
const FINISHED = 2u;

#ifdef MATRIX_16
const SIDE = 16u;
const STAGED = 7776u;
#else
const SIDE = 8u;
const STAGED = 4320u;
#endif

// Halves, in units of their output's quantisation scale, in matrices of input x output channels:
// [o / SIDE][tap][c / SIDE][SIDE][SIDE].
@group(0) @binding(3) var<storage, read> weights: array<f16>;

// The rectangle with its border [y][x][CHUNK], with SIDE 16 at most 18 * 18 * 24 or 10 * 18 * 40, with
// SIDE 8 at most 18 * 10 * 24 or 10 * 10 * 40.
var<workgroup> staged: array<f16, STAGED>;
// FINISHED sums of each task [task][pixel][output channel].
var<workgroup> sums: array<f32, TASKS * SIDE * SIDE * FINISHED>;

// From one staged pixel to the next.
fn pixel_stride() -> u32 {
    return CHUNK + SKEW;
}

#ifdef EMULATED_MATRICES
// Threads that share a matrix.
override SUBGROUP: u32 = 32u;

var<private> lane: u32;

// Factors stay where they are.
alias Pixels = u32;
alias Weights = u32;

// Numbers `lane`, `lane` + SUBGROUP, ... of a sum [row][column].
struct Sums {
    numbers: array<f32, 32>,
}

fn load_pixels(at: u32) -> Pixels {
    return at;
}

fn load_weights(at: u32) -> Weights {
    return at;
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
        sums[at + i / SIDE * FINISHED * SIDE + i % SIDE] = share.numbers[i / SUBGROUP];
    }
}

fn multiply_add(a: Pixels, b: Weights, c: Sums) -> Sums {
    var share = c;
    for (var i = lane; i < SIDE * SIDE; i += SUBGROUP) {
        var sum = share.numbers[i / SUBGROUP];
        for (var k = 0u; k < SIDE; k++) {
            let left = staged[a + i / SIDE * pixel_stride() + k];
            let right = weights[b + k * SIDE + i % SIDE];
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
    return coopLoadT<Pixels>(&staged[at], pixel_stride());
}

fn load_weights(at: u32) -> Weights {
    return coopLoadT<Weights>(&weights[at], SIDE);
}

fn load_sums(at: u32) -> Sums {
    return coopLoadT<Sums>(&sums[at], SIDE);
}

fn store_sums(at: u32, sum: Sums) {
    coopStoreT(sum, &sums[at], FINISHED * SIDE);
}

fn multiply_add(a: Pixels, b: Weights, c: Sums) -> Sums {
    return coopMultiplyAdd(a, b, c);
}
#endif
