//! Maps in other sizes and formats.

use super::{FeatureMap, elements};
use crate::Result;
use crate::gpu::kernels::{params, style_unet as kernels};
use crate::gpu::{Dispatch, ProgramBuilder, Tensor, linear_grid};

/// A bilinear resize.
pub(super) struct Resize {
    /// Height and width.
    pub from: [u32; 2],
    pub to: [u32; 2],
    pub channels: u32,
    /// Whether a leaky ReLU follows.
    pub activate: bool,
}

impl Resize {
    pub(super) fn plan(
        &self,
        b: &mut ProgramBuilder<'_>,
        label: &str,
        input: &Tensor,
    ) -> Result<Tensor> {
        let channels = self.channels.div_ceil(4);
        let [height, width] = self.to;
        let elements = u64::from(height) * u64::from(width) * u64::from(4 * channels);
        let output = b.stored(label, elements)?;
        let parameters = params::Resample {
            input_width: self.from[1],
            input_height: self.from[0],
            width,
            height,
            channels,
            activate: self.activate.into(),
            ..Default::default()
        };
        let kernel = b.kernel(&kernels::RESAMPLE, &[])?;
        b.dispatch(
            Dispatch::new(format!("{label} (resize)"), &kernel)
                .uniform("size", parameters)
                .bind("input", input)
                .bind("output", &output)
                .grid([(width * channels).div_ceil(64), height, 1])
                .cost(
                    7.0 * elements as f64,
                    (input.bytes() + output.bytes()) as f64,
                ),
        );
        Ok(output)
    }
}

/// Resizes a map to `size`.
pub(super) fn resample(
    b: &mut ProgramBuilder<'_>,
    label: &str,
    input: &FeatureMap,
    size: u32,
    activate: bool,
) -> Result<FeatureMap> {
    let resize = Resize {
        from: [input.size; 2],
        to: [size; 2],
        channels: input.channels,
        activate,
    };
    Ok(FeatureMap {
        tensor: resize.plan(b, label, &input.tensor)?,
        size,
        channels: input.channels,
    })
}

/// A map of full numbers as the program stores it.
pub(super) fn stored(b: &mut ProgramBuilder<'_>, full: &FeatureMap) -> Result<FeatureMap> {
    let elements = elements(full.size, full.channels);
    let tensor = b.stored("stored map", elements)?;
    convert(b, elements, &full.tensor, &tensor, true)?;
    Ok(FeatureMap {
        tensor,
        ..full.clone()
    })
}

/// A map of the program's in full numbers.
pub(crate) fn restored(b: &mut ProgramBuilder<'_>, stored: &FeatureMap) -> Result<FeatureMap> {
    let elements = elements(stored.size, stored.channels);
    let tensor = b.tensor("full map", elements)?;
    convert(b, elements, &tensor, &stored.tensor, false)?;
    Ok(FeatureMap {
        tensor,
        ..stored.clone()
    })
}

fn convert(
    b: &mut ProgramBuilder<'_>,
    elements: u64,
    full: &Tensor,
    stored: &Tensor,
    store: bool,
) -> Result<()> {
    let count = (elements / 4) as u32;
    let kernel = b.kernel(&kernels::CONVERT, &[("STORE", store.into())])?;
    b.dispatch(
        Dispatch::new("format", &kernel)
            .uniform(
                "size",
                params::Convert {
                    count,
                    ..Default::default()
                },
            )
            .bind("full", full)
            .bind("stored", stored)
            .grid(linear_grid(count.div_ceil(64)))
            .cost(0.0, (full.bytes() + stored.bytes()) as f64),
    );
    Ok(())
}
