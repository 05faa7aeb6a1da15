//! Multi tri-planes attention: the tri-planes of several source images become one (GPAvatar,
//! Chu et al. 2024, section 3.3).

use super::shared::{Linear, gelu, identity};
use super::{Real, Tensor, load, parallel_rows};
use crate::{Attention, Result, Weights};

/// The network that turns a texel of one plane into a query or a key.
pub struct AttentionHead {
    /// Gain and offset of the layer normalisation, `[plane_channels]` each.
    pub norm: [Vec<Real>; 2],
    /// `plane_channels` to `plane_channels` each.
    pub layers: [Linear; 3],
}

impl AttentionHead {
    /// The head `name` of a checkpoint, `to_q_` or `to_k_`.
    ///
    /// # Errors
    /// If the checkpoint lacks its tensors.
    pub fn load(weights: &Weights, name: &str) -> Result<Self> {
        let name = |index: u32| format!("attn_module.{name}.{index}");
        let norm = |part: &str| load(weights, &format!("{}.{part}", name(0)));
        Ok(Self {
            norm: [norm("weight")?, norm("bias")?],
            layers: [
                Linear::load(weights, &name(1))?,
                Linear::load(weights, &name(3))?,
                Linear::load(weights, &name(5))?,
            ],
        })
    }
}

/// Layer normalisation, then three linear layers with GELU between them, for every texel of every
/// plane on its own: `[height, width, 3 * plane_channels]` to the same.
pub fn attention_head(head: &AttentionHead, planes: &Tensor) -> Tensor {
    let mut out = planes.clone();
    parallel_rows(&mut out.data, head.norm[0].len(), |_, texel| {
        let h = layer_norm(texel, &head.norm);
        let h = head.layers[0].apply(&h, gelu);
        let h = head.layers[1].apply(&h, gelu);
        texel.copy_from_slice(&head.layers[2].apply(&h, identity));
    });
    out
}

/// (x - mean) / √(variance + 1e-5) · gain + offset.
fn layer_norm(x: &[Real], [gain, offset]: &[Vec<Real>; 2]) -> Vec<Real> {
    let count = x.len() as Real;
    let mean = x.iter().sum::<Real>() / count;
    let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<Real>() / count;
    let scale = 1.0 / (variance + 1e-5).sqrt();
    let affine = gain.iter().zip(offset);
    x.iter()
        .zip(affine)
        .map(|(x, (gain, offset))| (x - mean) * scale * gain + offset)
        .collect()
}

/// The weight of each source image at each texel of each plane, `[height, width, 3, sources]`.
///
/// `query` and every key are `[height, width, 3 * plane_channels]`. [`Attention::Softmax`] gives
/// softmax_i(q·k_i · scale), [`Attention::Ratio`] q·k_i / Σ_j q·k_j, or equal weights where that
/// sum is below 1e-8 in magnitude.
pub fn attention(variant: Attention, query: &Tensor, keys: &[Tensor], scale: Real) -> Tensor {
    let [height, width, channels] = query.image();
    let mut weights = Tensor::zeros([height, width, 3, keys.len()]);
    parallel_rows(&mut weights.data, keys.len(), |texel, weights| {
        let channels = texel * channels / 3..(texel + 1) * channels / 3;
        let query = &query.data[channels.clone()];
        for (weight, key) in weights.iter_mut().zip(keys) {
            let key = &key.data[channels.clone()];
            *weight = query.iter().zip(key).map(|(q, k)| q * k).sum();
        }
        match variant {
            Attention::Softmax => {
                let scaled = weights.iter().map(|w| w * scale);
                let largest = scaled.fold(Real::NEG_INFINITY, Real::max);
                let exponential = |w: &mut Real| *w = (*w * scale - largest).exp();
                weights.iter_mut().for_each(exponential);
                let sum: Real = weights.iter().sum();
                weights.iter_mut().for_each(|w| *w /= sum);
            }
            Attention::Ratio => {
                let sum: Real = weights.iter().sum();
                if sum.abs() < 1e-8 {
                    weights.fill(1.0 / keys.len() as Real);
                } else {
                    weights.iter_mut().for_each(|w| *w /= sum);
                }
            }
        }
    });
    weights
}

/// Σ_i weight_i · planes_i with the weights of [`attention`]; all planes
/// `[height, width, 3 * plane_channels]`.
pub fn fuse(planes: &[Tensor], weights: &Tensor) -> Tensor {
    let mut fused = Tensor::zeros(planes[0].shape.clone());
    let channels = planes[0].row_length() / 3;
    parallel_rows(&mut fused.data, channels, |texel, out| {
        for (planes, weight) in planes.iter().zip(weights.row(texel)) {
            for (out, value) in out.iter_mut().zip(&planes.data[texel * channels..]) {
                *out += weight * value;
            }
        }
    });
    fused
}
