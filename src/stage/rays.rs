//! Rays through the cube, importance sampling, and compositing.

use crate::gpu::kernels::{params, rays as kernels};
use crate::gpu::{Dispatch, ProgramBuilder, Tensor};
use crate::options::Format;
use crate::weights::pack;
use crate::{ModelConfig, Result};

/// The rays of a low-resolution image and how their samples are counted.
pub(crate) struct Rays {
    pub layout: params::Rays,
    /// `[ray][stride]`: direction, then room for terms that depend only on the ray.
    pub tensor: Tensor,
}

/// A pass over all rays, and the depths of its samples.
pub(crate) struct Pass {
    pub name: &'static str,
    /// Samples per ray.
    pub samples: u32,
    /// `[ray][sample]`.
    pub depths: Tensor,
}

/// The field's results for a pass.
pub(crate) struct Samples {
    /// `[ray][sample]`.
    pub opacities: Tensor,
    /// `[ray][sample][channel]`. Values of samples without opacity may be undefined.
    pub values: Tensor,
}

/// The composited image.
pub(crate) struct Composite {
    pub low_res: Tensor,
    /// `[ray]`: accumulated opacity, mean depth, largest depth, 0.
    pub extent: Tensor,
}

impl Rays {
    /// Plans the rays and their coarse depths.
    pub(crate) fn generate(
        b: &mut ProgramBuilder<'_>,
        config: &ModelConfig,
        globals: &Tensor,
    ) -> Result<(Self, Pass)> {
        let layout = params::Rays {
            side: config.low_res_size,
            count: config.low_res_size * config.low_res_size,
            coarse: config.coarse_samples,
            fine: config.fine_samples,
            stride: 1 + pack::padded(config.rgb_hidden) / 4,
            channels: pack::padded(config.low_res_channels) / 4,
            ..Default::default()
        };
        b.stage("rays");
        let count = u64::from(layout.count);
        let shape = [layout.side, layout.side, 4 * layout.stride];
        let tensor = b.tensor("rays", Format::F32, shape)?;
        let shape = [layout.count, layout.coarse, 1];
        let depths = b.tensor("coarse depths", Format::F32, shape)?;
        let kernel = b.kernel(&kernels::GENERATE, &[])?;
        b.dispatch(
            Dispatch::new("rays", &kernel)
                .uniform("march", layout)
                .bind("globals", globals)
                .bind("rays", &tensor)
                .bind("depths", &depths)
                .row_of_threads(layout.count)
                .cost(count as f64 * 60.0, (depths.bytes() + count * 16) as f64),
        );
        b.tap("ray_dirs", &tensor)?;
        b.tap("coarse.depths", &depths)?;
        let pass = Pass {
            name: "coarse",
            samples: layout.coarse,
            depths,
        };
        Ok((Self { layout, tensor }, pass))
    }

    /// Plans the fine depths.
    pub(crate) fn importance(
        &self,
        b: &mut ProgramBuilder<'_>,
        coarse: &Pass,
        samples: &Samples,
    ) -> Result<Pass> {
        b.stage("rays");
        let (layout, count) = (self.layout, f64::from(self.layout.count));
        let depths = b.tensor("fine depths", Format::F32, [layout.count, layout.fine, 1])?;
        let bytes = coarse.depths.bytes() + samples.opacities.bytes() + depths.bytes();
        let flops = count * f64::from(20 * (layout.coarse + layout.fine));
        let kernel = b.kernel(&kernels::IMPORTANCE, &[])?;
        b.dispatch(
            Dispatch::new("importance sampling", &kernel)
                .uniform("march", layout)
                .bind("depths", &coarse.depths)
                .bind("opacities", &samples.opacities)
                .bind("fine", &depths)
                .row_of_threads(layout.count)
                .cost(flops, bytes as f64),
        );
        b.tap("fine.depths", &depths)?;
        Ok(Pass {
            name: "fine",
            samples: layout.fine,
            depths,
        })
    }

    /// Plans the composition of both passes.
    pub(crate) fn merge(
        &self,
        b: &mut ProgramBuilder<'_>,
        config: &ModelConfig,
        coarse: (&Pass, &Samples),
        fine: (&Pass, &Samples),
    ) -> Result<Composite> {
        b.stage("rays");
        let layout = self.layout;
        let threads = layout.count * layout.channels;
        let side = layout.side;
        let shape = [side, side, config.low_res_channels];
        let low_res = b.tensor("low-resolution image", Format::F32, shape)?;
        let extent = b.tensor("extent", Format::F32, [side, side, 4])?;
        let kernel = b.kernel(&kernels::MERGE, &[])?;
        let samples = f64::from(threads) * f64::from(layout.coarse + layout.fine);
        b.dispatch(
            Dispatch::new("composite", &kernel)
                .uniform("march", layout)
                .bind("coarse_depths", &coarse.0.depths)
                .bind("coarse_opacities", &coarse.1.opacities)
                .bind("coarse_values", &coarse.1.values)
                .bind("fine_depths", &fine.0.depths)
                .bind("fine_opacities", &fine.1.opacities)
                .bind("fine_values", &fine.1.values)
                .bind("low_res", &low_res)
                .bind("extent", &extent)
                .row_of_threads(threads)
                .cost(samples * 12.0, samples * 16.0),
        );
        b.tap("low_res", &low_res)?;
        Ok(Composite { low_res, extent })
    }
}

#[cfg(test)]
pub(super) mod tests;
