//! Weights of the network: folded, packed and uploaded.

use super::conv::{Conv, Shape, Variant, quantise};
use super::{Layer, Linear, StyleOffsets, StyleUnet};
use crate::config::{ConvConfig, ConvKind, StyleUnetConfig};
use crate::error::Result;
use crate::gpu::{Gpu, Tensor, Tuner};
use crate::options::{Format, Formats};
use crate::weights::{Weights, fold, pack};

impl StyleUnet {
    /// Folds, packs and uploads the weights of the network `config`.
    pub(crate) fn new(
        (gpu, tuner): (&Gpu, &Tuner),
        weights: &Weights,
        config: &StyleUnetConfig,
        formats: Formats,
    ) -> Result<Self> {
        let format = formats.weights;
        let label = config.prefix;
        let mut styles = Styles::default();
        let mut bytes = 0;
        let layers = config.layers().try_map(|conv| {
            let style = styles.add(weights, &conv, format)?;
            let layer = Layer::load((gpu, tuner), weights, conv, style, formats)?;
            bytes += layer.conv.bytes();
            Ok(layer)
        })?;

        let bottom = config.channels_at(4);
        let mut style = Vec::new();
        for (i, linear) in config.style_network().into_iter().enumerate() {
            let matrix = weights.f32(&format!("{}.weight", linear.name))?;
            let mut matrix = matrix.into_owned();
            if i == 0 {
                // Columns `[channel][pixel]` become `[pixel][channel]`.
                let rows = matrix.chunks_exact(linear.inputs as usize);
                matrix = rows.flat_map(|row| pack::pixels(row, bottom)).collect();
            }
            let bias = weights.f32(&format!("{}.bias", linear.name))?;
            style.push(Linear {
                activate: i > 0,
                normalise: i == 1,
                ..Linear::new(gpu, linear.name, (matrix, format), &bias)?
            });
        }
        let modulation = (styles.modulation, format);
        let name = config.name("stylegan_decoder.modulation");
        style.push(Linear::new(gpu, name, modulation, &styles.modulation_bias)?);

        let channels = config.decoder_channels_at(4);
        let constant = pack::pixels(&weights.f32(&config.constant_input())?, channels);
        let noise_elements = styles.noise.len() as u32;
        styles.noise.resize(2 * styles.noise.len(), 0.0);
        let mut net = Self {
            name: label.into(),
            size: config.output,
            layers,
            style,
            demodulation_rows: Tensor::from_slice(gpu, label, &styles.rows)?,
            squares: Tensor::from_values(gpu, label, format, &styles.squares)?,
            constant: Tensor::from_values(gpu, label, formats.maps, &constant)?
                .shaped([4, 4, channels]),
            noise: Tensor::from_slice(gpu, label, &styles.noise)?,
            noise_elements,
            dummy: Tensor::from_slice(gpu, "dummy binding", &[0.0f32; 4])?,
            bytes,
        };
        let linears = net.style.iter().flat_map(|l| [&l.weights, &l.rows]);
        let others = [&net.squares, &net.demodulation_rows];
        let others = others.into_iter().chain([&net.constant, &net.noise]);
        net.bytes += linears.chain(others).map(Tensor::bytes).sum::<u64>();
        Ok(net)
    }
}

impl Linear {
    /// Uploads a matrix `[row][column]` and a bias.
    pub(super) fn new(
        gpu: &Gpu,
        name: String,
        (mut weights, format): (Vec<f32>, Format),
        bias: &[f32],
    ) -> Result<Self> {
        let columns = weights.len() / bias.len();
        let scales = quantise(&mut weights, bias.len(), format);
        let rows = scales.into_iter().zip(bias);
        let rows: Vec<_> = rows.map(|(scale, bias)| [scale, *bias]).collect();
        Ok(Self {
            weights: Tensor::from_values(gpu, &name, format, &weights)?,
            rows: Tensor::from_slice(gpu, &name, &rows)?,
            row_count: bias.len() as u32,
            columns: columns as u32,
            activate: false,
            normalise: false,
            name,
        })
    }
}

