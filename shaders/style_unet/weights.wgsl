#define_import_path gpavatar::network_weights

// Four weights of a network as they are stored: in 32 bits or, with WEIGHTS_SNORM16, as integers of 16
// bits in units of 1/32767. Sums of products with these are in units of their output's quantisation
// scale, the largest of its weights: up to 16 times as precise as halves.

#ifdef WEIGHTS_SNORM16
struct StoredWeights {
    v: vec2<u32>,
}

fn unpacked_weights(x: StoredWeights) -> vec4<f32> {
    return vec4<f32>(unpack2x16snorm(x.v.x), unpack2x16snorm(x.v.y));
}
#else
struct StoredWeights {
    v: vec4<f32>,
}

fn unpacked_weights(x: StoredWeights) -> vec4<f32> {
    return x.v;
}
#endif
