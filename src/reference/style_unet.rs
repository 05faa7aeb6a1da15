//! The style U-Net: a U-Net whose features modulate a StyleGAN2 decoder, after GFPGAN (Wang et
//! al. 2021). Encoder and super-resolver are two instances of it.

use std::f64::consts::SQRT_2;

use super::shared::{Linear, add_bilinear_clamped, identity, lrelu, resized};
use super::{Real, Tensor, load, parallel_rows};
use crate::config::StyleUnetConfig;
use crate::{Result, Weights};

/// A convolution and everything that follows it in the same kernel, in this order:
///
/// y = residual + shift + scale · act( demodulation · (W·s ∗ x) + gain · noise + bias )
///
/// Every part but the weight is optional.
#[derive(Clone, Copy, Default)]
pub struct Conv<'a> {
    /// W, `[outputs][inputs][size][size]`, correlated with zero padding of `size / 2`.
    pub weight: &'a [Real],
    /// Side of the filter, 1 or 3.
    pub size: usize,
    /// Number of output channels.
    pub outputs: usize,
    /// s `[inputs]`, factor of each input channel.
    pub modulation: Option<&'a [Real]>,
    /// `[outputs]`, factor of each output channel.
    pub demodulation: Option<&'a [Real]>,
    /// A map `[height][width]` shared by all channels, and its gain.
    pub noise: Option<(&'a [Real], Real)>,
    /// `[outputs]`.
    pub bias: Option<&'a [Real]>,
    /// Whether act is [`lrelu`] instead of the identity.
    pub lrelu: bool,
    /// Scale and shift, `[height, width, outputs]` each.
    pub affine: Option<(&'a Tensor, &'a Tensor)>,
    /// The last term.
    pub residual: Residual<'a>,
}

/// The residual of a convolution.
#[derive(Clone, Copy, Default)]
pub enum Residual<'a> {
    /// Nothing.
    #[default]
    None,
    /// A map of the output's shape.
    Same(&'a Tensor),
    /// A map of half the output's height and width, bilinearly upsampled.
    Upsampled(&'a Tensor),
}

/// Convolves `x` `[height, width, inputs]` into `[height, width, outputs]`; see [`Conv`].
pub fn conv(x: &Tensor, conv: &Conv) -> Tensor {
    let [height, width, inputs] = x.image();
    let (size, outputs) = (conv.size, conv.outputs);
    debug_assert_eq!(conv.weight.len(), outputs * inputs * size * size);
    let pad = size / 2;

    // W·s as [row][column][input][output]: the inner loop then runs over outputs.
    let mut weight = vec![0.0; conv.weight.len()];
    for (i, w) in conv.weight.iter().enumerate() {
        let (tap, channel) = (i % (size * size), i / (size * size));
        let (input, output) = (channel % inputs, channel / inputs);
        weight[(tap * inputs + input) * outputs + output] =
            w * conv.modulation.map_or(1.0, |s| s[input]);
    }

    let mut y = Tensor::zeros([height, width, outputs]);
    parallel_rows(&mut y.data, width * outputs, |row, out| {
        for (tap, weight) in weight.chunks_exact(inputs * outputs).enumerate() {
            // Row and column of the input pixel under this tap, shifted by the padding.
            let (tap_row, tap_column) = (row + tap / size, tap % size);
            if !(pad..height + pad).contains(&tap_row) {
                continue;
            }
            let first = pad.saturating_sub(tap_column);
            let last = (width + pad - tap_column).min(width);
            for (input, weight) in weight.chunks_exact(outputs).enumerate() {
                for column in first..last {
                    let x = x.pixel(tap_row - pad, column + tap_column - pad)[input];
                    for (y, w) in out[column * outputs..][..outputs].iter_mut().zip(weight) {
                        *y += w * x;
                    }
                }
            }
        }
        for (column, y) in out.chunks_exact_mut(outputs).enumerate() {
            conv.finish(row, column, [height, width], y);
        }
    });
    y
}

impl Conv<'_> {
    /// The epilogue of one pixel.
    fn finish(&self, row: usize, column: usize, [height, width]: [usize; 2], y: &mut [Real]) {
        let place = row * width + column;
        let noise = self.noise.map_or(0.0, |(map, gain)| gain * map[place]);
        for (channel, y) in y.iter_mut().enumerate() {
            *y = *y * self.demodulation.map_or(1.0, |d| d[channel])
                + noise
                + self.bias.map_or(0.0, |b| b[channel]);
            if self.lrelu {
                *y = lrelu(*y);
            }
            if let Some((scale, shift)) = self.affine {
                *y = *y * scale.pixel(row, column)[channel] + shift.pixel(row, column)[channel];
            }
        }
        match self.residual {
            Residual::None => {}
            Residual::Same(map) => {
                for (y, r) in y.iter_mut().zip(map.pixel(row, column)) {
                    *y += r;
                }
            }
            Residual::Upsampled(map) => {
                let [map_height, map_width, _] = map.image();
                let column = resized(column, map_width, width);
                let row = resized(row, map_height, height);
                add_bilinear_clamped(map, column, row, y);
            }
        }
    }
}

