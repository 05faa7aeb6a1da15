#define_import_path gpavatar::radiance_features

// The features of a band of samples on their way from the kernels that gather them to the multi-layer
// perceptron: [sample][plane channels, hidden channels of the points, sum of weights].

#import gpavatar::radiance_inputs::field
#import gpavatar::stored::Stored

// Offset of a sample's features in vec4s.
fn features_of(sample: u32) -> u32 {
    let width = field.plane_channels + field.point_hidden + 1u;
    return (sample - field.first) * width;
}

// A sum of weights may be too small or too large for a half: it is kept in 32 bits.
fn stored_weight(sum: f32) -> Stored {
#ifdef MAPS_F16
    return Stored(vec2<u32>(bitcast<u32>(sum), 0u));
#else
    return Stored(vec4<f32>(sum));
#endif
}

fn weight_of(x: Stored) -> f32 {
#ifdef MAPS_F16
    return bitcast<f32>(x.v.x);
#else
    return x.v.x;
#endif
}
