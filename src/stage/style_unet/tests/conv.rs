use proptest::prelude::*;
use proptest::sample::select;

use crate::gpu::kernels::style_unet::conv_epilogue as flag;
use crate::gpu::kernels::{params, style_unet as kernels};
use crate::gpu::{Gpu, ProgramBuilder, Tensor};
use crate::options::{Format, Formats, Precision};
use crate::reference::{self, shared, style_unet as twin};
use crate::stage::style_unet::conv::{
    Conv, Operands, Shape, Structure, Variant, teams, tiled, wide,
};
use crate::stage::testing::*;
use crate::weights::pack;

#[derive(Clone, Copy, Debug)]
pub(super) struct ConvCase {
    pub seed: u64,
    /// Height and width.
    pub size: [u32; 2],
    pub inputs: u32,
    pub outputs: u32,
    pub kernel_size: u32,
    /// Whether the stored map has half the size.
    pub upsampled: bool,
    pub formats: Formats,
}

/// A kind of layer in the network: whether it is modulated, and the flags of its epilogue.
pub(super) type LayerKind = (bool, u32);

const STYLED: u32 = flag::DEMODULATE | flag::NOISE | flag::LRELU;

pub(super) const LAYERS: [LayerKind; 9] = [
    (false, 0),
    (false, flag::LRELU),
    (false, flag::LRELU | flag::RESIDUAL),
    (false, flag::LRELU | flag::RESIDUAL_UPSAMPLED),
    (true, STYLED),
    (true, STYLED | flag::SCALE_SHIFT),
    (true, 0),
    (true, flag::RESIDUAL_UPSAMPLED),
    (true, flag::RESIDUAL_UPSAMPLED | flag::SIGMOID),
];

/// A variant of 3x3 convolutions for each kernel that a device can run.
pub(super) fn one_of_each_kernel(gpu: &Gpu, formats: Formats) -> Vec<Variant> {
    let mut structures = vec![Structure::Register, Structure::Split, tiled(4, 4)];
    let mut products = vec![tiled(8, 16)];
    if gpu.has_subgroups() {
        structures.push(Structure::Subgroup);
        products.push(Structure::Subgroup);
    }
    if let (Some(side), Format::F16) = (gpu.matrices(), formats.maps) {
        structures.push(Structure::Cooperative { side, lines: 2 });
    }
    if gpu.has_half_arithmetic() && formats.maps == Format::F16 {
        structures.extend(tiled(4, 4).in_f16());
    }
    let products = products.into_iter().map(Variant::Winograd);
    let direct = structures.into_iter().map(Variant::Direct);
    direct.chain(products).collect()
}

/// All variants of 3x3 convolutions in f32.
fn variants(gpu: &Gpu) -> Vec<Variant> {
    let direct = [tiled(2, 4), tiled(8, 2), wide(4, 2)];
    let products = [tiled(16, 8), wide(8, 16), teams(2, 8, 8), teams(4, 8, 4)];
    let others = direct.map(Variant::Direct).into_iter();
    let others = others.chain(products.map(Variant::Winograd));
    let mut all = one_of_each_kernel(gpu, Formats::F32);
    all.extend(others);
    all
}

struct ConvData {
    input: reference::Tensor,
    weight: Vec<f32>,
    bias: Vec<f32>,
    modulation: Vec<f32>,
    demodulation: Vec<f32>,
    noise: Vec<f32>,
    noise_gain: f32,
    /// Scale and shift, or the residual and an unused map.
    operands: [reference::Tensor; 2],
}

impl ConvData {
    fn new(case: ConvCase, (_, flags): LayerKind) -> Self {
        let [height, width] = case.size.map(|side| side as usize);
        let (inputs, outputs) = (case.inputs as usize, case.outputs as usize);
        let taps = (case.kernel_size * case.kernel_size) as usize;
        let random = |name: &str, count| random(case.seed, name, count);
        let map = |name, shape| rounded_map(case.format(), random_map(case.seed, name, shape));
        // Keeps sums of order one, where the sigmoid is steep.
        let scale = 1.0 / ((inputs * taps) as f32).sqrt();
        let weight = random("weight", outputs * inputs * taps).into_iter();
        let weight = weight.map(|w| w * scale).collect();
        let half_if = |half, channels| {
            let divisor = if half { 2 } else { 1 };
            [height / divisor, width / divisor, channels]
        };
        let shape = half_if(flags & flag::RESIDUAL_UPSAMPLED != 0, outputs);
        Self {
            input: map("input", half_if(case.upsampled, inputs)),
            weight: rounded_weights(case.formats.weights, weight, inputs * taps),
            bias: random("bias", outputs),
            modulation: random("modulation", inputs),
            demodulation: random("demodulation", outputs),
            noise: random("noise", height * width),
            noise_gain: 0.75,
            operands: [map("operand", shape), map("shift", shape)],
        }
    }

