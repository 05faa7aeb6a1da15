use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::select;

use super::conv::{Structure, tiled};
use super::*;
use crate::gpu::KernelSource;
use crate::reference::{self, shared, style_unet as twin};
use crate::stage::testing::*;
use crate::weights::tests::tiny_weights;

/// One call of each kernel.
pub(in crate::stage) fn examples(gpu: &Gpu) {
    let case = ConvCase {
        seed: 1,
        size: [10, 18],
        inputs: 12,
        outputs: 20,
        kernel_size: 3,
        upsampled: false,
        storage: Storage::Full,
    };
    for storage in STORAGES {
        for variant in variants(gpu, storage) {
            for upsampled in [false, true] {
                let case = ConvCase {
                    upsampled,
                    storage,
                    ..case
                };
                convolve(gpu, case, LAYERS[5], variant);
            }
        }
        multiply(gpu, storage, 4, [13, 36], true, true);
        demodulate(gpu, storage, 5, &[(6, 20), (5, 3)]);
    }
    for format in [Format::F32, Format::F16] {
        resize(gpu, format, 2, [[5, 9], [12, 7]], 6, true);
        sum(gpu, format, 3, 301, [2, 3, 1]);
        convert_and_back(gpu, format, 5, 301);
    }
    generate_noise(gpu, 100, [1, 2]);
}

// ---- convolution ---------------------------------------------------------------------------

#[derive(Clone, Copy, Debug)]
struct ConvCase {
    seed: u64,
    /// Height and width.
    size: [u32; 2],
    inputs: u32,
    outputs: u32,
    kernel_size: u32,
    /// Whether the map that is given has half the size.
    upsampled: bool,
    storage: Storage,
}

/// What the network ever does to a convolution: whether it is modulated, and the flags of its
/// epilogue.
type LayerKind = (bool, u32);

const LAYERS: [LayerKind; 9] = [
    (false, 0),
    (false, flag::LRELU),
    (false, flag::LRELU | flag::RESIDUAL),
    (false, flag::LRELU | flag::RESIDUAL_UPSAMPLED),
    (true, flag::DEMODULATE | flag::NOISE | flag::LRELU),
    (
        true,
        flag::DEMODULATE | flag::NOISE | flag::LRELU | flag::SCALE_SHIFT,
    ),
    (true, 0),
    (true, flag::RESIDUAL_UPSAMPLED),
    (true, flag::RESIDUAL_UPSAMPLED | flag::SIGMOID),
];

/// The kernel of cooperative matrices with its matrices replaced by what any thread can compute.
pub(super) fn emulated(side: u32, subgroup: u32) -> &'static KernelSource {
    const SUBGROUPS: [u32; 4] = [8, 32, 64, 128];
    static KERNELS: LazyLock<Vec<(u32, u32, KernelSource)>> = LazyLock::new(|| {
        let sources = [&kernels::CONV_COOPERATIVE_8, &kernels::CONV_COOPERATIVE_16];
        let all = sources.iter().flat_map(|source| {
            let side = source.matrices.unwrap();
            SUBGROUPS.map(|subgroup| (side, subgroup, emulate(source, subgroup)))
        });
        all.collect()
    });
    let mut kernels = KERNELS.iter();
    let found = kernels.find(|(s, threads, _)| [*s, *threads] == [side, subgroup]);
    &found.unwrap().2
}

const EMULATED_MATRICES: &str = include_str!("emulated_matrices.wgsl");

fn emulate(source: &KernelSource, subgroup: u32) -> KernelSource {
    let mut wgsl = String::new();
    for line in source.wgsl.lines() {
        let mut line = line.to_string();
        if line.starts_with("enable wgpu") {
            continue;
        }
        if let Some((before, load)) = line.split_once("coopLoadT<") {
            let (_, pointer) = load.split_once(">((&").unwrap();
            let (array, index) = pointer.split_once('[').unwrap();
            let (index, stride) = index.rsplit_once("]), ").unwrap();
            line = format!("{before}load_{array}({index}, {stride}");
        } else if let Some((before, pointer)) = line.split_once("coopStoreT(sum, (&sums[") {
            let (index, stride) = pointer.rsplit_once("]), ").unwrap();
            line = format!("{before}store_sums(sum, {index}, {stride}");
        }
        wgsl.push_str(&line.replace("coopMultiplyAdd", "multiply_add"));
        wgsl.push('\n');
    }
    for side in [8, 16] {
        for (matrix, emulated) in [
            ("f16,A", "Reference"),
            ("f16,B", "Reference"),
            ("f32,C", "Share"),
        ] {
            wgsl = wgsl.replace(&format!("coop_mat{side}x{side}<{matrix}>"), emulated);
        }
    }
    let wgsl = wgsl.replace(
        ", @builtin(subgroup_id) subgroup: u32, @builtin(num_subgroups) subgroups: u32) {",
        ") {
            lane = thread % SUBGROUP;
            let subgroup = thread / SUBGROUP;
            let subgroups = 128u / SUBGROUP;",
    );
    assert!(
        !wgsl.contains("coop") && !wgsl.contains("@builtin(sub"),
        "{wgsl}"
    );
    KernelSource {
        name: format!("{}, emulated for {subgroup}", source.name).leak(),
        wgsl: format!("{wgsl}const SUBGROUP = {subgroup}u;\n{EMULATED_MATRICES}").leak(),
        subgroups: false,
        matrices: None,
        mixed: None,
        half: None,
        computed_in_half: None,
        ..*source
    }
}

