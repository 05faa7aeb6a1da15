// Convolution, 3x3 with zero padding 1 or 1x1, as an implicit GEMM in workgroup memory.
//
// A workgroup owns a rectangle of pixels times 8 EIGHTHS CHANNEL_GROUPS output channels; each thread 8
// pixels of a row times 8 EIGHTHS output channels, in registers. Four input channels at a time, the rectangle with its
// border and all taps' weights are staged and used 9 times 64 times; with one tap, CHUNK times as many.
// The next chunk is loaded while one is used. For maps with too few pixels to occupy a device, several
// teams of threads share a rectangle and split the input channels; their sums are added at the end.
// Workgroup x, y: rectangles; z: groups of output channels.
// With ARITHMETIC_F16, values are staged and summed in 16 bits; sums over all chunks have 32.
// Error: a sum of n products is off by 4 ulp of the absolute products over √n; with ARITHMETIC_F16 by 2^-9
// of them.

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
// Eighths of the output channels of a thread: 1 or 2.
override EIGHTHS: u32 = 1u;
// Input channels that a team stages at a time, divided by four: 1 for 3x3, up to 4 for 1x1.
override CHUNK: u32 = 1u;
// Teams of threads that split the input channels (split-K): 1, 2 or 4, more than 1 for 1x1 and one
// eighth only.
override TEAMS: u32 = 1u;

const THREADS = 128u;
// Pixels of a thread.
const PIXELS = 8u;

// Each team's rectangle with its border [c][y][x], then its weights [c][tap][4 inputs][half][eighth].
// At the end, the sums of all teams but the first, one after the other.
//
// Rows have a gap after every eight pixels, and their length is 4 more than a multiple of 8: threads
// that read at the same time then read different banks, or the same place.
var<workgroup> staged: array<Four, 944>;

fn tile_width() -> u32 {
    return COLUMN_GROUPS * PIXELS;
}

fn tile_height() -> u32 {
    return THREADS / (TEAMS * CHANNEL_GROUPS * COLUMN_GROUPS);
}

fn staged_width() -> u32 {
    return tile_width() + KERNEL_SIZE - 1u;
}

fn staged_height() -> u32 {
    return tile_height() + KERNEL_SIZE - 1u;
}

// Place of a pixel in its row.
fn skewed(x: u32) -> u32 {
    return x + x / 8u;
}

fn row_length() -> u32 {
    return (skewed(staged_width() - 1u) + 4u) / 8u * 8u + 4u;
}

// Vec4s of a channel's rectangle, and of its weights.
fn rectangle() -> u32 {
    return row_length() * staged_height();
}

// Eighths of the output channels of a workgroup.
fn owned() -> u32 {
    return EIGHTHS * CHANNEL_GROUPS;
}

fn matrix() -> u32 {
    return KERNEL_SIZE * KERNEL_SIZE * 8u * owned();
}

// What a thread stages for a chunk, before it is stored: at most five pixels and five weights.
struct Ahead {
    pixels: array<vec4<f32>, 5>,
    weights: array<vec4<f32>, 5>,
}

// What a thread stages for all chunks.
struct Staging {
    // Left and upper end of the rectangle with its border.
    left: u32,
    top: u32,
    first_eighth: u32,
    // The only tap, with TAP_PER_ROW.
    row: u32,
    // The thread's number in its team.
    member: u32,
}

// Channels of a pixel of the chunk from channel `chunk` on; i = place * CHUNK + channel, so that
// consecutive threads read consecutive memory.
fn pixel_ahead(s: Staging, chunk: u32, i: u32) -> vec4<f32> {
    let c = chunk + i % CHUNK;
    let place = i / CHUNK;
    if c >= conv.input_channels || place >= staged_width() * staged_height() {
        return vec4<f32>();
    }
    let value = modulated(
        pixel(s.left + place % staged_width(), s.top + place / staged_width(), c), c
    );
#ifdef ARITHMETIC_F16
    if MODULATED == 1u {
        return in_range(value);
    }
#endif
    return value;
}

fn stage_pixel(at: u32, i: u32, value: vec4<f32>) {
    let place = i / CHUNK;
    if place < staged_width() * staged_height() {
        let row = place / staged_width() * row_length() + skewed(place % staged_width());
        staged[at + i % CHUNK * rectangle() + row] = Four(value);
    }
}

