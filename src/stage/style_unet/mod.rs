//! The network that serves twice: images to tri-planes, and low-resolution values to the picture.
//!
//! A U-Net reads its input down to 4x4, from where a style and, on the way up, a scale and a shift
//! per resolution steer a StyleGAN2 decoder. What is fused here: bias, activation, noise,
//! demodulation, scale and shift and residual sums into the convolutions' epilogues; modulations and
//! doubles of maps into what convolutions read; all modulations into one matrix product.

mod conv;
mod load;
mod plan;
mod resize;

use std::collections::HashMap;

use conv::Conv;
pub(crate) use conv::Numbers;
pub(crate) use resize::restored;

use crate::config::StyleUnetConfig;
use crate::gpu::Tensor;
use crate::weights::pack;

/// A square feature map `[y][x][channel]` on the device, channels padded to vec4s, with numbers of
/// full precision outside of the network and as the program stores them inside.
#[derive(Clone)]
pub(crate) struct FeatureMap {
    pub tensor: Tensor,
    pub size: u32,
    pub channels: u32,
}

impl FeatureMap {
    /// Pixels, channels, and stored channels.
    fn shape(&self) -> [u32; 3] {
        [
            self.size * self.size,
            self.channels,
            pack::padded(self.channels),
        ]
    }
}
/// Numbers of a square map in memory.
pub(crate) fn elements(size: u32, channels: u32) -> u64 {
    u64::from(size) * u64::from(size) * u64::from(pack::padded(channels))
}

/// Weights of one such network on the device.
pub(crate) struct StyleUnet {
    config: StyleUnetConfig,
    layers: HashMap<String, Layer>,
    final_linear: Linear,
    style_layers: Vec<Linear>,
    modulation: Linear,
    demodulation_rows: Tensor,
    squares: Tensor,
    squares_count: usize,
    constant: FeatureMap,
    /// Stored maps of all layers, and as much room for generated ones.
    noise: Tensor,
    noise_elements: u32,
    /// Stands in for what a kernel binds but does not use.
    nothing: Tensor,
}

/// A convolution and its share of the style.
struct Layer {
    conv: Conv,
    style: Option<StyleOffsets>,
}

/// Where a modulated layer finds its share of what all layers have in common.
#[derive(Clone, Copy, Default)]
struct StyleOffsets {
    modulation: u32,
    /// Demodulation and noise, for those layers that have them.
    demodulation: Option<u32>,
    noise: u32,
    noise_gain: f32,
}

struct Linear {
    weights: Tensor,
    /// Gain and bias of each.
    rows: Tensor,
    row_count: u32,
    /// Padded.
    columns: u32,
}

impl StyleUnet {
    /// Bytes of all weights and noise maps.
    pub(crate) fn bytes(&self) -> u64 {
        let convs = self.layers.values().map(|layer| layer.conv.bytes());
        let linears = [&self.final_linear, &self.modulation].into_iter();
        let linears = linears
            .chain(&self.style_layers)
            .flat_map(|l| [&l.weights, &l.rows]);
        let others = [
            &self.demodulation_rows,
            &self.squares,
            &self.constant.tensor,
            &self.noise,
        ];
        convs.chain(linears.chain(others).map(Tensor::bytes)).sum()
    }

    /// Elements of the noise maps of one kind: where generated ones begin.
    pub(crate) fn noise_elements(&self) -> u32 {
        self.noise_elements
    }
}

#[cfg(test)]
pub(super) mod tests;
