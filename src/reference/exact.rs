//! A golden case's pictures without rounding.

use glam::Vec3;

use super::{Tensor, double};
use crate::{Camera, Result, Weights};

/// What the network makes of planes and points in `f64`, rounded once to `f32`.
///
/// Where a sample lies almost on a point, its weight 1/d² magnifies the last bits of its position,
/// in the authors' `f32` as in ours. This tells which of the two is how far off.
pub struct Exact {
    /// `[low_res_size, low_res_size, 3]`: the coarse samples alone.
    pub coarse_image: Tensor,
    /// `[low_res_size, low_res_size, low_res_channels]`.
    pub low_res: Tensor,
    /// `[low_res_size, low_res_size, 1]`.
    pub depth: Tensor,
    /// `[output_size, output_size, 3]`.
    pub image: Tensor,
}

impl Exact {
    /// Renders `planes` `[plane_size, plane_size, 3 * plane_channels]`.
    ///
    /// # Errors
    /// See [`double::pipeline::render`].
    pub fn new(
        weights: &Weights,
        planes: &Tensor,
        points: &[Vec3],
        camera: &Camera,
    ) -> Result<Self> {
        let planes = double::Tensor::new(planes.shape.clone(), double::reals(&planes.data));
        let points: Vec<_> = points.iter().map(|point| point.as_dvec3()).collect();
        let noise = double::style_unet::Noise::Stored;
        let exact = double::pipeline::render(weights, &planes, &points, camera, noise)?;
        let channels = exact.coarse_image.row_length();
        let coarse = rounded(&exact.coarse_image);
        let colours = coarse.data.chunks_exact(channels);
        let colours = colours.flat_map(|pixel| &pixel[..3]).copied().collect();
        let [side, ..] = coarse.image();
        Ok(Self {
            coarse_image: Tensor::new([side, side, 3], colours),
            low_res: rounded(&exact.low_res),
            depth: rounded(&exact.depth),
            image: rounded(&exact.image),
        })
    }
}

fn rounded(map: &double::Tensor) -> Tensor {
    let values = map.data.iter().map(|value| *value as f32);
    Tensor::new(map.shape.clone(), values.collect())
}
