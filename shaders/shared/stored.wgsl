#define_import_path gpavatar::stored

// Four numbers as maps, tri-planes and the radiance field's weights are kept in memory: as they are
// or, in a kernel's variant for that storage, rounded to half precision. They are computed with in
// full precision, unless a kernel says that it does not.

#ifdef MAPS_F16
#import gpavatar::halves::{from_halves, to_halves}

struct Stored {
    v: vec2<u32>,
}

fn unpacked(x: Stored) -> vec4<f32> {
    return from_halves(x.v);
}

fn packed(x: vec4<f32>) -> Stored {
    return Stored(to_halves(x));
}
#else
struct Stored {
    v: vec4<f32>,
}

fn unpacked(x: Stored) -> vec4<f32> {
    return x.v;
}

fn packed(x: vec4<f32>) -> Stored {
    return Stored(x);
}
#endif
