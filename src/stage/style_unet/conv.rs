//! Convolutions: what computes them, and which of it a layer uses.
//!
//! A convolution's fastest variant depends on its sizes and on the adapter, so a layer's variant is
//! chosen before its weights are packed, which Winograd's algorithm needs otherwise.

use std::fmt;
use std::sync::Arc;

use super::load::gains;
use super::plan::flag;
use super::resize::Resize;
use crate::Result;
use crate::gpu::kernels::{FORMATS, params, style_unet as kernels};
use crate::gpu::{
    AdapterKind, Dispatch, Format, Gpu, Kernel, ProgramBuilder, Storage, Tensor, Tuner, linear_grid,
};
use crate::weights::{fold, pack};

/// Bytes that the transformed tiles of a band may take at most, and their products as many: little
/// enough for a cache, enough to occupy a device. Tests see several bands, also of small maps.
const BAND_BYTES: u64 = if cfg!(test) { 64 << 10 } else { 32 << 20 };

/// What the speed of a convolution depends on.
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
    /// Whether the input is the double of the map that is given.
    pub upsampled: bool,
}

impl Shape {
    fn taps(self) -> u32 {
        self.kernel_size * self.kernel_size
    }

    /// Height and width of the map that is given.
    pub fn input_size(self) -> [u32; 2] {
        self.size
            .map(|side| if self.upsampled { side / 2 } else { side })
    }

    /// Eighths of the output channels.
    fn eighths(self) -> u32 {
        self.outputs.div_ceil(8)
    }

    /// Rows of tiles that are transformed and multiplied at a time.
    fn band_rows(self, format: Format) -> u32 {
        let [rows, columns] = self.size.map(|side| side.div_ceil(2));
        let channels = pack::padded(self.inputs.max(self.outputs));
        let row_bytes = format.bytes(16 * u64::from(columns) * u64::from(channels));
        (BAND_BYTES / row_bytes).clamp(1, rows.into()) as u32
    }

    /// Room for the tiles of so many rows, as `stride` of `shaders/style_unet/winograd.wgsl`.
    fn band_tiles(self, rows: u32) -> u32 {
        (rows * self.size[1].div_ceil(2)).next_multiple_of(TILES)
    }
}

/// Tiles come in multiples of what a workgroup of the products' kernels takes.
const TILES: u32 = 32;

/// `conv 3x3, 512 to 256 channels, 64 x 64, modulated`
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kernel_size: k,
            inputs,
            outputs,
            size: [height, width],
            modulated,
            upsampled,
        } = self;
        let modulated = if *modulated { ", modulated" } else { "" };
        let upsampled = if *upsampled { ", upsampled" } else { "" };
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
    /// Threads of a subgroup hand each other weights.
    Subgroup,
    /// Workgroups share pixels and weights in their memory: so many threads along the output
    /// channels and along x, 128 in all.
    Tiled {
        channel_groups: u32,
        column_groups: u32,
        /// Of what is stored in half precision.
        half_arithmetic: bool,
    },
    /// Threads of a workgroup share the sums of few outputs.
    Split,
    /// Subgroups multiply cooperative matrices of so many rows and columns, of numbers stored in half
    /// precision.
    Cooperative { side: u32 },
    /// The same without any matrices, as if subgroups had so many threads.
    #[cfg(test)]
    Emulated { side: u32, subgroup: u32 },
}

impl Structure {
    /// The one that computes in half precision, if there is one.
    fn in_half(self) -> Option<Self> {
        match self {
            Self::Tiled {
                channel_groups,
                column_groups,
                half_arithmetic: false,
            } => Some(Self::Tiled {
                channel_groups,
                column_groups,
                half_arithmetic: true,
            }),
            _ => None,
        }
    }

