// The radiance field at a pass' samples by threads that share nothing: no workgroup memory, no
// barriers. For software adapters without wide subgroups.
//
// A thread owns four consecutive samples and loads every weight once for all of them. Threads are along
// x and then y of the dispatch. Error: that of `radiance`.

#import gpavatar::cube::in_cube
#import gpavatar::grid::{Thread, group_index}
#import gpavatar::radiance_inputs::{
    GLOBAL_WEIGHTS, SKIP_EMPTY, field, opacities, weight, four_weights, position,
    planes_around, plane_features, points_around, point_features,
}
#import gpavatar::radiance_layers::{
    POINT_OUT, FEATURE_IN, RGB_IN, RGB_OUT, LAYERS, layer, bias_at,
    ray_of, view, density_bias, opacity_of, emit,
}
#import gpavatar::tile::relu
#import gpavatar::values::NEGLIGIBLE

const THREADS = 32u;
// Samples of a thread: the columns of its matrices.
const SAMPLES = 4u;

// Inputs and outputs of a layer, four channels of each sample in a row.
var<private> inputs: array<mat4x4<f32>, 32>;
var<private> outputs: array<mat4x4<f32>, 32>;

fn filled(value: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(value, value, value, value);
}

// The planes' features, then the weighted hidden features of all neighbours. Returns the sum of weights.
fn gather(at: vec3<f32>, sample: u32, s: u32) -> f32 {
    let planes = planes_around(at);
    for (var c = 0u; c < field.plane_channels; c++) {
        inputs[c][s] = plane_features(planes, c);
    }
    let points = points_around(at, sample);
    let scale = select(1.0 / points.weight, 1.0, GLOBAL_WEIGHTS == 1u);
    for (var c = 0u; c < field.point_hidden; c += 4u) {
        let hidden = scale * point_features(points, c);
        let first = field.plane_channels + c;
        inputs[first][s] = hidden[0];
        inputs[first + 1u][s] = hidden[1];
        inputs[first + 2u][s] = hidden[2];
        inputs[first + 3u][s] = hidden[3];
    }
    return select(1.0, points.weight, GLOBAL_WEIGHTS == 1u);
}

// What a layer adds to its products: the bias, times the sum of weights in the second point layer, which
// runs on a weighted sum; and the viewing direction's half of the first colour layer.
fn start(i: u32, bias: vec4<f32>, sums: vec4<f32>, sample: u32, o: u32) -> mat4x4<f32> {
    if i == POINT_OUT {
        return mat4x4<f32>(bias * sums.x, bias * sums.y, bias * sums.z, bias * sums.w);
    }
    if i == RGB_IN {
        return filled(bias) + mat4x4<f32>(
            view(ray_of(sample), o), view(ray_of(sample + 1u), o),
            view(ray_of(sample + 2u), o), view(ray_of(sample + 3u), o),
        );
    }
    return filled(bias);
}

@compute @workgroup_size(THREADS)
fn main(own: Thread) {
    let first = (group_index(own) * THREADS + own.local) * SAMPLES;
    if first >= field.count {
        return;
    }
    let own_samples = min(SAMPLES, field.count - first);
    var opaque = SKIP_EMPTY == 0u;
    for (var s = 0u; s < own_samples; s++) {
        opaque = opaque || in_cube(position(first + s));
    }
    if !opaque {
        for (var s = 0u; s < own_samples; s++) {
            opacities[first + s] = 0.0;
        }
        return;
    }
    var sums = vec4<f32>();
    for (var s = 0u; s < SAMPLES; s++) {
        let sample = min(first + s, field.count - 1u);
        sums[s] = gather(position(sample), sample, s);
    }
    for (var i = POINT_OUT; i < LAYERS; i++) {
        if i == RGB_IN {
            var density = vec4<f32>(density_bias());
            for (var k = 0u; k < field.feature_hidden; k++) {
                density += weight(field.density + k) * inputs[k];
            }
            opaque = SKIP_EMPTY == 0u;
            for (var s = 0u; s < own_samples; s++) {
                let opacity = opacity_of(density[s], position(first + s));
                opacities[first + s] = opacity;
                opaque = opaque || opacity > NEGLIGIBLE;
            }
            if !opaque {
                return;
            }
        }
        let l = layer(i);
        let begin = select(0u, field.plane_channels, i == POINT_OUT);
        for (var o = 0u; o < l.outputs; o += 2u) {
            // The last one alone is computed twice.
            let p = min(o + 1u, l.outputs - 1u);
            var low = start(i, weight(bias_at(l) + o), sums, first, o);
            var high = start(i, weight(bias_at(l) + p), sums, first, p);
            for (var k = 0u; k < l.inputs; k++) {
                let at = l.matrix + k * l.outputs * 4u;
                let values = inputs[begin + k];
                low += four_weights(at + o * 4u) * values;
                high += four_weights(at + p * 4u) * values;
            }
            outputs[o] = low;
            outputs[p] = high;
        }
        for (var o = 0u; o < l.outputs; o++) {
            var result = outputs[o];
            if i >= FEATURE_IN && i <= RGB_IN {
                result = relu(result);
            }
            inputs[begin + o] = result;
            for (var s = 0u; i == RGB_OUT && s < SAMPLES; s++) {
                emit(result[s], first + s, o);
            }
        }
    }
}
