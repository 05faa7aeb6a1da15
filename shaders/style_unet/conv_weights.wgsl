#define_import_path gpavatar::conv_weights

// A convolution's weights, and the values that they multiply.

#import gpavatar::network_weights::{StoredWeights, unpacked_weights}

// 3 or 1.
override KERNEL_SIZE: u32 = 3u;

@group(0) @binding(3) var<storage, read> weights: array<StoredWeights>; // [o/8][tap][c][8]

fn weight(at: u32) -> vec4<f32> {
    return unpacked_weights(weights[at]);
}

// The 4x4 block of weights at vec4 `at`: four input channels, eight output channels apart.
fn block(at: u32) -> mat4x4<f32> {
    return mat4x4<f32>(weight(at), weight(at + 2u), weight(at + 4u), weight(at + 6u));
}
