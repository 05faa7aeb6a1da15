// The picture as 8-bit RGBA: opaque on black, or with straight alpha from the accumulated opacity.
//
// One thread per pixel.
// Error: half a level of 255.

#import gpavatar::bilinear::{corners, between}
#import gpavatar::finite::all_finite
#import gpavatar::globals::Globals

struct Display {
    // Width and height of the picture, and of the low-resolution image behind it.
    size: u32,
    low_res: u32,
}

@group(0) @binding(0) var<uniform> display: Display;
@group(0) @binding(1) var<uniform> globals: Globals;
@group(0) @binding(2) var<storage, read> image: array<vec4<f32>>; // [y][x]: R, G, B
// Accumulated opacity in x.
@group(0) @binding(3) var<storage, read> extent: array<vec4<f32>>; // [ray]
@group(0) @binding(4) var<storage, read_write> stamp: array<u32>; // see `depth`
@group(1) @binding(0) var output: texture_storage_2d<rgba8unorm, write>; // [y][x]

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= display.size || id.y >= display.size {
        return;
    }
    let found = image[id.y * display.size + id.x].rgb;
    if !all_finite(found.rgbb) {
        stamp[1] = 1u;
    }
    let colour = clamp(found, vec3<f32>(), vec3<f32>(1.0));
    var pixel = vec4<f32>(colour, 1.0);
    if globals.transparent == 1u {
        let opacity = clamp(upsampled(id.xy).x, 0.0, 1.0);
        // Below half a step of alpha the colour does not matter.
        pixel = vec4<f32>();
        if opacity > 0.5 / 255.0 {
            pixel = vec4<f32>(min(colour / opacity, vec3<f32>(1.0)), opacity);
        }
    }
    // Devices may round to 8 bits in different ways; whole steps leave them no choice.
    textureStore(output, id.xy, floor(pixel * 255.0 + 0.5) / 255.0);
}

fn upsampled(pixel: vec2<u32>) -> vec4<f32> {
    let step = vec2<f32>(f32(display.low_res) / f32(display.size));
    let at = corners(pixel.x, pixel.y, step, display.low_res, display.low_res);
    return between(
        extent[at.pixel.x], extent[at.pixel.y], extent[at.pixel.z], extent[at.pixel.w], at.fraction
    );
}
