#define_import_path gpavatar::values

// Four of the values that the radiance field gives a sample, as they are kept in memory: as they are
// or, in a kernel's compact variants, rounded to half precision.

#ifdef SAMPLES_F16
#import gpavatar::halves::{from_halves, to_halves}

struct StoredValues {
    v: vec2<u32>,
}

fn unpacked_values(x: StoredValues) -> vec4<f32> {
    return from_halves(x.v);
}

fn packed_values(x: vec4<f32>) -> StoredValues {
    return StoredValues(to_halves(x));
}
#else
struct StoredValues {
    v: vec4<f32>,
}

fn unpacked_values(x: StoredValues) -> vec4<f32> {
    return x.v;
}

fn packed_values(x: vec4<f32>) -> StoredValues {
    return StoredValues(x);
}
#endif