/// What computes in half precision.
const fn tiled_in_half(channel_groups: u32, column_groups: u32) -> Structure {
    Structure::Tiled {
        channel_groups,
        column_groups,
        half_arithmetic: true,
    }
}

/// All that a device can compute any 3x3 convolution by.
fn variants(gpu: &Gpu, storage: Storage) -> Vec<Variant> {
    let mut structures = vec![
        Structure::Register,
        Structure::Split,
        tiled(2, 4),
        tiled(4, 4),
        tiled(8, 2),
        tiled(4, 2),
    ];
    let mut products = vec![Structure::Register, tiled(8, 16), tiled(16, 8)];
    if gpu.has_subgroups() {
        structures.push(Structure::Subgroup);
        products.push(Structure::Subgroup);
    }
    if let (Some(side), Storage::Half) = (gpu.matrices(), storage) {
        structures.push(Structure::Cooperative { side });
    }
    if gpu.has_half_arithmetic() && storage == Storage::Half {
        structures.push(tiled_in_half(4, 4));
    }
    let direct = structures.into_iter().map(Variant::Direct);
    direct
        .chain(products.into_iter().map(Variant::Winograd))
        .collect()
}

/// All that a convolution computes with.
struct ConvData {
    input: reference::Tensor,
    weight: Vec<f32>,
    bias: Vec<f32>,
    modulation: Vec<f32>,
    demodulation: Vec<f32>,
    noise: Vec<f32>,
    noise_gain: f32,
    /// Scale and shift, or the residual and nothing.
    operands: [reference::Tensor; 2],
}