    fn map(self, f: fn(f32) -> f32) -> Self {
        let all = |values: Vec<f32>| values.into_iter().map(f).collect();
        Self {
            input: self.input.map(f),
            weight: all(self.weight),
            bias: all(self.bias),
            modulation: all(self.modulation),
            demodulation: all(self.demodulation),
            noise: all(self.noise),
            noise_gain: f(self.noise_gain),
            operands: self.operands.map(|operand| operand.map(f)),
        }
    }

    /// The map that is convolved.
    fn read(&self, case: ConvCase) -> reference::Tensor {
        if !case.upsampled {
            return self.input.clone();
        }
        twin::resample(&self.input, case.size.map(|side| side as usize), false)
    }

    fn twin(&self, case: ConvCase, (modulated, flags): LayerKind) -> reference::Tensor {
        let has = |flag: u32| flags & flag != 0;
        let [operand, shift] = &self.operands;
        let conv = twin::Conv {
            weight: &self.weight,
            size: case.kernel_size as usize,
            outputs: case.outputs as usize,
            modulation: modulated.then_some(&self.modulation),
            demodulation: has(flag::DEMODULATE).then_some(&self.demodulation),
            noise: has(flag::NOISE).then_some((&self.noise, self.noise_gain)),
            bias: Some(&self.bias),
            lrelu: has(flag::LRELU),
            affine: has(flag::SCALE_SHIFT).then_some((operand, shift)),
            residual: if has(flag::RESIDUAL) {
                twin::Residual::Same(operand)
            } else if has(flag::RESIDUAL_UPSAMPLED) {
                twin::Residual::Upsampled(operand)
            } else {
                twin::Residual::None
            },
        };
        twin::conv(&self.read(case), &conv)
    }
}

/// For each pixel, the largest of the surrounding pixels that share a tile with it.
fn neighbourhoods(map: &reference::Tensor) -> reference::Tensor {
    let [height, width, channels] = map.image();
    let mut largest = map.clone();
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        for v in y.saturating_sub(3)..height.min(y + 4) {
            for u in x.saturating_sub(3)..width.min(x + 4) {
                for c in 0..channels {
                    let at = (y * width + x) * channels + c;
                    largest.data[at] = largest.data[at].max(map.pixel(v, u)[c]);
                }
            }
        }
    }
    largest
}

/// `values` after `offset` vec4s of other layers.
fn behind(offset: u32, values: &[f32]) -> Vec<f32> {
    let mut all = vec![f32::NAN; 4 * offset as usize];
    all.extend(pack::vector(values));
    all
}

impl Variant {
    fn is_of_matrices(self) -> bool {
        use Structure::{Cooperative, Emulated};
        matches!(self, Self::Direct(Cooperative { .. } | Emulated { .. }))
    }

    fn is_in_f16(self) -> bool {
        matches!(self, Self::Direct(structure) if structure.in_f16() == Some(structure))
    }
}

impl ConvCase {
    fn format(self) -> Format {
        self.formats.maps
    }

    fn shape(self, modulated: bool) -> Shape {
        Shape {
            kernel_size: self.kernel_size,
            inputs: self.inputs,
            outputs: self.outputs,
            size: self.size,
            modulated,
            upsampled: self.upsampled,
        }
    }
}

