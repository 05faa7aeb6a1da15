//! The style U-Net on burn: `src/reference/style_unet.rs` in its tensor operations.
//!
//! Written as a user of burn would port the network for speed: the first 1x1 convolution runs before
//! the resize with which it commutes, and a modulated convolution scales its input and output
//! instead of its weights.

use burn::Tensor;
use burn::tensor::activation::{leaky_relu, sigmoid};
use burn::tensor::module::{avg_pool2d, conv2d, interpolate};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, InterpolateMode, InterpolateOptions};
use gpavatar::{ConvConfig, ConvKind, Result, StyleUnetConfig};

use crate::parameters::{Linear, Parameters};

/// A network with its weights on a device.
pub struct StyleUnet {
    output: usize,
    first: Conv,
    /// Where the input is larger than the output.
    first_block: Option<ResBlock>,
    down: Vec<ResBlock>,
    bottom: Conv,
    to_style: Linear,
    up: Vec<Level>,
    style: Vec<Linear>,
    constant: Tensor<4>,
    start: StyleConv,
    start_rgb: ToRgb,
}

/// The layers of one resolution on the way up.
struct Level {
    block: ResBlock,
    scale: [Conv; 2],
    shift: [Conv; 2],
    convs: [StyleConv; 2],
    rgb: ToRgb,
}

struct Conv {
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
}

struct ResBlock {
    conv1: Conv,
    conv2: Conv,
    skip: Conv,
}

struct StyleConv {
    conv: Conv,
    modulation: Linear,
    /// Sums of the squared weights of each filter, `[inputs, outputs]`.
    energy: Tensor<2>,
    /// Noise times its gain plus bias, `[1, outputs, side, side]`.
    offset: Tensor<4>,
    upsample: bool,
}

struct ToRgb {
    conv: Conv,
    modulation: Linear,
    bias: Tensor<4>,
}

impl StyleUnet {
    /// Uploads the weights of the network `config`.
    pub fn new(parameters: &Parameters<'_>, config: &StyleUnetConfig) -> Result<Self> {
        let layers = config.layers();
        let conv = |conv: &ConvConfig| Conv::new(parameters, &conv.name);
        let block = |block: &gpavatar::ResBlock<_>| ResBlock::new(parameters, &block.name);
        let pair = |[first, second]: &[ConvConfig; 2]| -> Result<[Conv; 2]> {
            Ok([conv(first)?, conv(second)?])
        };
        let style_conv = |conv: &ConvConfig| StyleConv::new(parameters, conv);
        let level = |level: &gpavatar::Level<_>| -> Result<Level> {
            Ok(Level {
                block: block(&level.block)?,
                scale: pair(&level.scale)?,
                shift: pair(&level.shift)?,
                convs: [style_conv(&level.style_up)?, style_conv(&level.style_conv)?],
                rgb: ToRgb::new(parameters, &level.to_rgb.name)?,
            })
        };
        let mut style = config.style_network().into_iter();
        let Some(to_style) = style.next() else {
            unreachable!("the style follows from the 4x4 bottom")
        };
        Ok(Self {
            output: config.output as usize,
            first: conv(&layers.first)?,
            first_block: layers.first_block.as_ref().map(block).transpose()?,
            down: layers.down.iter().map(block).collect::<Result<_>>()?,
            bottom: conv(&layers.bottom)?,
            to_style: parameters.linear(&to_style.name)?,
            up: layers.up.iter().map(level).collect::<Result<_>>()?,
            style: style
                .map(|layer| parameters.linear(&layer.name))
                .collect::<Result<_>>()?,
            constant: parameters.tensor(&config.constant_input())?,
            start: style_conv(&layers.style_conv)?,
            start_rgb: ToRgb::new(parameters, &layers.to_rgb.name)?,
        })
    }

    /// `[1, inputs, side, side]` to `[1, outputs, output, output]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut f = self.first.forward(x);
        if f.dims()[2] < self.output {
            f = resize(f, self.output);
        }
        f = lrelu(f);
        if let Some(block) = &self.first_block {
            f = block.forward(f, halved);
        }
        let mut skips = Vec::new();
        for block in &self.down {
            f = block.forward(f, halved);
            skips.push(f.clone());
        }
        f = lrelu(self.bottom.forward(f));
        let mut style = self.to_style.forward(f.clone().flatten(1, 3));
        let mean = style.clone().square().mean_dim(1);
        style = style / (mean + 1e-8).sqrt();
        for layer in &self.style {
            style = leaky_relu(layer.forward(style), 0.2);
        }

        let mut y = self.start.forward(self.constant.clone(), &style);
        let mut image = self.start_rgb.forward(y.clone(), &style);
        for level in &self.up {
            if let Some(skip) = skips.pop() {
                f = f + skip;
            }
            f = level.block.forward(f, doubled);
            let [scale, shift] = [&level.scale, &level.shift]
                .map(|[first, second]| second.forward(lrelu(first.forward(f.clone()))));
            y = level.convs[0].forward(y, &style) * scale + shift;
            y = level.convs[1].forward(y, &style);
            image = level.rgb.forward(y.clone(), &style) + doubled(image);
        }
        image
    }
}

