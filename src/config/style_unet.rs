use std::collections::BTreeMap;
use std::fmt::Display;

use crate::error::Result;

/// Sizes of a style U-Net: a U-Net whose way up modulates a StyleGAN2 decoder (GFPGAN, Wang et al.
/// 2021). The encoder and the super-resolver are both one of these.
///
/// The sizes are those of a configuration that [`validate`](crate::ModelConfig::validate) accepts.
/// In any other, channels that a table does not list count as 0.
#[derive(Clone, Debug, PartialEq)]
pub struct StyleUnetConfig {
    /// Prefix of all its tensors, without the dot.
    pub prefix: &'static str,
    /// Nominal width and height of the input.
    pub input: u32,
    /// Width and height of the image that is given: `input`, or less than `output`, to which it is
    /// then resized.
    pub image: u32,
    /// Width and height of the output: `input` or half of it.
    pub output: u32,
    /// Channels of the input.
    pub in_channels: u32,
    /// Channels of the output.
    pub out_channels: u32,
    /// Channels of the U-Net at each resolution.
    pub channels: BTreeMap<u32, u32>,
    /// Channels of the style decoder at each resolution.
    pub decoder_channels: BTreeMap<u32, u32>,
    /// Length of the style vector.
    pub style_size: u32,
    /// Layers of the style network.
    pub style_layers: u32,
}

/// The layers of a style U-Net in order of execution. `C` stands for a convolution:
/// [`StyleUnetConfig::layers`] describes each one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StyleUnetLayers<C> {
    /// 1x1, from the image's channels to those of the U-Net.
    pub first: C,
    /// Follows where the input is larger than the output.
    pub first_block: Option<ResBlock<C>>,
    /// From the output's resolution down to 4x4.
    pub down: Vec<ResBlock<C>>,
    /// At 4x4. The style follows from its output.
    pub bottom: C,
    /// The decoder's convolution at 4x4.
    pub style_conv: C,
    /// The decoder's output at 4x4.
    pub to_rgb: C,
    /// From 4x4 up to the output's resolution.
    pub up: Vec<Level<C>>,
}

/// A residual block that halves or doubles the resolution.
///
/// `h = lrelu(conv1 x); h = lrelu(conv2 resize(h)); h + skip resize(x)`. When it doubles, `skip`
/// comes before the resize: the two commute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResBlock<C> {
    /// Prefix of its tensors, without the dot.
    pub name: String,
    /// 3x3, keeps the channels.
    pub conv1: C,
    /// 3x3, changes the channels.
    pub conv2: C,
    /// 1x1 without a bias, changes the channels.
    pub skip: C,
}

/// One resolution on the way up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level<C> {
    /// Doubles the U-Net's map.
    pub block: ResBlock<C>,
    /// Two 3x3 convolutions from the U-Net's map to the scale of the decoder's.
    pub scale: [C; 2],
    /// The same for its shift.
    pub shift: [C; 2],
    /// The decoder's convolution that doubles the resolution. Scale and shift follow.
    pub style_up: C,
    /// The decoder's convolution that keeps the resolution.
    pub style_conv: C,
    /// Adds to the output.
    pub to_rgb: C,
}

/// A convolution of a style U-Net.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvConfig {
    /// Prefix of its tensors, without the dot.
    pub name: String,
    /// Which tensors it has.
    pub kind: ConvKind,
    /// Width and height of its filters: 1 or 3.
    pub kernel_size: u32,
    /// Channels of its input.
    pub in_channels: u32,
    /// Channels of its output.
    pub out_channels: u32,
    /// Width and height of its output.
    pub size: u32,
    /// Whether it convolves the 2x-upsampled input.
    pub upsampled: bool,
}

/// Kinds of convolutions of a style U-Net.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConvKind {
    /// With a bias.
    Plain,
    /// Without a bias.
    Skip,
    /// Modulated and demodulated, then noise, bias and leaky ReLU.
    Style {
        /// Name of its stored noise map, `[1, 1, size, size]`.
        noise: String,
    },
    /// Modulated, with a bias.
    ToRgb,
}