/// Runs a convolution and compares every output.
pub(super) fn convolve(gpu: &Gpu, mut case: ConvCase, layer: LayerKind, variant: Variant) {
    let (modulated, flags) = layer;
    let [height, width] = case.size;
    let mut data = ConvData::new(case, layer);
    let shape = case.shape(modulated);
    let weights = (data.weight.as_slice(), case.formats.weights);
    let conv = Conv::new(gpu, "convolution", shape, variant, weights, &data.bias).unwrap();
    let parameters = params::Conv {
        modulation_offset: 3,
        demodulation_offset: 2,
        noise_offset: 4,
        noise_gain: 0.5,
        flags,
        ..Default::default()
    };
    let globals = params::Globals {
        noise_base: 8,
        noise_gain: data.noise_gain / parameters.noise_gain,
        ..Default::default()
    };
    let globals = Tensor::uniform(gpu, "globals", &[globals]).unwrap();
    let [operand, shift] = &data.operands;
    let both = [operand, shift].map(|map| pack::rows(&map.data, case.outputs));
    let elements = (width * height * pack::padded(case.outputs)) as usize;
    let result = stored_output(gpu, case.format(), elements);
    let operands = Operands {
        globals: &globals,
        input: &stored_map(gpu, case.format(), &data.input),
        modulation: &input(gpu, &behind(3, &data.modulation)),
        demodulation: &input(gpu, &behind(2, &data.demodulation)),
        noise: &input(gpu, &behind(3, &data.noise)),
        operand: &stored_input(gpu, case.format(), &both.concat()),
        output: &result,
    };
    run_in(gpu, case.formats, &[], |b| {
        conv.plan(b, "convolution", parameters, operands).unwrap();
    });

    let found = stored_written(gpu, case.format(), &result, elements);
    let found = unpadded(&found, case.outputs);
    let mut expected = data.twin(case, layer);
    // The upsampled map may be stored before it is read, and devices interpolate differently.
    let doubled = if case.upsampled {
        4.0 * f32::EPSILON + rounding(case.format(), 1.0)
    } else {
        0.0
    };
    let what = format!("{case:?}, {layer:?}, {variant}");
    // The twin without the activation, for sums of magnitudes.
    let linear = (modulated, flags & !flag::LRELU);
    let tolerance = if let Variant::Winograd(_) = variant {
        // Winograd multiplies sums over the filter with sums over a tile, each of them stored once,
        // as are the products. All are of the order of the largest weight and pixel.
        for filter in data.weight.chunks_exact_mut(9) {
            filter.fill(filter.iter().map(|w| w.abs()).fold(0.0, f32::max));
        }
        data.input = neighbourhoods(&data.read(case).map(f32::abs));
        case.upsampled = false;
        // The sums over the filter are off by up to 1/65534 of their output's largest, on average
        // by 0.
        let weights = match case.formats.weights {
            Format::Snorm16 => 2.0 / 65534.0,
            _ => 0.0,
        };
        4.0 * f32::EPSILON + 2.0 * rounding(case.format(), 1.0) + weights
    } else if variant.is_of_matrices() {
        // Weights, and inputs that are modulated, are rounded to half precision before the
        // products.
        let rounded = if modulated { 2.0 } else { 1.0 };
        4.0 * f32::EPSILON + rounded * rounding(Format::F16, 1.0)
    } else if variant.is_in_f16() {
        // Here weights and partial sums are rounded, too. With one block of sums that is a standard
        // deviation of 0.4/2048 of the absolute products, with more blocks less; modulated inputs
        // add 1/2048 at most.
        4.0 * f32::EPSILON + 4.0 / 2048.0
    } else {
        4.0 * f32::EPSILON
    };
    let mut magnitude = data.map(f32::abs).twin(case, linear);
    if flags & flag::SIGMOID != 0 {
        // The sigmoid's steepest slope is a quarter; it rounds numbers up to one.
        expected = expected.map(shared::sigmoid_wide);
        magnitude = magnitude.map(|m| m / 4.0 + 1.0);
    }
    // A sum of n products rounds by some √n units in the last place of its partial sums, which
    // stay about √n times below the sum of the absolute products.
    assert_close(&what, &found, &expected.data, |i| {
        (tolerance + doubled) * magnitude.data[i] + rounding(case.format(), expected.data[i])
    });
}

fn even_if(upsampled: bool, size: [u32; 2]) -> [u32; 2] {
    size.map(|side| side.next_multiple_of(if upsampled { 2 } else { 1 }))
}

fn conv_cases(sides: std::ops::RangeInclusive<u32>) -> impl Strategy<Value = ConvCase> {
    // Some are not multiples of four, some not of eight.
    let channels = || select(vec![3u32, 4, 12, 20, 36, 72, 96]);
    let size = [sides.clone(), sides];
    let how = (select(vec![1, 3]), any::<bool>());
    let formats = select(network_formats().to_vec());
    let cases = (any::<u64>(), size, channels(), channels(), how, formats);
    cases.prop_map(|(seed, size, inputs, outputs, how, formats)| {
        let (kernel_size, upsampled) = how;
        ConvCase {
            seed,
            size: even_if(upsampled, size),
            inputs,
            outputs,
            kernel_size,
            upsampled,
            formats,
        }
    })
}