/// The map as Winograd's F(2x2, 3x3) multiplies it, for a convolution with zero padding 1: Bᵀ d B
/// for each tile d of 4x4 pixels (Lavin and Gray 2015, section 4.1), its channels multiplied by
/// `modulation`. Tiles are 2 pixels apart, row by row; returns `[position, tile, channels]`.
pub fn winograd_tiles(x: &Tensor, modulation: Option<&[Real]>) -> Tensor {
    let [height, width, channels] = x.image();
    let (rows, columns) = (height.div_ceil(2), width.div_ceil(2));
    // Bᵀ v.
    let transformed = |[a, b, c, d]: [Real; 4]| [a - c, b + c, c - b, b - d];
    let mut tiles = Tensor::zeros([16, rows * columns, channels]);
    for tile in 0..rows * columns {
        for channel in 0..channels {
            let gain = modulation.map_or(1.0, |s| s[channel]);
            let pixel = |row: usize, column: usize| {
                let (y, x_) = (tile / columns * 2 + row, tile % columns * 2 + column);
                match (1..=height).contains(&y) && (1..=width).contains(&x_) {
                    true => x.pixel(y - 1, x_ - 1)[channel],
                    false => 0.0,
                }
            };
            let d = [0, 1, 2, 3].map(|j| transformed([0, 1, 2, 3].map(|i| pixel(i, j))));
            for i in 0..4 {
                let row = transformed(d.map(|column| column[i]));
                for (j, value) in row.into_iter().enumerate() {
                    let position = (4 * i + j) * rows * columns;
                    tiles.data[(position + tile) * channels + channel] = value * gain;
                }
            }
        }
    }
    tiles
}

/// Resizes a map to `height` x `width` bilinearly, pixel grids aligned at their outer borders and
/// edges clamped; halving averages 2x2 pixels. Optionally applies [`lrelu`] to the result.
pub fn resample(x: &Tensor, [height, width]: [usize; 2], activate: bool) -> Tensor {
    let [from_height, from_width, channels] = x.image();
    let mut y = Tensor::zeros([height, width, channels]);
    parallel_rows(&mut y.data, width * channels, |row, out| {
        let from_row = resized(row, from_height, height);
        for (column, out) in out.chunks_exact_mut(channels).enumerate() {
            add_bilinear_clamped(x, resized(column, from_width, width), from_row, out);
            if activate {
                out.iter_mut().for_each(|v| *v = lrelu(*v));
            }
        }
    });
    y
}

/// a + b, element by element.
pub fn add(a: &Tensor, b: &Tensor) -> Tensor {
    debug_assert_eq!(a.shape, b.shape);
    let sum = a.data.iter().zip(&b.data).map(|(a, b)| a + b);
    Tensor::new(a.shape.clone(), sum.collect())
}

/// act(W x + b) with W `[outputs][inputs]`; act is [`lrelu`] or the identity.
pub fn linear(x: &[Real], weight: &[Real], bias: &[Real], activate: bool) -> Vec<Real> {
    Linear::new(weight, bias).apply(x, if activate { lrelu } else { identity })
}

/// The factor that brings each output channel of a modulated convolution back to unit variance
/// (StyleGAN2, Karras et al. 2020, eq. 3): 1/√(Σ (W·s)² + 1e-8), the sum over all inputs and
/// taps. `weight` is `[outputs][inputs][taps]` with any number of taps, `modulation` s
/// `[inputs]`; returns `[outputs]`.
pub fn demodulation(weight: &[Real], modulation: &[Real], outputs: usize) -> Vec<Real> {
    let taps = weight.len() / (outputs * modulation.len());
    let energy = |filter: &[Real]| -> Real {
        let inputs = filter.chunks_exact(taps).zip(modulation);
        let energies = inputs.map(|(w, s)| w.iter().map(|w| (w * s) * (w * s)).sum::<Real>());
        energies.sum()
    };
    let filters = weight.chunks_exact(taps * modulation.len());
    let factors = filters.map(|filter| 1.0 / (energy(filter) + 1e-8).sqrt());
    factors.collect()
}

