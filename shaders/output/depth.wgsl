// The depth picture: Σ weight depth + (1 - opacity) · largest depth, scaled to [0, 1] over the
// image. And for hosts the depth of what is seen, in world units along the camera's axis.
//
// One workgroup strides over the rays: largest depth, then range, then the scaled values. Error: 3 ulp of
// the largest depth, over the range.

#import gpavatar::finite::all_finite
#import gpavatar::globals::Globals
#import gpavatar::rays::Rays

@group(0) @binding(0) var<uniform> march: Rays;
// Accumulated opacity, Σ weight depth, largest depth.
@group(0) @binding(1) var<storage, read> extent: array<vec4<f32>>; // [ray]
@group(0) @binding(2) var<storage, read_write> output: array<f32>; // [ray]
@group(0) @binding(3) var<uniform> globals: Globals;
// Number of the recording that wrote the frame; 1 if one of its numbers is not finite.
@group(0) @binding(4) var<storage, read_write> stamp: array<u32>;
// Mean depth of what is seen; 0 where next to nothing is.
@group(0) @binding(5) var<storage, read_write> surface: array<f32>; // [y][x], see `row`

// Opacity below which nothing is seen: a step of 8 bits.
const LEAST = 1.0 / 255.0;

var<workgroup> ranges: array<vec2<f32>, 256>;
var<workgroup> infinite: atomic<u32>;

// Smallest x and largest y of all threads.
fn reduce(range: vec2<f32>, thread: u32) -> vec2<f32> {
    workgroupBarrier();
    ranges[thread] = range;
    for (var stride = 128u; stride > 0u; stride /= 2u) {
        workgroupBarrier();
        if thread < stride {
            let other = ranges[thread + stride];
            let mine = ranges[thread];
            ranges[thread] = vec2<f32>(min(mine.x, other.x), max(mine.y, other.y));
        }
    }
    workgroupBarrier();
    return ranges[0];
}

// Elements of a row of `surface`: copies into textures take whole multiples of 256 bytes.
fn row() -> u32 {
    return (march.side + 63u) / 64u * 64u;
}

// Depths count along rays, whose outermost ones go through the outermost pixels' centres.
fn seen(ray: u32) -> f32 {
    let place = vec2<f32>(vec2<u32>(ray % march.side, ray / march.side));
    let slope = (1.0 - 2.0 * place / f32(march.side - 1u)) / globals.focal;
    let mean = extent[ray].y / max(extent[ray].x, LEAST);
    return select(0.0, mean / sqrt(1.0 + dot(slope, slope)), extent[ray].x >= LEAST);
}

fn depth(ray: u32, largest: f32) -> f32 {
    return extent[ray].y + (1.0 - clamp(extent[ray].x, 0.0, 1.0)) * largest;
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) thread: u32) {
    if thread == 0u {
        atomicStore(&infinite, 0u);
    }
    workgroupBarrier();
    var range = vec2<f32>(1e30, -1e30);
    for (var ray = thread; ray < march.count; ray += 256u) {
        range.y = max(range.y, extent[ray].z);
        if !all_finite(extent[ray].xyzz) {
            atomicStore(&infinite, 1u);
        }
    }
    let largest = reduce(range, thread).y;
    range = vec2<f32>(1e30, -1e30);
    for (var ray = thread; ray < march.count; ray += 256u) {
        let d = depth(ray, largest);
        range = vec2<f32>(min(range.x, d), max(range.y, d));
    }
    range = reduce(range, thread);
    // A picture of one depth has no range: it is 0.
    let scale = 1.0 / max(range.y - range.x, 1e-30);
    for (var ray = thread; ray < march.count; ray += 256u) {
        output[ray] = (depth(ray, largest) - range.x) * scale;
        surface[ray / march.side * row() + ray % march.side] = seen(ray);
    }
    if thread == 0u {
        stamp[0] = globals.serial;
        stamp[1] = atomicLoad(&infinite);
    }
}
