// The picture as 8-bit RGBA: opaque on black, or with straight alpha from the accumulated opacity.
//
// One thread per pixel.

#import gpavatar::bilinear::taps
#import gpavatar::frame::Frame

struct Display {
    // Width and height of the picture, and of the low-resolution image behind it.
    size: u32,
    low_res: u32,
}

@group(0) @binding(0) var<uniform> display: Display;
@group(0) @binding(1) var<uniform> frame: Frame;
@group(0) @binding(2) var<storage, read> image: array<vec4<f32>>; // [y][x]: R, G, B
// Accumulated opacity in x.
@group(0) @binding(3) var<storage, read> extent: array<vec4<f32>>; // [ray]
@group(1) @binding(0) var output: texture_storage_2d<rgba8unorm, write>; // [y][x]

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= display.size || id.y >= display.size {
        return;
    }
    let colour = clamp(image[id.y * display.size + id.x].rgb, vec3<f32>(), vec3<f32>(1.0));
    var pixel = vec4<f32>(colour, 1.0);
    if frame.transparent == 1u {
        let opacity = clamp(upsampled(id.xy), 0.0, 1.0);
        // Below half a step of alpha the colour does not matter.
        pixel = vec4<f32>();
        if opacity > 0.5 / 255.0 {
            pixel = vec4<f32>(min(colour / opacity, vec3<f32>(1.0)), opacity);
        }
    }
    textureStore(output, id.xy, pixel);
}

fn upsampled(at: vec2<u32>) -> f32 {
    let step = f32(display.low_res) / f32(display.size);
    let tx = taps(at.x, step, display.low_res);
    let ty = taps(at.y, step, display.low_res);
    let top = ty.low * display.low_res;
    let bottom = ty.high * display.low_res;
    return mix(
        mix(extent[top + tx.low].x, extent[top + tx.high].x, tx.fraction),
        mix(extent[bottom + tx.low].x, extent[bottom + tx.high].x, tx.fraction),
        ty.fraction,
    );
}
