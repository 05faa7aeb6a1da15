// The foreground behind every ray, for pictures with alpha: what `display` finds their alpha from.
//
// On black a picture is alpha times the foreground's colour. The radiance field has rendered both on the
// ray grid, where no super-resolver has drawn a sharper edge yet. A little of the neighbours' colour
// fills rays without opacity, so that the foreground reaches beyond its edge.
//
// One thread per ray. Error: 8 ulp of 1.

#import gpavatar::grid::{GROUP_SIZE, Thread, thread_index}

struct Matte {
    // Rays a side.
    side: u32,
    // Channels of the low-resolution image divided by four.
    channels: u32,
}

// What the neighbours add to a ray, and the radius of their Gaussian. Its standard deviation is 0.8 rays.
const SPREAD = 0.02;
const RADIUS = 3;
const FALL = -0.5 / (0.8 * 0.8);

@group(0) @binding(0) var<uniform> matte: Matte;
@group(0) @binding(1) var<storage, read> low_res: array<vec4<f32>>; // [ray][c], RGB first
// Accumulated opacity in x.
@group(0) @binding(2) var<storage, read> extent: array<vec4<f32>>; // [ray]
// RGB and opacity, spread; then opacity, and the least of the rays around.
@group(0) @binding(3) var<storage, read_write> foreground: array<vec4<f32>>; // [ray][2]

fn ray_at(x: i32, y: i32) -> u32 {
    let last = i32(matte.side) - 1;
    return u32(clamp(y, 0, last)) * matte.side + u32(clamp(x, 0, last));
}

fn opacity(ray: u32) -> f32 {
    return clamp(extent[ray].x, 0.0, 1.0);
}

// RGB on black, and opacity.
fn composited(ray: u32) -> vec4<f32> {
    let colour = low_res[ray * matte.channels].rgb;
    return vec4<f32>(clamp(colour, vec3<f32>(), vec3<f32>(1.0)), opacity(ray));
}

@compute @workgroup_size(GROUP_SIZE)
fn main(thread: Thread) {
    let ray = thread_index(thread);
    if ray >= matte.side * matte.side {
        return;
    }
    let x = i32(ray % matte.side);
    let y = i32(ray / matte.side);
    var around = vec4<f32>();
    var weights = 0.0;
    for (var dy = -RADIUS; dy <= RADIUS; dy++) {
        for (var dx = -RADIUS; dx <= RADIUS; dx++) {
            let weight = exp(FALL * f32(dx * dx + dy * dy));
            around += weight * composited(ray_at(x + dx, y + dy));
            weights += weight;
        }
    }
    var least = 1.0;
    for (var dy = -1; dy <= 1; dy++) {
        for (var dx = -1; dx <= 1; dx++) {
            least = min(least, opacity(ray_at(x + dx, y + dy)));
        }
    }
    foreground[2u * ray] = composited(ray) + SPREAD / weights * around;
    foreground[2u * ray + 1u] = vec4<f32>(opacity(ray), least, 0.0, 0.0);
}