// i = (((channel * taps + tap) * 4 + input) * 2 + half) * owned() + eighth, as in `staged`: consecutive
// threads then write to different banks.
fn weight_ahead(s: Staging, chunk: u32, i: u32) -> vec4<f32> {
    // Beyond the last channel pixels are zero and any weights will do.
    let c = min(chunk + i / matrix(), conv.input_channels - 1u);
    let last = (conv.output_channels + 1u) / 2u - 1u;
    let eighth = min(s.first_eighth + i % owned(), last);
    let half = i / owned() % 2u;
    let row = i % matrix() / (2u * owned());
    var tap = eighth * KERNEL_SIZE * KERNEL_SIZE + row / 4u;
    if TAP_PER_ROW == 1u {
        tap = eighth * 16u + s.row;
    }
    return weight(((tap * conv.input_channels + c) * 4u + row % 4u) * 2u + half);
}

fn stage_weight(at: u32, i: u32, value: vec4<f32>) {
    if i < matrix() * CHUNK {
        staged[at + i] = Four(SCALE * value);
    }
}

// Whether a thread stages more than `n` of `count`.
fn stages(n: u32, count: u32) -> bool {
    return n * (THREADS / TEAMS) < count;
}

fn ahead(s: Staging, chunk: u32) -> Ahead {
    let members = THREADS / TEAMS;
    let places = staged_width() * staged_height() * CHUNK;
    let weights = matrix() * CHUNK;
    // Indices are literals, so that the values stay in registers.
    var next: Ahead;
    next.pixels[0] = pixel_ahead(s, chunk, s.member);
    if stages(1u, places) {
        next.pixels[1] = pixel_ahead(s, chunk, s.member + members);
    }
    if stages(2u, places) {
        next.pixels[2] = pixel_ahead(s, chunk, s.member + 2u * members);
    }
    if stages(3u, places) {
        next.pixels[3] = pixel_ahead(s, chunk, s.member + 3u * members);
    }
    if stages(4u, places) {
        next.pixels[4] = pixel_ahead(s, chunk, s.member + 4u * members);
    }
    next.weights[0] = weight_ahead(s, chunk, s.member);
    if stages(1u, weights) {
        next.weights[1] = weight_ahead(s, chunk, s.member + members);
    }
    if stages(2u, weights) {
        next.weights[2] = weight_ahead(s, chunk, s.member + 2u * members);
    }
    if stages(3u, weights) {
        next.weights[3] = weight_ahead(s, chunk, s.member + 3u * members);
    }
    if stages(4u, weights) {
        next.weights[4] = weight_ahead(s, chunk, s.member + 4u * members);
    }
    return next;
}

fn stage(s: Staging, at: u32, next: Ahead) {
    let members = THREADS / TEAMS;
    let places = staged_width() * staged_height() * CHUNK;
    let weights_at = at + rectangle() * CHUNK;
    let weights = matrix() * CHUNK;
    stage_pixel(at, s.member, next.pixels[0]);
    if stages(1u, places) {
        stage_pixel(at, s.member + members, next.pixels[1]);
    }
    if stages(2u, places) {
        stage_pixel(at, s.member + 2u * members, next.pixels[2]);
    }
    if stages(3u, places) {
        stage_pixel(at, s.member + 3u * members, next.pixels[3]);
    }
    if stages(4u, places) {
        stage_pixel(at, s.member + 4u * members, next.pixels[4]);
    }
    stage_weight(weights_at, s.member, next.weights[0]);
    if stages(1u, weights) {
        stage_weight(weights_at, s.member + members, next.weights[1]);
    }
    if stages(2u, weights) {
        stage_weight(weights_at, s.member + 2u * members, next.weights[2]);
    }
    if stages(3u, weights) {
        stage_weight(weights_at, s.member + 3u * members, next.weights[3]);
    }
    if stages(4u, weights) {
        stage_weight(weights_at, s.member + 4u * members, next.weights[4]);
    }
}

// Weights of four inputs for one half of an eighth of the output channels.
fn staged_block(at: u32) -> Block {
    let next = 2u * owned();
    return Block(staged[at], staged[at + next], staged[at + 2u * next], staged[at + 3u * next]);
}

// Pixels at `at` to `at` + 3.
fn pixels(at: u32) -> Block {
    return Block(staged[at], staged[at + 1u], staged[at + 2u], staged[at + 3u]);
}

// The sums of each eighth.
struct Owned {
    first: Sums,
    second: Sums,
}

// Adds a tap's products with eight pixels.
fn tap_summed(sums: Owned, at: u32, a: Block, b: Block) -> Owned {
    var s = sums;
    s.first = summed(s.first, staged_block(at), staged_block(at + owned()), a, b);
    if EIGHTHS == 2u {
        let second = at + CHANNEL_GROUPS;
        s.second = summed(s.second, staged_block(second), staged_block(second + owned()), a, b);
    }
    return s;
}

