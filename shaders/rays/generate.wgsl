// Camera rays, their entry into and exit from the cube [-1, 1]³, and the coarse depths.
//
// One thread per ray; row 0 is the top of the image. The outermost rays are the outermost pixels'
// centres: x and y run linearly over [1, -1] / focal.
// Error: 4 ulp of 1 for a direction, 8 ulp of the farther end for a depth. Positions on a ray are then
// good to 2 ulp of their distance from the camera.

#import gpavatar::globals::Globals
#import gpavatar::grid::{GROUP_SIZE, Thread, thread_index}
#import gpavatar::rays::Rays

@group(0) @binding(0) var<uniform> march: Rays;
@group(0) @binding(1) var<uniform> globals: Globals;
@group(0) @binding(2) var<storage, read_write> rays: array<vec4<f32>>; // [ray][stride]
@group(0) @binding(3) var<storage, read_write> depths: array<f32>; // [ray][coarse]

// Larger than any depth.
const FAR = 1e30;

// Element `i` of `count` numbers from 1 to -1, exactly antisymmetric.
fn grid(i: u32, count: u32) -> f32 {
    let step = -2.0 / f32(count - 1u);
    if i < count / 2u {
        return 1.0 + step * f32(i);
    }
    return -1.0 - step * f32(count - 1u - i);
}

// Entry and exit of one axis' slab; a ray parallel to it is always inside or never.
fn slab(origin: f32, direction: f32) -> vec2<f32> {
    if abs(direction) < 1e-30 {
        let inside = abs(origin) <= 1.0;
        return select(vec2<f32>(FAR, -FAR), vec2<f32>(-FAR, FAR), inside);
    }
    let a = (-1.0 - origin) / direction;
    let b = (1.0 - origin) / direction;
    return vec2<f32>(min(a, b), max(a, b));
}

@compute @workgroup_size(GROUP_SIZE)
fn main(thread: Thread) {
    let ray = thread_index(thread);
    if ray >= march.count {
        return;
    }
    let x = grid(ray % march.side, march.side) / globals.focal;
    let y = grid(ray / march.side, march.side) / globals.focal;
    let camera = vec3<f32>(x, y, 1.0);
    let world = vec3<f32>(
        dot(globals.rotation[0].xyz, camera),
        dot(globals.rotation[1].xyz, camera),
        dot(globals.rotation[2].xyz, camera),
    );
    // Not `normalize`, which may go through a coarser reciprocal square root.
    let direction = world / sqrt(dot(world, world));
    rays[ray * march.stride] = vec4<f32>(direction, 0.0);

    let origin = globals.origin.xyz;
    let sx = slab(origin.x, direction.x);
    let sy = slab(origin.y, direction.y);
    let sz = slab(origin.z, direction.z);
    var near = max(max(sx.x, sy.x), sz.x);
    var far = min(min(sx.y, sy.y), sz.y);
    if near > far || far <= 0.0 {
        // A miss: all samples behind the camera.
        near = -1.0;
        far = -1.0;
    } else if globals.clamp_near == 1u {
        near = max(near, 0.0);
    }
    let count = f32(march.coarse);
    var edge = near;
    for (var i = 0u; i < march.coarse; i++) {
        let next = near + f32(i + 1u) / count * (far - near);
        depths[ray * march.coarse + i] = (edge + next) / 2.0;
        edge = next;
    }
}
