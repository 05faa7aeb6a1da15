#define_import_path gpavatar::stored

// Four numbers of a map, a tri-plane or the radiance field's weights, as they are stored: in 32 bits or,
// with MAPS_F16, in 16.

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
