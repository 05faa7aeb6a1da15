//! Convolutions and the choice of their variants.
//!
//! A convolution's fastest variant depends on its sizes and on the adapter. It is chosen before the
//! weights are packed, because Winograd's algorithm packs them differently.

use std::fmt;
use std::sync::Arc;

use super::resize::resample;
use crate::error::Result;
use crate::gpu::kernels::style_unet::{
    conv_epilogue, conv_matrices, conv_split, conv_subgroup, conv_tiled, winograd,
};
use crate::gpu::kernels::{params, style_unet as kernels};
use crate::gpu::{AdapterKind, Dispatch, Gpu, Kernel, ProgramBuilder, Tensor, Tuner};
use crate::options::{Format, Formats};
use crate::weights::{fold, pack};

/// The properties that the speed of a convolution depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// 3 or 1.
    pub kernel_size: u32,
    pub inputs: u32,
    pub outputs: u32,
    /// Height and width of the map.
    pub size: [u32; 2],
    /// Whether the input channels are scaled.
    pub modulated: bool,
    /// Whether the input is the 2x-upsampled map.
    pub upsampled: bool,
}

impl Shape {
    fn taps(self) -> u32 {
        self.kernel_size * self.kernel_size
    }

    /// Height and width of the map that is read.
    pub fn input_size(self) -> [u32; 2] {
        self.size
            .map(|side| if self.upsampled { side / 2 } else { side })
    }

    /// Groups of eight output channels.
    fn eighths(self) -> u32 {
        self.outputs.div_ceil(8)
    }

    /// Rows of tiles that are transformed and multiplied at a time, within this many bytes.
    fn band_rows(self, format: Format, bytes: u64) -> u32 {
        let [rows, columns] = self.size.map(|side| side.div_ceil(2));
        let channels = pack::padded(self.inputs.max(self.outputs));
        let row_bytes = format.bytes(16 * u64::from(columns) * u64::from(channels));
        (bytes / row_bytes).clamp(1, rows.into()) as u32
    }

    /// Tiles that memory is allocated for: `stride` of `shaders/style_unet/winograd.wgsl`.
    fn band_tiles(self, rows: u32) -> u32 {
        (rows * self.size[1].div_ceil(2)).next_multiple_of(winograd::TILES)
    }
}

/// `conv 3x3, 512 to 256 channels, 64 x 64, modulated`
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (k, [height, width]) = (self.kernel_size, self.size);
        let (inputs, outputs) = (self.inputs, self.outputs);
        let modulated = if self.modulated { ", modulated" } else { "" };
        let upsampled = if self.upsampled { ", upsampled" } else { "" };
        write!(
            f,
            "conv {k}x{k}, {inputs} to {outputs} channels, {height} x {width}{modulated}{upsampled}"
        )
    }
}

/// How the sums of products are spread over threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Structure {
    /// Every thread for itself.
    Register,
    /// Threads of a subgroup share weights by broadcast.
    Subgroup,
    /// Implicit GEMM: workgroups share pixels and weights in workgroup memory. Counts threads along
    /// the output channels and along x, and the teams that split the input channels.
    Tiled {
        channel_groups: u32,
        column_groups: u32,
        teams: u32,
        /// Eighths of the output channels of a thread.
        eighths: u32,
        arithmetic: Format,
    },
    /// Split-K: the threads of a workgroup split the sums of few outputs.
    Split,
    /// Subgroups multiply cooperative matrices of `f16`: up to this many lines of pixels, and four
    /// matrices of output channels.
    Cooperative { side: u32, lines: u32 },
    /// The same with emulated matrices and subgroups of this many threads.
    #[cfg(test)]
    Emulated {
        side: u32,
        lines: u32,
        subgroup: u32,
    },
}

impl Structure {
    /// The same with arithmetic of 16 bits, if there is a kernel for it.
    pub(super) fn in_f16(mut self) -> Option<Self> {
        let Self::Tiled {
            arithmetic,
            teams: 1,
            eighths: 1,
            ..
        } = &mut self
        else {
            return None;
        };
        *arithmetic = Format::F16;
        Some(self)
    }

