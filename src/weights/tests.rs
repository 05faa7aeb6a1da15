use super::*;
use crate::config::{Attention, PointWeighting};
use crate::error::refused;

/// Weights of a model that is as small as the sizes allow.
pub(crate) fn tiny_weights() -> Weights {
    let config = ModelConfig {
        source_size: 16,
        plane_size: 8,
        plane_channels: 4,
        points: 5,
        neighbours: 3,
        point_feature: 7,
        point_hidden: 16,
        point_output: 8,
        feature_hidden: 24,
        rgb_hidden: 16,
        low_res_size: 4,
        low_res_channels: 8,
        output_size: 8,
        style_size: 12,
        style_layers: 2,
        encoder_channels: BTreeMap::from([(4, 8), (8, 4), (16, 4)]),
        super_resolver_channels: BTreeMap::from([(4, 8), (8, 4)]),
        encoder_decoder_channels: BTreeMap::from([(4, 12), (8, 8)]),
        super_resolver_decoder_channels: BTreeMap::from([(4, 8), (8, 4)]),
        attention: Attention::Ratio,
        point_weighting: PointWeighting::Paper,
        ..ModelConfig::default()
    };
    let rules = SyntheticRules::new(&config).unwrap();
    Weights::synthetic(config, 3, rules).unwrap()
}

fn reopen(writer: TensorWriter) -> Result<Weights> {
    Weights::from_bytes(writer.into_bytes().unwrap())
}

/// The problems that a result is refused for.
#[track_caller]
pub(crate) fn problems<T: std::fmt::Debug>(result: Result<T>) -> Vec<String> {
    match result {
        Err(Error::Tensors { problems, .. }) => problems,
        other => panic!("expected Error::Tensors, found {other:?}"),
    }
}

#[test]
fn a_file_holds_the_weights_it_was_written_from() {
    let made = tiny_weights();
    for (format, round) in [
        (FloatFormat::F32, (|x| x) as fn(f32) -> f32),
        (FloatFormat::F16, |x| half::f16::from_f32(x).to_f32()),
        (FloatFormat::Bf16, |x| half::bf16::from_f32(x).to_f32()),
    ] {
        let read = reopen(made.writer(format).unwrap()).unwrap();
        assert_eq!(read.config(), made.config());
        for spec in made.config().tensors().unwrap() {
            let name = &spec.name;
            let rounded: Vec<f32> = made.f32(name).unwrap().iter().map(|&x| round(x)).collect();
            let values = read.f32(name).unwrap();
            assert_eq!(values, rounded, "{name} as {format:?}");
            assert_eq!(read.shape(name).unwrap(), spec.shape);
            // Allocators align more than bytes need it.
            let borrowed = matches!(values, Cow::Borrowed(_));
            assert_eq!(borrowed, format == FloatFormat::F32, "{name} as {format:?}");
        }
    }
}

#[test]
fn metadata_and_head_model_survive_another_writing() {
    let made = tiny_weights();
    let mut writer = made.writer(FloatFormat::F16).unwrap();
    writer.metadata.insert("licence".into(), "CC0-1.0".into());
    writer.ints("head_model.parents", &[3], &[-1, 0, 1]);
    let nan = || Ok(vec![f32::NAN].into());
    writer.floats("head_model.unchecked", &[1], FloatFormat::F32, nan);
    let once = reopen(writer).unwrap();
    let twice = reopen(once.writer(FloatFormat::F32).unwrap()).unwrap();
    let file = twice.file().unwrap();
    assert_eq!(file.metadata()["licence"], "CC0-1.0");
    let parents = file.i64("head_model.parents").unwrap();
    assert_eq!(*parents, [-1, 0, 1]);
    assert!(file.f32("head_model.unchecked").unwrap()[0].is_nan());
}

#[test]
fn tensors_that_nothing_reads_may_be_missing() {
    let made = tiny_weights();
    let mut writer = made.writer(FloatFormat::F16).unwrap();
    let all = writer.tensors.len();
    writer.tensors.retain(|name, _| !name.contains(".toRGB."));
    assert!(writer.tensors.len() < all);
    let weights = reopen(writer).unwrap();
    assert!(weights.f32("style_tplane.toRGB.0.weight").is_err());
    let again = weights.writer(FloatFormat::F16).unwrap();
    assert_eq!(again.tensors.len(), all - 4);
}

#[test]
fn a_configuration_is_needed_and_checked() {
    let made = tiny_weights();
    let opened = |config: Option<&str>| {
        let mut writer = made.writer(FloatFormat::F16).unwrap();
        writer.metadata.remove(CONFIG);
        let config = config.map(|json| (CONFIG.into(), json.into()));
        writer.metadata.extend(config);
        reopen(writer)
    };
    for config in [
        None,
        Some("{"),
        Some(r#"{"neighbors": 8}"#),
        Some(r#"{"points": -1}"#),
    ] {
        refused!(opened(config), Format);
    }
    refused!(opened(Some("{\"neighbours\": 9}")), Config);
    // The released sizes are a valid configuration, but not that of these tensors.
    assert!(problems(opened(Some("{}"))).len() > 500);
}

#[test]
fn rules_must_fit_the_configuration() {
    let config = tiny_weights().config().clone();
    let other = SyntheticRules::new(&ModelConfig::default()).unwrap();
    assert!(problems(Weights::synthetic(config, 0, other)).len() > 500);
}

#[test]
fn every_tensor_problem_is_reported_at_once() {
    let made = tiny_weights();
    let floats = |writer: &mut TensorWriter, name: &str, values: Vec<f32>| {
        let shape = [values.len()];
        writer.floats(name, &shape, FloatFormat::F32, || Ok(values.into()));
    };
    let mut writer = made.writer(FloatFormat::F16).unwrap();
    floats(&mut writer, "nerf_mlp.surprise", vec![0.0; 2]);
    floats(&mut writer, "attn_module.scale", vec![0.0; 2]);
    let nan = vec![f32::NAN];
    floats(&mut writer, "nerf_mlp.density_layers.0.bias", nan);
    writer.ints("up_renderer.final_linear.bias", &[12], &[0; 12]);
    writer.tensors.remove("up_renderer.final_conv.bias");
    assert_eq!(
        problems(reopen(writer)),
        [
            "up_renderer.final_conv.bias: expected shape [8], found nothing",
            "attn_module.scale: expected shape [1], found [2]",
            "nerf_mlp.surprise: expected no such tensor, found shape [2]",
            "nerf_mlp.density_layers.0.bias: expected finite values, \
                 found NaN or infinity at element 0",
            "up_renderer.final_linear.bias: expected type F16, BF16, F32 or F64, found I32",
        ]
    );
}
