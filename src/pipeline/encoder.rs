//! From pictures to tri-planes.

use std::sync::{Arc, Mutex};

use super::uniforms::Uniform;
use crate::config::ModelConfig;
use crate::error::Result;
use crate::gpu::kernels::params;
use crate::gpu::{
    Gpu, Program, ProgramBuilder, Recording, Resource, Tensor, Timer, Tuner, Uploads, locked,
};
use crate::options::{Format, Formats, ModelOptions, Noise};
use crate::source::SourceImage;
use crate::stage::fusion::{Fusion, FusionWeights};
use crate::stage::source;
use crate::stage::style_unet::StyleUnet;
use crate::weights::Weights;

/// Warps and encodes a picture at a time, and fuses the planes of several.
pub(crate) struct Encoder {
    pub program: Program,
    pub weight_bytes: u64,
    config: ModelConfig,
    formats: Formats,
    uniform: Uniform,
    /// The planes of the picture encoded last.
    planes: Tensor,
    fusion: Mutex<LazyFusion>,
}

/// The attention over several sources, built on first use: many models never need it, and at the
/// released sizes it takes 52 MB on the device and seconds on a software adapter. Until then its
/// weights stay on the host: 25 MB, where a file of f16 has 210 MB.
enum LazyFusion {
    Weights(FusionWeights),
    Built(Arc<Fusion>),
}

impl Encoder {
    /// The encoder shares the renderer's workspace: avatars and frames are each recorded as a
    /// whole.
    pub(crate) fn new(
        (gpu, tuner): (&Gpu, &Tuner),
        weights: &Weights,
        options: &ModelOptions,
        renderer: &Program,
    ) -> Result<Self> {
        let config = weights.config();
        let formats = options.precision.encoder();
        let net = StyleUnet::new((gpu, tuner), weights, &config.encoder(), formats)?;
        let uniform = Uniform::new(gpu, &net)?;
        let mut b = ProgramBuilder::new(gpu, formats).options(options);
        b.share(renderer);
        let canonical = source::plan(&mut b, config.source_size)?;
        b.stage("encoder");
        let planes = net.plan(&mut b, &canonical, &uniform.tensor, false)?;
        Ok(Self {
            program: b.finish()?,
            weight_bytes: net.bytes,
            config: config.clone(),
            formats,
            uniform,
            planes,
            fusion: Mutex::new(LazyFusion::Weights(FusionWeights::load(weights)?)),
        })
    }

    /// Records the encoding of `sources` into an avatar's planes. Returns the attention's logits
    /// `[source][texel][plane]` if there are several sources.
    pub(crate) fn record(
        &self,
        gpu: &Gpu,
        commands: &mut wgpu::CommandEncoder,
        sources: &[SourceImage],
        noise: Noise,
        mut timer: Option<&mut Timer>,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let upload = |image| source::upload(gpu, image, self.config.source_size);
        let uploads: Vec<_> = sources.iter().map(upload).collect::<Result<_>>()?;
        let planes = self.planes.twin(gpu, "planes")?;
        let fusion = if sources.len() > 1 {
            let fusion = self.fusion(gpu)?;
            let shape = [sources.len() as u32, fusion.count, 1];
            let logits = Tensor::empty(gpu, "attention logits", Format::F32, shape)?;
            Some((fusion, logits))
        } else {
            None
        };
        let (globals, conditions) = self.uniform.with_noise(params::Globals::default(), noise);
        let parts = [(bytemuck::bytes_of(&globals), &self.uniform.tensor)];
        Uploads::once(gpu, commands, &parts)?;
        for (index, (pixels, warp)) in (0u32..).zip(&uploads) {
            let resources = [
                ("source", Resource::Tensor(pixels)),
                ("warp", Resource::Tensor(warp)),
            ];
            self.program.record(Recording {
                encoder: commands,
                bindings: &[&self.program.bind(gpu, &resources)],
                conditions,
                times: timer.as_deref_mut().into(),
            })?;
            let Some((fusion, logits)) = &fusion else {
                self.planes.copy_to(commands, &planes);
                continue;
            };
            let current = params::Source {
                index,
                count: sources.len() as u32,
                ..Default::default()
            };
            let current = Tensor::uniform(gpu, "source", &[current])?;
            let resources = [
                ("planes", Resource::Tensor(&planes)),
                ("logits", Resource::Tensor(logits)),
                ("current", Resource::Tensor(&current)),
            ];
            fusion.program.record(Recording {
                encoder: commands,
                bindings: &[&fusion.program.bind(gpu, &resources)],
                conditions,
                times: timer.as_deref_mut().into(),
            })?;
        }
        Ok((planes, fusion.map(|(_, logits)| logits)))
    }

    /// Planes with these values.
    pub(crate) fn planes(&self, gpu: &Gpu, values: &[f32]) -> Result<Tensor> {
        let planes = Tensor::from_values(gpu, "planes", self.planes.format(), values)?;
        Ok(planes.shaped(self.planes.shape))
    }

    fn fusion(&self, gpu: &Gpu) -> Result<Arc<Fusion>> {
        let mut fusion = locked(&self.fusion);
        match &*fusion {
            LazyFusion::Built(built) => Ok(built.clone()),
            LazyFusion::Weights(weights) => {
                let built = Fusion::new(gpu, &self.config, weights, self.formats, &self.planes)?;
                let built = Arc::new(built);
                *fusion = LazyFusion::Built(built.clone());
                Ok(built)
            }
        }
    }
}
