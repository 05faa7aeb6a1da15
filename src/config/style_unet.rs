use std::collections::BTreeMap;

/// A U-Net whose up-going half modulates a style-based decoder.
///
/// The encoder and the super-resolver both have this structure. Parts are named as in the
/// checkpoint, prefix included. For a configuration that
/// [`validate`](crate::ModelConfig::validate) refuses, sizes are meaningless, and channels that a
/// table does not list count as 0.
#[derive(Clone, Debug, PartialEq)]
pub struct StyleUnetConfig {
    /// Prefix of all its tensors, without the dot.
    pub prefix: &'static str,
    /// Nominal width and height of the input; a smaller image is resized to `output` first.
    pub input: u32,
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

/// A residual block that halves or doubles the resolution.
///
/// `h = lrelu(conv1 x); h = lrelu(conv2 resize(h)); h + skip resize(x)`: `conv1` keeps the
/// channels, `conv2` (both 3x3 with bias) and `skip` (1x1 without) change them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResBlockConfig {
    /// Prefix of its tensors, without the dot.
    pub name: String,
    /// Width and height of its input.
    pub input: u32,
    /// Width and height of its output.
    pub output: u32,
    /// Channels of its input.
    pub in_channels: u32,
    /// Channels of its output.
    pub out_channels: u32,
}

/// A modulated 3x3 convolution of the style decoder, with noise, bias and leaky ReLU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StyleConvConfig {
    /// Prefix of its tensors, without the dot.
    pub name: String,
    /// Name of its stored noise map, `[1, 1, resolution, resolution]`.
    pub noise: String,
    /// Width and height of its output.
    pub resolution: u32,
    /// Its input has half that resolution and is resized before the convolution.
    pub upsample: bool,
    /// Channels of its input.
    pub in_channels: u32,
    /// Channels of its output.
    pub out_channels: u32,
}

/// A modulated 1x1 convolution of the style decoder, not demodulated, that adds to the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToRgbConfig {
    /// Prefix of its tensors, without the dot.
    pub name: String,
    /// Width and height of its input.
    pub resolution: u32,
    /// Channels of its input.
    pub in_channels: u32,
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
    pub fn name(&self, part: impl std::fmt::Display) -> String {
        format!("{}.{part}", self.prefix)
    }

    /// Name of the first, 1x1 convolution.
    pub fn first_conv(&self) -> String {
        self.name(match self.first_block() {
            Some(_) => "conv_body_first.0",
            None => "conv_body_first",
        })
    }

    /// The block that follows the first convolution where the input is larger than the output.
    pub fn first_block(&self) -> Option<ResBlockConfig> {
        (self.input > self.output)
            .then(|| self.res_block("conv_body_first.1".into(), self.input, self.output))
    }

    /// The blocks from `output` down to 4x4, in order of execution.
    pub fn down_blocks(&self) -> Vec<ResBlockConfig> {
        (0..self.levels())
            .map(|i| {
                let input = self.output >> i;
                self.res_block(format!("conv_body_down.{i}"), input, input / 2)
            })
            .collect()
    }

    /// The blocks from 4x4 up to `output`, one for each level.
    pub fn up_blocks(&self) -> Vec<ResBlockConfig> {
        (0..self.levels())
            .map(|level| {
                let output = resolution(level);
                self.res_block(format!("conv_body_up.{level}"), output / 2, output)
            })
            .collect()
    }

    /// The decoder's convolutions in order of execution: one at 4x4, then two for each level.
    pub fn style_convs(&self) -> Vec<StyleConvConfig> {
        let conv = |index: u32, name: String, input: u32, resolution: u32| StyleConvConfig {
            name: self.name(format_args!("stylegan_decoder.{name}")),
            noise: self.name(format_args!("stylegan_decoder.noises.noise{index}")),
            resolution,
            upsample: input < resolution,
            in_channels: self.decoder_channels_at(input),
            out_channels: self.decoder_channels_at(resolution),
        };
        let mut convs = vec![conv(0, "style_conv1".into(), 4, 4)];
        for level in 0..self.levels() {
            let resolution = resolution(level);
            for (i, input) in [(2 * level, resolution / 2), (2 * level + 1, resolution)] {
                convs.push(conv(i + 1, format!("style_convs.{i}"), input, resolution));
            }
        }
        convs
    }

    /// The decoder's output layers: one at 4x4, then one for each level.
    pub fn to_rgbs(&self) -> Vec<ToRgbConfig> {
        let to_rgb = |name: String, resolution: u32| ToRgbConfig {
            name: self.name(format_args!("stylegan_decoder.{name}")),
            resolution,
            in_channels: self.decoder_channels_at(resolution),
        };
        let levels = (0..self.levels()).map(|i| to_rgb(format!("to_rgbs.{i}"), resolution(i)));
        std::iter::once(to_rgb("to_rgb1".into(), 4))
            .chain(levels)
            .collect()
    }

    fn res_block(&self, name: String, input: u32, output: u32) -> ResBlockConfig {
        ResBlockConfig {
            name: self.name(name),
            input,
            output,
            in_channels: self.channels_at(input),
            out_channels: self.channels_at(output),
        }
    }
}

/// Width and height of a level's output; level 0 lies just above the 4x4 bottom.
fn resolution(level: u32) -> u32 {
    8 << level
}