/// A fully connected layer of a style U-Net.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinearConfig {
    /// Prefix of its tensors, without the dot.
    pub name: String,
    /// Length of its input.
    pub inputs: u32,
    /// Length of its output.
    pub outputs: u32,
}

impl StyleUnetConfig {
    /// Levels above the 4x4 bottom: `log2(output) - 2`.
    pub(crate) fn levels(&self) -> u32 {
        self.output.checked_ilog2().unwrap_or(0).saturating_sub(2)
    }

    /// Channels of the U-Net at `resolution`.
    pub fn channels_at(&self, resolution: u32) -> u32 {
        self.channels.get(&resolution).copied().unwrap_or(0)
    }

    /// Channels of the style decoder at `resolution`.
    pub fn decoder_channels_at(&self, resolution: u32) -> u32 {
        self.decoder_channels.get(&resolution).copied().unwrap_or(0)
    }

    /// Name of a tensor or part of this network.
    pub fn name(&self, part: impl Display) -> String {
        format!("{}.{part}", self.prefix)
    }

    /// Name of the decoder's constant input, `[1, channels, 4, 4]`.
    pub fn constant_input(&self) -> String {
        self.name("stylegan_decoder.constant_input.weight")
    }

    /// All convolutions.
    pub fn layers(&self) -> StyleUnetLayers<ConvConfig> {
        let halves = self.input > self.output;
        let down = |i: u32| {
            let input = self.output >> i;
            self.res_block(format!("conv_body_down.{i}"), [input, input / 2])
        };
        let first = match halves {
            true => "conv_body_first.0",
            false => "conv_body_first",
        };
        let first_block = || self.res_block("conv_body_first.1".into(), [self.input, self.output]);
        let channels = [self.in_channels, self.channels_at(self.input)];
        StyleUnetLayers {
            first: ConvConfig {
                kernel_size: 1,
                ..self.conv(first, channels, self.image)
            },
            first_block: halves.then(first_block),
            down: (0..self.levels()).map(down).collect(),
            bottom: self.conv("final_conv", [self.channels_at(4); 2], 4),
            style_conv: self.style_conv("style_conv1", 0, [4, 4]),
            to_rgb: self.to_rgb("to_rgb1", 4),
            up: (0..self.levels()).map(|level| self.level(level)).collect(),
        }
    }

    /// The layers from the 4x4 bottom to the style, in order of execution.
    pub fn style_network(&self) -> Vec<LinearConfig> {
        let layer = |name: String, inputs| LinearConfig {
            name: self.name(name),
            inputs,
            outputs: self.style_size,
        };
        let mlp = (0..self.style_layers).map(|i| {
            let name = format!("stylegan_decoder.style_mlp.{}", 2 * i + 1);
            layer(name, self.style_size)
        });
        let first = layer("final_linear".into(), 16 * self.channels_at(4));
        std::iter::once(first).chain(mlp).collect()
    }

    fn conv(&self, name: impl Display, [inputs, outputs]: [u32; 2], size: u32) -> ConvConfig {
        ConvConfig {
            name: self.name(name),
            kind: ConvKind::Plain,
            kernel_size: 3,
            in_channels: inputs,
            out_channels: outputs,
            size,
            upsampled: false,
        }
    }

    /// The block between two resolutions.
    fn res_block(&self, name: String, [input, output]: [u32; 2]) -> ResBlock<ConvConfig> {
        let channels = [input, output].map(|size| self.channels_at(size));
        ResBlock {
            conv1: self.conv(format!("{name}.conv1"), [channels[0]; 2], input),
            conv2: ConvConfig {
                upsampled: output > input,
                ..self.conv(format!("{name}.conv2"), channels, output)
            },
            skip: ConvConfig {
                kind: ConvKind::Skip,
                kernel_size: 1,
                ..self.conv(format!("{name}.skip"), channels, input.min(output))
            },
            name: self.name(name),
        }
    }

