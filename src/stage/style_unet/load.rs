//! Weights of the network: folded, packed and uploaded.

use std::collections::HashMap;

use super::conv::{Conv, Numbers, Shape, Variant};
use super::{FeatureMap, Layer, Linear, StyleOffsets, StyleUnet};
use crate::config::StyleUnetConfig;
use crate::gpu::{Gpu, Storage, Tensor, Tuner};
use crate::weights::{fold, pack};
use crate::{Result, Weights};

impl Linear {
    pub(super) fn new(
        gpu: &Gpu,
        label: &str,
        (mut weights, storage): (Vec<f32>, Storage),
        bias: &[f32],
        columns: u32,
    ) -> Result<Self> {
        let gains = gains(&mut weights, bias.len(), storage);
        let rows: Vec<_> = gains.into_iter().zip(bias.iter().copied()).collect();
        let rows: Vec<_> = rows.into_iter().map(<[f32; 2]>::from).collect();
        Ok(Self {
            weights: Tensor::weights(gpu, label, &weights, storage)?,
            rows: Tensor::from_slice(gpu, label, &rows)?,
            row_count: bias.len() as u32,
            columns,
        })
    }
}

/// Divides rows of weights by what they are stored in units of, and returns that for each row: the
/// largest of its weights, or 1 where they are stored in full.
pub(super) fn gains(weights: &mut [f32], rows: usize, storage: Storage) -> Vec<f32> {
    if storage == Storage::Full {
        return vec![1.0; rows];
    }
    let columns = weights.len() / rows;
    let gain = |row: &mut [f32]| {
        let largest = row
            .iter()
            .fold(0.0f32, |most, weight| most.max(weight.abs()));
        if largest == 0.0 {
            return 1.0;
        }
        row.iter_mut().for_each(|weight| *weight /= largest);
        largest
    };
    weights.chunks_exact_mut(columns).map(gain).collect()
}

impl StyleUnet {
    /// Folds, packs and uploads the weights of the network `config` for inputs of `input_size`.
    pub(crate) fn new(
        (gpu, tuner): (&Gpu, &Tuner),
        weights: &Weights,
        config: StyleUnetConfig,
        input_size: u32,
        numbers: Numbers,
    ) -> Result<Self> {
        let storage = numbers.storage;
        let mut layers = HashMap::new();
        let mut load = |name: String, on: On, style: Option<StyleOffsets>| -> Result<()> {
            let layer = Layer::load((gpu, tuner), weights, &name, on, style, numbers)?;
            layers.insert(name, layer);
            Ok(())
        };
        load(config.first_conv(), On::map(input_size), None)?;
        let blocks = (config.first_block().into_iter())
            .chain(config.down_blocks())
            .chain(config.up_blocks());
        for block in blocks {
            // Resizes come before `conv2`, and on the way down before `skip`.
            let skip = block.input.min(block.output);
            let conv2 = On {
                size: block.output,
                upsampled: block.output > block.input,
            };
            for (part, on) in [
                ("conv1", On::map(block.input)),
                ("conv2", conv2),
                ("skip", On::map(skip)),
            ] {
                load(format!("{}.{part}", block.name), on, None)?;
            }
        }
        load(config.name("final_conv"), On::map(4), None)?;
        for (level, block) in config.up_blocks().iter().enumerate() {
            for condition in ["condition_scale", "condition_shift"] {
                for part in [0, 2] {
                    let name = config.name(format_args!("{condition}.{level}.{part}"));
                    load(name, On::map(block.output), None)?;
                }
            }
        }

        let mut styles = Styles::new(storage);
        for (i, conv) in config.style_convs().into_iter().enumerate() {
            let map = weights.f32(&conv.noise)?;
            let gain = weights.f32(&format!("{}.weight", conv.name))?[0];
            let offsets = styles.add_demodulated(weights, &conv.name, &map, gain)?;
            // The first of each level's two.
            let on = On {
                size: conv.resolution,
                upsampled: i % 2 == 1,
            };
            load(conv.name, on, Some(offsets))?;
        }
        for to_rgb in config.to_rgbs() {
            let offsets = styles.add(weights, &to_rgb.name)?;
            load(to_rgb.name, On::map(to_rgb.resolution), Some(offsets))?;
        }

        let style_layers = (0..config.style_layers)
            .map(|layer| {
                let name =
                    config.name(format_args!("stylegan_decoder.style_mlp.{}", 2 * layer + 1));
                let matrix = weights.f32(&format!("{name}.weight"))?.into_owned();
                let bias = weights.f32(&format!("{name}.bias"))?;
                Linear::new(gpu, &name, (matrix, storage), &bias, config.style_size)
            })
            .collect::<Result<_>>()?;
        let constant = weights.f32(&config.name("stylegan_decoder.constant_input.weight"))?;
        let channels = config.decoder_channels_at(4);
        let label = config.prefix;
        let noise_elements = styles.noise.len() as u32;
        styles.noise.resize(2 * styles.noise.len(), 0.0);
        Ok(Self {
            final_linear: Self::final_linear(gpu, weights, &config, storage)?,
            style_layers,
            modulation: Linear::new(
                gpu,
                label,
                (styles.modulation, storage),
                &styles.modulation_bias,
                config.style_size,
            )?,
            demodulation_rows: Tensor::from_slice(gpu, label, &styles.rows)?,
            squares: Tensor::weights(gpu, label, &styles.squares, storage)?,
            squares_count: styles.squares.len(),
            constant: FeatureMap {
                tensor: Tensor::stored(
                    gpu,
                    label,
                    &pack::pixels(&constant, channels),
                    storage.maps(),
                )?,
                size: 4,
                channels,
            },
            noise: Tensor::from_slice(gpu, label, &styles.noise)?,
            noise_elements,
            nothing: Tensor::from_slice(gpu, "nothing", &[0.0f32; 4])?,
            layers,
            config,
        })
    }

