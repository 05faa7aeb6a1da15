//! The weights file's tensors on burn's device.

use burn::Tensor;
use burn::tensor::module::linear;
use burn::tensor::{Device, TensorData};
use gpavatar::{Result, Weights};

/// A weights file, and where its tensors go.
pub struct Parameters<'a> {
    weights: &'a Weights,
    device: &'a Device,
}

/// A fully connected layer.
pub struct Linear {
    /// `[inputs, outputs]`, unlike in the file.
    weight: Tensor<2>,
    bias: Tensor<1>,
}

impl<'a> Parameters<'a> {
    pub fn new(weights: &'a Weights, device: &'a Device) -> Self {
        Self { weights, device }
    }

    /// True if the file has a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.weights.shape(name).is_ok()
    }

    /// A tensor of the file, in its own shape.
    pub fn tensor<const D: usize>(&self, name: &str) -> Result<Tensor<D>> {
        let shape = self.weights.shape(name)?.to_vec();
        let data = TensorData::new(self.weights.f32(name)?.into_owned(), shape);
        Ok(Tensor::from_data(data, self.device))
    }

    /// The layer with this prefix.
    pub fn linear(&self, name: &str) -> Result<Linear> {
        let weight: Tensor<2> = self.tensor(&format!("{name}.weight"))?;
        Ok(Linear {
            weight: weight.transpose(),
            bias: self.tensor(&format!("{name}.bias"))?,
        })
    }
}

impl Linear {
    /// `[.., inputs]` to `[.., outputs]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        linear(x, self.weight.clone(), Some(self.bias.clone()))
    }
}
