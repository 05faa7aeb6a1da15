#define_import_path gpavatar::values

// Four of the radiance field's values of a sample, as they are stored: in 32 bits or, with SAMPLES_F16,
// in 16.

// Samples of less opacity have no values: 2^-25, which 1 does not lose anything by.
const NEGLIGIBLE = 2.9802322e-8;

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
