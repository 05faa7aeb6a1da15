use super::*;
use crate::config::ModelConfig;
use crate::weights::tests::tiny_weights;

/// Values in [-1, 1) that differ from everything the weights hold.
fn random(name: &str, count: usize) -> Vec<f64> {
    let values = crate::weights::synthetic::uniform(99, name);
    values.take(count).map(f64::from).collect()
}

/// `layer` evaluated in 64-bit floats, and a bound on how far rounding its weights to 32 bits
/// can move each output.
fn evaluate(weight: &[f32], bias: &[f32], input: &[f64]) -> Vec<(f64, f64)> {
    let rows = weight.chunks_exact(input.len());
    rows.enumerate()
        .map(|(i, row)| {
            let bias = bias.get(i).map_or(0.0, |&bias| f64::from(bias));
            let products = row.iter().zip(input).map(|(&w, x)| f64::from(w) * x);
            let (sum, size) = products.fold((bias, bias.abs()), |(sum, size), product| {
                (sum + product, size + product.abs())
            });
            // Half a unit in the last of 24 places.
            (sum, size * f64::powi(2.0, -24))
        })
        .collect()
}

fn values(outputs: &[(f64, f64)]) -> Vec<f64> {
    outputs.iter().map(|(value, _)| *value).collect()
}

#[track_caller]
fn assert_within(found: &[(f64, f64)], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (i, ((found, bound), expected)) in found.iter().zip(expected).enumerate() {
        // The sums themselves, in 64 bits, are good to 2^-29 of the bound.
        let bound = bound * (1.0 + f64::powi(2.0, -20));
        let close = (found - expected).abs() <= bound;
        assert!(
            close,
            "output {i}: expected {expected} ± {bound:e}, found {found}"
        );
    }
}

#[test]
fn last_feature_layer_folds_into_density_and_colour() {
    let weights = tiny_weights();
    let config = weights.config();
    let folded = RadianceWeights::new(&weights).unwrap();
    let hidden = random("hidden", config.feature_hidden as usize);
    let view = random("view", ModelConfig::HARMONICS as usize);

    let layer = |name: &str| Linear::read(&weights, name).unwrap();
    let last = layer("nerf_mlp.feature_layers.4");
    let feature = values(&evaluate(&last.weight, &last.bias, &hidden));

    let density = layer("nerf_mlp.density_layers.0");
    assert_within(
        &evaluate(&folded.density.weight, &folded.density.bias, &hidden),
        &values(&evaluate(&density.weight, &density.bias, &feature)),
    );

    let rgb = layer("nerf_mlp.rgb_layers.0");
    let viewed = [hidden, view.clone()].concat();
    let folded_rgb = join(&folded.rgb_0, &folded.view_layer, view.len());
    assert_within(
        &evaluate(&folded_rgb, &folded.rgb_0.bias, &viewed),
        &values(&evaluate(&rgb.weight, &rgb.bias, &[feature, view].concat())),
    );
}

/// The weight of a layer that `split` cut, whole again.
fn join(first: &Linear, rest: &[f32], columns: usize) -> Vec<f32> {
    let rows = first.rows().zip(rest.chunks_exact(columns));
    rows.flat_map(|(first, rest)| [first, rest].concat())
        .collect()
}

#[test]
fn vertex_table_and_offset_layer_are_the_first_point_layer() {
    let weights = tiny_weights();
    let config = weights.config();
    let folded = RadianceWeights::new(&weights).unwrap();
    let harmonics = random("harmonics", ModelConfig::HARMONICS as usize);

    let layer = Linear::read(&weights, "nerf_mlp.points_querier.point_layers.0").unwrap();
    let features = weights.f32("nerf_mlp.points_querier.points_feature.weight");
    let features = features.unwrap();
    let features = features.chunks_exact(config.point_feature as usize);
    let hidden = config.point_hidden as usize;
    let table = folded.vertex_table.chunks_exact(hidden);
    assert_eq!(table.len(), config.points as usize);
    for (feature, table) in features.zip(table) {
        let feature = feature.iter().copied().map(f64::from);
        let input: Vec<f64> = feature.chain(harmonics.iter().copied()).collect();
        assert_within(
            &evaluate(&folded.offset_layer, table, &harmonics),
            &values(&evaluate(&layer.weight, &layer.bias, &input)),
        );
    }
}

#[test]
fn other_layers_stay_as_they_are() {
    let weights = tiny_weights();
    let folded = RadianceWeights::new(&weights).unwrap();
    for (name, layer) in [
        ("points_querier.point_layers.2", &folded.point_out),
        ("feature_layers.0", &folded.feature_0),
        ("feature_layers.2", &folded.feature_1),
        ("rgb_layers.2", &folded.rgb_1),
    ] {
        let expected = Linear::read(&weights, &format!("nerf_mlp.{name}")).unwrap();
        assert_eq!(*layer, expected);
    }
}

#[test]
fn squared_sums_demodulate_without_touching_the_weights() {
    let weights = tiny_weights();
    let name = "up_renderer.stylegan_decoder.style_convs.0.modulated_conv.weight";
    let &[1, out, input, 3, 3] = weights.shape(name).unwrap() else {
        panic!("a modulated 3x3 convolution");
    };
    let style = random("style", input);
    let sums = squared_sums(&weights, name).unwrap();
    assert_eq!(sums.len(), out * input);
    let squares: Vec<f64> = style.iter().map(|s| s * s).collect();

    let weight = weights.f32(name).unwrap();
    let scaled = weight.chunks_exact(input * 9).map(|filter| {
        let kernels = filter.chunks_exact(9).zip(&style);
        let scaled = kernels.flat_map(|(kernel, s)| kernel.iter().map(move |&w| f64::from(w) * s));
        scaled.map(|w| w * w).sum::<f64>()
    });
    assert_within(&evaluate(&sums, &[], &squares), &scaled.collect::<Vec<_>>());
}

#[test]
fn squared_sums_want_a_modulated_convolution() {
    let weights = tiny_weights();
    for name in ["style_tplane.final_conv.weight", "no such tensor"] {
        let error = squared_sums(&weights, name).unwrap_err();
        assert!(matches!(error, Error::Tensors { .. }), "{error}");
    }
}
