//! The network's dispatches.

use super::conv::Operands;
use super::resize::{converted, resample};
use super::{Layer, Linear, StyleUnet};
use crate::config::{Level, ResBlock};
use crate::error::Result;
use crate::gpu::kernels::style_unet::conv_epilogue as flag;
use crate::gpu::kernels::{params, style_unet as kernels};
use crate::gpu::{AdapterKind, Dispatch, Gpu, ProgramBuilder, Tensor, When};
use crate::options::Format;

/// Threads that share a row of a matrix in `linear` and `demodulation`: rows alone are too few to
/// occupy a graphics processor.
fn row_threads(gpu: &Gpu) -> u32 {
    match gpu.kind() {
        AdapterKind::Gpu => 64,
        AdapterKind::Cpu => 8,
    }
}

impl StyleUnet {
    /// Plans the network on `input`, which stays in use. `frame` is the uniform with the noise's
    /// settings. With `sigmoid` the network ends with the activation of the super-resolver.
    pub(crate) fn plan(
        &self,
        b: &mut ProgramBuilder<'_>,
        input: &Tensor,
        globals: &Tensor,
        sigmoid: bool,
    ) -> Result<Tensor> {
        let map = converted(b, input, b.formats().maps)?;
        let mut plan = Plan {
            net: self,
            b,
            globals,
        };
        let output = plan.network(&map, sigmoid)?;
        if map.format() != input.format() {
            b.release(map);
        }
        Ok(output)
    }
}

struct Epilogue<'a> {
    flags: u32,
    operand: Option<&'a Tensor>,
    /// The output; by default a tensor of its own.
    output: Option<Tensor>,
}

impl<'a> Epilogue<'a> {
    const LINEAR: Self = Self {
        flags: 0,
        operand: None,
        output: None,
    };

    const LRELU: Self = Self {
        flags: flag::LRELU,
        ..Self::LINEAR
    };

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

struct Plan<'a, 'b> {
    net: &'a StyleUnet,
    b: &'a mut ProgramBuilder<'b>,
    globals: &'a Tensor,
}

impl Plan<'_, '_> {
    fn network(&mut self, input: &Tensor, sigmoid: bool) -> Result<Tensor> {
        let layers = &self.net.layers;
        let mut x = self.first(input)?;
        if let Some(block) = &layers.first_block {
            let y = self.down_block(block, &x)?;
            self.b.release(std::mem::replace(&mut x, y));
        }
        let mut skips = Vec::new();
        for block in &layers.down {
            let y = self.down_block(block, &x)?;
            if skips.is_empty() {
                self.b.release(x);
            }
            skips.push(y.clone());
            x = y;
        }
        x = self.conv(&layers.bottom, &x, None, Epilogue::LRELU)?;
        let style = self.style(&x)?;

        let constant = &self.net.constant;
        let mut y = self.conv(&layers.style_conv, constant, Some(&style), Epilogue::LRELU)?;
        let mut rgb = self.conv(&layers.to_rgb, &y, Some(&style), Epilogue::LINEAR)?;
        let skips = skips.into_iter().rev();
        for (i, (level, skip)) in layers.up.iter().zip(skips).enumerate() {
            let sum = self.add(&level.block.name, x, skip)?;
            x = self.up_block(&level.block, &sum)?;
            self.b.release(sum);
            let condition = self.condition(level, &x)?;
            let sigmoid = sigmoid && i + 1 == layers.up.len();
            (y, rgb) = self.decode(level, [y, rgb], &style, condition, sigmoid)?;
        }
        self.b.release(x);
        self.b.release(y);
        self.b.release(style.modulation);
        self.b.release(style.demodulation);
        self.b.tap(&self.net.name, &rgb)?;
        Ok(rgb)
    }

    /// The 1x1 convolution in front. It commutes with the resize of an input that is smaller than
    /// the output, so it runs at the smaller size.
    fn first(&mut self, input: &Tensor) -> Result<Tensor> {
        let (first, size) = (&self.net.layers.first, self.net.size);
        if input.width() >= size {
            return self.conv(first, input, None, Epilogue::LRELU);
        }
        let small = self.conv(first, input, None, Epilogue::LINEAR)?;
        let resized = resample(self.b, &first.name, &small, [size; 2], true)?;
        self.b.release(small);
        self.b.tap(&first.name, &resized)?;
        Ok(resized)
    }

