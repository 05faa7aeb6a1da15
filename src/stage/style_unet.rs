//! The network that serves twice: images to tri-planes, and low-resolution values to the picture.
//!
//! A U-Net reads its input down to 4x4, from where a style and, on the way up, a scale and a shift
//! per resolution steer a StyleGAN2 decoder. What is fused here: bias, activation, noise,
//! demodulation, scale and shift and residual sums into the convolutions' epilogues; modulations and
//! doubles of maps into what convolutions read; all modulations into one matrix product.

mod conv;

use std::collections::HashMap;
use std::sync::Arc;

pub(crate) use conv::Numbers;
use conv::{Conv, Operands, Shape, Variant};

use crate::config::{ResBlockConfig, StyleConvConfig, StyleUnetConfig, ToRgbConfig};
use crate::gpu::kernels::{params, style_unet as kernels};
use crate::gpu::{
    Dispatch, Format, Gpu, Kernel, ProgramBuilder, Storage, Tensor, When, linear_grid,
};
use crate::weights::{fold, pack};
use crate::{Result, Weights};

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

/// Values that epilogue flags have in `shaders/style_unet/conv_epilogue.wgsl`.
mod flag {
    pub const DEMODULATE: u32 = 1;
    pub const NOISE: u32 = 2;
    pub const LRELU: u32 = 4;
    pub const SCALE_SHIFT: u32 = 8;
    pub const RESIDUAL: u32 = 16;
    pub const RESIDUAL_UPSAMPLED: u32 = 32;
    pub const SIGMOID: u32 = 64;
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

impl Linear {
    fn new(
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
fn gains(weights: &mut [f32], rows: usize, storage: Storage) -> Vec<f32> {
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
        gpu: &Gpu,
        weights: &Weights,
        config: StyleUnetConfig,
        input_size: u32,
        numbers: Numbers,
    ) -> Result<Self> {
        let storage = numbers.storage;
        let mut layers = HashMap::new();
        let mut load = |name: String, on: On, style: Option<StyleOffsets>| -> Result<()> {
            let layer = Layer::load(gpu, weights, &name, on, style, numbers)?;
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

    /// Plans the network on `input`; `frame` is the uniform with the noise's settings. The final
    /// activation is that of the super-resolver if `sigmoid`, else none. The input stays the
    /// caller's; the result becomes it, as the program stores maps.
    pub(crate) fn plan(
        &self,
        builder: &mut ProgramBuilder<'_>,
        input: &FeatureMap,
        frame: &Tensor,
        sigmoid: bool,
    ) -> Result<FeatureMap> {
        let plan = Plan {
            net: self,
            frame,
            kernels: Kernels::new(builder)?,
        };
        if builder.storage().maps() == Format::F32 {
            return plan.network(builder, input, sigmoid);
        }
        let stored = stored(builder, input)?;
        let output = plan.network(builder, &stored, sigmoid)?;
        builder.release(stored.tensor);
        Ok(output)
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
        gpu: &Gpu,
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
        let variant = Variant::choose(gpu, shape, numbers)?;
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

/// The kernels that do not depend on a layer's size.
struct Kernels {
    add: Arc<Kernel>,
    linear: Arc<Kernel>,
    demodulation: Arc<Kernel>,
    noise: Arc<Kernel>,
}

impl Kernels {
    fn new(b: &ProgramBuilder<'_>) -> Result<Self> {
        Ok(Self {
            add: b.kernel(&kernels::ADD, &[])?,
            linear: b.kernel(&kernels::LINEAR, &[])?,
            demodulation: b.kernel(&kernels::DEMODULATION, &[])?,
            noise: b.kernel(&kernels::NOISE, &[])?,
        })
    }
}

/// What happens to a convolution's sums.
#[derive(Default)]
struct Epilogue<'a> {
    flags: u32,
    operand: Option<&'a Tensor>,
    /// Where the result goes, if not into a tensor of its own.
    output: Option<Tensor>,
}

impl<'a> Epilogue<'a> {
    const LINEAR: Self = Self {
        flags: 0,
        operand: None,
        output: None,
    };

    fn lrelu() -> Self {
        Self {
            flags: flag::LRELU,
            ..Self::LINEAR
        }
    }

    fn with(self, flag: u32, operand: &'a Tensor) -> Self {
        Self {
            flags: self.flags | flag,
            operand: Some(operand),
            ..self
        }
    }
}

/// The modulation and demodulation of all layers for one style.
struct Style {
    modulation: Tensor,
    demodulation: Tensor,
}

struct Plan<'a> {
    net: &'a StyleUnet,
    frame: &'a Tensor,
    kernels: Kernels,
}

impl Plan<'_> {
    fn network(
        &self,
        b: &mut ProgramBuilder<'_>,
        input: &FeatureMap,
        sigmoid: bool,
    ) -> Result<FeatureMap> {
        let config = &self.net.config;
        let mut x = self.first(b, input)?;
        if let Some(block) = config.first_block() {
            let y = self.down_block(b, &block, &x)?;
            b.release(std::mem::replace(&mut x, y).tensor);
        }
        let mut skips = Vec::new();
        for block in config.down_blocks() {
            let y = self.down_block(b, &block, &x)?;
            if skips.is_empty() {
                b.release(x.tensor);
            }
            skips.push(y.clone());
            x = y;
        }
        let bottom = self.conv(b, &config.name("final_conv"), &x, None, Epilogue::lrelu())?;
        let style = self.style(b, &bottom)?;

        let mut x = bottom;
        let mut decoder = Decoder {
            plan: self,
            style,
            convs: config.style_convs(),
            rgbs: config.to_rgbs(),
        };
        let (mut y, mut rgb) = decoder.first(b)?;
        let last_level = config.levels() - 1;
        for (level, block) in (0u32..).zip(config.up_blocks()) {
            let sum = match skips.pop() {
                Some(skip) => self.add(b, &block.name, x, skip)?,
                None => x,
            };
            x = self.up_block(b, &block, &sum)?;
            b.release(sum.tensor);
            let condition = self.condition(b, level, &x)?;
            (y, rgb) =
                decoder.level(b, level, y, rgb, condition, sigmoid && level == last_level)?;
        }
        b.release(x.tensor);
        b.release(y.tensor);
        b.release(decoder.style.modulation);
        b.release(decoder.style.demodulation);
        b.tap_stored(config.prefix, &rgb.tensor, rgb.shape());
        Ok(rgb)
    }

    /// The 1x1 convolution in front. It commutes with the resize of an input that is smaller than
    /// the output, so it runs at the smaller size.
    fn first(&self, b: &mut ProgramBuilder<'_>, input: &FeatureMap) -> Result<FeatureMap> {
        let config = &self.net.config;
        let name = config.first_conv();
        if input.size >= config.output {
            return self.conv(b, &name, input, None, Epilogue::lrelu());
        }
        let small = self.conv(b, &name, input, None, Epilogue::LINEAR)?;
        let resized = resample(b, &name, &small, config.output, true)?;
        b.release(small.tensor);
        b.tap(name, &resized.tensor, resized.shape());
        Ok(resized)
    }

    fn down_block(
        &self,
        b: &mut ProgramBuilder<'_>,
        block: &ResBlockConfig,
        x: &FeatureMap,
    ) -> Result<FeatureMap> {
        let name = |part: &str| format!("{}.{part}", block.name);
        let full = self.conv(b, &name("conv1"), x, None, Epilogue::lrelu())?;
        let half = resample(b, &name("conv1"), &full, block.output, false)?;
        b.release(full.tensor);
        let small = resample(b, &name("skip"), x, block.output, false)?;
        let skip = self.conv(b, &name("skip"), &small, None, Epilogue::LINEAR)?;
        b.release(small.tensor);
        let epilogue = Epilogue::lrelu().with(flag::RESIDUAL, &skip.tensor);
        let y = self.conv(b, &name("conv2"), &half, None, epilogue)?;
        b.release(half.tensor);
        b.release(skip.tensor);
        b.tap_stored(&block.name, &y.tensor, y.shape());
        Ok(y)
    }

    /// As the 1x1 convolution commutes with the resize here, too, it runs at the smaller size.
    fn up_block(
        &self,
        b: &mut ProgramBuilder<'_>,
        block: &ResBlockConfig,
        x: &FeatureMap,
    ) -> Result<FeatureMap> {
        let name = |part: &str| format!("{}.{part}", block.name);
        let small = self.conv(b, &name("conv1"), x, None, Epilogue::lrelu())?;
        let skip = self.conv(b, &name("skip"), x, None, Epilogue::LINEAR)?;
        let epilogue = Epilogue::lrelu().with(flag::RESIDUAL_UPSAMPLED, &skip.tensor);
        let y = self.conv(b, &name("conv2"), &small, None, epilogue)?;
        b.release(small.tensor);
        b.release(skip.tensor);
        b.tap_stored(&block.name, &y.tensor, y.shape());
        Ok(y)
    }

    /// Scale and shift of a level, one behind the other.
    fn condition(&self, b: &mut ProgramBuilder<'_>, level: u32, x: &FeatureMap) -> Result<Tensor> {
        let config = &self.net.config;
        let name = |kind, part| config.name(format_args!("{kind}.{level}.{part}"));
        let channels = self.net.layers[&name("condition_scale", 2)]
            .conv
            .shape
            .outputs;
        let elements = elements(x.size, channels);
        let both = b.stored(&name("condition_scale", 2), 2 * elements)?;
        let bytes = b.storage().maps().bytes(elements);
        for (kind, offset) in [("condition_scale", 0), ("condition_shift", bytes)] {
            let hidden = self.conv(b, &name(kind, 0), x, None, Epilogue::lrelu())?;
            let output = Some(both.slice(offset, bytes));
            self.conv(
                b,
                &name(kind, 2),
                &hidden,
                None,
                Epilogue {
                    output,
                    ..Epilogue::LINEAR
                },
            )?;
            b.release(hidden.tensor);
        }
        Ok(both)
    }

    /// The style, and from it the modulation and demodulation of all layers.
    fn style(&self, b: &mut ProgramBuilder<'_>, bottom: &FeatureMap) -> Result<Style> {
        let (net, config) = (self.net, &self.net.config);
        let label = config.name("final_linear");
        let layer = &net.final_linear;
        let mut x = if b.storage().maps() == Format::F32 {
            self.linear(b, label, layer, &bottom.tensor, false, false)?
        } else {
            let full = restored(b, bottom)?.tensor;
            let x = self.linear(b, label, layer, &full, false, false)?;
            b.release(full);
            x
        };
        for (i, layer) in net.style_layers.iter().enumerate() {
            let label = config.name(format_args!("stylegan_decoder.style_mlp.{}", 2 * i + 1));
            let y = self.linear(b, label, layer, &x, true, i == 0)?;
            b.release(x);
            x = y;
        }
        let label = config.name("stylegan_decoder.modulation");
        let modulation = self.linear(b, label, &net.modulation, &x, false, false)?;
        b.release(x);

        let rows = (net.demodulation_rows.bytes() / 16) as u32;
        let demodulation = b.tensor("demodulation", rows.into())?;
        let multiplied = net.squares_count as f64;
        b.dispatch(
            Dispatch::new(
                config.name("stylegan_decoder.demodulation"),
                &self.kernels.demodulation,
            )
            .uniform(
                "size",
                params::Demodulation {
                    rows,
                    ..Default::default()
                },
            )
            .bind("rows", &net.demodulation_rows)
            .bind("squares", &net.squares)
            .bind("modulation", &modulation)
            .bind("output", &demodulation)
            .grid([rows.div_ceil(8), 1, 1])
            .cost(3.0 * multiplied, net.squares.bytes() as f64),
        );
        if net.noise_elements > 0 {
            b.dispatch(
                Dispatch::new(config.name("stylegan_decoder.noises"), &self.kernels.noise)
                    .uniform(
                        "size",
                        params::Noise {
                            count: net.noise_elements,
                            ..Default::default()
                        },
                    )
                    .bind("frame", self.frame)
                    .bind("noise", &net.noise)
                    .grid(linear_grid(net.noise_elements.div_ceil(64)))
                    .when(When::GeneratedNoise)
                    .cost(0.0, 4.0 * f64::from(net.noise_elements)),
            );
        }
        Ok(Style {
            modulation,
            demodulation,
        })
    }

    fn conv(
        &self,
        b: &mut ProgramBuilder<'_>,
        name: &str,
        input: &FeatureMap,
        style: Option<&Style>,
        epilogue: Epilogue<'_>,
    ) -> Result<FeatureMap> {
        let net = self.net;
        let Layer { conv, style: share } = &net.layers[name];
        debug_assert_eq!(conv.shape.input_size(), [input.size; 2], "{name}");
        let [size, _] = conv.shape.size;
        let output = match epilogue.output {
            Some(output) => output,
            None => b.stored(name, elements(size, conv.shape.outputs))?,
        };
        let offsets = share.unwrap_or_default();
        let mut flags = epilogue.flags;
        if offsets.demodulation.is_some() {
            flags |= flag::DEMODULATE | flag::NOISE;
        }
        let parameters = params::Conv {
            modulation_offset: offsets.modulation,
            demodulation_offset: offsets.demodulation.unwrap_or_default(),
            noise_offset: offsets.noise,
            noise_gain: offsets.noise_gain,
            flags,
            ..Default::default()
        };
        let nothing = &net.nothing;
        let operands = Operands {
            frame: self.frame,
            input: &input.tensor,
            modulation: style.map_or(nothing, |style| &style.modulation),
            demodulation: style.map_or(nothing, |style| &style.demodulation),
            noise: &net.noise,
            operand: epilogue.operand.unwrap_or(nothing),
            output: &output,
        };
        conv.plan(b, name, parameters, operands)?;
        let output = FeatureMap {
            tensor: output,
            size,
            channels: conv.shape.outputs,
        };
        b.tap_stored(name, &output.tensor, output.shape());
        Ok(output)
    }

    /// Adds two maps and releases them.
    fn add(
        &self,
        b: &mut ProgramBuilder<'_>,
        label: &str,
        left: FeatureMap,
        right: FeatureMap,
    ) -> Result<FeatureMap> {
        let elements = elements(left.size, left.channels);
        let output = b.stored(label, elements)?;
        let count = (elements / 4) as u32;
        b.dispatch(
            Dispatch::new(format!("{label} (add)"), &self.kernels.add)
                .uniform(
                    "size",
                    params::Add {
                        count,
                        ..Default::default()
                    },
                )
                .bind("left", &left.tensor)
                .bind("right", &right.tensor)
                .bind("output", &output)
                .grid(linear_grid(count.div_ceil(64)))
                .cost(elements as f64, 3.0 * output.bytes() as f64),
        );
        b.release(left.tensor);
        b.release(right.tensor);
        Ok(FeatureMap {
            tensor: output,
            ..left
        })
    }

    fn linear(
        &self,
        b: &mut ProgramBuilder<'_>,
        label: String,
        layer: &Linear,
        input: &Tensor,
        activate: bool,
        normalise: bool,
    ) -> Result<Tensor> {
        let output = b.tensor(&label, layer.row_count.into())?;
        let parameters = params::Linear {
            rows: layer.row_count,
            columns: layer.columns / 4,
            activate: activate.into(),
            normalise: normalise.into(),
        };
        let weights = f64::from(layer.row_count) * f64::from(layer.columns);
        b.tap(&label, &output, [1, layer.row_count, layer.row_count]);
        b.dispatch(
            Dispatch::new(label, &self.kernels.linear)
                .uniform("size", parameters)
                .bind("input", input)
                .bind("weights", &layer.weights)
                .bind("rows", &layer.rows)
                .bind("output", &output)
                .grid([layer.row_count.div_ceil(8), 1, 1])
                .cost(2.0 * weights, layer.weights.bytes() as f64),
        );
        Ok(output)
    }
}

/// The style-based decoder, level by level as the U-Net's way up delivers scales and shifts.
struct Decoder<'a> {
    plan: &'a Plan<'a>,
    style: Style,
    convs: Vec<StyleConvConfig>,
    rgbs: Vec<ToRgbConfig>,
}

impl Decoder<'_> {
    /// Features and output at 4x4.
    fn first(&mut self, b: &mut ProgramBuilder<'_>) -> Result<(FeatureMap, FeatureMap)> {
        let style = Some(&self.style);
        let constant = &self.plan.net.constant;
        let y = self
            .plan
            .conv(b, &self.convs[0].name, constant, style, Epilogue::lrelu())?;
        let rgb = self
            .plan
            .conv(b, &self.rgbs[0].name, &y, style, Epilogue::LINEAR)?;
        Ok((y, rgb))
    }

