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
    variant: Variant,
}

impl Field {
    pub(crate) fn new(gpu: &Gpu, weights: &Weights, formats: Formats) -> Result<Self> {
        let variant = Variant::new(gpu, formats, weights.config());
        Self::with(gpu, weights, formats, variant)
    }

    fn with(gpu: &Gpu, weights: &Weights, formats: Formats, variant: Variant) -> Result<Self> {
        let config = weights.config();
        let order = variant.order;
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
            // Matrices that are loaded as such are aligned.
            packed.resize(packed.len().next_multiple_of(64), 0.0);
            let at = packed.len() as u32 / 4;
            packed.extend(values);
            at
        };
        let layer = |layer: &fold::Linear, outputs, inputs| {
            let mut values = order.layer(&layer.weight, outputs, inputs);
            values.extend(pack::vector(&layer.bias));
            values
        };
        let offsets = order.offsets(&folded.offset_layer, point_hidden);
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
            variant,
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
        let mut constants = vec![
            ("NEIGHBOURS", config.neighbours),
            ("GLOBAL_WEIGHTS", global.into()),
            ("SKIP_EMPTY", b.skips_empty().into()),
        ];
        let variant = self.variant;
        constants.extend(variant.subgroup.map(|threads| ("SUBGROUP", threads)));
        let bytes = neighbours.tensor.bytes() + opacities.bytes() + values.bytes();
        let kernel = b.kernel(variant.source, &constants)?;
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
                .bind("matrices", &self.weights)
                .bind("opacities", &opacities)
                .bind("values", &values)
                .row(count.div_ceil(variant.samples))
                .cost(2.0 * self.work * f64::from(count), bytes as f64),
        );
        b.tap(format!("{}.opacities", pass.name), &opacities)?;
        b.tap(format!("{}.values", pass.name), &values)?;
        Ok(Samples { opacities, values })
    }
}

/// A kernel for a field.
#[derive(Clone, Copy)]
struct Variant {
    source: &'static KernelSource,
    /// Samples of a workgroup.
    samples: u32,
    order: Order,
    /// Threads of an emulated subgroup.
    subgroup: Option<u32>,
}

/// The order of a kernel's matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Four by four numbers, for kernels whose threads read whole blocks.
    Blocks,
    /// Input by input, for kernels whose threads read consecutive outputs.
    Rows,
    /// Squares with this side.
    Tiles(u32),
}

impl Order {
    /// A layer `[outputs][inputs]`.
    fn layer(self, weight: &[f32], outputs: u32, inputs: u32) -> Vec<f32> {
        match self {
            Self::Blocks => pack::blocks(weight, outputs, inputs),
            Self::Rows => pack::transposed(weight, outputs, inputs),
            Self::Tiles(side) => pack::tiles(weight, outputs, inputs, side),
        }
    }

    /// The first point layer's half for the embedded direction.
    fn offsets(self, weight: &[f32], outputs: u32) -> Vec<f32> {
        let order = match self {
            Self::Tiles(_) => self,
            _ => Self::Rows,
        };
        order.layer(weight, outputs, ModelConfig::HARMONICS)
    }
}

impl Variant {
    fn of(source: &'static KernelSource, samples: u32, order: Order) -> Self {
        Self {
            source,
            samples,
            order,
            subgroup: None,
        }
    }

    /// The kernel for a field on a device.
    fn new(gpu: &Gpu, formats: Formats, config: &ModelConfig) -> Self {
        use kernels::{radiance, radiance_subgroup, radiance_tiled};
        let matrices = gpu.matrices().filter(|side| suit(formats, config, *side));
        match (gpu.kind(), matrices) {
            (AdapterKind::Gpu, Some(side)) => match side {
                16 => Self::cooperative(&kernels::RADIANCE_COOPERATIVE_16, side),
                _ => Self::cooperative(&kernels::RADIANCE_COOPERATIVE_8, side),
            },
            (AdapterKind::Cpu, _) if gpu.has_subgroups() => {
                let samples = radiance_subgroup::SAMPLES * radiance_subgroup::THREADS;
                Self::of(&kernels::RADIANCE_SUBGROUP, samples, Order::Blocks)
            }
            (AdapterKind::Gpu, _)
                if config.point_hidden <= radiance_tiled::MOST_POINT_HIDDEN
                    && kernels::RADIANCE_TILED
                        .check(&gpu.device().limits())
                        .is_ok() =>
            {
                let samples = radiance_tiled::SAMPLES;
                Self::of(&kernels::RADIANCE_TILED, samples, Order::Rows)
            }
            _ => Self::of(&kernels::RADIANCE, radiance::SAMPLES, Order::Blocks),
        }
    }

    fn cooperative(source: &'static KernelSource, side: u32) -> Self {
        let tasks = source.workgroup_size[0] / kernels::radiance_cooperative::LANES;
        Self::of(source, tasks * 2 * side, Order::Tiles(side))
    }

    /// Emulated matrices, and subgroups of this many threads.
    #[cfg(test)]
    fn emulated(side: u32, subgroup: u32) -> Self {
        let source = match side {
            16 => &kernels::RADIANCE_COOPERATIVE_16_EMULATED,
            _ => &kernels::RADIANCE_COOPERATIVE_8_EMULATED,
        };
        Self {
            subgroup: Some(subgroup),
            ..Self::cooperative(source, side)
        }
    }
}

/// Whether a field's layers are products of square matrices of 16-bit numbers.
fn suit(formats: Formats, config: &ModelConfig, side: u32) -> bool {
    use kernels::radiance_cooperative::{EMBEDDED, MOST_POINT_HIDDEN};
    let widths = [
        config.plane_channels,
        config.point_hidden,
        config.point_output,
        config.feature_hidden,
        config.rgb_hidden,
        config.low_res_channels,
    ];
    formats.weights == Format::F16
        && formats.maps == Format::F16
        && widths.iter().all(|width| width.is_multiple_of(side))
        && config.point_hidden <= MOST_POINT_HIDDEN
        && config.plane_channels + config.point_hidden <= EMBEDDED
}

#[cfg(test)]
pub(super) mod tests;
