//! A network whose sizes all differ from the released ones.

use std::collections::BTreeMap;

use glam::Vec3;
use gpavatar::reference::Tensor;
use gpavatar::reference::exact::Exact;
use gpavatar::reference::pipeline::{build, prepare};
use gpavatar::reference::style_unet;
use gpavatar::{
    Avatar, Camera, Drive, Model, ModelConfig, PointWeighting, SyntheticRules, Weights,
};

use crate::common::tiny::{self, Picture, gpu, planes};
use crate::common::{Within, difference};

/// The sizes of a network that was trained to be shipped: all differ from the released ones.
#[test]
fn a_small_trained_networks_sizes() {
    let channels = |widths: &[u32]| -> BTreeMap<u32, u32> {
        let resolutions = (2..).map(|log| 1 << log);
        resolutions.zip(widths.iter().copied()).collect()
    };
    let encoder = channels(&[64, 64, 48, 32, 24, 8]);
    let super_resolver = channels(&[48, 48, 48, 32, 24, 12]);
    let doubled = |table: &BTreeMap<u32, u32>| table.iter().map(|(r, c)| (*r, 2 * c)).collect();
    let config = ModelConfig {
        source_size: 128,
        plane_size: 64,
        plane_channels: 16,
        points: 1024,
        neighbours: 4,
        point_feature: 32,
        point_hidden: 32,
        point_output: 32,
        feature_hidden: 64,
        rgb_hidden: 32,
        coarse_samples: 12,
        fine_samples: 12,
        low_res_size: 48,
        low_res_channels: 16,
        output_size: 128,
        style_size: 128,
        style_layers: 4,
        encoder_decoder_channels: doubled(&encoder),
        super_resolver_decoder_channels: doubled(&super_resolver),
        encoder_channels: encoder,
        super_resolver_channels: super_resolver,
        point_weighting: PointWeighting::Paper,
        ..ModelConfig::default()
    };
    let weights = || {
        let rules = SyntheticRules::new(&config).unwrap();
        Weights::synthetic(config.clone(), 2, rules).unwrap()
    };
    let picture = tiny::picture(128, 128, 0);
    let points = tiny::points(1024);
    let camera = Camera::orbit(10.0, 5.0, 20.0);

    let source = prepare(&config, &picture).unwrap();
    let noise = style_unet::Noise::Stored;
    let expected_planes = build(&weights(), &[source], noise).unwrap().fused;
    let given: Vec<Vec3> = points.iter().map(|p| Vec3::from(*p)).collect();
    let model = Model::new(gpu(), weights()).unwrap();
    let avatar = Avatar::from_images(&model, &[picture]).unwrap();
    let found_planes = Tensor::new(expected_planes.shape.clone(), planes(&avatar));
    // Without rounding, from the same planes: single rays magnify what planes differ by.
    let expected = Exact::new(&weights(), &found_planes, &given, &camera).unwrap();

    difference("planes", &planes(&avatar), &expected_planes.data).all_within_range(3e-5);
    let found = Picture::render(&avatar, &Drive::points(points).camera(camera));
    difference("low_res", &found.low_res, &expected.low_res.data)
        .within_range(1e-4, 1e-3)
        .all_within_range(1e-2);
    difference("depth", &found.depth, &expected.depth.data).within(1e-3, 1e-3);
    let image = difference("image", &found.image, &expected.image.data);
    image.within(1e-4, 1e-3).all_within(1e-3);
}
