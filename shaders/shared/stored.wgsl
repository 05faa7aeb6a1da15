#define_import_path gpavatar::stored

// Four numbers as the networks' maps and weights are kept in memory: as they are or, in a kernel's
// second variant, rounded to half precision. They are computed with in full precision, unless a
// kernel says that it does not.

#ifdef HALF_PRECISION
struct Stored {
    v: vec2<u32>,
}

fn unpacked(x: Stored) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(x.v.x), unpack2x16float(x.v.y));
}

// What is larger than the largest half becomes that one rather than infinity.
fn packed(x: vec4<f32>) -> Stored {
    let y = clamp(x, vec4<f32>(-65504.0), vec4<f32>(65504.0));
    return Stored(vec2<u32>(pack2x16float(y.xy), pack2x16float(y.zw)));
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
