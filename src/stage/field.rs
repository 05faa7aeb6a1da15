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
        let of_offsets = if variant.gathered { Order::Rows } else { order };
        let offsets = of_offsets.offsets(&folded.offset_layer, point_hidden);
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
            skip_empty: b.skips_empty().into(),
            ..self.layout
        };
        let results = Samples { opacities, values };
        let sampled = Sampled {
            globals,
            rays,
            pass,
            points,
            neighbours,
            results: &results,
        };
        if self.variant.gathered {
            self.gathered(b, config, parameters, sampled)?;
        } else {
            self.whole(b, config, parameters, sampled)?;
        }
        let Samples { opacities, values } = &results;
        b.tap(format!("{}.opacities", pass.name), opacities)?;
        b.tap(format!("{}.values", pass.name), values)?;
        Ok(results)
    }

    /// Override constants of the kernels that gather, and of those that skip.
    fn constants(b: &ProgramBuilder<'_>, config: &ModelConfig) -> [(&'static str, u32); 3] {
        let global = config.point_weighting == PointWeighting::Released;
        [
            ("SKIP_EMPTY", b.skips_empty().into()),
            ("NEIGHBOURS", config.neighbours),
            ("GLOBAL_WEIGHTS", global.into()),
        ]
    }

    /// One kernel that gathers and runs all layers.
    fn whole(
        &self,
        b: &mut ProgramBuilder<'_>,
        config: &ModelConfig,
        parameters: params::Field,
        of: Sampled<'_>,
    ) -> Result<()> {
        let variant = self.variant;
        let mut constants = Self::constants(b, config).to_vec();
        constants.extend(variant.subgroup.map(|threads| ("SUBGROUP", threads)));
        let Samples { opacities, values } = of.results;
        let bytes = of.neighbours.tensor.bytes() + opacities.bytes() + values.bytes();
        let kernel = b.kernel(variant.source, &constants)?;
        b.dispatch(
            Dispatch::new(format!("radiance field, {}", of.pass.name), &kernel)
                .uniform("march", of.rays.layout)
                .uniform("field", parameters)
                .bind("globals", of.globals)
                .bind("rays", &of.rays.tensor)
                .bind("depths", &of.pass.depths)
                .bind("points", &of.points.positions)
                .bind("neighbours", &of.neighbours.tensor)
                .bind("weights", &self.weights)
                .bind("matrices", &self.weights)
                .bind("opacities", opacities)
                .bind("values", values)
                .row(parameters.count.div_ceil(variant.samples))
                .cost(2.0 * self.work * f64::from(parameters.count), bytes as f64),
        );
        Ok(())
    }

    /// Kernels that gather the features of a band of samples, and one that runs the other layers.
    fn gathered(
        &self,
        b: &mut ProgramBuilder<'_>,
        config: &ModelConfig,
        parameters: params::Field,
        of: Sampled<'_>,
    ) -> Result<()> {
        let variant = self.variant;
        let constants = Self::constants(b, config);
        let [skip, of_neighbours @ ..] = constants;
        let planes_kernel = b.kernel(&kernels::GATHER_PLANES, &[])?;
        let points_kernel = b.kernel(&kernels::GATHER_POINTS, &of_neighbours)?;
        let mut of_layers = vec![skip];
        of_layers.extend(variant.subgroup.map(|threads| ("SUBGROUP", threads)));
        let kernel = b.kernel(variant.source, &of_layers)?;

        let count = parameters.count;
        let format = b.formats().maps;
        // The sum of weights takes a vec4.
        let width = 4 * (parameters.plane_channels + parameters.point_hidden + 1);
        let limits = b.gpu().device().limits();
        let most = (b.splits().features)
            .min(limits.max_storage_buffer_binding_size)
            .min(limits.max_buffer_size);
        let most = (most / format.bytes(width.into())).min(count.into()) as u32;
        let bands = count.div_ceil(most.max(variant.samples) / variant.samples * variant.samples);
        let band = count.div_ceil(bands).next_multiple_of(variant.samples);
        let features = b.tensor("features", format, [1, band.min(count), width])?;

        let of_points = config.neighbours * ModelConfig::HARMONICS * config.point_hidden;
        let of_layers = self.work - f64::from(of_points);
        let Samples { opacities, values } = of.results;
        for first in (0..count).step_by(band as usize) {
            let end = count.min(first + band);
            let share = f64::from(end - first);
            let parameters = params::Field {
                first,
                count: end,
                ..parameters
            };
            let moved = |bytes: u64| bytes as f64 * share / f64::from(count);
            let written = format.bytes(width.into()) as f64 * share;
            let dispatch = |what, kernel| {
                Dispatch::new(format!("{what}, {}", of.pass.name), kernel)
                    .uniform("march", of.rays.layout)
                    .uniform("field", parameters)
                    .bind("globals", of.globals)
                    .bind("rays", &of.rays.tensor)
                    .bind("depths", &of.pass.depths)
                    .bind("weights", &self.weights)
                    .bind("features", &features)
            };
            b.dispatch(
                dispatch("features of planes", &planes_kernel)
                    .row_of_threads((end - first) * parameters.plane_channels)
                    .cost(share * f64::from(24 * config.plane_channels), written),
            );
            b.dispatch(
                dispatch("features of points", &points_kernel)
                    .bind("points", &of.points.positions)
                    .bind("neighbours", &of.neighbours.tensor)
                    .row_of_threads((end - first) * parameters.point_hidden / 4)
                    .cost(
                        2.0 * share * f64::from(of_points),
                        moved(of.neighbours.tensor.bytes()) + written,
                    ),
            );
            b.dispatch(
                dispatch("radiance field", &kernel)
                    .bind("matrices", &self.weights)
                    .bind("opacities", opacities)
                    .bind("values", values)
                    .row((end - first).div_ceil(variant.samples))
                    .cost(
                        2.0 * share * of_layers,
                        moved(opacities.bytes() + values.bytes()) + written,
                    ),
            );
        }
        b.release(features);
        Ok(())
    }
}

