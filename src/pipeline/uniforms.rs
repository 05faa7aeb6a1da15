//! The uniform that changes from recording to recording.

use crate::camera::Camera;
use crate::error::Result;
use crate::gpu::kernels::params;
use crate::gpu::{Conditions, Gpu, Tensor};
use crate::options::Noise;
use crate::stage::style_unet::StyleUnet;

/// The uniform of a program, on the device.
pub(super) struct Uniform {
    pub(super) tensor: Tensor,
    /// Numbers in the stored noise maps; generated ones follow.
    noise_elements: u32,
}

impl Uniform {
    pub(super) fn new(gpu: &Gpu, net: &StyleUnet) -> Result<Self> {
        let zero = params::Globals::default();
        let tensor = Tensor::uniform(gpu, "globals", &[zero])?;
        Ok(Self {
            tensor,
            noise_elements: net.noise_elements,
        })
    }

    /// `globals` with the noise of a recording, and the conditions of that noise.
    pub(super) fn with_noise(
        &self,
        mut globals: params::Globals,
        noise: Noise,
    ) -> (params::Globals, Conditions) {
        let mut conditions = Conditions::default();
        match noise {
            Noise::Stored => globals.noise_gain = 1.0,
            Noise::Zero => globals.noise_gain = 0.0,
            Noise::Seeded(seed) => {
                globals.noise_gain = 1.0;
                globals.noise_base = self.noise_elements;
                globals.seed = [seed as u32, (seed >> 32) as u32];
                conditions.generated_noise = true;
            }
        }
        (globals, conditions)
    }
}

pub(crate) fn camera_uniform(camera: &Camera) -> params::Globals {
    let origin = camera.origin();
    let transform = camera.transform;
    params::Globals {
        rotation: transform.map(|row| [row[0], row[1], row[2], 0.0]),
        origin: [origin.x, origin.y, origin.z, 0.0],
        focal: camera.focal,
        clamp_near: camera.clamp_near.into(),
        ..Default::default()
    }
}