    /// Features and output at twice the resolution of `y` and `rgb`.
    fn level(
        &mut self,
        b: &mut ProgramBuilder<'_>,
        level: u32,
        y: FeatureMap,
        rgb: FeatureMap,
        condition: Tensor,
        sigmoid: bool,
    ) -> Result<(FeatureMap, FeatureMap)> {
        let (plan, style) = (self.plan, Some(&self.style));
        let index = 2 * level as usize + 1;
        let [up, same] = &self.convs[index..index + 2] else {
            unreachable!("two per level")
        };
        let epilogue = Epilogue::lrelu().with(flag::SCALE_SHIFT, &condition);
        let steered = plan.conv(b, &up.name, &y, style, epilogue)?;
        b.release(y.tensor);
        b.release(condition);
        let y = plan.conv(b, &same.name, &steered, style, Epilogue::lrelu())?;
        b.release(steered.tensor);

        let mut epilogue = Epilogue::LINEAR.with(flag::RESIDUAL_UPSAMPLED, &rgb.tensor);
        if sigmoid {
            epilogue.flags |= flag::SIGMOID;
        }
        let next = plan.conv(b, &self.rgbs[level as usize + 1].name, &y, style, epilogue)?;
        b.release(rgb.tensor);
        Ok((y, next))
    }
}

/// A bilinear resize.
struct Resize {
    /// Height and width.
    from: [u32; 2],
    to: [u32; 2],
    channels: u32,
    /// Whether a leaky ReLU follows.
    activate: bool,
}

impl Resize {
    fn plan(&self, b: &mut ProgramBuilder<'_>, label: &str, input: &Tensor) -> Result<Tensor> {
        let channels = self.channels.div_ceil(4);
        let [height, width] = self.to;
        let elements = u64::from(height) * u64::from(width) * u64::from(4 * channels);
        let output = b.stored(label, elements)?;
        let parameters = params::Resample {
            input_width: self.from[1],
            input_height: self.from[0],
            width,
            height,
            channels,
            activate: self.activate.into(),
            ..Default::default()
        };
        let kernel = b.kernel(&kernels::RESAMPLE, &[])?;
        b.dispatch(
            Dispatch::new(format!("{label} (resize)"), &kernel)
                .uniform("size", parameters)
                .bind("input", input)
                .bind("output", &output)
                .grid([(width * channels).div_ceil(64), height, 1])
                .cost(
                    7.0 * elements as f64,
                    (input.bytes() + output.bytes()) as f64,
                ),
        );
        Ok(output)
    }
}

/// Resizes a map to `size`.
fn resample(
    b: &mut ProgramBuilder<'_>,
    label: &str,
    input: &FeatureMap,
    size: u32,
    activate: bool,
) -> Result<FeatureMap> {
    let resize = Resize {
        from: [input.size; 2],
        to: [size; 2],
        channels: input.channels,
        activate,
    };
    Ok(FeatureMap {
        tensor: resize.plan(b, label, &input.tensor)?,
        size,
        channels: input.channels,
    })
}

/// A map of full numbers as the program stores it.
fn stored(b: &mut ProgramBuilder<'_>, full: &FeatureMap) -> Result<FeatureMap> {
    let elements = elements(full.size, full.channels);
    let tensor = b.stored("stored map", elements)?;
    convert(b, elements, &full.tensor, &tensor, true)?;
    Ok(FeatureMap {
        tensor,
        ..full.clone()
    })
}

/// A map of the program's in full numbers.
pub(crate) fn restored(b: &mut ProgramBuilder<'_>, stored: &FeatureMap) -> Result<FeatureMap> {
    let elements = elements(stored.size, stored.channels);
    let tensor = b.tensor("full map", elements)?;
    convert(b, elements, &tensor, &stored.tensor, false)?;
    Ok(FeatureMap {
        tensor,
        ..stored.clone()
    })
}

fn convert(
    b: &mut ProgramBuilder<'_>,
    elements: u64,
    full: &Tensor,
    stored: &Tensor,
    store: bool,
) -> Result<()> {
    let count = (elements / 4) as u32;
    let kernel = b.kernel(&kernels::CONVERT, &[("STORE", store.into())])?;
    b.dispatch(
        Dispatch::new("format", &kernel)
            .uniform(
                "size",
                params::Convert {
                    count,
                    ..Default::default()
                },
            )
            .bind("full", full)
            .bind("stored", stored)
            .grid(linear_grid(count.div_ceil(64)))
            .cost(0.0, (full.bytes() + stored.bytes()) as f64),
    );
    Ok(())
}

/// Numbers of a square map in memory.
pub(crate) fn elements(size: u32, channels: u32) -> u64 {
    u64::from(size) * u64::from(size) * u64::from(pack::padded(channels))
}

#[cfg(test)]
pub(super) mod tests;
