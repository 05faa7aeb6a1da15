//! Multi tri-planes attention: one set of planes from those of several sources.

use crate::gpu::kernels::{fusion as kernels, params};
use crate::gpu::{Dispatch, Gpu, Program, ProgramBuilder, Tensor};
use crate::options::{Format, Formats};
use crate::weights::pack;
use crate::{Attention, ModelConfig, Result, Weights};

/// The attention, planned on the encoder's output.
pub(crate) struct Fusion {
    pub program: Program,
    /// Texels times planes: the number of logits of a source.
    pub count: u32,
}

/// The attention's own tensors, packed.
pub(crate) struct FusionWeights {
    /// Learned query planes, `[v][u][plane][channel]`.
    learned: Vec<f32>,
    to_query: Vec<f32>,
    to_key: Vec<f32>,
    scale: f32,
}

impl FusionWeights {
    pub(crate) fn load(weights: &Weights) -> Result<Self> {
        let channels = 3 * weights.config().plane_channels;
        Ok(Self {
            learned: pack::pixels(&weights.f32("query_style_tplane")?, channels),
            to_query: projection(weights, "to_q_")?,
            to_key: projection(weights, "to_k_")?,
            scale: weights.f32("attn_module.scale")?[0],
        })
    }
}

impl Fusion {
    /// Computes the queries and plans the fusion of `source` into an avatar's planes.
    pub(crate) fn new(
        gpu: &Gpu,
        config: &ModelConfig,
        weights: &FusionWeights,
        formats: Formats,
        source: &Tensor,
    ) -> Result<Self> {
        let count = config.plane_size * config.plane_size * 3;
        let channels = config.plane_channels / 4;
        let softmax = config.attention == Attention::Softmax;

        let mut b = ProgramBuilder::new(gpu, formats);
        b.stage("fusion");
        let query = queries(gpu, config, weights)?;
        let planes_of_sums = if softmax { 1 } else { 2 };
        let [height, width, all] = source.shape;
        let shape = [planes_of_sums * height, width, all];
        let sums = b.tensor("fusion sums", Format::F32, shape)?;
        let state = b.tensor("fusion state", Format::F32, [1, 2 * count, 1])?;
        let projection = Tensor::from_slice(gpu, "key projection", &weights.to_key)?;
        let parameters = params::Fuse {
            count,
            channels,
            scale: weights.scale,
            softmax: softmax.into(),
        };
        let kernel = b.kernel(&kernels::FUSE, &[])?;
        b.dispatch(
            Dispatch::new("fuse", &kernel)
                .uniform("size", parameters)
                .bind("projection", &projection)
                .bind("source", source)
                .bind("query", &query)
                .bind("sums", &sums)
                .bind("state", &state)
                .row_of_threads(count)
                .cost(projection_flops(config), source.elements() as f64 * 16.0),
        );
        Ok(Self {
            program: b.finish()?,
            count,
        })
    }
}

fn projection_flops(config: &ModelConfig) -> f64 {
    let channels = f64::from(config.plane_channels);
    let texels = f64::from(config.plane_size).powi(2) * 3.0;
    texels * 6.0 * channels * channels
}

/// The projected query planes. They depend on no input.
fn queries(gpu: &Gpu, config: &ModelConfig, weights: &FusionWeights) -> Result<Tensor> {
    let count = config.plane_size * config.plane_size * 3;
    let learned = Tensor::from_slice(gpu, "query planes", &weights.learned)?;
    let projection = Tensor::from_slice(gpu, "query projection", &weights.to_query)?;
    let query = learned.twin(gpu, "queries")?;

    let mut b = ProgramBuilder::new(gpu, Formats::F32);
    b.stage("fusion");
    let kernel = b.kernel(&kernels::QUERY, &[])?;
    let parameters = params::Query {
        count,
        channels: config.plane_channels / 4,
        ..Default::default()
    };
    b.dispatch(
        Dispatch::new("queries", &kernel)
            .uniform("size", parameters)
            .bind("projection", &projection)
            .bind("input", &learned)
            .bind("output", &query)
            .row_of_threads(count)
            .cost(projection_flops(config), 2.0 * learned.bytes() as f64),
    );
    b.finish()?.run(gpu)?;
    Ok(query)
}

/// The weights in front of the attention as `shaders/fusion/projection.wgsl` reads them.
fn projection(weights: &Weights, name: &str) -> Result<Vec<f32>> {
    let channels = weights.config().plane_channels;
    let tensor = |part: &str| weights.f32(&format!("attn_module.{name}.{part}"));
    let mut packed = [tensor("0.weight")?, tensor("0.bias")?].concat();
    for layer in [1, 3, 5] {
        let matrix = tensor(&format!("{layer}.weight"))?;
        packed.extend(pack::blocks(&matrix, channels, channels));
        packed.extend_from_slice(&tensor(&format!("{layer}.bias"))?);
    }
    Ok(packed)
}

#[cfg(test)]
pub(super) mod tests;
