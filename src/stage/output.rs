//! The depth picture and the 8-bit picture.

use super::rays::{Composite, Rays};
use crate::Result;
use crate::gpu::kernels::{output as kernels, params};
use crate::gpu::{Dispatch, ProgramBuilder, Tensor};
use crate::options::Format;

/// The results of [`depth`].
pub(crate) struct Depth {
    /// `[ray]` in 0..=1.
    pub depth: Tensor,
    /// The number of the recording, and whether one of the frame's numbers is not finite.
    pub stamp: Tensor,
}

/// Plans the depth picture, and the frame's stamp.
pub(crate) fn depth(
    b: &mut ProgramBuilder<'_>,
    globals: &Tensor,
    rays: &Rays,
    composite: &Composite,
) -> Result<Depth> {
    b.stage("output");
    let params::Rays { side, count, .. } = rays.layout;
    let depth = b.tensor("depth", Format::F32, [side, side, 1])?;
    let stamp = b.tensor("stamp", Format::F32, [1, 4, 1])?;
    let kernel = b.kernel(&kernels::DEPTH, &[])?;
    b.dispatch(
        Dispatch::new("depth", &kernel)
            .uniform("march", rays.layout)
            .bind("extent", &composite.extent)
            .bind("output", &depth)
            .bind("globals", globals)
            .bind("stamp", &stamp)
            .cost(f64::from(count) * 10.0, f64::from(count) * 52.0),
    );
    b.tap("depth", &depth)?;
    Ok(Depth { depth, stamp })
}

/// Plans the 8-bit picture; the frame's texture is bound later as `output`.
pub(crate) fn display(
    b: &mut ProgramBuilder<'_>,
    globals: &Tensor,
    image: &Tensor,
    composite: &Composite,
    stamp: &Tensor,
) -> Result<()> {
    b.stage("output");
    let (size, low_res) = (image.width(), composite.low_res.width());
    let parameters = params::Display {
        size,
        low_res,
        ..Default::default()
    };
    let pixels = f64::from(size).powi(2);
    let kernel = b.kernel(&kernels::DISPLAY, &[])?;
    b.dispatch(
        Dispatch::new("display", &kernel)
            .uniform("display", parameters)
            .bind("globals", globals)
            .bind("image", image)
            .bind("extent", &composite.extent)
            .bind("stamp", stamp)
            .threads([size, size, 1])
            .cost(30.0 * pixels, 20.0 * pixels),
    );
    Ok(())
}

#[cfg(test)]
pub(super) mod tests;
