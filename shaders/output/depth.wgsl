// The depth picture: Σ weight depth + (1 - opacity) · largest depth, scaled to [0, 1] over the
// image.
//
// One workgroup strides over the rays: largest depth, then range, then the scaled values.

#import gpavatar::rays::Rays

@group(0) @binding(0) var<uniform> march: Rays;
// Accumulated opacity, Σ weight depth, largest depth.
@group(0) @binding(1) var<storage, read> extent: array<vec4<f32>>; // [ray]
@group(0) @binding(2) var<storage, read_write> output: array<f32>; // [ray]

var<workgroup> ranges: array<vec2<f32>, 256>;

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

fn depth(ray: u32, largest: f32) -> f32 {
    return extent[ray].y + (1.0 - clamp(extent[ray].x, 0.0, 1.0)) * largest;
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) thread: u32) {
    var range = vec2<f32>(1e30, -1e30);
    for (var ray = thread; ray < march.count; ray += 256u) {
        range.y = max(range.y, extent[ray].z);
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
    }
}
