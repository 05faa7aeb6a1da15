//! The network's dispatches.

use std::sync::Arc;

use super::conv::Operands;
use super::resize::{resample, restored, stored};
use super::{FeatureMap, Layer, Linear, StyleUnet, elements};
use crate::Result;
use crate::config::{ResBlockConfig, StyleConvConfig, ToRgbConfig};
use crate::gpu::kernels::{params, style_unet as kernels};
use crate::gpu::{Dispatch, Format, Kernel, ProgramBuilder, Tensor, When, linear_grid};

/// Values that epilogue flags have in `shaders/style_unet/conv_epilogue.wgsl`.
pub(super) mod flag {
    pub const DEMODULATE: u32 = 1;
    pub const NOISE: u32 = 2;
    pub const LRELU: u32 = 4;
    pub const SCALE_SHIFT: u32 = 8;
    pub const RESIDUAL: u32 = 16;
    pub const RESIDUAL_UPSAMPLED: u32 = 32;
    pub const SIGMOID: u32 = 64;
}
impl StyleUnet {
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
