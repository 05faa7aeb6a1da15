// Convolution, 3x3 with zero padding 1 or 1x1, as an implicit GEMM in workgroup memory.
//
// A workgroup owns a rectangle of pixels times 8 CHANNEL_GROUPS output channels; each thread 8 pixels
// of a row times 8 output channels, in registers. Four input channels at a time, the rectangle with its
// border and all taps' weights are staged and used 9 times 64 times; with one tap, CHUNK times as many.
// Workgroup x, y: rectangles; z: groups of output channels.
// With ARITHMETIC_F16, values are staged and summed in 16 bits; sums over all chunks have 32.

#import gpavatar::conv_epilogue::conv
#import gpavatar::conv_input::{pixel, modulated}
#import gpavatar::conv_tile::{Tile, store_tile}
#import gpavatar::conv_weights::{KERNEL_SIZE, weight}
#ifdef ARITHMETIC_F16
enable f16;

#import gpavatar::conv_input::MODULATED
#import gpavatar::halves::in_range

alias Four = vec4<f16>;
alias Block = mat4x4<f16>;

// Weights are in units of their output channel's largest. They are scaled down when staged, so that
// sums of 36 products stay within 65,504 for inputs as large as 58,000.
const SCALE = 1.0 / 32.0;

// The counterpart of Tile in 16 bits.
struct Sums {
    low_a: Block,
    high_a: Block,
    low_b: Block,
    high_b: Block,
}

fn mac_f16(acc: Four, w: Block, x: Four) -> Four {
    return fma(w[3], x.wwww, fma(w[2], x.zzzz, fma(w[1], x.yyyy, fma(w[0], x.xxxx, acc))));
}

fn mac_four_f16(acc: Block, w: Block, x: Block) -> Block {
    return Block(
        mac_f16(acc[0], w, x[0]), mac_f16(acc[1], w, x[1]),
        mac_f16(acc[2], w, x[2]), mac_f16(acc[3], w, x[3]),
    );
}

fn summed(s: Sums, low: Block, high: Block, a: Block, b: Block) -> Sums {
    return Sums(
        mac_four_f16(s.low_a, low, a), mac_four_f16(s.high_a, high, a),
        mac_four_f16(s.low_b, low, b), mac_four_f16(s.high_b, high, b),
    );
}

fn widened(m: Block) -> mat4x4<f32> {
    return mat4x4<f32>(vec4<f32>(m[0]), vec4<f32>(m[1]), vec4<f32>(m[2]), vec4<f32>(m[3]));
}
#else
#import gpavatar::conv_tile::accumulated

alias Four = vec4<f32>;
alias Block = mat4x4<f32>;
alias Sums = Tile;

const SCALE = 1.0;

fn summed(s: Sums, low: Block, high: Block, a: Block, b: Block) -> Sums {
    return accumulated(s, low, high, a, b);
}
#endif

// 1 multiplies each of 16 rows by its own weights, those of the tap of the row's number. Workgroups
// are then one row high.
override TAP_PER_ROW: u32 = 0u;
// Threads along the output channels (2, 4, 8 or 16) and along x (8 pixels each).
override CHANNEL_GROUPS: u32 = 8u;
override COLUMN_GROUPS: u32 = 2u;
// Input channels that are staged at a time, divided by four: 1 for 3x3, up to 4 for 1x1.
override CHUNK: u32 = 1u;

const THREADS = 128u;
// Pixels of a thread.
const PIXELS = 8u;

// The rectangle with its border, then the weights [tap][4 inputs][output channels / 4]: at most
// 34 * 18 + 9 * 4 * 4 (two channel groups), 34 * 10 + 9 * 4 * 8, 18 * 10 + 9 * 4 * 16. With one tap,
// all rectangles of the chunk, then all weights: 4 * 128 + 4 * 4 * 16, 4 * 64 + 4 * 4 * 32.
var<workgroup> staged: array<Four, 768>;

fn staged_block(at: u32) -> Block {
    let stride = 2u * CHANNEL_GROUPS;
    return Block(
        staged[at], staged[at + stride], staged[at + 2u * stride], staged[at + 3u * stride]
    );
}

