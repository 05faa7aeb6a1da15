//! Maps in other sizes and formats.

use crate::error::Result;
use crate::gpu::kernels::{params, style_unet as kernels};
use crate::gpu::{Dispatch, ProgramBuilder, Tensor};
use crate::options::Format;

/// Resizes a map bilinearly to a height and width. A leaky ReLU follows, if `activate`.
pub(super) fn resample(
    b: &mut ProgramBuilder<'_>,
    label: &str,
    input: &Tensor,
    [height, width]: [u32; 2],
    activate: bool,
) -> Result<Tensor> {
    let output = b.tensor(label, b.formats().maps, [height, width, input.channels()])?;
    let channels = input.channels().div_ceil(4);
    let parameters = params::Resample {
        input_width: input.width(),
        input_height: input.height(),
        width,
        height,
        channels,
        activate: activate.into(),
        ..Default::default()
    };
    let bytes = (input.bytes() + output.bytes()) as f64;
    let kernel = b.kernel(&kernels::RESAMPLE, &[])?;
    b.dispatch(
        Dispatch::new(format!("{label} (resize)"), &kernel)
            .uniform("size", parameters)
            .bind("input", input)
            .bind("output", &output)
            .threads([width * channels, height, 1])
            .cost(7.0 * output.elements() as f64, bytes),
    );
    Ok(output)
}

/// Converts a map to a format. Returns the same tensor if it has that format.
pub(crate) fn converted(
    b: &mut ProgramBuilder<'_>,
    map: &Tensor,
    format: Format,
) -> Result<Tensor> {
    if map.format() == format {
        return Ok(map.clone());
    }
    let output = b.tensor("converted map", format, map.shape)?;
    let store = format != Format::F32;
    let (full, stored) = if store {
        (map, &output)
    } else {
        (&output, map)
    };
    let count = (map.elements() / 4) as u32;
    let kernel = b.kernel(&kernels::CONVERT, &[("STORE", store.into())])?;
    b.dispatch(
        Dispatch::new("format", &kernel)
            .uniform("size", params::Convert::from(count))
            .bind("full", full)
            .bind("stored", stored)
            .row_of_threads(count)
            .cost(0.0, (full.bytes() + stored.bytes()) as f64),
    );
    Ok(output)
}