    fn down_block(&mut self, block: &ResBlock<Layer>, x: &Tensor) -> Result<Tensor> {
        let size = [x.height() / 2, x.width() / 2];
        let full = self.conv(&block.conv1, x, None, Epilogue::LRELU)?;
        let half = resample(self.b, &block.conv1.name, &full, size, false)?;
        self.b.release(full);
        let small = resample(self.b, &block.skip.name, x, size, false)?;
        let skip = self.conv(&block.skip, &small, None, Epilogue::LINEAR)?;
        self.b.release(small);
        let epilogue = Epilogue::LRELU.with(flag::RESIDUAL, &skip);
        let y = self.conv(&block.conv2, &half, None, epilogue)?;
        self.b.release(half);
        self.b.release(skip);
        self.b.tap(&block.name, &y)?;
        Ok(y)
    }

    /// The 1x1 convolution commutes with the resize here, too, and runs at the smaller size.
    fn up_block(&mut self, block: &ResBlock<Layer>, x: &Tensor) -> Result<Tensor> {
        let small = self.conv(&block.conv1, x, None, Epilogue::LRELU)?;
        let skip = self.conv(&block.skip, x, None, Epilogue::LINEAR)?;
        let epilogue = Epilogue::LRELU.with(flag::RESIDUAL_UPSAMPLED, &skip);
        let y = self.conv(&block.conv2, &small, None, epilogue)?;
        self.b.release(small);
        self.b.release(skip);
        self.b.tap(&block.name, &y)?;
        Ok(y)
    }

    /// Scale and shift of a level, one after the other.
    fn condition(&mut self, level: &Level<Layer>, x: &Tensor) -> Result<Tensor> {
        let [_, last] = &level.scale;
        let (height, format) = (x.height(), x.format());
        let shape = [2 * height, x.width(), last.conv.shape.outputs];
        let both = self.b.tensor(&last.name, format, shape)?;
        // Both first layers read the same map: the device may run them at the same time.
        let [scale, shift] = [&level.scale[0], &level.shift[0]];
        let hidden = [scale, shift].map(|first| self.conv(first, x, None, Epilogue::LRELU));
        let starts = [(&level.scale[1], 0), (&level.shift[1], height)];
        for ((last, start), hidden) in starts.into_iter().zip(hidden) {
            let hidden = hidden?;
            let epilogue = Epilogue {
                output: Some(both.rows(start..start + height)),
                ..Epilogue::LINEAR
            };
            self.conv(last, &hidden, None, epilogue)?;
            self.b.release(hidden);
        }
        Ok(both)
    }

    /// The decoder's map and the output at twice the resolution.
    fn decode(
        &mut self,
        level: &Level<Layer>,
        [y, rgb]: [Tensor; 2],
        style: &Style,
        condition: Tensor,
        sigmoid: bool,
    ) -> Result<(Tensor, Tensor)> {
        let style = Some(style);
        let epilogue = Epilogue::LRELU.with(flag::SCALE_SHIFT, &condition);
        let steered = self.conv(&level.style_up, &y, style, epilogue)?;
        self.b.release(y);
        self.b.release(condition);
        let y = self.conv(&level.style_conv, &steered, style, Epilogue::LRELU)?;
        self.b.release(steered);

        let mut epilogue = Epilogue::LINEAR.with(flag::RESIDUAL_UPSAMPLED, &rgb);
        if sigmoid {
            epilogue.flags |= flag::SIGMOID;
        }
        let next = self.conv(&level.to_rgb, &y, style, epilogue)?;
        self.b.release(rgb);
        Ok((y, next))
    }