    /// Whether the double of a map is computed while it is read. Where every thread reads for itself
    /// that would be nine times as often.
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
        let (source, grid) = match self {
            Self::Register => {
                let [columns, rows, _] = linear_grid((width.div_ceil(8) * height).div_ceil(8));
                let grid = [columns, eighths.div_ceil(4), rows];
                (&kernels::CONV_REGISTER, grid)
            }
            Self::Subgroup => {
                let [columns, rows, _] = linear_grid((width.div_ceil(4) * height).div_ceil(8));
                let grid = [columns, eighths.div_ceil(2), rows];
                (&kernels::CONV_SUBGROUP, grid)
            }
            Self::Tiled {
                channel_groups,
                column_groups,
                half_arithmetic,
            } => {
                constants.push(("CHANNEL_GROUPS", channel_groups));
                constants.push(("COLUMN_GROUPS", column_groups));
                if shape.kernel_size == 1 {
                    // What fits in the memory that 3x3 needs.
                    constants.push(("CHUNK", (channel_groups / 2).min(4)));
                }
                let lines = 128 / (channel_groups * column_groups);
                let grid = [
                    width.div_ceil(8 * column_groups),
                    height.div_ceil(lines),
                    eighths.div_ceil(channel_groups),
                ];
                let source = match half_arithmetic {
                    true => kernels::CONV_TILED.variant(FORMATS[3]),
                    false => &kernels::CONV_TILED,
                };
                (source, grid)
            }
            Self::Split => {
                let grid = [(width * height).div_ceil(8), eighths, 1];
                (&kernels::CONV_SPLIT, grid)
            }
            Self::Cooperative { side } => {
                let (channel_groups, grid) = cooperative(shape, side);
                constants.push(("CHANNEL_GROUPS", channel_groups));
                match side {
                    16 => (&kernels::CONV_COOPERATIVE_16, grid),
                    _ => (&kernels::CONV_COOPERATIVE_8, grid),
                }
            }
            #[cfg(test)]
            Self::Emulated { side, subgroup } => {
                let (channel_groups, grid) = cooperative(shape, side);
                constants.push(("CHANNEL_GROUPS", channel_groups));
                constants.push(("SUBGROUP", subgroup));
                match side {
                    16 => (&kernels::CONV_COOPERATIVE_16_EMULATED, grid),
                    _ => (&kernels::CONV_COOPERATIVE_8_EMULATED, grid),
                }
            }
        };
        Ok((b.kernel(source, &constants)?, grid))
    }
}

/// Tasks of the kernel of cooperative matrices along the output channels, and its workgroups.
fn cooperative(shape: Shape, side: u32) -> (u32, [u32; 3]) {
    let [height, width] = shape.size;
    // A task is four lines times two matrices of channels, a workgroup four tasks.
    let channels = shape.outputs.div_ceil(2 * side);
    let channel_groups = match (height, channels) {
        (_, 1) => 1,
        (..=4, 3..) => 4,
        _ => 2,
    };
    let grid = [
        width.div_ceil(side),
        height.div_ceil(16 / channel_groups),
        channels.div_ceil(channel_groups),
    ];
    (channel_groups, grid)
}

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    /// Products with every tap.
    Direct(Structure),
    /// F(2x2, 3x3): 16 products for 4 outputs in place of 36, and transforms before and after.
    Winograd(Structure),
}

/// `tiled 8x2`, `winograd, subgroup`
impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let structure = match self {
            Self::Direct(structure) => structure,
            Self::Winograd(structure) => {
                f.write_str("winograd, ")?;
                structure
            }
        };
        match structure {
            Structure::Register => f.write_str("register"),
            Structure::Subgroup => f.write_str("subgroup"),
            Structure::Tiled {
                channel_groups,
                column_groups,
                half_arithmetic,
            } => {
                let half = if *half_arithmetic {
                    ", half arithmetic"
                } else {
                    ""
                };
                write!(f, "tiled {channel_groups}x{column_groups}{half}")
            }
            Structure::Split => f.write_str("split"),
            Structure::Cooperative { side } => write!(f, "cooperative {side}x{side}"),
            #[cfg(test)]
            Structure::Emulated { side, subgroup } => {
                write!(f, "emulated {side}x{side}, {subgroup}")
            }
        }
    }
}

pub(super) const fn tiled(channel_groups: u32, column_groups: u32) -> Structure {
    Structure::Tiled {
        channel_groups,
        column_groups,
        half_arithmetic: false,
    }
}

/// The precision of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub storage: Storage,
    /// Whether maps that are stored in 16 bits may also be multiplied in them.
    pub half_arithmetic: bool,
}