impl Conv {
    /// A convolution, with a bias if it has one.
    fn new(parameters: &Parameters<'_>, name: &str) -> Result<Self> {
        let bias = format!("{name}.bias");
        Ok(Self {
            weight: parameters.tensor(&format!("{name}.weight"))?,
            bias: (parameters.contains(&bias).then(|| parameters.tensor(&bias))).transpose()?,
        })
    }

    /// The filters of a modulated layer, whose shape begins with a 1.
    fn modulated(parameters: &Parameters<'_>, name: &str) -> Result<Self> {
        let weight: Tensor<5> = parameters.tensor(&format!("{name}.modulated_conv.weight"))?;
        Ok(Self {
            weight: weight.squeeze_dim(0),
            bias: None,
        })
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let padding = self.weight.dims()[2] / 2;
        let options = ConvOptions::new([1, 1], [padding; 2], [1, 1], 1);
        conv2d(x, self.weight.clone(), self.bias.clone(), options)
    }
}

impl ResBlock {
    fn new(parameters: &Parameters<'_>, name: &str) -> Result<Self> {
        let conv = |part: &str| Conv::new(parameters, &format!("{name}.{part}"));
        Ok(Self {
            conv1: conv("conv1")?,
            conv2: conv("conv2")?,
            skip: conv("skip")?,
        })
    }

    fn forward(&self, x: Tensor<4>, resized: fn(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
        let h = lrelu(self.conv1.forward(x.clone()));
        let h = lrelu(self.conv2.forward(resized(h)));
        h + self.skip.forward(resized(x))
    }
}

impl StyleConv {
    fn new(parameters: &Parameters<'_>, config: &ConvConfig) -> Result<Self> {
        let ConvKind::Style { noise } = &config.kind else {
            unreachable!("a style convolution")
        };
        let name = &config.name;
        let conv = Conv::modulated(parameters, name)?;
        let gain: Tensor<1> = parameters.tensor(&format!("{name}.weight"))?;
        let noise: Tensor<4> = parameters.tensor(noise)?;
        let bias: Tensor<4> = parameters.tensor(&format!("{name}.bias"))?;
        let [outputs, inputs, ..] = conv.weight.dims();
        let squares = conv.weight.clone().square().reshape([outputs, inputs, 9]);
        Ok(Self {
            energy: squares.sum_dim(2).squeeze_dim::<2>(2).transpose(),
            offset: noise * gain.reshape([1, 1, 1, 1]) + bias,
            modulation: parameters.linear(&format!("{name}.modulated_conv.modulation"))?,
            conv,
            upsample: config.upsampled,
        })
    }

    fn forward(&self, x: Tensor<4>, style: &Tensor<2>) -> Tensor<4> {
        let x = if self.upsample { doubled(x) } else { x };
        let modulation = self.modulation.forward(style.clone());
        let energy = modulation.clone().square().matmul(self.energy.clone());
        let gain = (energy + 1e-8).sqrt().recip() * std::f64::consts::SQRT_2;
        let y = self.conv.forward(x * channels(modulation));
        lrelu(y * channels(gain) + self.offset.clone())
    }
}

impl ToRgb {
    fn new(parameters: &Parameters<'_>, name: &str) -> Result<Self> {
        Ok(Self {
            conv: Conv::modulated(parameters, name)?,
            modulation: parameters.linear(&format!("{name}.modulated_conv.modulation"))?,
            bias: parameters.tensor(&format!("{name}.bias"))?,
        })
    }

    fn forward(&self, x: Tensor<4>, style: &Tensor<2>) -> Tensor<4> {
        let modulation = self.modulation.forward(style.clone());
        self.conv.forward(x * channels(modulation)) + self.bias.clone()
    }
}

/// `[1, channels]` as factors of a map's channels.
fn channels(x: Tensor<2>) -> Tensor<4> {
    let [_, count] = x.dims();
    x.reshape([1, count, 1, 1])
}

fn lrelu(x: Tensor<4>) -> Tensor<4> {
    leaky_relu(x, 0.2)
}

fn resize(x: Tensor<4>, side: usize) -> Tensor<4> {
    let options = InterpolateOptions::new(InterpolateMode::Bilinear);
    let options = options.with_align_corners(false);
    interpolate(x, options.with_output_size([side; 2]))
}

fn doubled(x: Tensor<4>) -> Tensor<4> {
    let side = 2 * x.dims()[2];
    resize(x, side)
}

/// Half the size: the mean of 2x2 pixels.
fn halved(x: Tensor<4>) -> Tensor<4> {
    avg_pool2d(x, AvgPoolOptions::new([2, 2]))
}

/// The activation of the super-resolver's output.
pub fn sigmoid_wide<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    sigmoid(x) * 1.002 - 0.001
}
