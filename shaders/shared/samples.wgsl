#define_import_path gpavatar::samples

// A pass' samples along the rays, and the points around them: read by the search for neighbours and by
// the radiance field.

#import gpavatar::globals::Globals
#import gpavatar::rays::Rays

@group(0) @binding(0) var<uniform> march: Rays;
@group(0) @binding(1) var<uniform> globals: Globals;
@group(0) @binding(3) var<storage, read> rays: array<vec4<f32>>; // [ray][stride]
@group(0) @binding(4) var<storage, read> depths: array<f32>; // [ray][samples]
@group(0) @binding(5) var<storage, read> points: array<vec4<f32>>; // [point], w unused

fn direction_of(ray: u32) -> vec3<f32> {
    return rays[ray * march.stride].xyz;
}

// Position of a sample, whose ray has this direction.
fn position_of(sample: u32, direction: vec3<f32>) -> vec3<f32> {
    return globals.origin.xyz + depths[sample] * direction;
}