    /// Whether the kernel upsamples a map while it reads it. Where threads share no pixels, each
    /// would be upsampled nine times.
    fn upsamples(self) -> bool {
        !matches!(self, Self::Register | Self::Subgroup)
    }

    /// The kernel and its workgroups.
    fn kernel(
        self,
        b: &ProgramBuilder<'_>,
        shape: Shape,
        tap_per_row: bool,
    ) -> Result<(Arc<Kernel>, [u32; 3])> {
        let [height, width] = shape.size;
        let eighths = shape.eighths();
        let mut constants = vec![
            ("KERNEL_SIZE", shape.kernel_size),
            ("MODULATED", shape.modulated.into()),
        ];
        if shape.upsampled && self.upsamples() {
            constants.push(("UPSAMPLED", 1));
        }
        if tap_per_row {
            constants.push(("TAP_PER_ROW", 1));
        }
        let mut arithmetic = Format::F32;
        let (source, grid) = match self {
            Self::Register => {
                use kernels::conv_register_tile::{PIXELS, ROWS};
                // Software adapters compile what a constant leaves out, too.
                constants.clear();
                let source = match shape.kernel_size {
                    1 => &kernels::CONV_POINTWISE,
                    _ => &kernels::CONV_REGISTER,
                };
                let tiles = width.div_ceil(PIXELS) * height.div_ceil(ROWS);
                let [columns, eighths, _] = source.workgroups([tiles, eighths, 1]);
                let [columns, rows, _] = b.folded(columns);
                (source, [columns, eighths, rows])
            }
            Self::Subgroup => {
                let source = &kernels::CONV_SUBGROUP;
                let tiles = width.div_ceil(conv_subgroup::PIXELS) * height;
                let [columns, ..] = source.workgroups([tiles, 1, 1]);
                let [columns, rows, _] = b.folded(columns);
                // A workgroup has 16 output channels.
                (source, [columns, eighths.div_ceil(2), rows])
            }
            Self::Tiled {
                channel_groups,
                column_groups,
                teams,
                eighths,
                arithmetic: of_products,
            } => {
                arithmetic = of_products;
                constants.extend([
                    ("CHANNEL_GROUPS", channel_groups),
                    ("COLUMN_GROUPS", column_groups),
                    ("TEAMS", teams),
                    ("EIGHTHS", eighths),
                ]);
                if shape.kernel_size == 1 {
                    // As many as fit in the memory of the 3x3 case.
                    let chunk = match (teams, eighths) {
                        (1, 1) => channel_groups / 2,
                        _ => 2,
                    };
                    constants.push(("CHUNK", chunk.min(4)));
                }
                let lines = conv_tiled::THREADS / (teams * channel_groups * column_groups);
                let grid = [
                    width.div_ceil(conv_tiled::PIXELS * column_groups),
                    height.div_ceil(lines),
                    shape.eighths().div_ceil(channel_groups * eighths),
                ];
                (&kernels::CONV_TILED, grid)
            }
            Self::Split => {
                let pixels = (width * height).div_ceil(conv_split::PIXELS);
                (&kernels::CONV_SPLIT, [pixels, eighths, 1])
            }
            Self::Cooperative { side, lines } => {
                let (of_tiles, grid) = cooperative(shape, side, lines);
                constants.extend(of_tiles);
                match side {
                    16 => (&kernels::CONV_COOPERATIVE_16, grid),
                    _ => (&kernels::CONV_COOPERATIVE_8, grid),
                }
            }
            #[cfg(test)]
            Self::Emulated {
                side,
                lines,
                subgroup,
            } => {
                let (of_tiles, grid) = cooperative(shape, side, lines);
                constants.extend(of_tiles);
                constants.push(("SUBGROUP", subgroup));
                match side {
                    16 => (&kernels::CONV_COOPERATIVE_16_EMULATED, grid),
                    _ => (&kernels::CONV_COOPERATIVE_8_EMULATED, grid),
                }
            }
        };
        Ok((b.kernel_in(source, arithmetic, &constants)?, grid))
    }
}