/// The style scaled to a mean square of one: z / √(mean z² + 1e-8).
pub fn style_normalise(style: &[Real]) -> Vec<Real> {
    let mean = style.iter().map(|z| z * z).sum::<Real>() / style.len() as Real;
    let scale = 1.0 / (mean + 1e-8).sqrt();
    style.iter().map(|z| z * scale).collect()
}

/// The noise of the style convolutions.
#[derive(Clone, Copy, Debug, Default)]
pub enum Noise<'a> {
    /// The maps that the checkpoint carries.
    #[default]
    Stored,
    /// None.
    Zero,
    /// One map per style convolution, `[side][side]`, at sides 4, then 8, 8, 16, 16, …
    Maps(&'a [Vec<Real>]),
}

/// The whole network. `x` is `[side, side, channels]`, the result `[output, output, channels]`. The
/// given map may be smaller than the network's input: it is brought to `output` first, which is how
/// the super-resolver is used.
///
/// # Errors
/// If the checkpoint lacks a tensor.
pub fn style_unet(
    weights: &Weights,
    config: &StyleUnetConfig,
    x: &Tensor,
    noise: Noise,
) -> Result<Tensor> {
    let prefix = config.prefix;
    let unet = Part { weights, prefix };
    let output = config.output as usize;
    let levels = output.ilog2() as usize - 2;

    let upsampled = (x.shape[0] < output).then(|| resample(x, [output; 2], false));
    let x = upsampled.as_ref().unwrap_or(x);
    let mut f = if config.input <= config.output {
        unet.conv("conv_body_first", x, true, Residual::None)?
    } else {
        let f = unet.conv("conv_body_first.0", x, true, Residual::None)?;
        unet.res_block("conv_body_first.1", &f, halved)?
    };

    let mut skips = Vec::new();
    for i in 0..levels {
        f = unet.res_block(&format!("conv_body_down.{i}"), &f, halved)?;
        skips.push(f.clone());
    }
    f = unet.conv("final_conv", &f, true, Residual::None)?;
    let style = unet.linear("final_linear", &f.to_planar(), false)?;

    let mut conditions = Vec::new();
    for (i, skip) in skips.iter().rev().enumerate() {
        f = unet.res_block(&format!("conv_body_up.{i}"), &add(&f, skip), doubled)?;
        let condition = |name: &str| {
            let h = unet.conv(&format!("{name}.{i}.0"), &f, true, Residual::None)?;
            unet.conv(&format!("{name}.{i}.2"), &h, false, Residual::None)
        };
        conditions.push((condition("condition_scale")?, condition("condition_shift")?));
    }

    let prefix = &format!("{prefix}.stylegan_decoder");
    let decoder = Part { weights, prefix };
    let mut style = style_normalise(&style);
    for i in 0..weights.config().style_layers {
        style = decoder.linear(&format!("style_mlp.{}", 2 * i + 1), &style, true)?;
    }

    let mut x = decoder.constant_input()?;
    x = decoder.style_conv("style_conv1", &x, &style, noise, 0, None)?;
    let mut image = decoder.to_rgb("to_rgb1", &x, &style, Residual::None)?;
    for (i, (scale, shift)) in conditions.iter().enumerate() {
        let (first, second) = (2 * i, 2 * i + 1);
        let name = format!("style_convs.{first}");
        let affine = Some((scale, shift));
        x = decoder.style_conv(&name, &doubled(&x), &style, noise, first + 1, affine)?;
        let name = format!("style_convs.{second}");
        x = decoder.style_conv(&name, &x, &style, noise, second + 1, None)?;
        let name = format!("to_rgbs.{i}");
        image = decoder.to_rgb(&name, &x, &style, Residual::Upsampled(&image))?;
    }
    Ok(image)
}

/// Half the height and width: each pixel the mean of 2x2.
fn halved(x: &Tensor) -> Tensor {
    resample(x, [x.shape[0] / 2, x.shape[1] / 2], false)
}

/// Twice the height and width, with weights ¼ and ¾.
fn doubled(x: &Tensor) -> Tensor {
    resample(x, [x.shape[0] * 2, x.shape[1] * 2], false)
}

/// The layers of a checkpoint whose names start with a prefix.
struct Part<'a> {
    weights: &'a Weights,
    prefix: &'a str,
}