fn check_variant(gpu: &Gpu, count: u32, variant: Variant) {
    let winograd = matches!(variant, Variant::Winograd(_));
    let least = if winograd { 1 } else { 4 };
    let cases = conv_cases(least..=40).prop_map(|mut case| {
        if winograd {
            case.kernel_size = 3;
        }
        case
    });
    check_cases(gpu, count, &cases, variant);
}

fn check_cases(gpu: &Gpu, count: u32, cases: &impl Strategy<Value = ConvCase>, variant: Variant) {
    check(count, cases, |case| {
        for layer in LAYERS {
            let mut case = case;
            if layer.1 & flag::RESIDUAL_UPSAMPLED != 0 {
                case.size = case.size.map(|side| side.next_multiple_of(2));
            }
            convolve(gpu, case, layer, variant);
        }
    });
}

#[test]
fn direct_convolutions() {
    let all = variants(gpu()).into_iter();
    for variant in all.filter(|variant| matches!(variant, Variant::Direct(_))) {
        check_variant(gpu(), 2, variant);
    }
}

#[test]
fn convolutions_by_winograd() {
    let all = variants(gpu()).into_iter();
    for variant in all.filter(|variant| matches!(variant, Variant::Winograd(_))) {
        check_variant(gpu(), 2, variant);
    }
}

#[test]
fn convolutions_in_subgroups() {
    // Without them, their device says so.
    if subgroups().has_subgroups() {
        check_variant(subgroups(), 6, Variant::Direct(Structure::Subgroup));
        check_variant(subgroups(), 4, Variant::Winograd(Structure::Subgroup));
    }
}

#[test]
fn convolutions_of_cooperative_matrices() {
    let Some(gpu) = matrices() else {
        return absent("matrices", "the device has no cooperative ones");
    };
    let side = gpu.matrices().unwrap();
    // Four tasks side by side in columns, two by two, or in rows, depending on lines and outputs.
    let shapes = [
        (4..=40u32, select(vec![3u32, 12, 16, 20])),
        (5..=40, select(vec![36, 72, 96])),
        (3..=4, select(vec![72, 96, 200])),
    ];
    for (lines, outputs) in shapes {
        let cases =
            (conv_cases(3..=40), lines, outputs).prop_map(|(case, height, outputs)| ConvCase {
                formats: Precision::Mixed.super_resolver(),
                size: even_if(case.upsampled, [height, case.size[1]]),
                outputs,
                ..case
            });
        for lines in [1, 2, 4] {
            let variant = Variant::Direct(Structure::Cooperative { side, lines });
            check_cases(gpu, 4, &cases, variant);
        }
    }
}

/// The cooperative kernel around its matrices, also for sizes that the device does not have.
#[test]
fn convolutions_of_emulated_matrices() {
    let gpu = gpu();
    let device = gpu.device();
    let room = kernels::CONV_COOPERATIVE_16.check(&device.limits());
    if !device.features().contains(wgpu::Features::SHADER_F16) || room.is_err() {
        return absent("f16", &format!("no numbers of 16 bits, or {room:?}"));
    }
    // Tasks below each other, two by two and beside each other; in turn, at once and repeated.
    for (side, lines, subgroup, kernel_size, size, outputs) in [
        (16, 4, 32, 3, [18, 10], 12),
        (16, 2, 64, 3, [9, 17], 72),
        (16, 1, 8, 1, [3, 9], 132),
        (8, 4, 128, 1, [18, 5], 12),
        (8, 2, 32, 3, [9, 9], 36),
        (8, 1, 64, 3, [3, 9], 68),
    ] {
        let case = ConvCase {
            seed: 7,
            size,
            inputs: 12 + 4 * side,
            outputs,
            kernel_size,
            upsampled: size[1] % 2 == 0 && size[0] % 2 == 0,
            formats: Precision::Mixed.super_resolver(),
        };
        let variant = Variant::Direct(Structure::Emulated {
            side,
            lines,
            subgroup,
        });
        convolve(gpu, case, LAYERS[5], variant);
    }
}

