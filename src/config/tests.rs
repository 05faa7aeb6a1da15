use super::*;

/// The sizes of the small golden cases.
fn small() -> ModelConfig {
    ModelConfig {
        source_size: 64,
        plane_size: 32,
        points: 300,
        low_res_size: 16,
        coarse_samples: 8,
        fine_samples: 8,
        output_size: 64,
        ..ModelConfig::default()
    }
}

#[track_caller]
fn problems(config: &ModelConfig) -> Vec<String> {
    match config.validate() {
        Err(Error::Config { problems }) => problems,
        other => panic!("expected Error::Config, found {other:?}"),
    }
}

#[test]
fn tensors_are_those_of_the_checkpoint() {
    let released = include_str!("../../tests/golden/checkpoint_released.tsv");
    let small_released = include_str!("../../tests/golden/checkpoint_small_released.tsv");
    for (config, table) in [
        (ModelConfig::default(), released),
        (small(), small_released),
    ] {
        let name_and_shape = |line: &str| line.split('\t').take(2).collect::<Vec<_>>().join(" ");
        let expected: Vec<String> = table.lines().skip(1).map(name_and_shape).collect();
        let described = |spec: &TensorSpec| {
            let shape: Vec<String> = spec.shape.iter().map(usize::to_string).collect();
            format!("{} {}", spec.name, shape.join("x"))
        };
        let found: Vec<String> = config.tensors().unwrap().iter().map(described).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn only_the_unused_image_branch_is_optional() {
    for spec in ModelConfig::default().tensors().unwrap() {
        assert_eq!(spec.required, !spec.name.contains(".toRGB."), "{spec:?}");
    }
}

#[test]
fn equal_source_and_plane_sizes_drop_the_first_block() {
    let config = ModelConfig {
        source_size: 32,
        ..small()
    };
    let tensors = config.tensors().unwrap().into_iter();
    let names: Vec<String> = tensors.map(|tensor| tensor.name).collect();
    assert!(names.contains(&"style_tplane.conv_body_first.weight".into()));
    let is_second = |name: &String| name.starts_with("style_tplane.conv_body_first.1");
    assert!(!names.iter().any(is_second));
}

#[test]
fn every_problem_is_reported_at_once() {
    let zero = ModelConfig {
        source_size: 0,
        plane_size: 0,
        plane_channels: 0,
        points: 0,
        neighbours: 0,
        point_feature: 0,
        point_hidden: 0,
        point_output: 0,
        feature_hidden: 0,
        rgb_hidden: 0,
        coarse_samples: 0,
        fine_samples: 0,
        low_res_size: 0,
        low_res_channels: 0,
        output_size: 0,
        style_size: 0,
        style_layers: 0,
        encoder_channels: BTreeMap::from([(0, 4)]),
        super_resolver_channels: BTreeMap::from([(4, 0)]),
        encoder_decoder_channels: BTreeMap::from([(6, 4)]),
        super_resolver_decoder_channels: BTreeMap::from([(4, 6)]),
        focal: 0.0,
        ..ModelConfig::default()
    };
    let lines = problems(&zero);
    let json = serde_json::to_value(&zero).unwrap();
    for field in json.as_object().unwrap().keys() {
        // 0 points satisfy a minimum of 0 neighbours, and every variant of an enum is valid.
        let blameless = ["points", "point_weighting", "attention"].contains(&field.as_str());
        let blamed = lines.iter().any(|line| line.starts_with(field));
        assert_ne!(blamed, blameless, "{field} in {lines:#?}");
    }
}

#[test]
fn extreme_sizes_are_refused_without_overflow() {
    let most = u32::MAX;
    let config = ModelConfig {
        source_size: 1 << 31,
        plane_size: 1 << 31,
        plane_channels: most,
        points: most,
        neighbours: most,
        point_feature: most,
        point_hidden: most,
        point_output: most,
        low_res_size: most,
        coarse_samples: most,
        style_layers: most,
        focal: f32::NAN,
        ..ModelConfig::default()
    };
    assert!(config.tensors().is_err());
    assert!(problems(&config).len() > 10);
    assert_eq!(config.encoder().levels(), 29);
}

#[test]
fn tensors_too_large_to_address_are_refused() {
    let config = ModelConfig {
        low_res_size: 512,
        coarse_samples: 128,
        fine_samples: 128,
        ..ModelConfig::default()
    };
    let expected =
        "radiance values of all samples: expected fewer than 2^30 elements, found 2147483648";
    assert_eq!(problems(&config), [expected]);
}

#[test]
fn missing_channels_are_named() {
    let mut config = ModelConfig::default();
    config.encoder_channels.remove(&512);
    let expected = "encoder_channels: expected an entry for resolution 512, found none";
    assert_eq!(problems(&config), [expected]);
    assert_eq!(config.encoder().channels_at(512), 0);
    config.source_size = 256;
    config.validate().unwrap();
}

#[test]
fn json_takes_defaults_and_refuses_unknown_fields() {
    let parse = serde_json::from_str::<ModelConfig>;
    assert_eq!(parse("{}").unwrap(), ModelConfig::default());
    let config = ModelConfig {
        attention: Attention::Ratio,
        point_weighting: PointWeighting::Paper,
        ..small()
    };
    let json = serde_json::to_string(&config).unwrap();
    assert!(json.contains(r#""attention":"ratio""#), "{json}");
    assert_eq!(parse(&json).unwrap(), config);
    let error = parse(r#"{"neighbors": 8}"#).unwrap_err().to_string();
    assert!(error.contains("neighbors"), "{error}");
}
