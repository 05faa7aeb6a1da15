//! The depth picture and the 8-bit picture.

use super::rays::{Composite, Rays};
use crate::Result;
use crate::gpu::kernels::{output as kernels, params};
use crate::gpu::{Dispatch, ProgramBuilder, Tensor, When};
use crate::options::{Background, Format};

/// How pictures are stored, as `display` reads it from the frame's globals.
pub(crate) fn mode(background: Background) -> u32 {
    use kernels::display::{OPAQUE, PREMULTIPLIED, STRAIGHT};
    match background {
        Background::Black => OPAQUE,
        Background::Straight => STRAIGHT,
        Background::Premultiplied => PREMULTIPLIED,
    }
}

/// The results of [`depth`].
pub(crate) struct Depth {
    /// `[ray]` in 0..=1.
    pub depth: Tensor,
    /// Depth along the camera's axis of what is seen, 0 for nothing: `[y][x]` in rows of whole
    /// [`wgpu::COPY_BYTES_PER_ROW_ALIGNMENT`].
    pub surface: Tensor,
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
    let row = (4 * side).next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT) / 4;
    let surface = b.tensor("surface", Format::F32, [side, row, 1])?;
    let stamp = b.tensor("stamp", Format::F32, [1, 4, 1])?;
    let kernel = b.kernel(&kernels::DEPTH, &[])?;
    b.dispatch(
        Dispatch::new("depth", &kernel)
            .uniform("march", rays.layout)
            .bind("extent", &composite.extent)
            .bind("output", &depth)
            .bind("globals", globals)
            .bind("stamp", &stamp)
            .bind("surface", &surface)
            .cost(f64::from(count) * 20.0, f64::from(count) * 56.0),
    );
    b.tap("depth", &depth)?;
    Ok(Depth {
        depth,
        surface,
        stamp,
    })
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
    let (size, side) = (image.width(), composite.low_res.width());
    let foreground = matte(b, composite)?;
    let parameters = params::Display {
        size,
        low_res: side,
        ..Default::default()
    };
    let pixels = f64::from(size).powi(2);
    let kernel = b.kernel(&kernels::DISPLAY, &[])?;
    b.dispatch(
        Dispatch::new("display", &kernel)
            .uniform("display", parameters)
            .bind("globals", globals)
            .bind("image", image)
            .bind("foreground", &foreground)
            .bind("stamp", stamp)
            .threads([size, size, 1])
            .cost(30.0 * pixels, 20.0 * pixels),
    );
    b.release(foreground);
    Ok(())
}

/// Plans the foreground of pictures with alpha, `[ray][2]` vec4s.
fn matte(b: &mut ProgramBuilder<'_>, composite: &Composite) -> Result<Tensor> {
    let low_res = &composite.low_res;
    let side = low_res.width();
    let foreground = b.tensor("foreground", Format::F32, [side, side, 8])?;
    let parameters = params::Matte {
        side,
        channels: low_res.channels() / 4,
        ..Default::default()
    };
    let rays = f64::from(side).powi(2);
    let kernel = b.kernel(&kernels::MATTE, &[])?;
    b.dispatch(
        Dispatch::new("matte", &kernel)
            .uniform("matte", parameters)
            .bind("low_res", low_res)
            .bind("extent", &composite.extent)
            .bind("foreground", &foreground)
            .row_of_threads(side * side)
            .when(When::Alpha)
            .cost(500.0 * rays, 80.0 * rays),
    );
    Ok(foreground)
}

#[cfg(test)]
pub(super) mod tests;
