// The points' hidden features at a band of samples: the weighted mean over the neighbours after the first
// point layer, and the sum of weights that the second layer's outputs are multiplied by.
//
// One thread per sample and sixteen channels: consecutive ones read an entry of the table together, and
// the same four vec4s of the layer as those of other samples.

#import gpavatar::cube::near_cube
#import gpavatar::grid::{GROUP_SIZE, Thread, thread_index}
#import gpavatar::radiance_features::{features_of, stored_weight}
#import gpavatar::radiance_inputs::{
    NEIGHBOURS, GLOBAL_WEIGHTS, field, position, neighbours_of, point_hidden,
}
#import gpavatar::stored::{Stored, packed}

@group(0) @binding(11) var<storage, read_write> features: array<Stored>; // see radiance_features

@compute @workgroup_size(GROUP_SIZE)
fn main(thread: Thread) {
    let index = thread_index(thread);
    // A thread's vec4s of channels are that far apart.
    let step = field.point_hidden / 4u;
    let sample = field.first + index / step;
    let c = index % step;
    if sample >= field.count {
        return;
    }
    let at = position(sample);
    // Nothing outside is ever seen.
    if field.skip_empty == 1u && !near_cube(at) {
        return;
    }
    var sum = mat4x4<f32>();
    var total = 0.0;
    // All eight neighbours would take too many registers.
    for (var batch = 0u; batch * 4u < NEIGHBOURS; batch++) {
        let n = neighbours_of(at, sample, batch);
        sum += point_hidden(n, c, step);
        total += dot(n.weight, vec4<f32>(1.0));
    }
    // The mean is in the range of a half; the sum of weights may not be.
    let scale = 1.0 / total;
    let first = features_of(sample) + field.plane_channels;
    features[first + c] = packed(scale * sum[0]);
    features[first + c + step] = packed(scale * sum[1]);
    features[first + c + 2u * step] = packed(scale * sum[2]);
    features[first + c + 3u * step] = packed(scale * sum[3]);
    if c == 0u {
        features[first + field.point_hidden] = stored_weight(select(1.0, total, GLOBAL_WEIGHTS == 1u));
    }
}