#[test]
fn convolutions_in_half_arithmetic() {
    let gpu = gpu();
    if !gpu.has_half_arithmetic() {
        return absent("f16", &format!("{} has no such numbers", gpu.description()));
    }
    for structure in [tiled(2, 4), tiled(4, 4), tiled(8, 2)] {
        let structure = structure.in_f16().unwrap();
        let cases = conv_cases(4..=40).prop_map(|case| ConvCase {
            formats: Precision::Mixed.super_resolver(),
            ..case
        });
        check_cases(gpu, 2, &cases, Variant::Direct(structure));
    }
}

#[test]
fn every_candidate_of_a_device_covers_every_square_map() {
    check(3, conv_cases(4..=40), |mut case| {
        case.size[0] = case.size[1];
        let devices = [gpu(), software(), subgroups()];
        for gpu in devices.into_iter().chain(matrices()) {
            for kernel_size in [1, 3] {
                case.kernel_size = kernel_size;
                let mut formats = case.formats;
                if formats.maps == Format::F16 {
                    formats = Precision::F16.super_resolver();
                }
                for variant in Variant::candidates(gpu, case.shape(false), formats) {
                    convolve(gpu, case, LAYERS[1], variant);
                }
            }
        }
    });
}

#[test]
fn maps_become_the_tiles_of_winograd() {
    let cases = (conv_cases(1..=40), any::<bool>());
    check(12, cases, |(case, modulated)| {
        let data = ConvData::new(case, (modulated, 0));
        let [height, width] = case.size;
        let [rows, columns] = case.size.map(|side| side.div_ceil(2));
        // All rows, and all but the first.
        for band_start in [0, 1u32.min(rows - 1)] {
            let band_rows = rows - band_start;
            let parameters = params::Conv {
                width,
                height,
                input_channels: case.inputs.div_ceil(4),
                modulation_offset: 3,
                band_start,
                band_rows,
                ..Default::default()
            };
            let channels = pack::padded(case.inputs) as usize;
            let tiles = (band_rows * columns) as usize;
            let stride = tiles.next_multiple_of(32);
            let constants = [
                ("MODULATED", modulated.into()),
                ("UPSAMPLED", case.upsampled.into()),
            ];
            let kernel = (&kernels::WINOGRAD_INPUT, constants);
            let elements = 16 * stride * channels;
            let found = computed(gpu(), case.formats, elements, kernel, |dispatch| {
                dispatch
                    .uniform("conv", parameters)
                    .bind("input", &stored_map(gpu(), case.format(), &data.input))
                    .bind("modulation", &input(gpu(), &behind(3, &data.modulation)))
                    .threads([columns * channels as u32 / 4, band_rows, 1])
            });
            let positions = found.chunks_exact(stride * channels);
            let found: Vec<f32> = positions
                .flat_map(|position| unpadded(&position[..tiles * channels], case.inputs))
                .collect();
            let modulation = modulated.then_some(&data.modulation[..]);
            let expected = twin::winograd_tiles(&data.read(case), modulation);
            let [_, all, inputs] = expected.image();
            let expected: Vec<f32> = (expected.data.chunks_exact(all * inputs))
                .flat_map(|position| &position[band_start as usize * columns as usize * inputs..])
                .copied()
                .collect();
            // Three sums of four numbers below one; each number is itself a sum of four.
            assert_close(&format!("{case:?}"), &found, &expected, |i| {
                8.0 * f32::EPSILON + rounding(case.format(), expected[i])
            });
        }
    });
}

#[test]
fn layers_that_are_timed_have_as_much_memory_as_others() {
    let gpu = gpu();
    for formats in [Formats::F32, Precision::F16.super_resolver()] {
        for (inputs, outputs) in [(1, 1), (3, 96), (17, 9), (32, 16), (48, 33)] {
            let shape = Shape {
                kernel_size: 3,
                inputs,
                outputs,
                size: [4; 2],
                modulated: false,
                upsampled: false,
            };
            let cooperative = |side| Structure::Cooperative { side, lines: 2 };
            for structure in [tiled(2, 4), cooperative(8), cooperative(16)] {
                let variant = Variant::Direct(structure);
                let filters = vec![0.0; (outputs * inputs * 9) as usize];
                let filters = (&filters[..], formats.weights);
                let bias = vec![0.0; outputs as usize];
                let conv = Conv::new(gpu, "conv", shape, variant, filters, &bias).unwrap();
                let mut b = ProgramBuilder::new(gpu, formats);
                let timed = Conv::example(&mut b, shape, variant).unwrap();
                assert!(timed.bytes() >= conv.bytes(), "{shape}, {variant}");
            }
        }
    }
}