/// Input channels that the cooperative kernel stages at a time: four lines leave room for 16.
fn cooperative_chunk(inputs: u32, lines: u32) -> u32 {
    match inputs.next_multiple_of(16) % 32 {
        0 if lines < 4 => 32,
        _ => 16,
    }
}

/// Constants of the cooperative kernel, and its workgroups.
fn cooperative(shape: Shape, side: u32, lines: u32) -> ([(&'static str, u32); 4], [u32; 3]) {
    let [height, width] = shape.size;
    let matrices = shape.outputs.div_ceil(side);
    let blocks = matrices.next_power_of_two().min(4);
    let tasks = conv_matrices::TASKS;
    // Tasks of low maps are next to each other.
    let below = height.div_ceil(lines).next_power_of_two().min(tasks);
    let channel_groups = (tasks / below).min(matrices.div_ceil(blocks).next_power_of_two());
    let grid = [
        width.div_ceil(side),
        height.div_ceil(lines * tasks / channel_groups),
        matrices.div_ceil(blocks * channel_groups),
    ];
    let constants = [
        ("CHANNEL_GROUPS", channel_groups),
        ("LINES", lines),
        ("BLOCKS", blocks),
        ("CHUNK", cooperative_chunk(shape.inputs, lines)),
    ];
    (constants, grid)
}

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    /// Multiplies with every tap.
    Direct(Structure),
    /// F(2x2, 3x3): 16 products for 4 outputs in place of 36, and transforms before and after.
    Winograd(Structure),
}

/// `tiled 8x2`, `winograd, subgroup`
impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Direct(structure) | Self::Winograd(structure)) = self;
        if let Self::Winograd(_) = self {
            f.write_str("winograd, ")?;
        }
        match structure {
            Structure::Register => f.write_str("register"),
            Structure::Subgroup => f.write_str("subgroup"),
            Structure::Tiled {
                channel_groups,
                column_groups,
                teams,
                eighths,
                arithmetic,
            } => {
                write!(f, "tiled {channel_groups}x{column_groups}")?;
                if *eighths > 1 {
                    write!(f, ", {} channels a thread", 8 * eighths)?;
                }
                if *teams > 1 {
                    write!(f, ", {teams} teams")?;
                }
                match arithmetic {
                    Format::F16 => f.write_str(", f16 arithmetic"),
                    _ => Ok(()),
                }
            }
            Structure::Split => f.write_str("split"),
            Structure::Cooperative { side, lines } => {
                write!(f, "cooperative {side}x{side}, {lines} lines")
            }
            #[cfg(test)]
            Structure::Emulated {
                side,
                lines,
                subgroup,
            } => write!(f, "emulated {side}x{side}, {lines} lines, {subgroup}"),
        }
    }
}

pub(super) const fn tiled(channel_groups: u32, column_groups: u32) -> Structure {
    in_tiles(channel_groups, column_groups, 1, 1)
}

/// Teams of threads that split the input channels.
pub(super) const fn teams(teams: u32, channel_groups: u32, column_groups: u32) -> Structure {
    in_tiles(channel_groups, column_groups, teams, 1)
}

/// Threads with 16 output channels.
pub(super) const fn wide(channel_groups: u32, column_groups: u32) -> Structure {
    in_tiles(channel_groups, column_groups, 1, 2)
}

const fn in_tiles(channel_groups: u32, column_groups: u32, teams: u32, eighths: u32) -> Structure {
    Structure::Tiled {
        channel_groups,
        column_groups,
        teams,
        eighths,
        arithmetic: Format::F32,
    }
}

impl Variant {
    /// Side of the cooperative matrices that it multiplies, and lines of its tasks.
    fn matrices(self) -> Option<(u32, u32)> {
        match self {
            Self::Direct(Structure::Cooperative { side, lines }) => Some((side, lines)),
            #[cfg(test)]
            Self::Direct(Structure::Emulated { side, lines, .. }) => Some((side, lines)),
            _ => None,
        }
    }

