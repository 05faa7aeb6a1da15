#define_import_path gpavatar::random

#import gpavatar::activation::log1p
#import gpavatar::harmonic::{first_octave, next_octave}

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

// A standard normal number (Box-Muller) for each counter, to 2e-6. WGSL's log is off by up to 2^-21 near
// 1, and its cos by 2^-11.
fn gaussian(counter: u32, seed: vec2<u32>) -> f32 {
    let bits = pcg3d(vec3<u32>(counter, seed));
    // 24 bits in (0, 1]: the logarithm stays finite.
    let u = (f32(bits.x >> 8u) + 1.0) * 5.9604645e-8;
    // -ln u; 1 - u is exact from ½ on.
    let surprise = select(-log(u), log1p((1.0 - u) / u), u >= 0.5);
    // A quarter of the angle, in [-π/4, π/4), doubled twice.
    let quarter = 1.5707963 * (f32(bits.y >> 8u) * 5.9604645e-8 - 0.5);
    let angle = next_octave(next_octave(first_octave(vec3<f32>(quarter))));
    return sqrt(2.0 * surprise) * angle.cosine.x;
}
