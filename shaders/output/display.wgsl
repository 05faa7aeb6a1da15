// The picture as 8-bit RGBA: opaque on black, or with straight or premultiplied alpha.
//
// The network draws on black, where a picture is alpha times the foreground's colour. Alpha is thus the
// projection of the picture's colour on the foreground's, which `matte` took from the radiance field.
// Over black the result is the opaque picture again.
//
// One thread per pixel.
// Error: half a level of 255.

#import gpavatar::bilinear::between
#import gpavatar::finite::all_finite
#import gpavatar::globals::Globals

struct Display {
    // Width and height of the picture, and of the low-resolution image behind it.
    size: u32,
    low_res: u32,
}

const OPAQUE = 0u;
const STRAIGHT = 1u;
const PREMULTIPLIED = 2u;

// The super-resolver draws edges darker than the field renders them: this share of the foreground's
// colour counts as all of it.
const FULL = 0.9;
// Weight of the field's own opacity: it decides where the foreground is black.
const PRIOR = 1e-4;
// Where all rays around are this opaque, alpha begins to rise to 1, whatever the colours: dark parts
// within the head are no holes.
const INSIDE = 0.9;

@group(0) @binding(0) var<uniform> display: Display;
@group(0) @binding(1) var<uniform> globals: Globals;
@group(0) @binding(2) var<storage, read> image: array<vec4<f32>>; // [y][x]: R, G, B
@group(0) @binding(3) var<storage, read> foreground: array<vec4<f32>>; // [ray][2], see `matte`
@group(0) @binding(4) var<storage, read_write> stamp: array<u32>; // see `depth`
@group(1) @binding(0) var output: texture_storage_2d<rgba8unorm, write>; // [y][x]

// Devices may round to 8 bits in different ways; whole steps leave them no choice.
fn rounded(x: vec4<f32>) -> vec4<f32> {
    return floor(x * 255.0 + 0.5) / 255.0;
}

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
    if globals.alpha != OPAQUE {
        let alpha = rounded(vec4<f32>(alpha_of(colour, id.xy))).x;
        // Below half a step of alpha nothing is seen.
        pixel = vec4<f32>();
        if alpha > 0.0 && globals.alpha == STRAIGHT {
            // Divided by what is stored, so that composites are the picture again.
            pixel = vec4<f32>(min(colour / alpha, vec3<f32>(1.0)), alpha);
        } else if alpha > 0.0 {
            pixel = vec4<f32>(colour, alpha);
        }
    }
    textureStore(output, id.xy, rounded(pixel));
}

fn alpha_of(colour: vec3<f32>, pixel: vec2<u32>) -> f32 {
    // Rays go through the centres of the outermost pixels.
    let last = display.low_res - 1u;
    let at = (vec2<f32>(pixel) + 0.5) / f32(display.size) * f32(last);
    let low = min(vec2<u32>(at), vec2<u32>(last));
    let high = min(low + 1u, vec2<u32>(last));
    let rays = vec4<u32>(low.y, low.y, high.y, high.y) * display.low_res
        + vec4<u32>(low.x, high.x, low.x, high.x);
    let fraction = at - vec2<f32>(low);
    let spread = between(
        foreground[2u * rays.x], foreground[2u * rays.y],
        foreground[2u * rays.z], foreground[2u * rays.w], fraction,
    );
    let opacity = between(
        foreground[2u * rays.x + 1u], foreground[2u * rays.y + 1u],
        foreground[2u * rays.z + 1u], foreground[2u * rays.w + 1u], fraction,
    );
    let full = spread.rgb / max(spread.a, 1e-4);
    let projected = (dot(colour, full) / FULL + PRIOR * opacity.x) / (dot(full, full) + PRIOR);
    let inside = (opacity.y - INSIDE) / (1.0 - INSIDE);
    let least = max(colour.r, max(colour.g, colour.b));
    return clamp(max(max(projected, inside), least), 0.0, 1.0);
}