/// Where a pass' samples are, what is around them, and where the results go.
#[derive(Clone, Copy)]
struct Sampled<'a> {
    globals: &'a Tensor,
    rays: &'a Rays,
    pass: &'a Pass,
    points: &'a Points,
    neighbours: &'a Neighbours,
    results: &'a Samples,
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
    /// Whether kernels of their own gather the features.
    gathered: bool,
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
            gathered: false,
        }
    }

    fn gathered(self) -> Self {
        Self {
            gathered: true,
            ..self
        }
    }

    /// The kernel for a field on a device.
    fn new(gpu: &Gpu, formats: Formats, config: &ModelConfig) -> Self {
        // TEMPORARY: measurements choose among radiance, tiled, small and, by default, gathered.
        let choice = std::env::var("FIELD_TRY").unwrap_or_default();
        Self::choose(gpu, formats, config, &choice)
    }

    fn choose(gpu: &Gpu, formats: Formats, config: &ModelConfig, choice: &str) -> Self {
        use kernels::{perceptron, perceptron_tiled, radiance, radiance_subgroup, radiance_tiled};
        let matrices = gpu.matrices().filter(|side| suit(formats, config, *side));
        let limits = gpu.device().limits();
        match (gpu.kind(), matrices) {
            (AdapterKind::Gpu, _) if choice == "radiance" => {
                Self::of(&kernels::RADIANCE, radiance::SAMPLES, Order::Blocks)
            }
            (AdapterKind::Gpu, Some(side)) if choice == "tiled" => match side {
                16 => Self::cooperative(&kernels::RADIANCE_COOPERATIVE_16, side),
                _ => Self::cooperative(&kernels::RADIANCE_COOPERATIVE_8, side),
            },
            (AdapterKind::Gpu, _) if choice == "small" => {
                let samples = perceptron::SAMPLES;
                Self::of(&kernels::PERCEPTRON, samples, Order::Blocks).gathered()
            }
            (AdapterKind::Gpu, Some(side)) => match side {
                16 => Self::cooperative(&kernels::PERCEPTRON_COOPERATIVE_16, side).gathered(),
                _ => Self::cooperative(&kernels::PERCEPTRON_COOPERATIVE_8, side).gathered(),
            },
            (AdapterKind::Cpu, _) if gpu.has_subgroups() => {
                let samples = radiance_subgroup::SAMPLES * radiance_subgroup::THREADS;
                Self::of(&kernels::RADIANCE_SUBGROUP, samples, Order::Blocks)
            }
            (AdapterKind::Gpu, _)
                if choice == "tiled"
                    && config.point_hidden <= radiance_tiled::MOST_POINT_HIDDEN
                    && kernels::RADIANCE_TILED.check(&limits).is_ok() =>
            {
                let samples = radiance_tiled::SAMPLES;
                Self::of(&kernels::RADIANCE_TILED, samples, Order::Rows)
            }
            (AdapterKind::Gpu, _) if kernels::PERCEPTRON_TILED.check(&limits).is_ok() => {
                let samples = perceptron_tiled::SAMPLES;
                Self::of(&kernels::PERCEPTRON_TILED, samples, Order::Rows).gathered()
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

    /// The same after features are gathered.
    #[cfg(test)]
    fn emulated_after(side: u32, subgroup: u32) -> Self {
        let source = match side {
            16 => &kernels::PERCEPTRON_COOPERATIVE_16_EMULATED,
            _ => &kernels::PERCEPTRON_COOPERATIVE_8_EMULATED,
        };
        Self {
            subgroup: Some(subgroup),
            ..Self::cooperative(source, side).gathered()
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