    /// Variants that can compute a layer on this adapter; the first is usually the fastest.
    pub(super) fn candidates(gpu: &Gpu, shape: Shape, formats: Formats) -> Vec<Self> {
        /// With fewer channels the transforms cost more than the saved products.
        const FEWEST_CHANNELS: u32 = 32;
        /// Smaller maps are mostly border.
        const SMALLEST_MAP: u32 = 8;
        let size = shape.size[0].min(shape.size[1]);
        let channels = shape.inputs.min(shape.outputs);
        let winograd =
            shape.kernel_size == 3 && channels >= FEWEST_CHANNELS && size >= SMALLEST_MAP;

        let (direct, products) = match gpu.kind() {
            AdapterKind::Cpu if gpu.has_subgroups() => {
                let structures = vec![Structure::Subgroup, Structure::Register];
                (structures, vec![Structure::Subgroup])
            }
            AdapterKind::Cpu => (vec![Structure::Register], Vec::new()),
            AdapterKind::Gpu => {
                let mut structures = match shape.eighths() {
                    0..=2 => vec![tiled(2, 4)],
                    3..=4 => vec![tiled(4, 4), tiled(2, 4)],
                    _ => vec![tiled(8, 2), tiled(4, 4), wide(4, 2)],
                };
                if shape.kernel_size == 1 {
                    // Few outputs, or few pixels, leave most of a device idle.
                    let colours = shape.outputs <= 8;
                    if !colours {
                        let at = usize::from(size > 64);
                        structures.insert(at, teams(4, 4, 4));
                    }
                    if size <= 16 || colours && size <= 128 && shape.inputs >= 128 {
                        structures.insert(0, Structure::Split);
                    } else if size <= 32 {
                        structures.push(Structure::Split);
                    }
                } else {
                    match size {
                        0..=8 => structures.insert(0, Structure::Split),
                        9..=32 => structures.push(Structure::Split),
                        _ => {}
                    }
                }
                // 1x1 layers are a few per cent of the work, and their sums are the networks' outputs.
                let f16 = formats.arithmetic == Format::F16 && gpu.has_half_arithmetic();
                if f16 && shape.kernel_size == 3 {
                    let in_f16: Vec<_> = structures.iter().filter_map(|s| s.in_f16()).collect();
                    let tiled = structures.iter().position(|s| s.in_f16().is_some());
                    let at = tiled.unwrap_or(structures.len());
                    structures.splice(at..at, in_f16);
                }
                let matrices = gpu.matrices().filter(|_| formats.maps == Format::F16);
                if let Some(side) = matrices {
                    // Fewer lines make more workgroups.
                    let lines = match size {
                        0..=64 => [1, 2],
                        65..=128 => [2, 1],
                        _ => [4, 2],
                    };
                    let cooperative = lines.map(|lines| Structure::Cooperative { side, lines });
                    let at = if size <= 8 { structures.len() } else { 0 };
                    structures.splice(at..at, cooperative);
                }
                let products = match size {
                    0..=16 => vec![teams(4, 8, 4), teams(2, 8, 8)],
                    17..=32 => vec![teams(2, 8, 8), tiled(16, 8), wide(8, 16)],
                    _ => vec![tiled(16, 8), wide(8, 16), tiled(8, 16)],
                };
                (structures, products)
            }
        };
        let mut candidates: Vec<_> = direct.into_iter().map(Self::Direct).collect();
        if winograd {
            let products = products.into_iter().map(Self::Winograd);
            // Measured: see benches/LADDER.md.
            let first = match gpu.kind() {
                AdapterKind::Cpu => {
                    let pays = shape.inputs >= 256 && shape.outputs >= 128 && size >= 16;
                    gpu.has_subgroups() && pays
                }
                AdapterKind::Gpu => {
                    let of_matrices = candidates[0].matrices().is_some();
                    match size {
                        0..=8 => false,
                        9..=32 => channels >= 128,
                        33..=64 => channels >= 64 && !of_matrices,
                        _ => channels >= 128 && size <= 128 && !of_matrices,
                    }
                }
            };
            let at = if first { 0 } else { candidates.len() };
            candidates.splice(at..at, products);
        }
        candidates
    }

