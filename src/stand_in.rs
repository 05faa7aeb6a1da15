//! A made-up network with a head, for use without weights.

use crate::head::{HeadModel, HeadModelParts};
use crate::{FloatFormat, ModelConfig, PointWeighting, Result, SyntheticRules, Weights};

/// Weights of a made-up network that renders pictures of 32 x 32 pixels in milliseconds on any
/// adapter. Its head is a ball whose lower half the expression channel `jawOpen` moves down.
///
/// For examples and tests that have no weights file: its pictures show coloured noise.
///
/// # Errors
/// None, unless memory is short.
pub fn stand_in() -> Result<Weights> {
    let config = config();
    let template = ball(config.points);
    let down = |[_, y, _]: &[f32; 3]| [0.0, if *y < 0.0 { -0.5 } else { 0.0 }, 0.0];
    let head = HeadModel::new(HeadModelParts {
        shape_basis: template.clone(),
        expression_basis: template.iter().map(down).collect(),
        channels: vec!["jawOpen".into()],
        template,
        ..HeadModelParts::default()
    })?;
    half_transparent(config, Some(&head))
}

/// Made-up weights whose field is about half transparent and varies, so that pictures show it: the
/// synthetic rules are made for wider layers, whose outputs are stronger. With a head model, if one
/// is given.
///
/// # Errors
/// Those of the configuration and of a head model that does not fit a file.
pub fn half_transparent(config: ModelConfig, head: Option<&HeadModel>) -> Result<Weights> {
    let rules = SyntheticRules::new(&config)?;
    let made = Weights::synthetic(config, 5, rules)?;
    let mut writer = made.writer(FloatFormat::F32)?;
    type Change = fn(f32) -> f32;
    let changes: [(&str, Change); 2] = [
        ("nerf_mlp.density_layers.0.weight", |w| 40.0 * w),
        ("nerf_mlp.density_layers.0.bias", |_| 0.2),
    ];
    for (name, change) in changes {
        let values: Vec<f32> = made.f32(name)?.iter().map(|w| change(*w)).collect();
        let shape = made.shape(name)?;
        writer.floats(name, shape, FloatFormat::F32, || Ok(values.into()));
    }
    if let Some(head) = head {
        head.embed(&mut writer, FloatFormat::F32);
    }
    Weights::from_bytes(writer.into_bytes()?)
}

fn config() -> ModelConfig {
    let channels = |widths: &[u32]| {
        let sizes = (2..).map(|log| 1 << log);
        sizes.zip(widths.iter().copied()).collect()
    };
    ModelConfig {
        source_size: 32,
        plane_size: 16,
        plane_channels: 8,
        points: 100,
        neighbours: 4,
        point_feature: 5,
        point_hidden: 16,
        point_output: 12,
        feature_hidden: 24,
        rgb_hidden: 16,
        coarse_samples: 8,
        fine_samples: 6,
        low_res_size: 9,
        low_res_channels: 8,
        output_size: 32,
        style_size: 20,
        style_layers: 2,
        encoder_channels: channels(&[16, 12, 8, 8]),
        super_resolver_channels: channels(&[12, 8, 8, 4]),
        encoder_decoder_channels: channels(&[16, 16, 12]),
        super_resolver_decoder_channels: channels(&[16, 12, 8, 8]),
        point_weighting: PointWeighting::Paper,
        ..ModelConfig::default()
    }
}

/// Points of a Fibonacci spiral on ten spheres, one inside the other, that fit into the cube.
pub fn ball(count: u32) -> Vec<[f32; 3]> {
    let golden_angle = std::f32::consts::PI * (3.0 - 5f32.sqrt());
    let point = |i: u32| {
        let y = 1.0 - 2.0 * (i as f32 + 0.5) / count as f32;
        let (sin, cos) = (golden_angle * i as f32).sin_cos();
        let ring = (1.0 - y * y).sqrt();
        let radius = 0.5 + 0.4 * ((i * 7) % 10) as f32 / 10.0;
        [radius * ring * cos, radius * y, radius * ring * sin]
    };
    (0..count).map(point).collect()
}
