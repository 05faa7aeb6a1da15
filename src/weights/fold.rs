//! Exact algebra on the weights, done once instead of for every sample.
//!
//! All sums are taken in 64-bit floats and rounded once.

use crate::error::{Error, Result};
use crate::weights::Weights;

/// A linear layer, `y = weight · x + bias`.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// `[outputs][inputs]`, row-major.
    pub weight: Vec<f32>,
    /// `[outputs]`.
    pub bias: Vec<f32>,
}

/// The networks of the radiance field, with everything folded that does not depend on the sample.
///
/// With `f` the features of a point, `r` the direction from it to the sample, `d` the direction of
/// the ray and `γ` the harmonic embedding of a direction, of length
/// [`HARMONICS`](crate::ModelConfig::HARMONICS), the checkpoint's layers evaluate
///
/// ```text
/// pef     = Σ_k a_k point_layers.2(relu(point_layers.0[f_k ; γ(r_k)]))
/// feature = feature_layers.4(relu(feature_layers.2(relu(feature_layers.0[tex ; pef]))))
/// density = density_layers.0(feature)
/// colour  = rgb_layers.2(relu(rgb_layers.0[feature ; γ(d)]))
/// ```
///
/// which is, up to rounding,
///
/// ```text
/// pef     = point_out.weight · Σ_k a_k relu(vertex_table[k] + offset_layer · γ(r_k))
///         + point_out.bias · Σ_k a_k
/// hidden  = relu(feature_1(relu(feature_0[tex ; pef])))
/// density = density(hidden)
/// colour  = rgb_1(relu(rgb_0(hidden) + view_layer · γ(d)))
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct RadianceWeights {
    /// `[points][point_hidden]`: the first point layer applied to each point's features, bias
    /// included.
    pub vertex_table: Vec<f32>,
    /// `[point_hidden][HARMONICS]`: the first point layer's part for the direction from the point.
    pub offset_layer: Vec<f32>,
    /// `point_hidden` to `point_output`: the second point layer. It is applied to the weighted sum
    /// over the neighbours, and its bias must then be multiplied by the sum of the weights, which
    /// is 1 only under [`PointWeighting::Paper`](crate::PointWeighting::Paper).
    pub point_out: Linear,
    /// `plane_channels + point_output` to `feature_hidden`, then ReLU.
    pub feature_0: Linear,
    /// `feature_hidden` to `feature_hidden`, then ReLU.
    pub feature_1: Linear,
    /// `feature_hidden` to 1: the density before softplus. Includes the last feature layer, which
    /// has no activation.
    pub density: Linear,
    /// `feature_hidden` to `rgb_hidden`: the first colour layer, without the view direction's part.
    /// Includes the last feature layer.
    pub rgb_0: Linear,
    /// `[rgb_hidden][HARMONICS]`: the first colour layer's part for the view direction.
    pub view_layer: Vec<f32>,
    /// `rgb_hidden` to `low_res_channels`: the second colour layer.
    pub rgb_1: Linear,
}

impl RadianceWeights {
    /// Folds the radiance field of a model.
    ///
    /// # Errors
    /// [`Error::Tensors`] if a tensor does not exist; weights always have those of their
    /// configuration.
    pub fn new(weights: &Weights) -> Result<Self> {
        let config = weights.config();
        let layer = |name: &str| Linear::read(weights, &format!("nerf_mlp.{name}"));

        let features = weights.f32("nerf_mlp.points_querier.points_feature.weight")?;
        let (vertex_layer, offset_layer) =
            layer("points_querier.point_layers.0")?.split(config.point_feature);
        let vertex_table = features
            .chunks_exact(config.point_feature as usize)
            .flat_map(|feature| vertex_layer.apply(feature))
            .collect();

        let feature_2 = layer("feature_layers.4")?;
        let (rgb_0, view_layer) = layer("rgb_layers.0")?.split(config.feature_hidden);
        Ok(Self {
            vertex_table,
            offset_layer,
            point_out: layer("points_querier.point_layers.2")?,
            feature_0: layer("feature_layers.0")?,
            feature_1: layer("feature_layers.2")?,
            density: layer("density_layers.0")?.after(&feature_2),
            rgb_0: rgb_0.after(&feature_2),
            view_layer,
            rgb_1: layer("rgb_layers.2")?,
        })
    }
}

