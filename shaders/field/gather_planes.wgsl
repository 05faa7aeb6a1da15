// The planes' features at a band of samples.
//
// One thread per sample and four channels: consecutive ones read a texel together.

#import gpavatar::cube::near_cube
#import gpavatar::grid::{GROUP_SIZE, Thread, thread_index}
#import gpavatar::radiance_features::features_of
#import gpavatar::radiance_inputs::{field, position, planes_around, plane_features}
#import gpavatar::stored::{Stored, packed}

@group(0) @binding(11) var<storage, read_write> features: array<Stored>; // see radiance_features

@compute @workgroup_size(GROUP_SIZE)
fn main(thread: Thread) {
    let index = thread_index(thread);
    let sample = field.first + index / field.plane_channels;
    let c = index % field.plane_channels;
    if sample >= field.count {
        return;
    }
    let at = position(sample);
    // Nothing outside is ever seen.
    if field.skip_empty == 1u && !near_cube(at) {
        return;
    }
    features[features_of(sample) + c] = packed(plane_features(planes_around(at), c));
}