impl Variant {
    /// Those that this adapter may compute a layer by, the one that is usually the fastest first.
    pub(super) fn candidates(gpu: &Gpu, shape: Shape, numbers: Numbers) -> Vec<Self> {
        /// With fewer channels the transforms cost more than the products that they save.
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
            AdapterKind::Cpu => (vec![Structure::Register], vec![Structure::Register]),
            AdapterKind::Gpu => {
                let mut structures = match shape.eighths() {
                    0..=2 => vec![tiled(2, 4)],
                    3..=4 => vec![tiled(4, 4), tiled(2, 4)],
                    _ => vec![tiled(8, 2), tiled(4, 4), tiled(4, 2)],
                };
                // Below, a tile is mostly empty or the device is.
                match size {
                    0..=16 => structures.insert(0, Structure::Split),
                    17..=32 => structures.push(Structure::Split),
                    _ => {}
                }
                structures.push(Structure::Register);
                // 1x1 layers are a few per cent of the work, and what the networks return is theirs.
                if numbers.half_arithmetic && shape.kernel_size == 3 && gpu.has_half_arithmetic() {
                    let in_half: Vec<_> = structures.iter().filter_map(|s| s.in_half()).collect();
                    let tiled = structures.iter().position(|s| s.in_half().is_some());
                    let at = tiled.unwrap_or(structures.len());
                    structures.splice(at..at, in_half);
                }
                let matrices = (gpu.matrices()).filter(|_| numbers.storage == Storage::Half);
                structures.splice(0..0, matrices.map(|side| Structure::Cooperative { side }));
                (structures, vec![tiled(8, 16), tiled(16, 8)])
            }
        };
        let mut candidates: Vec<_> = direct.into_iter().map(Self::Direct).collect();
        if winograd {
            let products = products.into_iter().map(Self::Winograd);
            // On CPU implementations it pays from here on; see benches/LADDER.md.
            let pays = shape.inputs >= 256 && shape.outputs >= 128 && size >= 16;
            let first = gpu.kind() == AdapterKind::Cpu && gpu.has_subgroups() && pays;
            let at = if first { 0 } else { candidates.len() };
            candidates.splice(at..at, products);
        }
        candidates
    }

    /// The one for a layer: what was measured on this adapter, or what is usually the fastest.
    pub(super) fn choose(gpu: &Gpu, tuner: &Tuner, shape: Shape, numbers: Numbers) -> Result<Self> {
        let Numbers {
            storage,
            half_arithmetic,
        } = numbers;
        let key = match (storage, half_arithmetic) {
            (Storage::Full, _) => shape.to_string(),
            (Storage::Mixed, _) => format!("{shape}, mixed"),
            (Storage::Half, false) => format!("{shape}, half"),
            (Storage::Half, true) => format!("{shape}, fastest"),
        };
        tuner.choose(
            gpu,
            (&key, storage),
            &Self::candidates(gpu, shape, numbers),
            |variant, builder| Conv::example(gpu, shape, variant, storage)?.plan_example(builder),
        )
    }
}

/// A layer's weights on the device.
pub(super) struct Conv {
    pub shape: Shape,
    variant: Variant,
    weights: Tensor,
    /// Of what finishes the outputs.
    channels: Tensor,
    /// Of Winograd's products.
    product_channels: Option<Tensor>,
}

/// Gain and bias of output channels, in fours.
fn channels(gpu: &Gpu, name: &str, gain: &[f32], bias: &[f32]) -> Result<Tensor> {
    let (gain, bias) = (pack::vector(gain), pack::vector(bias));
    let fours = gain.chunks_exact(4).zip(bias.chunks_exact(4));
    let packed: Vec<f32> = fours
        .flat_map(|(gain, bias)| [gain, bias].concat())
        .collect();
    Tensor::from_slice(gpu, name, &packed)
}

