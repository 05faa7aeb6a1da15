use super::{RenderInput, Renderer};
use crate::camera::Camera;
use crate::clusters::members;
use crate::config::{ModelConfig, PointWeighting};
use crate::drive::Drive;
use crate::gpu::{Gpu, ProgramBuilder, Resource, Tuner};
use crate::options::{Precision, RenderOptions, Tuning};
use crate::stage::testing::{gpu, input, random, read, read_values, software, subgroups};
use crate::weights::tests::tiny_weights;
use crate::weights::{SyntheticRules, Weights};

fn weights(point_weighting: PointWeighting) -> Weights {
    let config = ModelConfig {
        point_weighting,
        low_res_size: 8,
        coarse_samples: 12,
        fine_samples: 12,
        ..tiny_weights().config().clone()
    };
    let mut rules = SyntheticRules::new(&config).unwrap();
    // Neither empty nor solid.
    rules.set_offset("nerf_mlp.density_layers.0.bias", 0.5);
    Weights::synthetic(config, 9, rules).unwrap()
}

/// Bits of picture, low-resolution image and depth from each camera.
fn render(b: ProgramBuilder<'_>, weights: &Weights, cameras: &[Camera]) -> Vec<Vec<u32>> {
    let gpu = b.gpu();
    let config = weights.config();
    let tuner = Tuner::new(gpu, &Tuning::Estimate).unwrap();
    let renderer = Renderer::plan(b, &tuner, weights, None, Precision::F32).unwrap();
    let points = random(1, "points", 3 * config.points as usize);
    let points = points.as_chunks::<3>().0.to_vec();
    let texels = 3 * config.plane_channels * config.plane_size * config.plane_size;
    let planes = input(gpu, &random(1, "planes", texels as usize));
    let members = input(gpu, &members(&points));
    let resources = [("planes", &planes), ("members", &members)];
    let resources = resources.map(|(name, tensor)| (name, Resource::Tensor(tensor)));
    let avatar = renderer.program.bind(gpu, &resources);
    let slot = renderer.slot(gpu).unwrap();
    let picture = |camera: &Camera| {
        let drive = Drive::points(points.clone()).camera(*camera);
        let frame = RenderInput::new(&drive, config.points, None, &[]).unwrap();
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        let options = RenderOptions::default();
        let bindings = (&avatar, &*slot);
        (renderer.record(gpu, &mut encoder, &frame, bindings, &options, None)).unwrap();
        renderer.keep(&mut encoder, &slot);
        gpu.queue().submit([encoder.finish()]);
        let image = read_values(gpu, &slot.image);
        assert!(image.iter().all(|value| value.is_finite()));
        let results = [&slot.image, &slot.low_res, &slot.depth];
        results.map(|tensor| read(gpu, tensor)).concat()
    };
    cameras.iter().map(picture).collect()
}

#[test]
fn what_is_left_out_of_empty_space_changes_no_picture() {
    let cameras = [
        Camera::orbit(10.0, 10.0, 25.0),
        // Most rays miss the cube, some close to its edges.
        Camera::orbit(16.0, 20.0, 45.0),
        Camera::orbit(60.0, 0.0, 0.0),
    ];
    let devices: [&Gpu; 3] = [gpu(), software(), subgroups()];
    for gpu in devices {
        for weighting in [PointWeighting::Paper, PointWeighting::Released] {
            let weights = weights(weighting);
            let builder = || ProgramBuilder::new(gpu, Precision::F32.field());
            let left_out = render(builder(), &weights, &cameras);
            let whole = render(builder().whole(), &weights, &cameras);
            assert!(left_out == whole, "{:?}, {weighting:?}", gpu.kind());
        }
    }
}
