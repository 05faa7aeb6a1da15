//! The style U-Net, which is both the encoder (image to tri-planes) and the super-resolver
//! (low-resolution image to picture).
//!
//! A U-Net reads its input down to 4x4. A style from there, and a scale and a shift for each
//! resolution on the way up, steer a StyleGAN2 decoder. Kernels are fused:
//!
//! - A convolution's epilogue computes bias, activation, noise, demodulation, scale and shift, and the
//!   residual sum.
//! - Convolutions modulate and upsample their input while they read it.
//! - One matrix product computes the modulations of all layers.

mod conv;
mod load;
mod plan;
mod resize;

use conv::Conv;
pub(crate) use resize::converted;

use crate::config::StyleUnetLayers;
use crate::gpu::Tensor;

/// Weights of one such network on the device.
pub(crate) struct StyleUnet {
    name: String,
    /// Width and height of the output.
    size: u32,
    layers: StyleUnetLayers<Layer>,
    /// From the 4x4 bottom to the style, and from there to all modulations.
    style: Vec<Linear>,
    demodulation_rows: Tensor,
    squares: Tensor,
    constant: Tensor,
    /// Stored noise maps of all layers, and as much room for generated ones.
    noise: Tensor,
    /// Elements of the stored noise maps: generated maps begin there.
    pub(crate) noise_elements: u32,
    /// The dummy binding, for resources that a kernel does not read.
    dummy: Tensor,
    /// Bytes of all weights and noise maps.
    pub(crate) bytes: u64,
}

/// A convolution and its part of the style.
struct Layer {
    name: String,
    conv: Conv,
    style: Option<StyleOffsets>,
}

/// Offsets of a modulated convolution in the data that all of them share.
#[derive(Clone, Copy, Default)]
struct StyleOffsets {
    modulation: u32,
    /// For convolutions with demodulation and noise.
    demodulation: Option<u32>,
    noise: u32,
    noise_gain: f32,
}

/// A fully connected layer.
struct Linear {
    name: String,
    /// `[row][column]`
    weights: Tensor,
    /// Quantisation scale and bias of each row.
    rows: Tensor,
    row_count: u32,
    columns: u32,
    /// Whether a leaky ReLU follows.
    activate: bool,
    /// Whether its input is scaled to a mean square of one.
    normalise: bool,
}

#[cfg(test)]
pub(super) mod tests;