impl Layer {
    fn load(
        (gpu, tuner): (&Gpu, &Tuner),
        weights: &Weights,
        config: ConvConfig,
        style: Option<StyleOffsets>,
        formats: Formats,
    ) -> Result<Self> {
        let name = config.name;
        let shape = Shape {
            kernel_size: config.kernel_size,
            inputs: config.in_channels,
            outputs: config.out_channels,
            size: [config.size; 2],
            modulated: style.is_some(),
            upsampled: config.upsampled,
        };
        let filters = weights.f32(&match style {
            None => format!("{name}.weight"),
            Some(_) => format!("{name}.modulated_conv.weight"),
        })?;
        let bias = match config.kind {
            ConvKind::Skip => vec![0.0; shape.outputs as usize],
            _ => weights.f32(&format!("{name}.bias"))?.into_owned(),
        };
        let variant = Variant::choose(gpu, tuner, shape, formats)?;
        let filters = (&*filters, formats.weights);
        let conv = Conv::new(gpu, &name, shape, variant, filters, &bias)?;
        Ok(Self { name, conv, style })
    }
}

/// Collects the data that all modulated convolutions share.
#[derive(Default)]
struct Styles {
    /// `[conv][channel][style]`, channels padded.
    modulation: Vec<f32>,
    modulation_bias: Vec<f32>,
    /// For each demodulated output channel: offsets of its squares and of its modulation, their
    /// length in vec4s, and the quantisation scale.
    rows: Vec<[u32; 4]>,
    /// `[conv][output][input]`, inputs padded, divided by the row's quantisation scale.
    squares: Vec<f32>,
    /// `[conv][y][x]`
    noise: Vec<f32>,
}

impl Styles {
    /// Adds a convolution, if it is modulated.
    fn add(
        &mut self,
        weights: &Weights,
        conv: &ConvConfig,
        format: Format,
    ) -> Result<Option<StyleOffsets>> {
        let mut offsets = StyleOffsets {
            modulation: self.modulation_bias.len() as u32 / 4,
            ..Default::default()
        };
        match &conv.kind {
            ConvKind::Plain | ConvKind::Skip => return Ok(None),
            ConvKind::ToRgb => {}
            ConvKind::Style { noise } => {
                offsets.demodulation = Some(self.rows.len() as u32 / 4);
                offsets.noise = self.noise.len() as u32;
                offsets.noise_gain = weights.f32(&format!("{}.weight", conv.name))?[0];
                self.noise.extend_from_slice(&weights.f32(noise)?);
                self.add_squares(weights, conv, offsets.modulation, format)?;
            }
        }
        let name = format!("{}.modulated_conv.modulation", conv.name);
        let bias = weights.f32(&format!("{name}.bias"))?;
        let matrix = weights.f32(&format!("{name}.weight"))?;
        let columns = matrix.len() / bias.len();
        self.modulation.extend_from_slice(&matrix);
        self.modulation_bias.extend(pack::vector(&bias));
        let rows = self.modulation_bias.len();
        self.modulation.resize(rows * columns, 0.0);
        Ok(Some(offsets))
    }

    fn add_squares(
        &mut self,
        weights: &Weights,
        conv: &ConvConfig,
        modulation: u32,
        format: Format,
    ) -> Result<()> {
        let tensor = format!("{}.modulated_conv.weight", conv.name);
        let sums = fold::squared_sums(weights, &tensor)?;
        let mut squares = pack::rows(&sums, conv.in_channels);
        let vec4s = pack::padded(conv.in_channels) / 4;
        let first = self.squares.len() as u32 / 4;
        let scales = quantise(&mut squares, conv.out_channels as usize, format);
        let row = |(o, scale): (u32, f32)| [first + o * vec4s, modulation, vec4s, scale.to_bits()];
        self.rows.extend((0..).zip(scales).map(row));
        // Rows without channels pad each convolution to whole vec4s.
        let rows = self.rows.len().next_multiple_of(4);
        self.rows.resize(rows, [0; 4]);
        self.squares.extend(squares);
        Ok(())
    }
}
