// A photograph as the encoder's input: composited on black, resampled into the canonical view, rows
// from bottom to top.
//
// One thread per output pixel.
// Error: a place in the photograph is good to 4 ulp of its size, 1e-4 pixels at 256, times the contrast
// there.

struct Warp {
    // Rows of the homography from output to source pixels (centres at +½).
    homography: array<vec4<f32>, 3>,
    source_width: u32,
    source_height: u32,
    // Width and height of the output.
    size: u32,
}

@group(1) @binding(0) var<uniform> warp: Warp;
@group(1) @binding(1) var<storage, read> source: array<u32>; // [y][x], RGBA8 with straight alpha
@group(0) @binding(0) var<storage, read_write> output: array<vec4<f32>>; // [y][x]: R, G, B, 0

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= warp.size || id.y >= warp.size {
        return;
    }
    let at = vec3<f32>(vec2<f32>(id.xy) + 0.5, 1.0);
    let p = vec3<f32>(
        dot(warp.homography[0].xyz, at),
        dot(warp.homography[1].xyz, at),
        dot(warp.homography[2].xyz, at),
    );
    let position = p.xy / p.z - 0.5;
    let low = floor(position);
    let fraction = position - low;
    // Colour and, in w, the coverage of this pixel by the source.
    let colour = mix(
        mix(fetch(low, 0.0, 0.0), fetch(low, 1.0, 0.0), fraction.x),
        mix(fetch(low, 0.0, 1.0), fetch(low, 1.0, 1.0), fraction.x),
        fraction.y,
    );
    let flipped = warp.size - 1u - id.y;
    output[flipped * warp.size + id.x] = vec4<f32>(colour.rgb * colour.w, 0.0);
}

fn fetch(low: vec2<f32>, dx: f32, dy: f32) -> vec4<f32> {
    let at = low + vec2<f32>(dx, dy);
    let size = vec2<f32>(vec2<u32>(warp.source_width, warp.source_height));
    // Compared as numbers: far outside, they fit no integer.
    if !(all(at >= vec2<f32>(0.0)) && all(at < size)) {
        return vec4<f32>();
    }
    let x = min(u32(at.x), warp.source_width - 1u);
    let y = min(u32(at.y), warp.source_height - 1u);
    let colour = unpack4x8unorm(source[y * warp.source_width + x]);
    return vec4<f32>(colour.rgb * colour.a, 1.0);
}
