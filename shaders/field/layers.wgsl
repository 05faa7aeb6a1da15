#define_import_path gpavatar::radiance_layers

// The radiance kernels' multi-layer perceptron: its layers, and how its outputs are stored.

#import gpavatar::activation::{sigmoid_wide, softplus, opacity_of_density}
#import gpavatar::cube::in_cube
#import gpavatar::radiance_inputs::{field, values, weight}
#import gpavatar::samples::{march, rays}
#import gpavatar::values::packed_values

// A layer: offset of its matrix, which its bias follows; inputs and outputs in vec4s.
struct Layer {
    matrix: u32,
    inputs: u32,
    outputs: u32,
}

// In the order in which they run.
const POINT_OUT = 0u;
const FEATURE_IN = 1u;
const FEATURE_OUT = 2u;
const RGB_IN = 3u;
const RGB_OUT = 4u;
const LAYERS = 5u;

fn layer(i: u32) -> Layer {
    let features = field.feature_hidden;
    switch i {
        case POINT_OUT: {
            return Layer(field.point_out, field.point_hidden, field.point_output);
        }
        case FEATURE_IN: {
            return Layer(field.feature_in, field.plane_channels + field.point_output, features);
        }
        case FEATURE_OUT: {
            return Layer(field.feature_out, features, features);
        }
        case RGB_IN: {
            return Layer(field.rgb_in, features, field.rgb_hidden);
        }
        default: {
            return Layer(field.rgb_out, field.rgb_hidden, march.channels);
        }
    }
}

// Offset of a layer's bias.
fn bias_at(l: Layer) -> u32 {
    return l.matrix + l.inputs * l.outputs * 4u;
}

fn ray_of(sample: u32) -> u32 {
    return min(sample, field.count - 1u) / field.samples;
}

// The viewing direction's half of the first colour layer, computed once per ray; outputs 4o..4o+4.
fn view(ray: u32, o: u32) -> vec4<f32> {
    return rays[ray * march.stride + 1u + o];
}

// The density's bias, and the contribution of the features 4k..4k+4.
fn density_bias() -> f32 {
    return weight(field.density + field.feature_hidden).x;
}

fn density_of(k: u32, features: vec4<f32>) -> f32 {
    return dot(weight(field.density + k), features);
}

fn opacity_of(density: f32, at: vec3<f32>) -> f32 {
    return select(0.0, opacity_of_density(softplus(density)), in_cube(at));
}

// Stores values 4o..4o+4 of a sample; the first three are colours.
fn emit(value: vec4<f32>, sample: u32, o: u32) {
    if sample >= field.count {
        return;
    }
    var result = value;
    if o == 0u {
        result = vec4<f32>(sigmoid_wide(value).xyz, value.w);
    }
    values[sample * march.channels + o] = packed_values(result);
}
