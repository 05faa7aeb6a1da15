#define_import_path gpavatar::radiance_matrices

// The matrices of radiance_cooperative, SIDE x SIDE, and the memory that they are loaded from.
//
// In the variant for tests, any device computes their products: SUBGROUP threads share a matrix,
// and each holds every SUBGROUPth number. Sums are known by their places, so that loops run over
// them: drivers on the CPU take minutes to compile a product for each.

enable f16;

// A task is what a subgroup computes at a time: outputs of two matrices of samples.
#ifdef MATRIX_16
const SIDE = 16u;
#ifdef EMULATED_MATRICES
// Tests run with 32 KiB of workgroup memory.
const TASKS = 2u;
#else
const TASKS = 4u;
#endif
#else
const SIDE = 8u;
const TASKS = 2u;
#endif
const TASK_SAMPLES = 2u * SIDE;
const SAMPLES = TASKS * TASK_SAMPLES;
// Halves from one sample to the next: skewed, so that the rows of a matrix begin in different banks,
// by a multiple of the 16 bytes that matrices have to be aligned to.
const STRIDE = 128u + 8u;
const ROWS = SAMPLES * STRIDE;
// From one sample to the next in `sums`: the numbers after SIDE belong to the samples.
const SUM_STRIDE = SIDE + 4u;

#ifdef MATRIX_16
// A task sums all outputs of a layer, at most 128, before it overwrites the inputs.
const ACTIVATIONS = ROWS;
const HIDDEN = 0u;
#else
// More than 64 outputs of a layer do not fit into a task's sums. The first ones are kept beside the
// inputs; only hidden features have that many.
const ACTIVATIONS = 2u * ROWS;
const HIDDEN = ROWS;
#endif

// One variable, so that both arrays are aligned as matrices have to be.
struct Memory {
    // Channels of the samples [sample][c]; those between the hidden feature layers begin at HIDDEN.
    activations: array<f16, ACTIVATIONS>,
    // Two sums of each task, below each other [task][sample][output].
    sums: array<f32, SAMPLES * SUM_STRIDE>,
    // Two, four or all of a task's sums along the outputs: those beyond a layer's last are dropped.
    // Atomic, as what follows: no other accesses are ordered by barriers in the memory model of
    // programs with matrices. All else in this memory stays within a task, whose threads run together.
    used_sums: atomic<u32>,
    holding: atomic<u32>,
}

var<workgroup> memory: Memory;

// The weights of `radiance_inputs`, number by number. A matrix is [inputs / SIDE][outputs / SIDE]
// matrices [output][input].
@group(0) @binding(10) var<storage, read> matrices: array<f16>;

#ifdef EMULATED_MATRICES
// Threads that share a matrix.
override SUBGROUP: u32 = 32u;

var<private> subgroup_lane: u32;

// Factors stay where they are.
struct Inputs {
    at: u32,
}

struct Weights {
    at: u32,
}

struct Sums {
    place: u32,
}

// Numbers `subgroup_lane`, `subgroup_lane` + SUBGROUP, ... of 18 sums [place][row][column], for
// subgroups of at least 16 threads.
var<private> numbers: array<f32, 288>;

fn load_inputs(at: u32) -> Inputs {
    return Inputs(at);
}

fn load_weights(at: u32) -> Weights {
    return Weights(at);
}

fn cleared_sums(place: u32) -> Sums {
    for (var i = 0u; i < 16u; i++) {
        numbers[place * 16u + i] = 0.0;
    }
    return Sums(place);
}

fn store_sums(at: u32, sum: Sums) {
    for (var i = subgroup_lane; i < SIDE * SIDE; i += SUBGROUP) {
        memory.sums[at + i / SIDE * SUM_STRIDE + i % SIDE] = numbers[sum.place * 16u + i / SUBGROUP];
    }
}

fn multiply_add(a: Inputs, b: Weights, c: Sums) -> Sums {
    for (var i = subgroup_lane; i < SIDE * SIDE; i += SUBGROUP) {
        var sum = numbers[c.place * 16u + i / SUBGROUP];
        for (var k = 0u; k < SIDE; k++) {
            let left = memory.activations[a.at + i / SIDE * STRIDE + k];
            let right = matrices[b.at + i % SIDE * SIDE + k];
            sum = fma(f32(left), f32(right), sum);
        }
        numbers[c.place * 16u + i / SUBGROUP] = sum;
    }
    return c;
}
#else
enable wgpu_cooperative_matrix;

// Samples times inputs, inputs times outputs, samples times outputs.
#ifdef MATRIX_16
alias Inputs = coop_mat16x16<f16, A>;
alias Weights = coop_mat16x16<f16, B>;
alias Sums = coop_mat16x16<f32, C>;
#else
alias Inputs = coop_mat8x8<f16, A>;
alias Weights = coop_mat8x8<f16, B>;
alias Sums = coop_mat8x8<f32, C>;
#endif

fn load_inputs(at: u32) -> Inputs {
    return coopLoadT<Inputs>(&memory.activations[at], STRIDE);
}

fn load_weights(at: u32) -> Weights {
    return coopLoad<Weights>(&matrices[at], SIDE);
}

fn load_sums(at: u32) -> Sums {
    return coopLoadT<Sums>(&memory.sums[at], SUM_STRIDE);
}

fn store_sums(at: u32, sum: Sums) {
    coopStoreT(sum, &memory.sums[at], SUM_STRIDE);
}

fn multiply_add(a: Inputs, b: Weights, c: Sums) -> Sums {
    return coopMultiplyAdd(a, b, c);
}
#endif