    /// The variant of a layer: the one that was measured on this adapter, or the first candidate.
    pub(super) fn choose(gpu: &Gpu, tuner: &Tuner, shape: Shape, formats: Formats) -> Result<Self> {
        let (weights, maps, arithmetic) = (formats.weights, formats.maps, formats.arithmetic);
        let key = match formats {
            Formats::F32 => shape.to_string(),
            _ => format!("{shape}, {weights} x {maps} in {arithmetic}"),
        };
        let candidates = Self::candidates(gpu, shape, formats);
        tuner.choose(gpu, (&key, formats), &candidates, |variant, builder| {
            Conv::example(builder, shape, variant)?.plan_example(builder)
        })
    }
}

/// Divides each row of weights by its quantisation scale, the largest magnitude in it, and returns
/// the scales. They are 1 in formats without one.
pub(super) fn quantise(weights: &mut [f32], rows: usize, format: Format) -> Vec<f32> {
    if format != Format::Snorm16 {
        return vec![1.0; rows];
    }
    let columns = weights.len() / rows;
    let scale = |row: &mut [f32]| {
        let magnitudes = row.iter().map(|weight| weight.abs());
        let largest = magnitudes.fold(0.0, f32::max);
        if largest == 0.0 {
            return 1.0;
        }
        row.iter_mut().for_each(|weight| *weight /= largest);
        largest
    };
    weights.chunks_exact_mut(columns).map(scale).collect()
}

/// A layer's weights on the device.
pub(super) struct Conv {
    pub shape: Shape,
    variant: Variant,
    weights: Tensor,
    /// Quantisation scales and biases of the outputs.
    channels: Tensor,
    /// The same for the products of Winograd's algorithm.
    product_channels: Option<Tensor>,
}

/// Quantisation scales and biases of output channels, in fours.
fn channels(gpu: &Gpu, name: &str, scales: &[f32], bias: &[f32]) -> Result<Tensor> {
    let (scales, bias) = (pack::vector(scales), pack::vector(bias));
    let fours = scales.chunks_exact(4).zip(bias.chunks_exact(4));
    let packed = fours.flat_map(|(scales, bias)| [scales, bias].concat());
    Tensor::from_slice(gpu, name, &packed.collect::<Vec<f32>>())
}

/// Tensors that a convolution reads and writes, besides its weights.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a> {
    pub globals: &'a Tensor,
    pub input: &'a Tensor,
    pub modulation: &'a Tensor,
    pub demodulation: &'a Tensor,
    pub noise: &'a Tensor,
    pub operand: &'a Tensor,
    pub output: &'a Tensor,
}

impl Conv {
    /// Packs and uploads filters `[output][input][y][x]` and a bias.
    pub(super) fn new(
        gpu: &Gpu,
        name: &str,
        shape: Shape,
        variant: Variant,
        (filters, format): (&[f32], Format),
        bias: &[f32],
    ) -> Result<Self> {
        let outputs = shape.outputs as usize;
        let (mut filters, taps) = match variant {
            Variant::Direct(_) => (filters.to_vec(), shape.taps()),
            Variant::Winograd(_) => (fold::winograd(filters), 16),
        };
        let (scales, packed, format) = match variant.matrices() {
            Some((side, lines)) => {
                let scales = quantise(&mut filters, outputs, Format::Snorm16);
                let sizes = [shape.outputs, shape.inputs, taps];
                let chunk = cooperative_chunk(shape.inputs, lines);
                let packed = pack::matrices(&filters, sizes, side, chunk);
                (scales, packed, Format::F16)
            }
            None => {
                let scales = quantise(&mut filters, outputs, format);
                let packed = pack::convolution(&filters, shape.outputs, shape.inputs, taps);
                (scales, packed, format)
            }
        };
        let (channels, product_channels) = match variant {
            Variant::Direct(_) => (channels(gpu, name, &scales, bias)?, None),
            Variant::Winograd(_) => {
                let products = channels(gpu, name, &scales, &vec![0.0; outputs])?;
                let finished = channels(gpu, name, &vec![1.0; outputs], bias)?;
                (finished, Some(products))
            }
        };
        Ok(Self {
            shape,
            variant,
            weights: Tensor::from_values(gpu, name, format, &packed)?,
            channels,
            product_channels,
        })
    }

