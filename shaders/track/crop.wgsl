// A turned rectangle of a picture as a network's input: bilinear, zero outside of the picture.
//
// One thread per pixel of the input.
// Error: a place in the picture is good to 4 ulp of its coordinates, 2e-3 pixels at 4096.

struct Crop {
    // Where the rectangle's centre is, and its axes, in pixels of the picture.
    centre: vec2<f32>,
    along: vec2<f32>,
    down: vec2<f32>,
    // Width and height of the picture.
    picture_size: vec2<u32>,
    // Width and height of the input.
    size: u32,
    // What the network's input is of values in 0..1.
    gain: f32,
    shift: f32,
}

@group(0) @binding(0) var<uniform> region: Crop;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>; // [y][x]: R, G, B, 0
@group(1) @binding(0) var<storage, read> picture: array<u32>; // [y][x], RGBA8; alpha is not used

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= region.size || id.y >= region.size {
        return;
    }
    let place = (vec2<f32>(id.xy) + 0.5) / f32(region.size) - 0.5;
    let position = region.centre + place.x * region.along + place.y * region.down - 0.5;
    let low = floor(position);
    let fraction = position - low;
    let colour = mix(
        mix(fetch(low, 0.0, 0.0), fetch(low, 1.0, 0.0), fraction.x),
        mix(fetch(low, 0.0, 1.0), fetch(low, 1.0, 1.0), fraction.x),
        fraction.y,
    );
    output[id.y * region.size + id.x] = vec4<f32>(colour * region.gain + region.shift, 0.0);
}

fn fetch(low: vec2<f32>, dx: f32, dy: f32) -> vec3<f32> {
    let at = low + vec2<f32>(dx, dy);
    let size = region.picture_size;
    // Compared as numbers: far outside, they fit no integer.
    if !(all(at >= vec2<f32>(0.0)) && all(at < vec2<f32>(size))) {
        return vec3<f32>();
    }
    let x = min(u32(at.x), size.x - 1u);
    let y = min(u32(at.y), size.y - 1u);
    return unpack4x8unorm(picture[y * size.x + x]).rgb;
}
