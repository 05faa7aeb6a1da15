// Composites the coarse and the fine samples of a ray together, by depth.
//
// Both lists are sorted, so a merge visits all in order. One thread per ray and four channels;
// the first of a ray also leaves its accumulated opacity, mean depth and largest depth.
// Error: an ulp of 1 per sample; opacities below 1e-2 keep 1e-6 of themselves.

#import gpavatar::grid::{GROUP_SIZE, Thread, thread_index}
#import gpavatar::rays::Rays
#import gpavatar::values::{NEGLIGIBLE, StoredValues, unpacked_values}

@group(0) @binding(0) var<uniform> march: Rays;
@group(0) @binding(1) var<storage, read> coarse_depths: array<f32>; // [ray][coarse]
@group(0) @binding(2) var<storage, read> coarse_opacities: array<f32>; // [ray][coarse]
@group(0) @binding(3) var<storage, read> coarse_values: array<StoredValues>; // [ray][coarse][c]
@group(0) @binding(4) var<storage, read> fine_depths: array<f32>; // [ray][fine]
@group(0) @binding(5) var<storage, read> fine_opacities: array<f32>; // [ray][fine]
@group(0) @binding(6) var<storage, read> fine_values: array<StoredValues>; // [ray][fine][c]
@group(0) @binding(7) var<storage, read_write> low_res: array<vec4<f32>>; // [ray][c]
// Accumulated opacity, Σ weight depth, largest depth.
@group(0) @binding(8) var<storage, read_write> extent: array<vec4<f32>>; // [ray]

@compute @workgroup_size(GROUP_SIZE)
fn main(thread: Thread) {
    let index = thread_index(thread);
    let ray = index / march.channels;
    let c = index % march.channels;
    if ray >= march.count {
        return;
    }
    let coarse_end = (ray + 1u) * march.coarse;
    let fine_end = (ray + 1u) * march.fine;
    var i = ray * march.coarse;
    var j = ray * march.fine;
    var transmittance = 1.0;
    var sum = vec4<f32>();
    var reached = vec4<f32>(0.0, 0.0, -1e30, 0.0);
    while i < coarse_end || j < fine_end {
        var take_coarse = j == fine_end;
        if i < coarse_end && j < fine_end {
            take_coarse = coarse_depths[i] <= fine_depths[j];
        }
        var depth: f32;
        var opacity: f32;
        if take_coarse {
            depth = coarse_depths[i];
            opacity = coarse_opacities[i];
        } else {
            depth = fine_depths[j];
            opacity = fine_opacities[j];
        }
        let weight = opacity * transmittance;
        transmittance *= 1.0 - opacity;
        // The values of others may be undefined.
        if opacity > NEGLIGIBLE {
            if take_coarse {
                sum += weight * unpacked_values(coarse_values[i * march.channels + c]);
            } else {
                sum += weight * unpacked_values(fine_values[j * march.channels + c]);
            }
        }
        if take_coarse {
            i++;
        } else {
            j++;
        }
        reached = vec4<f32>(
            reached.x + weight, reached.y + weight * depth, max(reached.z, depth), 0.0
        );
    }
    low_res[index] = sum;
    if c == 0u {
        extent[ray] = reached;
    }
}
