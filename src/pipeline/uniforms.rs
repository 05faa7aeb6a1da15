//! The uniform that changes from recording to recording.

use crate::camera::Camera;
use crate::error::Result;
use crate::gpu::kernels::params;
use crate::gpu::{Conditions, Gpu, Tensor};
use crate::options::Noise;
use crate::stage::style_unet::StyleUnet;

/// The uniform with what changes between recordings, and where its noise maps begin.
pub(crate) struct FrameUniform {
    pub tensor: Tensor,
    pub noise_elements: u32,
}

impl FrameUniform {
    pub(super) fn new(gpu: &Gpu, net: &StyleUnet) -> Result<Self> {
        let zero = params::Frame::default();
        let tensor = Tensor::uniform(gpu, "frame", bytemuck::bytes_of(&zero))?;
        Ok(Self {
            tensor,
            noise_elements: net.noise_elements(),
        })
    }
}

pub(crate) fn camera_uniform(camera: &Camera) -> params::Frame {
    let origin = camera.origin();
    let transform = camera.transform;
    params::Frame {
        rotation: transform.map(|row| [row[0], row[1], row[2], 0.0]),
        origin: [origin.x, origin.y, origin.z, 0.0],
        focal: camera.focal,
        clamp_near: camera.clamp_near.into(),
        ..Default::default()
    }
}

/// Sets the noise of a recording.
pub(crate) fn with_noise(
    mut frame: params::Frame,
    noise: Noise,
    uniform: &FrameUniform,
) -> (params::Frame, Conditions) {
    let mut conditions = Conditions::default();
    match noise {
        Noise::Stored => frame.noise_gain = 1.0,
        Noise::Zero => frame.noise_gain = 0.0,
        Noise::Seeded(seed) => {
            frame.noise_gain = 1.0;
            frame.noise_base = uniform.noise_elements;
            frame.seed = [seed as u32, (seed >> 32) as u32];
            conditions.generated_noise = true;
        }
    }
    (frame, conditions)
}