// Adds those of a row of taps, or of a channel.
fn row_summed(sums: Owned, row: u32, weights_at: u32) -> Owned {
    let tap = 8u * owned();
    let a = pixels(row);
    let b = pixels(row + 4u);
    var s = tap_summed(sums, weights_at, a, b);
    if KERNEL_SIZE == 3u {
        // Behind a gap.
        let x8 = staged[row + 9u];
        let x9 = staged[row + 10u];
        s = tap_summed(
            s, weights_at + tap,
            Block(a[1], a[2], a[3], b[0]), Block(b[1], b[2], b[3], x8),
        );
        s = tap_summed(
            s, weights_at + 2u * tap,
            Block(a[2], a[3], b[0], b[1]), Block(b[2], b[3], x8, x9),
        );
    }
    return s;
}

#ifndef ARITHMETIC_F16
fn keep_four(at: u32, members: u32, m: mat4x4<f32>) {
    staged[at] = m[0];
    staged[at + members] = m[1];
    staged[at + 2u * members] = m[2];
    staged[at + 3u * members] = m[3];
}

fn kept_four(at: u32, members: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        staged[at], staged[at + members], staged[at + 2u * members], staged[at + 3u * members]
    );
}

// The sums of all teams, in the first one: the others hand theirs over one after the other, a half at
// a time.
fn sum_of_teams(sums: Tile, team: u32, member: u32) -> Tile {
    let members = THREADS / TEAMS;
    var total = sums;
    for (var other = 1u; other < TEAMS; other++) {
        if team == other {
            keep_four(member, members, sums.low_a);
            keep_four(member + 4u * members, members, sums.high_a);
        }
        workgroupBarrier();
        if team == 0u {
            total.low_a += kept_four(member, members);
            total.high_a += kept_four(member + 4u * members, members);
        }
        workgroupBarrier();
        if team == other {
            keep_four(member, members, sums.low_b);
            keep_four(member + 4u * members, members, sums.high_b);
        }
        workgroupBarrier();
        if team == 0u {
            total.low_b += kept_four(member, members);
            total.high_b += kept_four(member + 4u * members, members);
        }
        workgroupBarrier();
    }
    return total;
}
#endif

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let members = THREADS / TEAMS;
    let team = thread / members;
    let member = thread % members;
    let channel_group = member % CHANNEL_GROUPS;
    let pixel_group = member / CHANNEL_GROUPS;
    let column = pixel_group % COLUMN_GROUPS;
    let line = pixel_group / COLUMN_GROUPS;
    let first_eighth = group.z * owned();
    let border = KERNEL_SIZE / 2u;
    let staging = Staging(
        group.x * tile_width() - border, group.y * tile_height() - border, first_eighth, group.y, member
    );
    let at = team * (rectangle() + matrix()) * CHUNK;
    // A thread's eight pixels and the gap.
    let row_at = at + line * row_length() + 9u * column;
    let weights_at = at + rectangle() * CHUNK + channel_group;
    // From one row of taps to the next, or from one channel to the next.
    let next_row = select(rectangle(), row_length(), KERNEL_SIZE == 3u);
    let next_weights = KERNEL_SIZE * 8u * owned();

    var sums = Owned();
#ifdef ARITHMETIC_F16
    var total = Tile();
#endif
    var next = ahead(staging, team * CHUNK);
    for (var chunk = 0u; chunk < conv.input_channels; chunk += TEAMS * CHUNK) {
        stage(staging, at, next);
        workgroupBarrier();
        let following = chunk + TEAMS * CHUNK;
        if following < conv.input_channels {
            next = ahead(staging, following + team * CHUNK);
        }
        for (var step = 0u; step < KERNEL_SIZE * CHUNK; step++) {
            sums = row_summed(sums, row_at + step * next_row, weights_at + step * next_weights);
        }
#ifdef ARITHMETIC_F16
        total = Tile(
            total.low_a + widened(sums.first.low_a), total.high_a + widened(sums.first.high_a),
            total.low_b + widened(sums.first.low_b), total.high_b + widened(sums.first.high_b),
        );
        sums = Owned();
#endif
        workgroupBarrier();
    }

    let x = group.x * tile_width() + column * PIXELS;
    let y = group.y * tile_height() + line;
    let o = (first_eighth + channel_group) * 2u;
#ifdef ARITHMETIC_F16
    let scale = 1.0 / SCALE;
    store_tile(x, y, o, Tile(
        scale * total.low_a, scale * total.high_a, scale * total.low_b, scale * total.high_b
    ));
#else
    let first = sum_of_teams(sums.first, team, member);
    if team == 0u {
        store_tile(x, y, o, first);
        if EIGHTHS == 2u {
            store_tile(x, y, o + 2u * CHANNEL_GROUPS, sums.second);
        }
    }
#endif
}
