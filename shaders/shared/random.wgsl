#define_import_path gpavatar::random

// Counter-based random numbers: the PCG-3D hash (Jarzynski & Olano, JCGT 2020).
fn pcg3d(counter: vec3<u32>) -> vec3<u32> {
    var v = counter * 1664525u + 1013904223u;
    v.x += v.y * v.z;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v ^= v >> vec3<u32>(16u);
    v.x += v.y * v.z;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    return v;
}

// A standard normal number (Box-Muller) for each counter.
fn gaussian(counter: u32, seed: vec2<u32>) -> f32 {
    let bits = pcg3d(vec3<u32>(counter, seed));
    // 24 bits in (0, 1]: the logarithm stays finite.
    let u = (f32(bits.x >> 8u) + 1.0) * 5.9604645e-8;
    // In [-½, ½): WGSL promises the accuracy of cos within ±π only.
    let v = f32(bits.y >> 8u) * 5.9604645e-8 - 0.5;
    return sqrt(-2.0 * log(u)) * cos(6.2831853 * v);
}