impl Linear {
    fn read(weights: &Weights, name: &str) -> Result<Self> {
        Ok(Self {
            weight: weights.f32(&format!("{name}.weight"))?.into_owned(),
            bias: weights.f32(&format!("{name}.bias"))?.into_owned(),
        })
    }

    /// The rows of the weight, one for each output.
    fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.weight
            .chunks_exact(self.weight.len() / self.bias.len())
    }

    /// The layer for the first `columns` inputs, and the weight for the others.
    fn split(&self, columns: u32) -> (Self, Vec<f32>) {
        let halves = self.rows().map(|row| row.split_at(columns as usize));
        let (weight, rest): (Vec<&[f32]>, Vec<&[f32]>) = halves.unzip();
        let first = Self {
            weight: weight.concat(),
            bias: self.bias.clone(),
        };
        (first, rest.concat())
    }

    /// The layer's outputs for `input`.
    fn apply(&self, input: &[f32]) -> impl Iterator<Item = f32> {
        self.rows().zip(&self.bias).map(move |(row, &bias)| {
            let pairs = row.iter().zip(input);
            let products = pairs.map(|(&w, &x)| f64::from(w) * f64::from(x));
            (f64::from(bias) + products.sum::<f64>()) as f32
        })
    }

    /// One layer instead of two: first `inner`, whose outputs are this one's inputs, then this one.
    fn after(&self, inner: &Self) -> Self {
        let weight = self.rows().flat_map(|outer_row| {
            let mut folded = vec![0.0; inner.weight.len() / inner.bias.len()];
            for (&outer, inner_row) in outer_row.iter().zip(inner.rows()) {
                for (sum, &inner) in folded.iter_mut().zip(inner_row) {
                    *sum += f64::from(outer) * f64::from(inner);
                }
            }
            folded.into_iter().map(|sum| sum as f32)
        });
        Self {
            weight: weight.collect(),
            bias: self.apply(&inner.bias).collect(),
        }
    }
}

/// Sums of the squares over each kernel of a modulated convolution, `[out][in]`, row-major.
///
/// A convolution whose input channels are scaled by a style `s` is demodulated by
/// `rsqrt(Σ_in s_in² Σ_k W² + 1e-8)` for each output. With these inner sums the weights
/// are not read again when the style changes.
///
/// # Errors
/// [`Error::Tensors`] if tensor `name` does not exist or its shape is not
/// `[1, out, in, height, width]`.
pub fn squared_sums(weights: &Weights, name: &str) -> Result<Vec<f32>> {
    let &[1, _, _, height, width] = weights.shape(name)? else {
        let found = weights.shape(name)?;
        let expected = "expected shape [1, out, in, height, width]";
        let problem = format!("{name}: {expected}, found {found:?}");
        return Err(Error::tensor("weights", problem));
    };
    let sum = |kernel: &[f32]| kernel.iter().map(|&w| f64::from(w).powi(2)).sum::<f64>() as f32;
    let values = weights.f32(name)?;
    Ok(values.chunks_exact(height * width).map(sum).collect())
}

/// 3x3 filters `[filter][row][column]` as Winograd's F(2x2, 3x3) multiplies them:
/// `[filter][position]`, G g Gᵀ for a filter g (Lavin and Gray 2015, section 4.1).
pub fn winograd(filters: &[f32]) -> Vec<f32> {
    // G v.
    let transformed = |[a, b, c]: [f64; 3]| [a, (a + b + c) / 2.0, (a - b + c) / 2.0, c];
    let filters = filters.chunks_exact(9).flat_map(|g| {
        let columns = [0, 1, 2].map(|x| transformed([0, 3, 6].map(|y| f64::from(g[y + x]))));
        let rows = [0, 1, 2, 3].map(|y| transformed(columns.map(|column| column[y])));
        rows.into_iter().flatten()
    });
    filters.map(|value| value as f32).collect()
}

#[cfg(test)]
mod tests;
