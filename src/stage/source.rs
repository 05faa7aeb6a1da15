//! Source pictures into the encoder's canonical view.

use crate::gpu::kernels::{params, source as kernels};
use crate::gpu::{Dispatch, Gpu, ProgramBuilder, Tensor};
use crate::options::Format;
use crate::{ModelConfig, Result, SourceImage};

/// Plans the warp of a picture that is bound later, as `source` and `warp`.
pub(crate) fn plan(b: &mut ProgramBuilder<'_>, size: u32) -> Result<Tensor> {
    b.stage("source");
    let channels = ModelConfig::IMAGE_CHANNELS;
    let tensor = b.tensor("canonical source", Format::F32, [size, size, channels])?;
    let kernel = b.kernel(&kernels::WARP, &[])?;
    b.dispatch(
        Dispatch::new("warp", &kernel)
            .bind("output", &tensor)
            .threads([size, size, 1])
            .cost(40.0 * f64::from(size).powi(2), 2.0 * tensor.bytes() as f64),
    );
    b.tap("source", &tensor)?;
    Ok(tensor)
}

/// A picture's pixels and the parameters of its warp on the device.
pub(crate) fn upload(gpu: &Gpu, image: &SourceImage, size: u32) -> Result<(Tensor, Tensor)> {
    let image = image.fitted(size);
    let pixels = Tensor::from_slice(gpu, "source", image.pixels())?;
    let homography = image.homography(size)?;
    let parameters = params::Warp {
        homography: homography.map(|[x, y, z]| [x as f32, y as f32, z as f32, 0.0]),
        source_width: image.width(),
        source_height: image.height(),
        size,
        ..Default::default()
    };
    Ok((pixels, Tensor::uniform(gpu, "warp", &[parameters])?))
}

#[cfg(test)]
pub(super) mod tests;
