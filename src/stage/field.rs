//! The radiance field: opacity and values at the samples.

use super::points::{Neighbours, Points};
use super::rays::{Pass, Rays, Samples};
use crate::gpu::kernels::{field as kernels, params};
use crate::gpu::{AdapterKind, Dispatch, Gpu, KernelSource, ProgramBuilder, Tensor};
use crate::options::{Format, Formats};
use crate::weights::{fold, pack};
use crate::{ModelConfig, PointWeighting, Result, Weights};

/// The field's folded weights on the device.
pub(crate) struct Field {
    weights: Tensor,
    view: Tensor,
    /// Where each layer begins in `weights`; the rest depends on the pass.
    layout: params::Field,
    /// Multiply-adds of a sample.
    work: f64,
}

impl Field {
    pub(crate) fn new(gpu: &Gpu, weights: &Weights, formats: Formats) -> Result<Self> {
        let config = weights.config();
        let folded = fold::RadianceWeights::new(weights)?;
        let ModelConfig {
            plane_channels,
            point_hidden,
            point_output,
            feature_hidden,
            rgb_hidden,
            low_res_channels,
            ..
        } = *config;
        let mut packed = Vec::new();
        let mut append = |values: Vec<f32>| {
            let at = packed.len() as u32 / 4;
            packed.extend(values);
            at
        };
        let layer = |layer: &fold::Linear, outputs, inputs| {
            let mut values = pack::blocks(&layer.weight, outputs, inputs);
            values.extend(pack::vector(&layer.bias));
            values
        };
        let offsets = &folded.offset_layer;
        let offsets = pack::transposed(offsets, point_hidden, ModelConfig::HARMONICS);
        let inputs = plane_channels + point_output;
        let layout = params::Field {
            plane_size: config.plane_size,
            plane_channels: plane_channels / 4,
            point_hidden: point_hidden / 4,
            point_output: point_output / 4,
            feature_hidden: feature_hidden / 4,
            rgb_hidden: rgb_hidden / 4,
            vertex_table: append(folded.vertex_table),
            offset_layer: append(offsets),
            point_out: append(layer(&folded.point_out, point_output, point_hidden)),
            feature_in: append(layer(&folded.feature_0, feature_hidden, inputs)),
            feature_out: append(layer(&folded.feature_1, feature_hidden, feature_hidden)),
            density: append([folded.density.weight, pack::vector(&folded.density.bias)].concat()),
            rgb_in: append(layer(&folded.rgb_0, rgb_hidden, feature_hidden)),
            rgb_out: append(layer(&folded.rgb_1, low_res_channels, rgb_hidden)),
            ..Default::default()
        };
        let view = pack::transposed(&folded.view_layer, rgb_hidden, ModelConfig::HARMONICS);
        let work = config.neighbours * ModelConfig::HARMONICS * point_hidden
            + point_hidden * point_output
            + (inputs + feature_hidden + 1 + rgb_hidden) * feature_hidden
            + rgb_hidden * low_res_channels;
        Ok(Self {
            weights: Tensor::from_values(gpu, "radiance field", formats.weights, &packed)?,
            view: Tensor::from_slice(gpu, "view layer", &view)?,
            layout,
            work: f64::from(work),
        })
    }

    /// Bytes of all weights.
    pub(crate) fn bytes(&self) -> u64 {
        self.weights.bytes() + self.view.bytes()
    }

    /// Plans the terms that depend only on the viewing direction, once per ray.
    pub(crate) fn view(&self, b: &mut ProgramBuilder<'_>, rays: &Rays) -> Result<()> {
        b.stage("field");
        let channels = self.layout.rgb_hidden;
        let threads = rays.layout.count * channels;
        let work = f64::from(threads);
        let kernel = b.kernel(&kernels::VIEW, &[])?;
        b.dispatch(
            Dispatch::new("view directions", &kernel)
                .uniform("march", rays.layout)
                .uniform("size", params::View::from(channels))
                .bind("weights", &self.view)
                .bind("rays", &rays.tensor)
                .row_of_threads(threads)
                .cost(work * f64::from(8 * ModelConfig::HARMONICS), work * 16.0),
        );
        Ok(())
    }

    /// Plans the field at a pass' samples; the avatar's `planes` are bound later.
    pub(crate) fn radiance(
        &self,
        b: &mut ProgramBuilder<'_>,
        config: &ModelConfig,
        globals: &Tensor,
        rays: &Rays,
        pass: &Pass,
        (points, neighbours): (&Points, &Neighbours),
    ) -> Result<Samples> {
        b.stage("field");
        let count = rays.layout.count * pass.samples;
        let [height, width] = [rays.layout.count, pass.samples];
        let opacities = b.tensor("opacities", Format::F32, [height, width, 1])?;
        let samples = b.formats().samples;
        let values = b.tensor("values", samples, [height, width, config.low_res_channels])?;
        let parameters = params::Field {
            samples: pass.samples,
            count,
            weight_sums: neighbours.sums_at,
            ..self.layout
        };
        let global = config.point_weighting == PointWeighting::Released;
        let constants = [
            ("NEIGHBOURS", config.neighbours),
            ("GLOBAL_WEIGHTS", global.into()),
            ("SKIP_EMPTY", b.skips_empty().into()),
        ];
        let (source, owned) = variant(b.gpu());
        let bytes = neighbours.tensor.bytes() + opacities.bytes() + values.bytes();
        let kernel = b.kernel(source, &constants)?;
        b.dispatch(
            Dispatch::new(format!("radiance field, {}", pass.name), &kernel)
                .uniform("march", rays.layout)
                .uniform("field", parameters)
                .bind("globals", globals)
                .bind("rays", &rays.tensor)
                .bind("depths", &pass.depths)
                .bind("points", &points.positions)
                .bind("neighbours", &neighbours.tensor)
                .bind("weights", &self.weights)
                .bind("opacities", &opacities)
                .bind("values", &values)
                .row(count.div_ceil(owned))
                .cost(2.0 * self.work * f64::from(count), bytes as f64),
        );
        b.tap(format!("{}.opacities", pass.name), &opacities)?;
        b.tap(format!("{}.values", pass.name), &values)?;
        Ok(Samples { opacities, values })
    }
}

/// The kernel for a device, and its samples per workgroup.
fn variant(gpu: &Gpu) -> (&'static KernelSource, u32) {
    use kernels::{radiance, radiance_register, radiance_subgroup};
    match gpu.kind() {
        AdapterKind::Cpu if gpu.has_subgroups() => {
            use radiance_subgroup::{SAMPLES, THREADS};
            (&kernels::RADIANCE_SUBGROUP, SAMPLES * THREADS)
        }
        AdapterKind::Cpu => {
            use radiance_register::{SAMPLES, THREADS};
            (&kernels::RADIANCE_REGISTER, SAMPLES * THREADS)
        }
        AdapterKind::Gpu => (&kernels::RADIANCE, radiance::SAMPLES),
    }
}

#[cfg(test)]
pub(super) mod tests;
