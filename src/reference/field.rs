//! The radiance field: opacity and colour at a sample, from the tri-planes and from the points
//! that carry the expression (GPAvatar, Chu et al. 2024, sections 3.2 and 3.4).

use super::points::{Neighbour, inverse_square};
use super::shared::{
    HARMONICS, Linear, add_bilinear_zeros, harmonic, identity, relu, sigmoid_wide, softplus,
};
use super::{Real, Tensor, Vec3, load, parallel_rows};
use crate::{PointWeighting, Result, Weights};

/// The field's networks.
pub struct FieldWeights {
    /// Learned features of the points, `[points][point_feature]`.
    pub points_feature: Tensor,
    /// A point's feature and direction to `point_hidden`, to `point_output`.
    pub point_layers: [Linear; 2],
    /// Plane and point features to `feature_hidden`, three times.
    pub feature_layers: [Linear; 3],
    /// `feature_hidden` to 1.
    pub density_layer: Linear,
    /// `feature_hidden` and the ray's direction to `rgb_hidden`, to `low_res_channels`.
    pub rgb_layers: [Linear; 2],
}

impl FieldWeights {
    /// The networks of a checkpoint.
    ///
    /// # Errors
    /// If the checkpoint lacks their tensors.
    pub fn load(weights: &Weights) -> Result<Self> {
        let layer = |name: &str, i| Linear::load(weights, &format!("nerf_mlp.{name}_layers.{i}"));
        let points = |i| layer("points_querier.point", i);
        let features = |i| layer("feature", i);
        let points_feature = "nerf_mlp.points_querier.points_feature.weight";
        Ok(Self {
            points_feature: Tensor::new(
                weights.shape(points_feature)?,
                load(weights, points_feature)?,
            ),
            point_layers: [points(0)?, points(2)?],
            feature_layers: [features(0)?, features(2)?, features(4)?],
            density_layer: layer("density", 0)?,
            rgb_layers: [layer("rgb", 0)?, layer("rgb", 2)?],
        })
    }
}

/// Mean of the three planes' bilinear samples at (u, v) = (x, y), (x, z) and (z, y):
/// `[positions][plane_channels]`.
///
/// `planes` is `[size, size, 3 * plane_channels]`; u runs along its columns and v along its rows,
/// -1 and 1 being the outer borders. Beyond the outermost texel centres the samples fade to zero.
pub fn sample_planes(planes: &Tensor, positions: &[Vec3]) -> Tensor {
    let [height, width, channels] = planes.image();
    let channels = channels / 3;
    let mut features = Tensor::zeros([positions.len(), channels]);
    parallel_rows(&mut features.data, channels, |i, out| {
        let Vec3 { x, y, z } = positions[i];
        for (plane, (u, v)) in [(x, y), (x, z), (z, y)].into_iter().enumerate() {
            let column = ((u + 1.0) * width as Real - 1.0) / 2.0;
            let row = ((v + 1.0) * height as Real - 1.0) / 2.0;
            add_bilinear_zeros(planes, column, row, plane * channels, out);
        }
        out.iter_mut().for_each(|v| *v /= 3.0);
    });
    features
}

/// Σ_k a_k h_k over the nearest points: `[positions][point_output]`.
///
/// h_k is the point network's output for the point's learned feature and the harmonic embedding
/// of the direction from point to sample. `sums` are the pass's [`super::points::weight_sums`],
/// which only [`PointWeighting::Released`] reads.
pub fn point_features(
    weights: &FieldWeights,
    weighting: PointWeighting,
    positions: &[Vec3],
    points: &[Vec3],
    neighbours: &[Neighbour],
    sums: &[Real],
) -> Tensor {
    let count = neighbours.len() / positions.len();
    let outputs = weights.point_layers[1].outputs();
    let mut features = Tensor::zeros([positions.len(), outputs]);
    parallel_rows(&mut features.data, outputs, |i, out| {
        let nearest = &neighbours[i * count..][..count];
        for (neighbour, a) in nearest.iter().zip(point_weights(weighting, nearest, sums)) {
            let offset = positions[i] - points[neighbour.index];
            let direction = offset / offset.length().max(1e-12);
            let feature = weights.points_feature.row(neighbour.index);
            let h = [feature, &harmonic(direction)].concat();
            let h = weights.point_layers[0].apply(&h, relu);
            let h = weights.point_layers[1].apply(&h, identity);
            for (out, h) in out.iter_mut().zip(h) {
                *out += a * h;
            }
        }
    });
    features
}

/// a_k of one sample, for its nearest points.
fn point_weights(weighting: PointWeighting, nearest: &[Neighbour], sums: &[Real]) -> Vec<Real> {
    let inverse_squares = nearest.iter().map(|n| inverse_square(n.dist2));
    match weighting {
        PointWeighting::Released => inverse_squares.zip(sums).map(|(a, sum)| a / sum).collect(),
        PointWeighting::Paper => {
            let inverse: Vec<Real> = inverse_squares.map(Real::sqrt).collect();
            let sum: Real = inverse.iter().sum();
            inverse.iter().map(|a| a / sum).collect()
        }
    }
}

/// Opacity and values at the samples of a pass.
#[derive(Clone, Debug)]
pub struct Radiance {
    /// α in [0, 1], `[samples]`.
    pub opacity: Vec<Real>,
    /// Colour in (-0.001, 1.001), then further channels: `[samples, low_res_channels]`.
    pub values: Tensor,
}

/// The radiance network at every sample.
///
/// `plane_features` and `point_features` come from the functions of the same names; `directions`
/// are one per ray, unit length, every ray having equally many consecutive samples. The opacity is
/// α = 1 - exp(-σ), and zero unless the sample lies strictly inside the cube (-1, 1)³.
pub fn field(
    weights: &FieldWeights,
    plane_features: &Tensor,
    point_features: &Tensor,
    positions: &[Vec3],
    directions: &[Vec3],
) -> Radiance {
    let samples = positions.len() / directions.len();
    let directions: Vec<[Real; HARMONICS]> = directions.iter().map(|d| harmonic(*d)).collect();
    let channels = weights.rgb_layers[1].outputs();

    let mut both = vec![0.0; positions.len() * (1 + channels)];
    parallel_rows(&mut both, 1 + channels, |i, out| {
        let feature = [plane_features.row(i), point_features.row(i)].concat();
        let feature = weights.feature_layers[0].apply(&feature, relu);
        let feature = weights.feature_layers[1].apply(&feature, relu);
        let feature = weights.feature_layers[2].apply(&feature, identity);

        let inside = positions[i].abs().cmplt(Vec3::ONE).all();
        let density = weights.density_layer.apply(&feature, softplus)[0];
        out[0] = if inside { -(-density).exp_m1() } else { 0.0 };

        let value = [&feature[..], &directions[i / samples]].concat();
        let value = weights.rgb_layers[0].apply(&value, relu);
        let value = weights.rgb_layers[1].apply(&value, identity);
        out[1..].copy_from_slice(&value);
        out[1..4].iter_mut().for_each(|c| *c = sigmoid_wide(*c));
    });
    let values = both.chunks_exact(1 + channels).flat_map(|s| &s[1..]);
    Radiance {
        opacity: both.iter().step_by(1 + channels).copied().collect(),
        values: Tensor::new([positions.len(), channels], values.copied().collect()),
    }
}
