#define_import_path gpavatar::halves

// Numbers in half precision.

// Larger numbers become the largest half rather than infinity.
fn in_range(x: vec4<f32>) -> vec4<f32> {
    return clamp(x, vec4<f32>(-65504.0), vec4<f32>(65504.0));
}

// Four numbers, packed into two words.
fn from_halves(x: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(x.x), unpack2x16float(x.y));
}

fn to_halves(x: vec4<f32>) -> vec2<u32> {
    let y = in_range(x);
    return vec2<u32>(pack2x16float(y.xy), pack2x16float(y.zw));
}