    /// The layer from the 4x4 bottom to the style, its columns reordered from `[channel][pixel]`
    /// to `[pixel][channel]`.
    fn final_linear(
        gpu: &Gpu,
        weights: &Weights,
        config: &StyleUnetConfig,
        storage: Storage,
    ) -> Result<Linear> {
        let name = config.name("final_linear");
        let channels = config.channels_at(4);
        let matrix: Vec<f32> = weights
            .f32(&format!("{name}.weight"))?
            .chunks_exact(channels as usize * 16)
            .flat_map(|row| pack::pixels(row, channels))
            .collect();
        let bias = weights.f32(&format!("{name}.bias"))?;
        let columns = pack::padded(channels) * 16;
        Linear::new(gpu, &name, (matrix, storage), &bias, columns)
    }
}

/// What a layer reads.
#[derive(Clone, Copy)]
struct On {
    /// Of the square map that is convolved.
    size: u32,
    /// Whether that is the double of what is given.
    upsampled: bool,
}

impl On {
    fn map(size: u32) -> Self {
        Self {
            size,
            upsampled: false,
        }
    }
}

impl Layer {
    fn load(
        (gpu, tuner): (&Gpu, &Tuner),
        weights: &Weights,
        name: &str,
        on: On,
        style: Option<StyleOffsets>,
        numbers: Numbers,
    ) -> Result<Self> {
        let tensor = match style {
            None => format!("{name}.weight"),
            Some(_) => format!("{name}.modulated_conv.weight"),
        };
        // A modulated layer's shape begins with a 1.
        let shape = weights.shape(&tensor)?;
        let [outputs, inputs, kernel_size, _] =
            [4, 3, 2, 1].map(|back| shape[shape.len() - back] as u32);
        let shape = Shape {
            kernel_size,
            inputs,
            outputs,
            size: [on.size; 2],
            modulated: style.is_some(),
            upsampled: on.upsampled,
        };
        let filters = weights.f32(&tensor)?;
        let bias = if name.ends_with(".skip") {
            vec![0.0; outputs as usize]
        } else {
            weights.f32(&format!("{name}.bias"))?.into_owned()
        };
        let variant = Variant::choose(gpu, tuner, shape, numbers)?;
        let filters = (&*filters, numbers.storage);
        let conv = Conv::new(gpu, name, shape, variant, filters, &bias)?;
        Ok(Self { conv, style })
    }
}

/// What all modulated layers share, while it is collected.
struct Styles {
    storage: Storage,
    /// `[layer][channel][style]`, channels padded.
    modulation: Vec<f32>,
    modulation_bias: Vec<f32>,
    /// One for each demodulated output channel.
    rows: Vec<[u32; 4]>,
    /// `[layer][output][input]`, inputs padded; in units of the row's gain.
    squares: Vec<f32>,
    /// `[layer][y][x]`
    noise: Vec<f32>,
}

impl Styles {
    fn new(storage: Storage) -> Self {
        Self {
            storage,
            modulation: Vec::new(),
            modulation_bias: Vec::new(),
            rows: Vec::new(),
            squares: Vec::new(),
            noise: Vec::new(),
        }
    }

    fn add(&mut self, weights: &Weights, name: &str) -> Result<StyleOffsets> {
        let name = format!("{name}.modulated_conv.modulation");
        let offset = self.modulation_bias.len() as u32 / 4;
        let bias = weights.f32(&format!("{name}.bias"))?;
        let matrix = weights.f32(&format!("{name}.weight"))?;
        let columns = matrix.len() / bias.len();
        self.modulation.extend_from_slice(&matrix);
        self.modulation_bias.extend(pack::vector(&bias));
        self.modulation
            .resize(self.modulation_bias.len() * columns, 0.0);
        Ok(StyleOffsets {
            modulation: offset,
            ..Default::default()
        })
    }

    fn add_demodulated(
        &mut self,
        weights: &Weights,
        name: &str,
        noise: &[f32],
        noise_gain: f32,
    ) -> Result<StyleOffsets> {
        let offsets = self.add(weights, name)?;
        let tensor = format!("{name}.modulated_conv.weight");
        let inputs = weights.shape(&tensor)?[2] as u32;
        let mut squares = pack::rows(&fold::squared_sums(weights, &tensor)?, inputs);
        let channels = pack::padded(inputs) / 4;
        let demodulation = self.rows.len() as u32 / 4;
        let first = self.squares.len() as u32 / 4;
        let outputs = squares.len() / (channels as usize * 4);
        let gains = gains(&mut squares, outputs, self.storage);
        let row = |(o, gain): (u32, f32)| {
            let squares = first + o * channels;
            [squares, offsets.modulation, channels, gain.to_bits()]
        };
        self.rows.extend((0..).zip(gains).map(row));
        // A row of no channels: padding keeps layers at whole vec4s.
        self.rows
            .resize(self.rows.len().next_multiple_of(4), [0; 4]);
        self.squares.extend(squares);
        let map = self.noise.len() as u32;
        self.noise.extend_from_slice(noise);
        let demodulation = Some(demodulation);
        Ok(StyleOffsets {
            demodulation,
            noise: map,
            noise_gain,
            ..offsets
        })
    }
}