impl ConvData {
    fn new(case: ConvCase, (_, flags): LayerKind) -> Self {
        let [height, width] = case.size.map(|side| side as usize);
        let (inputs, outputs) = (case.inputs as usize, case.outputs as usize);
        let taps = (case.kernel_size * case.kernel_size) as usize;
        let random = |name: &str, count| random(case.seed, name, count);
        let map =
            |name: &str, shape| rounded_map(case.format(), random_map(case.seed, name, shape));
        // Keeps sums of order one, where the sigmoid still tells them apart.
        let scale = 1.0 / ((inputs * taps) as f32).sqrt();
        let weight = random("weight", outputs * inputs * taps);
        let shape = if flags & flag::RESIDUAL_UPSAMPLED != 0 {
            [height / 2, width / 2, outputs]
        } else {
            [height, width, outputs]
        };
        Self {
            input: if case.upsampled {
                map("input", [height / 2, width / 2, inputs])
            } else {
                map("input", [height, width, inputs])
            },
            weight: rounded_weights(
                case.storage,
                weight.iter().map(|w| w * scale).collect(),
                inputs * taps,
            ),
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
        if case.upsampled {
            twin::resample(&self.input, case.size.map(|side| side as usize), false)
        } else {
            self.input.clone()
        }
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

/// For each pixel the largest of those around it that share a tile with it.
fn neighbourhoods(map: &reference::Tensor) -> reference::Tensor {
    let [height, width, channels] = map.image();
    let mut largest = map.clone();
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        for (v, u) in (0..7).flat_map(|v| (0..7).map(move |u| (v, u))) {
            let (Some(v), Some(u)) = ((y + v).checked_sub(3), (x + u).checked_sub(3)) else {
                continue;
            };
            if v < height && u < width {
                for c in 0..channels {
                    let at = (y * width + x) * channels + c;
                    largest.data[at] = largest.data[at].max(map.pixel(v, u)[c]);
                }
            }
        }
    }
    largest
}

/// Values behind `offset` vec4s that belong to other layers.
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
}

impl ConvCase {
    /// Of maps.
    fn format(self) -> Format {
        self.storage.maps()
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
fn convolve(gpu: &Gpu, mut case: ConvCase, layer: LayerKind, variant: Variant) {
    let (modulated, flags) = layer;
    let [height, width] = case.size;
    let mut data = ConvData::new(case, layer);
    let shape = case.shape(modulated);
    let weights = (data.weight.as_slice(), case.storage);
    let conv = Conv::new(gpu, "convolution", shape, variant, weights, &data.bias).unwrap();
    let parameters = params::Conv {
        modulation_offset: 3,
        demodulation_offset: 2,
        noise_offset: 4,
        noise_gain: 0.5,
        flags,
        ..Default::default()
    };
    let frame = params::Frame {
        noise_base: 8,
        noise_gain: data.noise_gain / parameters.noise_gain,
        ..Default::default()
    };
    let frame = Tensor::uniform(gpu, "frame", bytemuck::bytes_of(&frame)).unwrap();
    let [operand, shift] = &data.operands;
    let both = [operand, shift].map(|map| pack::rows(&map.data, case.outputs));
    let elements = (width * height * pack::padded(case.outputs)) as usize;
    let result = stored_output(gpu, case.format(), elements);
    let operands = Operands {
        frame: &frame,
        input: &stored_map(gpu, case.format(), &data.input),
        modulation: &input(gpu, &behind(3, &data.modulation)),
        demodulation: &input(gpu, &behind(2, &data.demodulation)),
        noise: &input(gpu, &behind(3, &data.noise)),
        operand: &stored_input(gpu, case.format(), &both.concat()),
        output: &result,
    };
    run_in(gpu, case.storage, &[], |b| {
        conv.plan(b, "convolution", parameters, operands).unwrap();
    });

    let found = stored_written(gpu, case.format(), &result, elements);
    let found = unpadded(&found, case.outputs);
    let mut expected = data.twin(case, layer);
    // A double may be stored before it is read, and devices differ in how they interpolate.
    let doubled = if case.upsampled {
        4.0 * f32::EPSILON + rounding(case.format(), 1.0)
    } else {
        0.0
    };
    let what = format!("{case:?}, {layer:?}, {variant}");
    // Everything but the sums themselves, of numbers without a sign.
    let linear = (modulated, flags & !flag::LRELU);
    let tolerance = if let Variant::Winograd(_) = variant {
        // An output is a sum of products of sums over the filter with sums over its tile, which are
        // each stored once, as are the products: of the order of the largest weight and pixel.
        for filter in data.weight.chunks_exact_mut(9) {
            filter.fill(filter.iter().map(|w| w.abs()).fold(0.0, f32::max));
        }
        data.input = neighbourhoods(&data.read(case).map(f32::abs));
        case.upsampled = false;
        // The sums over the filter are off by up to 1/65534 of their output's largest, on average nothing.
        let weights = match case.storage {
            Storage::Full => 0.0,
            Storage::Mixed | Storage::Half => 2.0 / 65534.0,
        };
        4.0 * f32::EPSILON + 2.0 * rounding(case.format(), 1.0) + weights
    } else if variant.is_of_matrices() {
        // Weights are rounded to half precision before they are multiplied, and modulated inputs.
        let rounded = if modulated { 2.0 } else { 1.0 };
        4.0 * f32::EPSILON + rounded * rounding(Format::F16, 1.0)
    } else if matches!(
        variant,
        Variant::Direct(Structure::Tiled {
            half_arithmetic: true,
            ..
        })
    ) {
        // So are weights and partial sums. For one block of those, that is a standard deviation of 0.4/2048 of the
        // absolute products, and less for more blocks; modulated inputs add 1/2048 at most.
        4.0 * f32::EPSILON + 4.0 / 2048.0
    } else {
        4.0 * f32::EPSILON
    };
    let mut magnitude = data.map(f32::abs).twin(case, linear);
    if flags & flag::SIGMOID != 0 {
        // A quarter is its steepest slope; its own rounding is that of numbers up to one.
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
    // Some are no multiple of a vec4, some of no eight.
    let channels = || select(vec![3u32, 4, 12, 20, 36, 72, 96]);
    let size = [sides.clone(), sides];
    let cases = (
        any::<u64>(),
        size,
        channels(),
        channels(),
        (select(vec![1, 3]), any::<bool>()),
        storages(),
    );
    cases.prop_map(
        |(seed, size, inputs, outputs, (kernel_size, upsampled), storage)| ConvCase {
            storage,
            seed,
            size: even_if(upsampled, size),
            upsampled,
            inputs,
            outputs,
            kernel_size,
        },
    )
}

fn check_variant(gpu: &Gpu, count: u32, variant: Variant) {
    match variant {
        Variant::Direct(_) => check_cases(gpu, count, conv_cases(4..=40), variant),
        Variant::Winograd(_) => {
            let cases = conv_cases(1..=40).prop_map(|case| ConvCase {
                kernel_size: 3,
                ..case
            });
            check_cases(gpu, count, cases, variant);
        }
    }
}

fn check_cases(gpu: &Gpu, count: u32, cases: impl Strategy<Value = ConvCase>, variant: Variant) {
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
    for variant in variants(gpu(), Storage::Full) {
        if let Variant::Direct(_) = variant {
            check_variant(gpu(), 4, variant);
        }
    }
}

#[test]
fn convolutions_by_winograd() {
    for variant in variants(gpu(), Storage::Full) {
        if let Variant::Winograd(_) = variant {
            check_variant(gpu(), 3, variant);
        }
    }
}

#[test]
fn convolutions_in_subgroups() {
    if subgroups().has_subgroups() {
        check_variant(subgroups(), 6, Variant::Direct(Structure::Subgroup));
        check_variant(subgroups(), 4, Variant::Winograd(Structure::Subgroup));
    }
}

#[test]
fn convolutions_of_cooperative_matrices() {
    let Some(gpu) = matrices() else {
        println!("skipped: this device has no cooperative matrices");
        return;
    };
    let side = gpu.matrices().unwrap();
    // One task beside another, two, and four: lines and outputs decide.
    let shapes = [
        (4..=40u32, select(vec![3u32, 12, 16, 20])),
        (5..=40, select(vec![36, 72, 96])),
        (3..=4, select(vec![72, 96, 200])),
    ];
    for (lines, outputs) in shapes {
        let cases =
            (conv_cases(3..=40), lines, outputs).prop_map(|(case, height, outputs)| ConvCase {
                storage: Storage::Half,
                size: even_if(case.upsampled, [height, case.size[1]]),
                outputs,
                ..case
            });
        let variant = Variant::Direct(Structure::Cooperative { side });
        check_cases(gpu, 4, cases, variant);
    }
}

/// What the kernel of matrices does around them, also for sizes that the device has none of.
#[test]
fn convolutions_of_emulated_matrices() {
    let gpu = gpu();
    let device = gpu.device();
    let room = kernels::CONV_COOPERATIVE_16.check(&device.limits());
    if !device.features().contains(wgpu::Features::SHADER_F16) || room.is_err() {
        println!("skipped: no numbers of 16 bits, or {room:?}");
        return;
    }
    // Tasks below each other, two by two and beside each other; in turn, at once and repeated.
    for (side, subgroup, kernel_size, size, outputs) in [
        (16, 32, 3, [18, 10], 12),
        (16, 64, 3, [9, 17], 72),
        (16, 8, 1, [3, 9], 132),
        (8, 128, 1, [18, 5], 12),
        (8, 32, 3, [9, 9], 36),
        (8, 64, 3, [3, 9], 68),
    ] {
        let case = ConvCase {
            seed: 7,
            size,
            inputs: 20,
            outputs,
            kernel_size,
            upsampled: size[1] % 2 == 0 && size[0] % 2 == 0,
            storage: Storage::Half,
        };
        let variant = Variant::Direct(Structure::Emulated { side, subgroup });
        convolve(gpu, case, LAYERS[5], variant);
    }
}

#[test]
fn convolutions_in_half_arithmetic() {
    let gpu = gpu();
    if !gpu.has_half_arithmetic() {
        println!("skipped: {} has no numbers of 16 bits", gpu.description());
        return;
    }
    for structure in [
        tiled_in_half(2, 4),
        tiled_in_half(4, 4),
        tiled_in_half(8, 2),
    ] {
        let cases = conv_cases(4..=40).prop_map(|case| ConvCase {
            storage: Storage::Half,
            ..case
        });
        check_cases(gpu, 4, cases, Variant::Direct(structure));
    }
}

#[test]
fn every_candidate_of_a_device_covers_every_square_map() {
    check(6, conv_cases(4..=40), |mut case| {
        case.size[0] = case.size[1];
        let devices = [gpu(), software(), subgroups()];
        for gpu in devices.into_iter().chain(matrices()) {
            for kernel_size in [1, 3] {
                case.kernel_size = kernel_size;
                let numbers = Numbers {
                    storage: case.storage,
                    half_arithmetic: case.storage == Storage::Half,
                };
                for variant in Variant::candidates(gpu, case.shape(false), numbers) {
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
        // All rows, and those behind the first.
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
            let result = stored_output(gpu(), case.format(), 16 * stride * channels);
            run_in(gpu(), case.storage, &[], |b| {
                let constants = [
                    ("MODULATED", modulated.into()),
                    ("UPSAMPLED", case.upsampled.into()),
                ];
                let kernel = b.kernel(&kernels::WINOGRAD_INPUT, &constants).unwrap();
                b.dispatch(
                    Dispatch::new("transform", &kernel)
                        .uniform("conv", parameters)
                        .bind("input", &stored_map(gpu(), case.format(), &data.input))
                        .bind("modulation", &input(gpu(), &behind(3, &data.modulation)))
                        .bind("output", &result)
                        .grid([(columns * channels as u32 / 4).div_ceil(64), band_rows, 1]),
                );
            });
            let found = stored_written(gpu(), case.format(), &result, 16 * stride * channels);
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
            // Four numbers below one in three sums, times one; each a sum of four before.
            assert_close(&format!("{case:?}"), &found, &expected, |i| {
                8.0 * f32::EPSILON + rounding(case.format(), expected[i])
            });
        }
    });
}

/// The stage itself, from weights with the checkpoint's names.
#[test]
fn the_stage_plans_what_the_twin_computes() {
    let weights = tiny_weights();
    let config = weights.config();
    // Both ways to begin: halving a picture, and enlarging the low-resolution image.
    for (network, size) in [
        (config.encoder(), config.source_size),
        (config.super_resolver(), config.low_res_size),
    ] {
        let shape = [size as usize, size as usize, network.in_channels as usize];
        let picture = random_map(8, network.prefix, shape);
        let (input, output) = (network.input as usize, network.output as usize);
        let prefix = network.prefix;
        let runs = [
            (twin::Noise::Stored, Storage::Full, false),
            (twin::Noise::Zero, Storage::Full, false),
            (twin::Noise::Stored, Storage::Mixed, false),
            (twin::Noise::Stored, Storage::Half, false),
            (twin::Noise::Stored, Storage::Half, true),
        ];
        for (noise, storage, half_arithmetic) in runs {
            let numbers = Numbers {
                storage,
                half_arithmetic,
            };
            let expected =
                twin::style_unet(&weights, prefix, &picture, input, output, noise).unwrap();
            let gain = if let twin::Noise::Stored = noise {
                1.0
            } else {
                0.0
            };
            let devices = [gpu(), software(), subgroups()];
            for gpu in devices.into_iter().chain(matrices()) {
                let net = StyleUnet::new(gpu, &weights, network.clone(), size, numbers).unwrap();
                let frame = params::Frame {
                    noise_gain: gain,
                    ..Default::default()
                };
                let frame = Tensor::uniform(gpu, "frame", bytemuck::bytes_of(&frame)).unwrap();
                let found = run_in(gpu, storage, &[], |b| {
                    let input = FeatureMap {
                        tensor: input_map(gpu, &picture),
                        size,
                        channels: network.in_channels,
                    };
                    net.plan(b, &input, &frame, false).unwrap()
                });
                assert_eq!(
                    (found.size, found.channels),
                    (network.output, network.out_channels)
                );
                let count = elements(found.size, found.channels) as usize;
                let values = found.tensor.read_stored(gpu, storage.maps(), count);
                let values = pollster::block_on(values).unwrap();
                let values = unpadded(&values, found.channels);
                // Some thirty layers of numbers of order one.
                let tolerance = match storage {
                    Storage::Full => 3e-5,
                    Storage::Mixed => 1e-3,
                    Storage::Half => 3e-2,
                };
                assert_close(prefix, &values, &expected.data, |_| tolerance);
            }
        }
    }
}

// ---- resample, add -------------------------------------------------------------------------

fn resize(
    gpu: &Gpu,
    format: Format,
    seed: u64,
    [from, to]: [[u32; 2]; 2],
    channels: u32,
    activate: bool,
) {
    let side = |side: u32| side as usize;
    let map = random_map(seed, "map", [side(from[0]), side(from[1]), side(channels)]);
    let map = rounded_map(format, map);
    let vec4s = channels.div_ceil(4);
    let parameters = params::Resample {
        input_width: from[1],
        input_height: from[0],
        width: to[1],
        height: to[0],
        channels: vec4s,
        activate: activate.into(),
        ..Default::default()
    };
    let elements = (to[0] * to[1] * vec4s * 4) as usize;
    let result = stored_output(gpu, format, elements);
    run_in(gpu, format, &[], |b| {
        let kernel = b.kernel(&kernels::RESAMPLE, &[]).unwrap();
        b.dispatch(
            Dispatch::new("resize", &kernel)
                .uniform("size", parameters)
                .bind("input", &stored_map(gpu, format, &map))
                .bind("output", &result)
                .grid([(to[1] * vec4s).div_ceil(64), to[0], 1]),
        );
    });
    let found = stored_written(gpu, format, &result, elements);
    let found = unpadded(&found, channels);
    let expected = twin::resample(&map, to.map(side), activate);
    // A place in pixels is good to two units in its last place, however the device divides, and
    // neighbouring pixels differ by two at most.
    let tolerance = f32::EPSILON * (4.0 + 4.0 * from[0].max(from[1]) as f32);
    let what = format!("{from:?} to {to:?}, {channels} channels, {format:?}, seed {seed}");
    assert_close(&what, &found, &expected.data, |i| {
        tolerance + rounding(format, expected.data[i])
    });
}

#[test]
fn maps_are_resized_to_any_size() {
    let sides = || [1u32..=24, 1..=24];
    let layout = (1u32..=40, formats(), any::<bool>());
    let cases = (any::<u64>(), sides(), sides(), layout);
    check(24, cases, |(seed, from, to, layout)| {
        let (channels, format, activate) = layout;
        let double = from.map(|side| 2 * side);
        for sizes in [[from, to], [from, double], [double, from]] {
            resize(gpu(), format, seed, sizes, channels, activate);
        }
    });
}

fn sum(gpu: &Gpu, format: Format, seed: u64, vec4s: u32, grid: [u32; 3]) {
    let map = |name| rounded_map(format, random_map(seed, name, [1, vec4s as usize, 4]));
    let (left, right) = (map("left"), map("right"));
    let parameters = params::Add {
        count: vec4s,
        ..Default::default()
    };
    let result = stored_output(gpu, format, left.data.len());
    run_in(gpu, format, &[], |b| {
        let kernel = b.kernel(&kernels::ADD, &[]).unwrap();
        b.dispatch(
            Dispatch::new("add", &kernel)
                .uniform("size", parameters)
                .bind("left", &stored_map(gpu, format, &left))
                .bind("right", &stored_map(gpu, format, &right))
                .bind("output", &result)
                .grid(grid),
        );
    });
    let found = stored_written(gpu, format, &result, left.data.len());
    let expected = twin::add(&left, &right).data;
    assert_close("sum", &found, &expected, |i| rounding(format, expected[i]));
}

#[test]
fn maps_are_added_whatever_the_shape_of_the_grid() {
    for (vec4s, grid) in [
        (1, [1, 1, 1]),
        (64, [1, 1, 1]),
        (65, [2, 1, 1]),
        (300, [5, 1, 1]),
        // Folded, with workgroups to spare.
        (300, [2, 3, 1]),
    ] {
        sum(gpu(), Format::F32, 7, vec4s, grid);
        sum(gpu(), Format::F16, 7, vec4s, grid);
    }
}

// ---- formats -----------------------------------------------------------------------------

/// Stores a map in a format and restores it.
fn convert_and_back(gpu: &Gpu, format: Format, seed: u64, vec4s: u32) {
    let count = 4 * vec4s as usize;
    let mut values = random(seed, "map", count);
    // Beyond the largest half on both sides, and below the smallest.
    values[..4].copy_from_slice(&[1e6, -1e6, 1e-9, 0.0]);
    let size = params::Convert {
        count: vec4s,
        ..Default::default()
    };
    let (map, given) = (stored_output(gpu, format, count), input(gpu, &values));
    let restored = output(gpu, count);
    run_in(gpu, format, &[], |b| {
        for (store, full) in [(1, &given), (0, &restored)] {
            let kernel = b.kernel(&kernels::CONVERT, &[("STORE", store)]).unwrap();
            b.dispatch(
                Dispatch::new("format", &kernel)
                    .uniform("size", size)
                    .bind("full", full)
                    .bind("stored", &map)
                    .grid(linear_grid(vec4s.div_ceil(64))),
            );
        }
    });
    let found = written(gpu, &restored, count);
    assert_eq!(found, stored_written(gpu, format, &map, count));
    let largest = match format {
        Format::F32 => f32::MAX,
        Format::F16 => 65504.0,
    };
    let expected: Vec<f32> = (values.iter().map(|v| v.clamp(-largest, largest))).collect();
    assert_close("restored map", &found, &expected, |i| {
        rounding(format, expected[i])
    });
}

#[test]
fn maps_are_stored_and_restored() {
    let cases = (any::<u64>(), formats(), 1u32..=400);
    check(8, cases, |(seed, format, vec4s)| {
        convert_and_back(gpu(), format, seed, vec4s);
    });
}

// ---- style ---------------------------------------------------------------------------------

fn multiply(
    gpu: &Gpu,
    storage: Storage,
    seed: u64,
    [rows, columns]: [u32; 2],
    activate: bool,
    normalise: bool,
) {
    let random = |name: &str, count: u32| random(seed, name, count as usize);
    let x = random("input", columns);
    let weights = random("weights", rows * columns);
    let weights = rounded_weights(storage, weights, columns as usize);
    let bias = random("bias", rows);
    let layer = (weights.clone(), storage);
    let layer = Linear::new(gpu, "linear", layer, &bias, columns).unwrap();
    let parameters = params::Linear {
        rows,
        columns: columns / 4,
        activate: activate.into(),
        normalise: normalise.into(),
    };
    let result = output(gpu, rows as usize);
    run_in(gpu, storage, &[], |b| {
        let kernel = b.kernel(&kernels::LINEAR, &[]).unwrap();
        b.dispatch(
            Dispatch::new("linear", &kernel)
                .uniform("size", parameters)
                .bind("input", &input(gpu, &x))
                .bind("weights", &layer.weights)
                .bind("rows", &layer.rows)
                .bind("output", &result)
                .grid([rows.div_ceil(8), 1, 1]),
        );
    });
    let found = written(gpu, &result, rows as usize);
    let x = if normalise {
        twin::style_normalise(&x)
    } else {
        x
    };
    let expected = twin::linear(&x, &weights, &bias, activate);
    let absolute = |values: &[f32]| values.iter().map(|v| v.abs()).collect::<Vec<_>>();
    let [x, weights, bias] = [&x, &weights, &bias].map(|values| absolute(values));
    let magnitude = twin::linear(&x, &weights, &bias, false);
    let what = format!("{rows} x {columns}, activate {activate}, normalise {normalise}");
    // As of convolutions.
    assert_close(&what, &found, &expected, |i| {
        4.0 * f32::EPSILON * magnitude[i]
    });
}

#[test]
fn matrices_multiply_vectors() {
    let how = (storages(), any::<[bool; 2]>());
    let cases = (any::<u64>(), 1u32..=70, 1u32..=160, how);
    check(24, cases, |(seed, rows, vec4s, how)| {
        let (storage, [activate, normalise]) = how;
        multiply(gpu(), storage, seed, [rows, 4 * vec4s], activate, normalise);
    });
}

#[test]
fn a_style_of_zeros_stays_finite_when_normalised() {
    let kernel = gpu().kernel(&kernels::LINEAR, &[]).unwrap();
    let parameters = params::Linear {
        rows: 1,
        columns: 2,
        activate: 0,
        normalise: 1,
    };
    let result = output(gpu(), 1);
    run(gpu(), &[], |b| {
        b.dispatch(
            Dispatch::new("linear", &kernel)
                .uniform("size", parameters)
                .bind("input", &input(gpu(), &[0.0f32; 8]))
                .bind("weights", &input(gpu(), &[1.0f32; 8]))
                .bind("rows", &input(gpu(), &[1.0, 0.25f32]))
                .bind("output", &result),
        );
    });
    assert_eq!(written(gpu(), &result, 1), [0.25]);
}

/// Demodulates 3x3 layers of these outputs and inputs, each followed by rows without channels up to
/// a whole vec4.
fn demodulate(gpu: &Gpu, storage: Storage, seed: u64, layers: &[(usize, usize)]) {
    let (mut rows, mut squares, mut modulation, mut expected) = (vec![], vec![], vec![], vec![]);
    for (layer, &(outputs, inputs)) in layers.iter().enumerate() {
        let weight = random(seed, &format!("weight {layer}"), outputs * inputs * 9);
        let style = random(seed, &format!("style {layer}"), inputs);
        let vec4s = inputs.div_ceil(4);
        let sums: Vec<f32> = weight
            .chunks_exact(9)
            .map(|kernel| kernel.iter().map(|w| w * w).sum())
            .collect();
        let mut sums = pack::rows(&sums, inputs as u32);
        for (output, gain) in gains(&mut sums, outputs, storage).into_iter().enumerate() {
            let first = squares.len() / 4 + output * vec4s;
            let row = [first, modulation.len() / 4, vec4s].map(|value| value as u32);
            rows.push([row[0], row[1], row[2], gain.to_bits()]);
        }
        rows.resize(rows.len().next_multiple_of(4), [0; 4]);
        squares.extend(sums);
        modulation.extend(pack::vector(&style));
        let factors = twin::demodulation(&weight, &style, outputs);
        expected.extend(factors.iter().map(|d| d * std::f32::consts::SQRT_2));
        // √2 / √1e-8
        expected.resize(rows.len(), 14_142.136);
    }
    let squares = Tensor::weights(gpu, "squares", &squares, storage).unwrap();
    let parameters = params::Demodulation {
        rows: rows.len() as u32,
        ..Default::default()
    };
    let result = output(gpu, rows.len());
    run_in(gpu, storage, &[], |b| {
        let kernel = b.kernel(&kernels::DEMODULATION, &[]).unwrap();
        b.dispatch(
            Dispatch::new("demodulation", &kernel)
                .uniform("size", parameters)
                .bind("rows", &input(gpu, &rows))
                .bind("squares", &squares)
                .bind("modulation", &input(gpu, &modulation))
                .bind("output", &result)
                .grid([(rows.len() as u32).div_ceil(8), 1, 1]),
        );
    });
    let found = written(gpu, &result, rows.len());
    // All terms are positive, so the sums are good to a few units in the last place of both twins,
    // and the root halves that, also what rounding moves squares by: at most 1/65534 of the largest,
    // where sums over random filters are all of one order and styles differ more.
    let rounded = match storage {
        Storage::Full => 0.0,
        Storage::Mixed | Storage::Half => 1e-4,
    };
    assert_close(
        &format!("{layers:?}, {storage:?}"),
        &found,
        &expected,
        |i| (4.0 * f32::EPSILON + rounded) * expected[i],
    );
}

#[test]
fn demodulation_of_several_layers() {
    let layer = || (1usize..=40, 1usize..=70);
    let layers = prop::collection::vec(layer(), 1..=4);
    check(
        12,
        (any::<u64>(), storages(), layers),
        |(seed, storage, layers)| {
            demodulate(gpu(), storage, seed, &layers);
        },
    );
}

// ---- noise ---------------------------------------------------------------------------------

fn generate_noise(gpu: &Gpu, count: usize, seed: [u32; 2]) -> Vec<f32> {
    let frame = params::Frame {
        seed,
        ..Default::default()
    };
    let frame = Tensor::uniform(gpu, "frame", bytemuck::bytes_of(&frame)).unwrap();
    let kernel = gpu.kernel(&kernels::NOISE, &[]).unwrap();
    let parameters = params::Noise {
        count: count as u32,
        ..Default::default()
    };
    let maps = output(gpu, 2 * count);
    run(gpu, &[], |b| {
        b.dispatch(
            Dispatch::new("noise", &kernel)
                .uniform("size", parameters)
                .bind("frame", &frame)
                .bind("noise", &maps)
                .grid(linear_grid((count as u32).div_ceil(64))),
        );
    });
    let mut noise = written(gpu, &maps, 2 * count);
    let generated = noise.split_off(count);
    let kept = noise.iter().all(|value| value.to_bits() == u32::MAX);
    assert!(kept, "the stored maps are overwritten");
    generated
}

/// The mean of `f` over all values.
fn mean(values: &[f32], f: impl Fn(f64) -> f64) -> f64 {
    values.iter().map(|v| f(f64::from(*v))).sum::<f64>() / values.len() as f64
}

/// Mean of the products of neighbours at a distance.
fn correlation(left: &[f32], right: &[f32]) -> f64 {
    let products = left
        .iter()
        .zip(right)
        .map(|(a, b)| f64::from(*a) * f64::from(*b));
    products.sum::<f64>() / left.len().min(right.len()) as f64
}

#[test]
fn generated_noise_is_standard_normal_and_independent() {
    const COUNT: usize = 200_001;
    let noise = generate_noise(gpu(), COUNT, [12345, 678]);
    // Five standard errors of each estimate.
    let within = |what: &str, found: f64, expected: f64, variance: f64| {
        let tolerance = 5.0 * (variance / COUNT as f64).sqrt();
        let difference = (found - expected).abs();
        assert!(
            difference < tolerance,
            "{what} {found}, expected {expected} ± {tolerance}"
        );
    };
    within("mean", mean(&noise, |v| v), 0.0, 1.0);
    within("variance", mean(&noise, |v| v * v), 1.0, 2.0);
    within("skewness", mean(&noise, |v| v.powi(3)), 0.0, 15.0);
    within("kurtosis", mean(&noise, |v| v.powi(4)), 3.0, 96.0);
    // 24 bits reach √(2 ln 2²⁴) = 5.77; of so many numbers the largest is beyond 4 but for one
    // chance in 3e5.
    let largest = noise.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    assert!((4.0..5.8).contains(&largest), "largest {largest}");
    for distance in [1, 2, 3, 64, 256] {
        within(
            "correlation",
            correlation(&noise, &noise[distance..]),
            0.0,
            1.0,
        );
    }
    for seed in [[12346, 678], [12345, 679], [678, 12345]] {
        let other = generate_noise(gpu(), COUNT, seed);
        within(
            "correlation of two seeds",
            correlation(&noise, &other),
            0.0,
            1.0,
        );
    }
    assert_eq!(generate_noise(gpu(), COUNT, [12345, 678]), noise);
}

/// As the shader, but for the accuracy of the functions.
fn gaussian(counter: u32, seed: [u32; 2]) -> f64 {
    let mut v =
        [counter, seed[0], seed[1]].map(|x| x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let mix = |v: &mut [u32; 3]| {
        for (target, a, b) in [(0, 1, 2), (1, 2, 0), (2, 0, 1)] {
            v[target] = v[target].wrapping_add(v[a].wrapping_mul(v[b]));
        }
    };
    mix(&mut v);
    v = v.map(|x| x ^ x >> 16);
    mix(&mut v);
    let unit = |bits: u32| f64::from(bits >> 8) / f64::from(1 << 24);
    let radius = (-2.0 * (unit(v[0]) + f64::powi(2.0, -24)).ln()).sqrt();
    radius * (std::f64::consts::TAU * (unit(v[1]) - 0.5)).cos()
}

#[test]
fn generated_noise_is_the_same_on_every_device() {
    let seed = [0xdead_beef, 0x0bad_cafe];
    let expected: Vec<f32> = (0..1000).map(|i| gaussian(i, seed) as f32).collect();
    let found = generate_noise(gpu(), 1000, seed);
    // WGSL promises cosines to 2⁻¹¹ only, and they are scaled by up to 5.8.
    assert_close("noise", &found, &expected, |_| 3e-3);
}
