// Importance sampling of the fine depths where the coarse pass found something.
//
// The coarse depths are the edges of intervals, and the inclusive cumulative sum of the weights is
// their distribution. Its inverse maps strata's centres to depths; the mid-points of these are
// edges, and the mid-points of the edges the fine depths. A thread walks along its ray three times
// and keeps only its place. Error: an ulp of 1 per coarse sample, times the slope of the inverse.

#import gpavatar::grid::{GROUP_SIZE, Thread, thread_index}
#import gpavatar::rays::Rays

@group(0) @binding(0) var<uniform> march: Rays;
@group(0) @binding(1) var<storage, read> depths: array<f32>; // [ray][coarse]
@group(0) @binding(2) var<storage, read> opacities: array<f32>; // [ray][coarse]
@group(0) @binding(3) var<storage, read_write> fine: array<f32>; // [ray][fine]

// Added to every weight.
const FLOOR = 1e-5;

// Numbers outside of [0, 1], NaN included, count as empty space, so that all depths are finite. By its bits:
// compilers may assume that comparisons see no NaN.
fn opacity_at(i: u32) -> f32 {
    let opacity = opacities[i];
    return select(0.0, opacity, bitcast<u32>(opacity) <= 0x3f800000u);
}

@compute @workgroup_size(GROUP_SIZE)
fn main(thread: Thread) {
    let ray = thread_index(thread);
    if ray >= march.count {
        return;
    }
    let n = march.coarse;
    let m = march.fine;
    let first = ray * n;

    var transmittance = 1.0;
    var total = 0.0;
    for (var i = 0u; i < n; i++) {
        let opacity = opacity_at(first + i);
        total += opacity * transmittance + FLOOR;
        transmittance *= 1.0 - opacity;
    }

    transmittance = 1.0;
    var end = 0.0;
    for (var i = 0u; i < n; i++) {
        let opacity = opacity_at(first + i);
        end += (opacity * transmittance + FLOOR) / total;
        transmittance *= 1.0 - opacity;
    }

    // Interval (low, high) of the distribution, its depths, and the place of `high`.
    transmittance = 1.0 - opacity_at(first);
    let start = (opacity_at(first) + FLOOR) / total;
    var low = start;
    var high = start;
    var low_depth = depths[first];
    var high_depth = depths[first];
    var place = 0u;

    let step = (end - start) / f32(m);
    var previous = 0.0;
    var edge = 0.0;
    for (var j = 0u; j < m; j++) {
        let u = start + (f32(j) + 0.5) * step;
        while place + 1u < n && high <= u {
            place++;
            let opacity = opacity_at(first + place);
            low = high;
            low_depth = high_depth;
            high += (opacity * transmittance + FLOOR) / total;
            high_depth = depths[first + place];
            transmittance *= 1.0 - opacity;
        }
        var depth = (u - low) * ((high_depth - low_depth) / (high - low)) + low_depth;
        if high - low < 1e-10 {
            depth = (low_depth + high_depth) / 2.0;
        }
        if j == 1u {
            edge = max(previous - (depth - previous) / 2.0, depths[first]);
        }
        if j >= 1u {
            let next = (previous + depth) / 2.0;
            fine[ray * m + j - 1u] = (edge + next) / 2.0;
            if j + 1u == m {
                let last = min(depth + (depth - previous) / 2.0, depths[first + n - 1u]);
                fine[ray * m + j] = (next + last) / 2.0;
            }
            edge = next;
        }
        previous = depth;
    }
}
