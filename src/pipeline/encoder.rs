//! From a picture to tri-planes.

use super::uniforms::FrameUniform;
use crate::error::Result;
use crate::gpu::{Gpu, Program, ProgramBuilder, Tuner};
use crate::options::ModelOptions;
use crate::stage::source;
use crate::stage::style_unet::{FeatureMap, StyleUnet};
use crate::weights::Weights;

/// Pictures to planes.
pub(crate) struct Encoder {
    pub program: Program,
    pub weight_bytes: u64,
    pub frame: FrameUniform,
    /// The planes of the source that was encoded last.
    pub planes: FeatureMap,
}

impl Encoder {
    /// An avatar and a frame are each recorded as a whole, so that both work in the same memory.
    pub(crate) fn new(
        (gpu, tuner): (&Gpu, &Tuner),
        weights: &Weights,
        options: &ModelOptions,
        renderer: &Program,
    ) -> Result<Self> {
        let config = weights.config();
        let volume = options.precision.volume();
        let numbers = options.precision.numbers(volume);
        let net = StyleUnet::new(
            (gpu, tuner),
            weights,
            config.encoder(),
            config.source_size,
            numbers,
        )?;
        let frame = FrameUniform::new(gpu, &net)?;
        let mut b = ProgramBuilder::new(gpu, volume, options.trace);
        b.share(renderer);
        let canonical = source::plan(&mut b, config.source_size)?;
        b.stage("encoder");
        let planes = net.plan(&mut b, &canonical, &frame.tensor, false)?;
        Ok(Self {
            program: b.finish()?,
            weight_bytes: net.bytes(),
            frame,
            planes,
        })
    }
}