    pub(super) fn bytes(&self) -> u64 {
        let of_products = self.product_channels.as_ref().map_or(0, Tensor::bytes);
        self.weights.bytes() + self.channels.bytes() + of_products
    }

    /// Plans the convolution. Sizes in `parameters` are filled in; offsets and flags are the
    /// caller's.
    pub(super) fn plan(
        &self,
        b: &mut ProgramBuilder<'_>,
        name: &str,
        parameters: params::Conv,
        operands: Operands<'_>,
    ) -> Result<()> {
        let [height, width] = self.shape.size;
        let mut flags = parameters.flags;
        if self.shape.modulated {
            flags |= conv_epilogue::MODULATE;
        }
        let parameters = params::Conv {
            flags,
            width,
            height,
            input_channels: self.shape.inputs.div_ceil(4),
            output_channels: self.shape.outputs.div_ceil(4),
            ..parameters
        };
        match self.variant {
            Variant::Direct(structure) => {
                let mut operands = operands;
                let mut upsampled = None;
                if self.shape.upsampled && !structure.upsamples() {
                    let map = resample(b, name, operands.input, self.shape.size, false)?;
                    operands.input = upsampled.insert(map);
                }
                let (kernel, grid) = structure.kernel(b, self.shape, false)?;
                let products = self.products(&operands, width * height, self.shape.taps());
                let dispatch = Dispatch::new(name, &kernel).grid(grid);
                b.dispatch(self.bound(dispatch, parameters, operands, &self.channels, products));
                if let Some(map) = upsampled {
                    b.release(map);
                }
                Ok(())
            }
            Variant::Winograd(structure) => {
                self.plan_winograd(b, name, parameters, operands, structure)
            }
        }
    }

    fn plan_winograd(
        &self,
        b: &mut ProgramBuilder<'_>,
        name: &str,
        parameters: params::Conv,
        operands: Operands<'_>,
        structure: Structure,
    ) -> Result<()> {
        let shape = self.shape;
        let [rows, columns] = shape.size.map(|side| side.div_ceil(2));
        let format = b.formats().maps;
        let most_rows = shape.band_rows(format, b.splits().band);
        let map = |channels| [16, shape.band_tiles(most_rows), pack::padded(channels)];
        let tiles = b.tensor(name, format, map(shape.inputs))?;
        let products = b.tensor(name, format, map(shape.outputs))?;
        let constants = [
            ("MODULATED", shape.modulated.into()),
            ("UPSAMPLED", shape.upsampled.into()),
        ];
        let transform = b.kernel(&kernels::WINOGRAD_INPUT, &constants)?;
        let finish = b.kernel(&kernels::WINOGRAD_OUTPUT, &[])?;
        let of_products = self.product_channels.as_ref().unwrap_or(&self.channels);

        for band_start in (0..rows).step_by(most_rows as usize) {
            let band_rows = most_rows.min(rows - band_start);
            let band_tiles = shape.band_tiles(band_rows);
            let band = Shape {
                size: [16, band_tiles],
                kernel_size: 1,
                modulated: false,
                upsampled: false,
                ..shape
            };
            let parameters = params::Conv {
                band_start,
                band_rows,
                ..parameters
            };
            // One thread for each tile and four channels.
            let threads = |channels: u32| [columns * channels, band_rows, 1];
            let share = f64::from(band_rows) / f64::from(rows);
            let moved =
                |map: &Tensor, tiles: &Tensor| map.bytes() as f64 * share + tiles.bytes() as f64;
            // Elements of the band's tiles.
            let elements = |map: &Tensor| f64::from(16 * band_tiles) * f64::from(map.channels());
            b.dispatch(
                Dispatch::new(format!("{name} (transform)"), &transform)
                    .uniform("conv", parameters)
                    .bind("input", operands.input)
                    .bind("modulation", operands.modulation)
                    .bind("output", &tiles)
                    .threads(threads(parameters.input_channels))
                    // Two additions for each element and direction.
                    .cost(2.0 * elements(&tiles), moved(operands.input, &tiles)),
            );
            let multiplied = params::Conv {
                width: band_tiles,
                height: 16,
                input_channels: parameters.input_channels,
                output_channels: parameters.output_channels,
                ..Default::default()
            };
            let (kernel, product_grid) = structure.kernel(b, band, true)?;
            let dispatch = Dispatch::new(format!("{name} (products)"), &kernel).grid(product_grid);
            let of_tiles = Operands {
                input: &tiles,
                output: &products,
                ..operands
            };
            let cost = self.products(&of_tiles, 16 * band_tiles, 1);
            b.dispatch(self.bound(dispatch, multiplied, of_tiles, of_products, cost));
            let dispatch = Dispatch::new(format!("{name} (finish)"), &finish)
                .threads(threads(parameters.output_channels));
            let finished = Operands {
                input: &products,
                ..operands
            };
            let cost = (1.5 * elements(&products), moved(operands.output, &products));
            b.dispatch(self.bound(dispatch, parameters, finished, &self.channels, cost));
        }
        b.release(tiles);
        b.release(products);
        Ok(())
    }

