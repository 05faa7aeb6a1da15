// The viewing direction's half of the first colour layer: it is the same for all samples of a ray.
//
// One thread per ray and four channels.
// Error: 10 ulp of each sine and cosine, of order 1; then that of a sum of 27 products.

#import gpavatar::grid::{GROUP_SIZE, Thread, thread_index}
#import gpavatar::harmonic::{OCTAVES, first_octave, next_octave}
#import gpavatar::rays::Rays

struct View {
    // Channels of the layer divided by four.
    channels: u32,
}

@group(0) @binding(0) var<uniform> march: Rays;
@group(0) @binding(1) var<uniform> size: View;
@group(0) @binding(2) var<storage, read> weights: array<vec4<f32>>; // [27][channels]
@group(0) @binding(3) var<storage, read_write> rays: array<vec4<f32>>; // [ray][stride]

@compute @workgroup_size(GROUP_SIZE)
fn main(thread: Thread) {
    let index = thread_index(thread);
    let ray = index / size.channels;
    let c = index % size.channels;
    if ray >= march.count {
        return;
    }
    let direction = rays[ray * march.stride].xyz;
    var sum = vec4<f32>();
    var octave = first_octave(direction);
    for (var i = 0u; i < OCTAVES; i++) {
        for (var axis = 0u; axis < 3u; axis++) {
            let sine = (axis * OCTAVES + i) * size.channels + c;
            let cosine = sine + 3u * OCTAVES * size.channels;
            sum += octave.sine[axis] * weights[sine] + octave.cosine[axis] * weights[cosine];
        }
        octave = next_octave(octave);
    }
    for (var axis = 0u; axis < 3u; axis++) {
        sum += direction[axis] * weights[(6u * OCTAVES + axis) * size.channels + c];
    }
    rays[ray * march.stride + 1u + c] = sum;
}
