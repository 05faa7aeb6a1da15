//! The radiance field on burn: `src/reference/field.rs` in its tensor operations, for samples whose
//! nearest points are known.

use burn::Tensor;
use burn::tensor::activation::{relu, softplus};
use burn::tensor::ops::{GridSampleOptions, InterpolateMode};
use burn::tensor::{Device, Int, TensorData};
use gpavatar::{PointWeighting, Result, Weights};

use crate::parameters::{Linear, Parameters};
use crate::style_unet::sigmoid_wide;

/// The field of an avatar with its head's points in place.
pub struct Field {
    weighting: PointWeighting,
    neighbours: usize,
    point_layers: [Linear; 2],
    feature_layers: [Linear; 3],
    density: Linear,
    rgb_layers: [Linear; 2],
    /// Learned features of the points, `[points, features]`.
    features: Tensor<2>,
    /// `[points, 3]`.
    points: Tensor<2>,
    /// `[3, channels, size, size]`.
    planes: Tensor<4>,
    /// Sums of the reciprocal squared distances over all samples, `[1, neighbours, 1]`.
    sums: Tensor<3>,
    /// Columns of a position that are the coordinates in each plane.
    columns: Tensor<1, Int>,
    /// `[1, 1, 4]`.
    octaves: Tensor<3>,
}

/// Planes and points of the field.
pub struct Scene<'a> {
    /// `[v][u][plane][channel]`.
    pub planes: &'a [f32],
    /// `[point][xyz]`.
    pub points: &'a [f32],
    /// Σ 1/d² by rank.
    pub sums: &'a [f32],
}

/// Samples on the device.
#[derive(Clone)]
pub struct Samples {
    /// `[samples, 3]`.
    pub positions: Tensor<2>,
    /// Unit length, `[samples, 3]`.
    pub directions: Tensor<2>,
    /// Indices of the nearest points, `[samples * neighbours]`.
    pub nearest: Tensor<1, Int>,
}

impl Field {
    /// Uploads the field's weights and inputs.
    pub fn new(weights: &Weights, device: &Device, scene: &Scene<'_>) -> Result<Self> {
        let config = weights.config();
        let parameters = Parameters::new(weights, device);
        let layer = |name: &str| parameters.linear(&format!("nerf_mlp.{name}"));
        let (size, channels) = (config.plane_size as usize, config.plane_channels as usize);
        let planes = TensorData::new(scene.planes.to_vec(), [size, size, 3, channels]);
        let points = TensorData::new(scene.points.to_vec(), [scene.points.len() / 3, 3]);
        let sums = TensorData::new(scene.sums.to_vec(), [1, scene.sums.len(), 1]);
        Ok(Self {
            weighting: config.point_weighting,
            neighbours: config.neighbours as usize,
            point_layers: [
                layer("points_querier.point_layers.0")?,
                layer("points_querier.point_layers.2")?,
            ],
            feature_layers: [
                layer("feature_layers.0")?,
                layer("feature_layers.2")?,
                layer("feature_layers.4")?,
            ],
            density: layer("density_layers.0")?,
            rgb_layers: [layer("rgb_layers.0")?, layer("rgb_layers.2")?],
            features: parameters.tensor("nerf_mlp.points_querier.points_feature.weight")?,
            points: Tensor::from_data(points, device),
            planes: Tensor::<4>::from_data(planes, device).permute([2, 3, 0, 1]),
            sums: Tensor::from_data(sums, device),
            columns: Tensor::from_data([0, 1, 0, 2, 2, 1], device),
            octaves: Tensor::from_data([[[1.0, 2.0, 4.0, 8.0]]], device),
        })
    }

    /// Opacities `[samples, 1]` and values `[samples, channels]`.
    pub fn forward(&self, samples: Samples) -> [Tensor<2>; 2] {
        let textures = self.sample_planes(samples.positions.clone());
        let gathered = self.point_features(samples.positions.clone(), samples.nearest);
        let mut h = Tensor::cat(vec![textures, gathered], 1);
        let [first, second, third] = &self.feature_layers;
        h = third.forward(relu(second.forward(relu(first.forward(h)))));
        let inside = samples.positions.abs().max_dim(1).lower_scalar(1.0).float();
        let density = softplus(self.density.forward(h.clone()), 10.0) * inside;
        let opacity = (-density).exp().neg() + 1.0;

        let [first, second] = &self.rgb_layers;
        let viewed = Tensor::cat(vec![h, self.harmonic(samples.directions)], 1);
        let values = second.forward(relu(first.forward(viewed)));
        let [count, channels] = values.dims();
        let colours = sigmoid_wide(values.clone().slice([0..count, 0..3]));
        let others = values.slice([0..count, 3..channels]);
        [opacity, Tensor::cat(vec![colours, others], 1)]
    }

    /// Mean of the planes' bilinear samples, `[samples, channels]`.
    fn sample_planes(&self, positions: Tensor<2>) -> Tensor<2> {
        let [count, _] = positions.dims();
        let uv = positions.select(1, self.columns.clone());
        let grid = uv.reshape([count, 3, 2]).swap_dims(0, 1);
        let options = GridSampleOptions::new(InterpolateMode::Bilinear).with_align_corners(false);
        let sampled = self
            .planes
            .clone()
            .grid_sample_2d(grid.reshape([3, 1, count, 2]), options);
        let channels = sampled.dims()[1];
        sampled.mean_dim(0).reshape([channels, count]).transpose()
    }

    /// Weighted sum of the nearest points' features, `[samples, point_output]`.
    fn point_features(&self, positions: Tensor<2>, nearest: Tensor<1, Int>) -> Tensor<2> {
        let [count, _] = positions.dims();
        let neighbours = self.neighbours;
        let points = self.points.clone().select(0, nearest.clone());
        let offsets = positions.unsqueeze_dim::<3>(1) - points.reshape([count, neighbours, 3]);
        let squared = offsets.clone().square().sum_dim(2);
        let directions = offsets / squared.clone().sqrt().clamp_min(1e-12);
        let features = self.features.clone().select(0, nearest);
        let embedded = self.harmonic(directions.reshape([count * neighbours, 3]));
        let [first, second] = &self.point_layers;
        let inputs = Tensor::cat(vec![features, embedded], 1);
        let h = second.forward(relu(first.forward(inputs)));
        let [_, outputs] = h.dims();

        let inverse = squared.clamp_min(1e-12).recip();
        let weights = match self.weighting {
            PointWeighting::Released => inverse / self.sums.clone(),
            PointWeighting::Paper => {
                let inverse = inverse.sqrt();
                inverse.clone() / inverse.sum_dim(1)
            }
        };
        let weighted = h.reshape([count, neighbours, outputs]) * weights;
        weighted.sum_dim(1).squeeze_dim(1)
    }

    /// Harmonic embedding of vectors `[rows, 3]`: sines, cosines, the vector.
    fn harmonic(&self, v: Tensor<2>) -> Tensor<2> {
        let [count, _] = v.dims();
        let angles = v.clone().unsqueeze_dim::<3>(2) * self.octaves.clone();
        let angles = angles.reshape([count, 12]);
        Tensor::cat(vec![angles.clone().sin(), angles.cos(), v], 1)
    }
}
