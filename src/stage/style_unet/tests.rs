//! The network's kernels and the stage that plans them, against their scalar twins.

mod conv;
mod maps;
mod noise;
mod style;

use conv::{ConvCase, LAYERS, convolve, one_of_each_kernel};
use maps::{convert_and_back, resize, sum};
use noise::generate_noise;
use style::{demodulate, multiply};

use super::*;
use crate::gpu::kernels::params;
use crate::gpu::{Gpu, Tuner};
use crate::options::{Format, Formats, Precision, Tuning};
use crate::reference::style_unet as twin;
use crate::stage::style_unet::conv::{Structure, Variant};
use crate::stage::testing::*;
use crate::weights::tests::tiny_weights;

/// One call of each kernel.
pub(in crate::stage) fn examples(gpu: &Gpu) {
    for formats in network_formats() {
        let case = ConvCase {
            seed: 1,
            size: [10, 18],
            inputs: 12,
            outputs: 20,
            kernel_size: 3,
            upsampled: false,
            formats,
        };
        for variant in one_of_each_kernel(gpu, formats) {
            for upsampled in [false, true] {
                convolve(gpu, ConvCase { upsampled, ..case }, LAYERS[5], variant);
            }
        }
        let case = ConvCase {
            kernel_size: 1,
            ..case
        };
        convolve(gpu, case, LAYERS[5], Variant::Direct(Structure::Register));
        multiply(gpu, formats.weights, 4, [13, 36], true, true);
        demodulate(gpu, formats.weights, 5, &[(6, 20), (5, 3)]);
    }
    for format in [Format::F32, Format::F16] {
        resize(gpu, format, 2, [[5, 9], [12, 7]], 6, true);
        sum(gpu, format, 3, 301, [2, 3, 1]);
        convert_and_back(gpu, format, 5, 301);
    }
    generate_noise(gpu, 100, [1, 2]);
}

/// The stage itself, from weights with the checkpoint's names.
#[test]
fn the_stage_plans_what_the_twin_computes() {
    let weights = tiny_weights();
    let config = weights.config();
    // Both ways to begin: halving a picture, and enlarging the low-resolution image.
    for (network, size) in [
        (config.encoder(), config.source_size),
        (config.super_resolver(), config.low_res_size),
    ] {
        let shape = [size as usize, size as usize, network.in_channels as usize];
        let picture = random_map(8, network.prefix, shape);
        let runs = [
            (twin::Noise::Stored, 1.0, Formats::F32),
            (twin::Noise::Zero, 0.0, Formats::F32),
            (twin::Noise::Stored, 1.0, Precision::Mixed.encoder()),
            (twin::Noise::Stored, 1.0, Precision::Mixed.super_resolver()),
            (twin::Noise::Stored, 1.0, Precision::F16.super_resolver()),
        ];
        for (noise, noise_gain, formats) in runs {
            let expected = twin::style_unet(&weights, &network, &picture, noise).unwrap();
            let devices = [gpu(), software(), subgroups()];
            for gpu in devices.into_iter().chain(matrices()) {
                let tuner = Tuner::new(gpu, &Tuning::Estimate).unwrap();
                let net = StyleUnet::new((gpu, &tuner), &weights, &network, formats).unwrap();
                let globals = params::Globals {
                    noise_gain,
                    ..Default::default()
                };
                let globals = Tensor::uniform(gpu, "globals", &[globals]).unwrap();
                let found = run_in(gpu, formats, &[], |b| {
                    let input = input_map(gpu, &picture);
                    net.plan(b, &input, &globals, false).unwrap()
                });
                let size = network.output;
                assert_eq!(found.shape, [size, size, network.out_channels]);
                let values = read_values(gpu, &found);
                // Some thirty layers of numbers of order one.
                let tolerance = match (formats.weights, formats.maps) {
                    (Format::F32, _) => 3e-5,
                    (_, Format::F32) => 1e-3,
                    _ => 3e-2,
                };
                assert_close(network.prefix, &values, &expected.data, |_| tolerance);
            }
        }
    }
}