    /// The style, and from it the modulation and demodulation of all layers.
    fn style(&mut self, bottom: &Tensor) -> Result<Style> {
        let (net, globals) = (self.net, self.globals);
        let mut modulation = converted(self.b, bottom, Format::F32)?;
        for (i, layer) in net.style.iter().enumerate() {
            let y = self.linear(layer, &modulation)?;
            if i > 0 || bottom.format() != Format::F32 {
                self.b.release(modulation);
            }
            modulation = y;
        }

        let b = &mut *self.b;
        let rows = (net.demodulation_rows.elements() / 4) as u32;
        let demodulation = b.tensor("demodulation", Format::F32, [1, rows, 1])?;
        let squares = &net.squares;
        let row_threads = row_threads(b.gpu());
        let kernel = b.kernel(&kernels::DEMODULATION, &[("ROW_THREADS", row_threads)])?;
        let name = format!("{}.stylegan_decoder.demodulation", net.name);
        b.dispatch(
            Dispatch::new(name, &kernel)
                .uniform("size", params::Demodulation::from(rows))
                .bind("rows", &net.demodulation_rows)
                .bind("squares", squares)
                .bind("modulation", &modulation)
                .bind("output", &demodulation)
                .threads([row_threads * rows, 1, 1])
                .cost(3.0 * squares.elements() as f64, squares.bytes() as f64),
        );
        let count = net.noise_elements;
        let kernel = b.kernel(&kernels::NOISE, &[])?;
        b.dispatch(
            Dispatch::new(format!("{}.stylegan_decoder.noises", net.name), &kernel)
                .uniform("size", params::Noise::from(count))
                .bind("globals", globals)
                .bind("noise", &net.noise)
                .row_of_threads(count)
                .when(When::GeneratedNoise)
                .cost(0.0, 4.0 * f64::from(count)),
        );
        Ok(Style {
            modulation,
            demodulation,
        })
    }

    fn conv(
        &mut self,
        layer: &Layer,
        input: &Tensor,
        style: Option<&Style>,
        epilogue: Epilogue<'_>,
    ) -> Result<Tensor> {
        let (net, b) = (self.net, &mut *self.b);
        let (name, conv) = (&layer.name, &layer.conv);
        let size = [input.height(), input.width()];
        debug_assert_eq!(conv.shape.input_size(), size, "{name}");
        let [height, width] = conv.shape.size;
        let output = match epilogue.output {
            Some(output) => output,
            None => b.tensor(name, b.formats().maps, [height, width, conv.shape.outputs])?,
        };
        let offsets = layer.style.unwrap_or_default();
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
        let dummy = &net.dummy;
        let operands = Operands {
            globals: self.globals,
            input,
            modulation: style.map_or(dummy, |style| &style.modulation),
            demodulation: style.map_or(dummy, |style| &style.demodulation),
            noise: &net.noise,
            operand: epilogue.operand.unwrap_or(dummy),
            output: &output,
        };
        conv.plan(b, name, parameters, operands)?;
        b.tap(name, &output)?;
        Ok(output)
    }

    /// Adds two maps and releases them.
    fn add(&mut self, label: &str, left: Tensor, right: Tensor) -> Result<Tensor> {
        let b = &mut *self.b;
        let output = b.tensor(label, left.format(), left.shape)?;
        let count = (output.elements() / 4) as u32;
        let kernel = b.kernel(&kernels::ADD, &[])?;
        b.dispatch(
            Dispatch::new(format!("{label} (add)"), &kernel)
                .uniform("size", params::Add::from(count))
                .bind("left", &left)
                .bind("right", &right)
                .bind("output", &output)
                .row_of_threads(count)
                .cost(output.elements() as f64, 3.0 * output.bytes() as f64),
        );
        b.release(left);
        b.release(right);
        Ok(output)
    }

    fn linear(&mut self, layer: &Linear, input: &Tensor) -> Result<Tensor> {
        let b = &mut *self.b;
        let (rows, columns) = (layer.row_count, layer.columns);
        let output = b.tensor(&layer.name, Format::F32, [1, rows, 1])?;
        let parameters = params::Linear {
            rows,
            columns: columns / 4,
            activate: layer.activate.into(),
            normalise: layer.normalise.into(),
        };
        let row_threads = row_threads(b.gpu());
        let kernel = b.kernel(&kernels::LINEAR, &[("ROW_THREADS", row_threads)])?;
        let flops = 2.0 * f64::from(rows) * f64::from(columns);
        b.dispatch(
            Dispatch::new(&layer.name, &kernel)
                .uniform("size", parameters)
                .bind("input", input)
                .bind("weights", &layer.weights)
                .bind("rows", &layer.rows)
                .bind("output", &output)
                .threads([row_threads * rows, 1, 1])
                .cost(flops, layer.weights.bytes() as f64),
        );
        b.tap(&layer.name, &output)?;
        Ok(output)
    }
}