impl Part<'_> {
    fn name(&self, layer: &str, tensor: &str) -> String {
        format!("{}.{layer}.{tensor}", self.prefix)
    }

    fn tensor(&self, name: &str) -> Result<Vec<Real>> {
        load(self.weights, name)
    }

    fn conv(&self, layer: &str, x: &Tensor, lrelu: bool, residual: Residual) -> Result<Tensor> {
        let name = self.name(layer, "weight");
        let shape = self.weights.shape(&name)?;
        let settings = Conv {
            weight: &self.tensor(&name)?,
            size: shape[2],
            outputs: shape[0],
            bias: Some(&self.tensor(&self.name(layer, "bias"))?),
            lrelu,
            residual,
            ..Conv::default()
        };
        Ok(conv(x, &settings))
    }

    fn linear(&self, layer: &str, x: &[Real], activate: bool) -> Result<Vec<Real>> {
        let weight = self.tensor(&self.name(layer, "weight"))?;
        let bias = self.tensor(&self.name(layer, "bias"))?;
        Ok(linear(x, &weight, &bias, activate))
    }

    /// Two convolutions with a change of size between them, beside a 1x1 shortcut.
    fn res_block(
        &self,
        layer: &str,
        x: &Tensor,
        resize: impl Fn(&Tensor) -> Tensor,
    ) -> Result<Tensor> {
        let name = self.name(layer, "skip.weight");
        let skip = Conv {
            weight: &self.tensor(&name)?,
            size: 1,
            outputs: self.weights.shape(&name)?[0],
            ..Conv::default()
        };
        let shortcut = conv(&resize(x), &skip);
        let h = self.conv(&format!("{layer}.conv1"), x, true, Residual::None)?;
        let residual = Residual::Same(&shortcut);
        self.conv(&format!("{layer}.conv2"), &resize(&h), true, residual)
    }

    /// The decoder's learned input, `[4, 4, channels]`.
    fn constant_input(&self) -> Result<Tensor> {
        let name = self.name("constant_input", "weight");
        let values = self.tensor(&name)?;
        Ok(Tensor::from_planar([values.len() / 16, 4, 4], &values))
    }

    /// lrelu( √2 · modulated and demodulated convolution + gain · noise + bias ), then scale and
    /// shift.
    fn style_conv(
        &self,
        layer: &str,
        x: &Tensor,
        style: &[Real],
        noise: Noise,
        noise_index: usize,
        affine: Option<(&Tensor, &Tensor)>,
    ) -> Result<Tensor> {
        let gain = self.tensor(&self.name(layer, "weight"))?[0];
        let stored;
        let noise = match noise {
            Noise::Stored => {
                let name = format!("noises.noise{noise_index}");
                stored = self.tensor(&format!("{}.{name}", self.prefix))?;
                Some((&stored[..], gain))
            }
            Noise::Zero => None,
            Noise::Maps(maps) => Some((&maps[noise_index][..], gain)),
        };

        let modulated = format!("{layer}.modulated_conv");
        let name = self.name(&modulated, "weight");
        let shape = self.weights.shape(&name)?;
        let (outputs, size) = (shape[1], shape[3]);
        let weight = self.tensor(&name)?;
        let modulation = self.linear(&format!("{modulated}.modulation"), style, false)?;
        let mut demodulation = demodulation(&weight, &modulation, outputs);
        demodulation.iter_mut().for_each(|d| *d *= SQRT_2 as Real);
        let settings = Conv {
            weight: &weight,
            size,
            outputs,
            modulation: Some(&modulation),
            demodulation: Some(&demodulation),
            noise,
            bias: Some(&self.tensor(&self.name(layer, "bias"))?),
            lrelu: true,
            affine,
            residual: Residual::None,
        };
        Ok(conv(x, &settings))
    }

    /// A modulated 1x1 convolution to the output channels, added to the upsampled output of the
    /// level before.
    fn to_rgb(
        &self,
        layer: &str,
        x: &Tensor,
        style: &[Real],
        residual: Residual,
    ) -> Result<Tensor> {
        let modulated = format!("{layer}.modulated_conv");
        let name = self.name(&modulated, "weight");
        let modulation = self.linear(&format!("{modulated}.modulation"), style, false)?;
        let settings = Conv {
            weight: &self.tensor(&name)?,
            size: 1,
            outputs: self.weights.shape(&name)?[1],
            modulation: Some(&modulation),
            bias: Some(&self.tensor(&self.name(layer, "bias"))?),
            residual,
            ..Conv::default()
        };
        Ok(conv(x, &settings))
    }
}