// Pixels at `at` to `at` + 3.
fn pixels(at: u32) -> Block {
    return Block(staged[at], staged[at + 1u], staged[at + 2u], staged[at + 3u]);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let border = KERNEL_SIZE / 2u;
    let taps = KERNEL_SIZE * KERNEL_SIZE;
    let tile_width = COLUMN_GROUPS * PIXELS;
    let tile_height = THREADS / (CHANNEL_GROUPS * COLUMN_GROUPS);
    let staged_width = tile_width + 2u * border;
    let staged_pixels = staged_width * (tile_height + 2u * border);
    let staged_weights = taps * 8u * CHANNEL_GROUPS;
    // Distance between the pixels of two steps.
    let next = select(staged_pixels, staged_width, KERNEL_SIZE == 3u);

    let channel_group = thread % CHANNEL_GROUPS;
    let pixel_group = thread / CHANNEL_GROUPS;
    let column = pixel_group % COLUMN_GROUPS * PIXELS;
    let line = pixel_group / COLUMN_GROUPS;
    // First eighth of output channels of this workgroup, and how many there are in all.
    let first_eighth = group.z * CHANNEL_GROUPS;
    let eighths = (conv.output_channels + 1u) / 2u;

    var sums = Sums();
#ifdef ARITHMETIC_F16
    var total = Tile();
#endif
    for (var chunk = 0u; chunk < conv.input_channels; chunk += CHUNK) {
        for (var i = thread; i < staged_pixels * CHUNK; i += THREADS) {
            // i = place * CHUNK + channel: consecutive threads read consecutive memory.
            let place = i / CHUNK;
            let c = chunk + i % CHUNK;
            let x = group.x * tile_width + place % staged_width - border;
            let y = group.y * tile_height + place / staged_width - border;
            var value = vec4<f32>();
            if c < conv.input_channels {
                value = modulated(pixel(x, y, c), c);
#ifdef ARITHMETIC_F16
                if MODULATED == 1u {
                    value = in_range(value);
                }
#endif
            }
            staged[i % CHUNK * staged_pixels + place] = Four(value);
        }
        for (var i = thread; i < staged_weights * CHUNK; i += THREADS) {
            // i = ((channel * taps + tap) * 4 + input) * 2 CHANNEL_GROUPS + quarter of the output
            // channels. Beyond the last channel pixels are zero and any weights will do.
            let c = min(chunk + i / staged_weights, conv.input_channels - 1u);
            let quarter = i % (2u * CHANNEL_GROUPS);
            let row = i % staged_weights / (2u * CHANNEL_GROUPS);
            let eighth = min(first_eighth + quarter / 2u, eighths - 1u);
            var tap = eighth * taps + row / 4u;
            if TAP_PER_ROW == 1u {
                tap = eighth * 16u + group.y;
            }
            let at = (tap * conv.input_channels + c) * 4u + row % 4u;
            staged[staged_pixels * CHUNK + i] = Four(SCALE * weight(at * 2u + quarter % 2u));
        }
        workgroupBarrier();
        // Rows of taps, or channels of the chunk.
        for (var step = 0u; step < KERNEL_SIZE * CHUNK; step++) {
            let row = line * staged_width + column + step * next;
            let w = staged_pixels * CHUNK + 2u * channel_group + step * KERNEL_SIZE * 8u * CHANNEL_GROUPS;
            let a = pixels(row);
            let b = pixels(row + 4u);
            sums = summed(sums, staged_block(w), staged_block(w + 1u), a, b);
            if KERNEL_SIZE == 3u {
                let x8 = staged[row + 8u];
                let x9 = staged[row + 9u];
                let v = w + 8u * CHANNEL_GROUPS;
                sums = summed(
                    sums, staged_block(v), staged_block(v + 1u),
                    Block(a[1], a[2], a[3], b[0]), Block(b[1], b[2], b[3], x8),
                );
                let u = v + 8u * CHANNEL_GROUPS;
                sums = summed(
                    sums, staged_block(u), staged_block(u + 1u),
                    Block(a[2], a[3], b[0], b[1]), Block(b[2], b[3], x8, x9),
                );
            }
        }
#ifdef ARITHMETIC_F16
        total = Tile(
            total.low_a + widened(sums.low_a), total.high_a + widened(sums.high_a),
            total.low_b + widened(sums.low_b), total.high_b + widened(sums.high_b),
        );
        sums = Sums();
#endif
        workgroupBarrier();
    }

    let x = group.x * tile_width + column;
    let y = group.y * tile_height + line;
    let o = (first_eighth + channel_group) * 2u;
#ifdef ARITHMETIC_F16
    let scale = 1.0 / SCALE;
    store_tile(x, y, o, Tile(
        scale * total.low_a, scale * total.high_a, scale * total.low_b, scale * total.high_b
    ));
#else
    store_tile(x, y, o, sums);
#endif
}