    fn level(&self, level: u32) -> Level<ConvConfig> {
        let size = 8 << level;
        let channels = self.channels_at(size);
        let condition = |kind: &str| {
            [(0, channels), (2, self.decoder_channels_at(size))].map(|(i, outputs)| {
                let name = format_args!("{kind}.{level}.{i}");
                self.conv(name, [channels, outputs], size)
            })
        };
        let style_conv = |index: u32, input| {
            let name = format_args!("style_convs.{index}");
            self.style_conv(name, index + 1, [input, size])
        };
        Level {
            block: self.res_block(format!("conv_body_up.{level}"), [size / 2, size]),
            scale: condition("condition_scale"),
            shift: condition("condition_shift"),
            style_up: style_conv(2 * level, size / 2),
            style_conv: style_conv(2 * level + 1, size),
            to_rgb: self.to_rgb(format_args!("to_rgbs.{level}"), size),
        }
    }

    fn style_conv(&self, name: impl Display, index: u32, [input, size]: [u32; 2]) -> ConvConfig {
        let channels = [input, size].map(|size| self.decoder_channels_at(size));
        ConvConfig {
            kind: ConvKind::Style {
                noise: self.name(format_args!("stylegan_decoder.noises.noise{index}")),
            },
            upsampled: size > input,
            ..self.conv(format_args!("stylegan_decoder.{name}"), channels, size)
        }
    }

    fn to_rgb(&self, name: impl Display, size: u32) -> ConvConfig {
        let channels = [self.decoder_channels_at(size), self.out_channels];
        ConvConfig {
            kind: ConvKind::ToRgb,
            kernel_size: 1,
            ..self.conv(format_args!("stylegan_decoder.{name}"), channels, size)
        }
    }
}

impl<C> StyleUnetLayers<C> {
    /// The decoder's modulated 3x3 convolutions, in order of execution.
    pub fn style_convs(&self) -> impl Iterator<Item = &C> {
        let levels = self.up.iter();
        let levels = levels.flat_map(|level| [&level.style_up, &level.style_conv]);
        std::iter::once(&self.style_conv).chain(levels)
    }

    /// The decoder's output layers, in order of execution.
    pub fn to_rgbs(&self) -> impl Iterator<Item = &C> {
        let levels = self.up.iter().map(|level| &level.to_rgb);
        std::iter::once(&self.to_rgb).chain(levels)
    }

    /// The same network with other layers: `f` of each, in order of execution.
    pub(crate) fn try_map<D>(
        self,
        mut f: impl FnMut(C) -> Result<D>,
    ) -> Result<StyleUnetLayers<D>> {
        let f = &mut f;
        let (down, up) = (self.down.into_iter(), self.up.into_iter());
        Ok(StyleUnetLayers {
            first: f(self.first)?,
            first_block: self.first_block.map(|block| block.try_map(f)).transpose()?,
            down: down.map(|block| block.try_map(f)).collect::<Result<_>>()?,
            bottom: f(self.bottom)?,
            style_conv: f(self.style_conv)?,
            to_rgb: f(self.to_rgb)?,
            up: up.map(|level| level.try_map(f)).collect::<Result<_>>()?,
        })
    }
}

impl<C> ResBlock<C> {
    fn try_map<D>(self, f: &mut impl FnMut(C) -> Result<D>) -> Result<ResBlock<D>> {
        Ok(ResBlock {
            name: self.name,
            conv1: f(self.conv1)?,
            conv2: f(self.conv2)?,
            skip: f(self.skip)?,
        })
    }
}

impl<C> Level<C> {
    fn try_map<D>(self, f: &mut impl FnMut(C) -> Result<D>) -> Result<Level<D>> {
        let ([scale_0, scale_2], [shift_0, shift_2]) = (self.scale, self.shift);
        Ok(Level {
            block: self.block.try_map(f)?,
            scale: [f(scale_0)?, f(scale_2)?],
            shift: [f(shift_0)?, f(shift_2)?],
            style_up: f(self.style_up)?,
            style_conv: f(self.style_conv)?,
            to_rgb: f(self.to_rgb)?,
        })
    }
}