    /// Operations and bytes of the products for this many pixels.
    fn products(&self, operands: &Operands<'_>, pixels: u32, taps: u32) -> (f64, f64) {
        let [inputs, outputs] = [self.shape.inputs, self.shape.outputs].map(f64::from);
        let bytes = operands.input.bytes() + operands.output.bytes() + self.weights.bytes();
        let flops = 2.0 * f64::from(taps) * inputs * outputs * f64::from(pixels);
        (flops, bytes as f64)
    }

    fn bound(
        &self,
        dispatch: Dispatch,
        parameters: params::Conv,
        operands: Operands<'_>,
        channels: &Tensor,
        (flops, bytes): (f64, f64),
    ) -> Dispatch {
        dispatch
            .uniform("conv", parameters)
            .bind("globals", operands.globals)
            .bind("input", operands.input)
            .bind("weights", &self.weights)
            .bind("channels", channels)
            .bind("modulation", operands.modulation)
            .bind("demodulation", operands.demodulation)
            .bind("noise", operands.noise)
            .bind("operand", operands.operand)
            .bind("output", operands.output)
            .cost(flops, bytes)
    }

    /// A layer of this shape to be timed. Its weights are workspace: packing and uploading them
    /// would take longer than timing, which does not depend on them.
    pub(super) fn example(
        b: &mut ProgramBuilder<'_>,
        shape: Shape,
        variant: Variant,
    ) -> Result<Self> {
        let taps = match variant {
            Variant::Direct(_) => shape.taps(),
            Variant::Winograd(_) => 16,
        };
        // Room for the padding of every layout.
        let filters = shape.outputs.next_multiple_of(16) * shape.inputs.next_multiple_of(32) * taps;
        let format = b.formats().weights;
        let channels = [1, 2 * pack::padded(shape.outputs), 1];
        Ok(Self {
            shape,
            variant,
            weights: b.tensor("timed", format, [1, filters, 1])?,
            channels: b.tensor("timed", Format::F32, channels)?,
            product_channels: None,
        })
    }

    fn plan_example(&self, b: &mut ProgramBuilder<'_>) -> Result<()> {
        let maps = b.formats().maps;
        let mut map = |[height, width]: [u32; 2], channels| {
            b.tensor("timed", maps, [height, width, channels])
        };
        let input = map(self.shape.input_size(), self.shape.inputs)?;
        let output = map(self.shape.size, self.shape.outputs)?;
        let modulation = [1, pack::padded(self.shape.inputs), 1];
        let modulation = b.tensor("timed", Format::F32, modulation)?;
        let dummy = b.tensor("timed", Format::F32, [1, 4, 1])?;
        let globals = params::Globals::default();
        let globals = Tensor::uniform(b.gpu(), "timed", &[globals])?;
        let operands = Operands {
            globals: &globals,
            input: &input,
            modulation: &modulation,
            demodulation: &dummy,
            noise: &dummy,
            operand: &dummy,
            output: &output,
        };
        let parameters = params::Conv {
            flags: conv_epilogue::LRELU,
            ..Default::default()
        };
        self.plan(b, "timed", parameters, operands)
    }
}