/// What a convolution reads and writes besides its weights.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a> {
    pub frame: &'a Tensor,
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
        (filters, storage): (&[f32], Storage),
        bias: &[f32],
    ) -> Result<Self> {
        let outputs = shape.outputs as usize;
        let (mut filters, taps) = match variant {
            Variant::Direct(_) => (filters.to_vec(), shape.taps()),
            Variant::Winograd(_) => (fold::winograd(filters), 16),
        };
        let gains = gains(&mut filters, outputs, storage);
        let packed = pack::convolution(&filters, shape.outputs, shape.inputs, taps);
        let (channels, product_channels) = match variant {
            Variant::Direct(_) => (channels(gpu, name, &gains, bias)?, None),
            Variant::Winograd(_) => {
                let products = channels(gpu, name, &gains, &vec![0.0; outputs])?;
                (
                    channels(gpu, name, &vec![1.0; outputs], bias)?,
                    Some(products),
                )
            }
        };
        Ok(Self {
            shape,
            variant,
            weights: Tensor::weights(gpu, name, &packed, storage)?,
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
        let parameters = params::Conv {
            width,
            height,
            input_channels: self.shape.inputs.div_ceil(4),
            output_channels: self.shape.outputs.div_ceil(4),
            ..parameters
        };
        match self.variant {
            Variant::Direct(structure) => {
                let double = if self.shape.upsampled && !structure.upsamples() {
                    let resize = Resize {
                        from: self.shape.input_size(),
                        to: self.shape.size,
                        channels: self.shape.inputs,
                        activate: false,
                    };
                    Some(resize.plan(b, name, operands.input)?)
                } else {
                    None
                };
                let operands = Operands {
                    input: double.as_ref().unwrap_or(operands.input),
                    ..operands
                };
                let (kernel, grid) = structure.kernel(b, self.shape, false)?;
                let read = if double.is_some() {
                    self.shape.size
                } else {
                    self.shape.input_size()
                };
                let sizes = [read, self.shape.size];
                let products = self.products(b.storage(), sizes, self.shape.taps());
                let dispatch = Dispatch::new(name, &kernel).grid(grid);
                b.dispatch(self.bound(dispatch, parameters, operands, &self.channels, products));
                if let Some(double) = double {
                    b.release(double);
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
        let most_rows = shape.band_rows(b.storage().maps());
        let elements = |band_rows, channels| {
            let tiles = u64::from(shape.band_tiles(band_rows));
            16 * tiles * u64::from(pack::padded(channels))
        };
        let tiles = b.stored(name, elements(most_rows, shape.inputs))?;
        let products = b.stored(name, elements(most_rows, shape.outputs))?;
        let transform = b.kernel(
            &kernels::WINOGRAD_INPUT,
            &[
                ("MODULATED", shape.modulated.into()),
                ("UPSAMPLED", shape.upsampled.into()),
            ],
        )?;
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
            let grid = |channels: u32| {
                let threads = columns * channels;
                [threads.div_ceil(64), parameters.band_rows, 1]
            };
            let moved = |map: &Tensor, tiles: &Tensor| {
                let share = f64::from(parameters.band_rows) / f64::from(rows);
                map.bytes() as f64 * share + tiles.bytes() as f64
            };
            b.dispatch(
                Dispatch::new(format!("{name} (transform)"), &transform)
                    .uniform("conv", parameters)
                    .bind("input", operands.input)
                    .bind("modulation", operands.modulation)
                    .bind("output", &tiles)
                    .grid(grid(parameters.input_channels))
                    // Two additions for each element and direction.
                    .cost(
                        2.0 * elements(band_rows, shape.inputs) as f64,
                        moved(operands.input, &tiles),
                    ),
            );
            let multiplied = params::Conv {
                width: band_tiles,
                height: 16,
                input_channels: parameters.input_channels,
                output_channels: parameters.output_channels,
                ..Default::default()
            };
            let (kernel, product_grid) = structure.kernel(b, band, true)?;
            let cost = self.products(b.storage(), [band.size; 2], 1);
            let dispatch = Dispatch::new(format!("{name} (products)"), &kernel).grid(product_grid);
            let of_tiles = Operands {
                input: &tiles,
                output: &products,
                ..operands
            };
            b.dispatch(self.bound(dispatch, multiplied, of_tiles, of_products, cost));
            let dispatch = Dispatch::new(format!("{name} (finish)"), &finish)
                .grid(grid(parameters.output_channels));
            let finished = Operands {
                input: &products,
                ..operands
            };
            let cost = (
                1.5 * elements(band_rows, shape.outputs) as f64,
                moved(operands.output, &products),
            );
            b.dispatch(self.bound(dispatch, parameters, finished, &self.channels, cost));
        }
        b.release(tiles);
        b.release(products);
        Ok(())
    }

    /// Operations and bytes of products from a map of one size to one of another.
    fn products(&self, storage: Storage, sizes: [[u32; 2]; 2], taps: u32) -> (f64, f64) {
        let [inputs, outputs] = [self.shape.inputs, self.shape.outputs].map(f64::from);
        let [read, written] = sizes.map(|[height, width]| f64::from(height) * f64::from(width));
        let maps = storage.maps().bytes(1) as f64 * (read * inputs + written * outputs);
        (
            2.0 * f64::from(taps) * inputs * outputs * written,
            maps + self.weights.bytes() as f64,
        )
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
            .bind("frame", operands.frame)
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

    /// A layer of this shape to be timed: all weights are zero, which takes as long as others.
    fn example(gpu: &Gpu, shape: Shape, variant: Variant, storage: Storage) -> Result<Self> {
        let filters = vec![0.0; (shape.outputs * shape.inputs * shape.taps()) as usize];
        let bias = vec![0.0; shape.outputs as usize];
        Self::new(gpu, "timed", shape, variant, (&filters, storage), &bias)
    }

    fn plan_example(&self, b: &mut ProgramBuilder<'_>) -> Result<()> {
        let elements = |[height, width]: [u32; 2], channels| {
            u64::from(height) * u64::from(width) * u64::from(pack::padded(channels))
        };
        let input = elements(self.shape.input_size(), self.shape.inputs);
        let input = b.stored("timed", input)?;
        let output = b.stored("timed", elements(self.shape.size, self.shape.outputs))?;
        let modulation = b.tensor("timed", pack::padded(self.shape.inputs).into())?;
        let nothing = b.tensor("timed", 4)?;
        let frame = Tensor::uniform(
            b.gpu(),
            "timed",
            bytemuck::bytes_of(&params::Frame::default()),
        )?;
        let operands = Operands {
            frame: &frame,
            input: &input,
            modulation: &modulation,
            demodulation: &nothing,
            noise: &nothing,
            operand: &nothing,
            output: &output,
        };
        let parameters = params::Conv {
            flags: flag::LRELU,
            ..Default::default()
        };
        self.plan(b, "timed", parameters, operands)
    }
}
