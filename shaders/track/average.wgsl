// The mean over all pixels of a map.
//
// One workgroup for four channels.
// Error: that of 64 sums of f32, then of a tree.

#import gpavatar::track_layer::{layer, input, finish}

const THREADS = 64u;

var<workgroup> sums: array<vec4<f32>, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let pixels = layer.input_size.x * layer.input_size.y + group.z; // See `conv`.
    var sum = vec4<f32>();
    for (var pixel = local; pixel < pixels; pixel += THREADS) {
        sum += input[pixel * layer.input_channels + group.x];
    }
    sums[local] = sum;
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if local < half {
            sums[local] += sums[local + half];
        }
    }
    if local == 0u {
        finish(0u, group.x, sums[0] / f32(pixels));
    }
}
