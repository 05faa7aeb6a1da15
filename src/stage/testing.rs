//! Shared by the stages' tests: devices, data, guarded buffers, comparison.
//!
//! Every kernel is compared with its twin in `reference`. Buffers that a kernel writes are filled
//! with NaN before, and its inputs are followed by NaN: this exposes missing writes and reads
//! beyond the end.

use std::sync::OnceLock;

use glam::Vec3;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use super::rays::{Pass, Rays};
use crate::gpu::kernels::{self, params};
use crate::gpu::{
    AdapterKind, Conditions, Dispatch, KernelSource, Program, ProgramBuilder, Recording, Resource,
    Splits, Tensor,
};
use crate::options::{Format, Formats, Precision};
use crate::reference;
use crate::weights::{pack, uniform};
use crate::{Gpu, GpuOptions, ShaderChecks};

#[path = "../../tests/common/absent.rs"]
mod absent;

pub(crate) use absent::absent;

/// Bytes of NaN after a guarded buffer.
const GUARD: usize = 256;

/// The device with the kernels' variants for graphics processors, unchecked as in production.
pub(crate) fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| open(ShaderChecks::Trusted, AdapterKind::Gpu, [false; 2]))
}

/// The device with the kernels' variants for software implementations.
pub(crate) fn software() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| open(ShaderChecks::Trusted, AdapterKind::Cpu, [false; 2]))
}

/// The device with the subgroup variants of the same kernels, if it has subgroups.
pub(crate) fn subgroups() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| {
        let gpu = open(ShaderChecks::Trusted, AdapterKind::Cpu, [true, false]);
        if !gpu.has_subgroups() {
            absent("subgroups", "its other kernels run twice");
        }
        gpu
    })
}

/// The device with kernels that multiply cooperative matrices, if it has any.
pub(crate) fn matrices() -> Option<&'static Gpu> {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    let gpu = GPU.get_or_init(|| open(ShaderChecks::Trusted, AdapterKind::Gpu, [true; 2]));
    gpu.matrices().is_some().then_some(gpu)
}

fn open(shaders: ShaderChecks, kernels: AdapterKind, [subgroups, matrices]: [bool; 2]) -> Gpu {
    let options = GpuOptions {
        shaders,
        kernels: Some(kernels),
        subgroups,
        matrices,
        poison: true,
        ..GpuOptions::from_env().unwrap_or_else(|error| panic!("{error}"))
    };
    let gpu = Gpu::with_options(&options).unwrap_or_else(|error| panic!("{error}"));
    println!(
        "{}, kernels for {:?}, matrices {:?}",
        gpu.description(),
        gpu.kind(),
        gpu.matrices()
    );
    gpu
}

/// Runs `test` on `cases` values, the same ones every time; `PROPTEST_RNG_SEED` chooses others.
pub(crate) fn check<S: Strategy>(cases: u32, values: S, test: impl Fn(S::Value)) {
    let environment = Config::default();
    let config = Config {
        cases,
        rng_seed: match environment.rng_seed {
            RngSeed::Random => RngSeed::Fixed(1),
            fixed => fixed,
        },
        failure_persistence: None,
        // Simpler failures are nice, but each attempt takes as long as a case. The environment may
        // ask for others.
        max_shrink_iters: environment.max_shrink_iters.min(32),
        ..environment
    };
    let outcome = TestRunner::new(config).run(&values, |value| {
        test(value);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

/// Numbers in [-1, 1), different for every seed and name.
pub(crate) fn random(seed: u64, name: &str, count: usize) -> Vec<f32> {
    uniform(seed, name).take(count).collect()
}

/// A map `[height, width, channels]` of [`random`] numbers.
pub(crate) fn random_map(seed: u64, name: &str, shape: [usize; 3]) -> reference::Tensor {
    reference::Tensor::new(shape, random(seed, name, shape.iter().product()))
}

/// Vectors of [`random`] numbers.
pub(crate) fn random_vectors(seed: u64, name: &str, count: usize) -> Vec<Vec3> {
    let flat = random(seed, name, 3 * count);
    flat.chunks_exact(3).map(Vec3::from_slice).collect()
}

/// The nearest multiple of 1 / `steps`.
pub(crate) fn snapped(value: f32, steps: f32) -> f32 {
    (value * steps).round() / steps
}

/// [`random_vectors`], [`snapped`].
pub(crate) fn snapped_vectors(seed: u64, name: &str, count: usize, steps: f32) -> Vec<Vec3> {
    let vectors = random_vectors(seed, name, count).into_iter();
    vectors.map(|v| v.map(|x| snapped(x, steps))).collect()
}

/// Rays and the depths of their samples.
pub(crate) struct Sampling {
    pub origin: Vec3,
    pub directions: Vec<Vec3>,
    /// Samples per ray.
    pub samples: usize,
    /// `[ray][sample]`
    pub depths: Vec<f32>,
}

impl Sampling {
    /// Positions whose coordinates are multiples of 1 / (8 `steps`), up to some four units away.
    pub fn on_lattice(seed: u64, side: usize, samples: usize, steps: u32) -> Self {
        let (rays, steps) = (side * side, steps as f32);
        let depths = random(seed, "depths", rays * samples).into_iter();
        Self {
            origin: snapped_vectors(seed, "origin", 1, 8.0 * steps)[0],
            directions: snapped_vectors(seed, "directions", rays, 8.0),
            samples,
            depths: depths.map(|t| 2.0 * snapped(t, steps)).collect(),
        }
    }

    pub fn positions(&self) -> Vec<Vec3> {
        let rays = self.depths.chunks_exact(self.samples).zip(&self.directions);
        rays.flat_map(|(depths, direction)| depths.iter().map(|t| self.origin + *t * *direction))
            .collect()
    }

    /// The uniform of a frame, and what the kernels read of rays and samples.
    pub fn on(&self, gpu: &Gpu, layout: params::Rays) -> (Tensor, Rays, Pass) {
        let globals = params::Globals {
            origin: self.origin.extend(f32::NAN).to_array(),
            ..Default::default()
        };
        let globals = Tensor::uniform(gpu, "globals", &[globals]).unwrap();
        let rays = rays_in(gpu, layout, &self.directions);
        (globals, rays, pass_at(gpu, self.samples, &self.depths))
    }
}

/// Rays in these directions; the rest of their records is NaN.
pub(crate) fn rays_in(gpu: &Gpu, layout: params::Rays, directions: &[Vec3]) -> Rays {
    let mut records = vec![[f32::NAN; 4]; directions.len() * layout.stride as usize];
    let strided = records.chunks_exact_mut(layout.stride as usize);
    for (record, direction) in strided.zip(directions) {
        record[0] = direction.extend(f32::NAN).to_array();
    }
    let tensor = input(gpu, &records);
    Rays { layout, tensor }
}

/// A pass of so many `samples` per ray.
pub(crate) fn pass_at(gpu: &Gpu, samples: usize, depths: &[f32]) -> Pass {
    Pass {
        name: "test",
        samples: samples as u32,
        depths: input(gpu, depths),
    }
}

/// The coordinates of vectors, one after another.
pub(crate) fn flat(vectors: &[Vec3]) -> Vec<f32> {
    vectors.iter().flat_map(|v| v.to_array()).collect()
}

/// A buffer for a kernel to read: `data`, then NaN.
pub(crate) fn input<T: bytemuck::Pod>(gpu: &Gpu, data: &[T]) -> Tensor {
    let mut bytes: Vec<u8> = bytemuck::cast_slice(data).to_vec();
    bytes.resize(bytes.len() + GUARD, 0xff);
    Tensor::from_slice(gpu, "input", &bytes).unwrap()
}

/// A map as kernels read it, channels padded with zeros, then NaN.
pub(crate) fn input_map(gpu: &Gpu, map: &reference::Tensor) -> Tensor {
    stored_map(gpu, Format::F32, map)
}

/// A number as floats of a format.
pub(crate) fn rounded(format: Format, value: f32) -> f32 {
    match format {
        Format::F16 => half::f16::from_f32(value).to_f32(),
        _ => value,
    }
}

/// A map of numbers that can be stored without rounding.
pub(crate) fn rounded_map(format: Format, map: reference::Tensor) -> reference::Tensor {
    map.map(|value| rounded(format, value))
}

/// Largest rounding error of a stored number of this size: half a unit in the last place.
pub(crate) fn rounding(format: Format, value: f32) -> f32 {
    match format {
        // The lower bound is that of subnormal numbers.
        Format::F16 => (value.abs() / 2048.0).max(3e-8),
        _ => 0.0,
    }
}

/// Either format.
pub(crate) fn formats() -> impl Strategy<Value = Format> {
    proptest::sample::select(vec![Format::F32, Format::F16])
}

/// Formats of a style U-Net, each with more in 16 bits.
pub(crate) fn network_formats() -> [Formats; 3] {
    let mixed = Precision::Mixed;
    [Formats::F32, mixed.encoder(), mixed.super_resolver()]
}

/// Formats of the field, each with more in 16 bits.
pub(crate) fn field_formats() -> [Formats; 3] {
    [Precision::F32, Precision::Mixed, Precision::F16].map(Precision::field)
}

/// Maps and samples in a format.
pub(crate) fn stored_in(format: Format) -> Formats {
    Formats {
        maps: format,
        samples: format,
        ..Formats::F32
    }
}

/// Weights that a network can store without rounding, in rows of `columns` for each output.
pub(crate) fn rounded_weights(format: Format, mut weights: Vec<f32>, columns: usize) -> Vec<f32> {
    if format == Format::Snorm16 {
        for row in weights.chunks_exact_mut(columns) {
            let gain = row.iter().map(|weight| weight.abs()).fold(0.0, f32::max);
            for weight in row {
                *weight = (*weight / gain * 32767.0).round() / 32767.0 * gain;
            }
        }
    }
    weights
}

/// A buffer of stored numbers for a kernel to read: `data`, then NaN.
pub(crate) fn stored_input(gpu: &Gpu, format: Format, data: &[f32]) -> Tensor {
    let mut values = data.to_vec();
    values.resize(data.len() + GUARD / format.bytes(1) as usize, f32::NAN);
    Tensor::from_values(gpu, "input", format, &values).unwrap()
}

/// A map as kernels read stored ones, channels padded with zeros, then NaN.
pub(crate) fn stored_map(gpu: &Gpu, format: Format, map: &reference::Tensor) -> Tensor {
    let values = pack::rows(&map.data, map.row_length() as u32);
    let tensor = stored_input(gpu, format, &values);
    match map.shape[..] {
        [height, width, channels] => tensor.shaped([height, width, channels].map(|n| n as u32)),
        _ => tensor,
    }
}

/// A buffer for a kernel to write stored numbers: `elements` times NaN, then more NaN.
pub(crate) fn stored_output(gpu: &Gpu, format: Format, elements: usize) -> Tensor {
    let elements = elements as u32 + GUARD as u32 / format.bytes(1) as u32;
    Tensor::empty(gpu, "output", format, [1, elements, 1]).unwrap()
}

/// The values that a kernel wrote to a [`stored_output`] of `elements`.
#[track_caller]
pub(crate) fn stored_written(
    gpu: &Gpu,
    format: Format,
    output: &Tensor,
    elements: usize,
) -> Vec<f32> {
    if format == Format::F32 {
        return written(gpu, output, elements);
    }
    let mut halves: Vec<half::f16> = read(gpu, output);
    let behind = halves.split_off(elements);
    assert!(!behind.is_empty(), "this buffer has no guard");
    let touched = behind.iter().position(|half| half.to_bits() != u16::MAX);
    assert_eq!(touched, None, "element written behind the last");
    halves.iter().map(|half| half.to_f32()).collect()
}

/// A buffer for a kernel to write: `elements` times NaN, then more NaN.
pub(crate) fn output(gpu: &Gpu, elements: usize) -> Tensor {
    stored_output(gpu, Format::F32, elements)
}

/// The values that a kernel wrote to an [`output`] of `elements`.
#[track_caller]
pub(crate) fn written(gpu: &Gpu, output: &Tensor, elements: usize) -> Vec<f32> {
    let mut words: Vec<u32> = read(gpu, output);
    let behind = words.split_off(elements);
    assert!(!behind.is_empty(), "this buffer has no guard");
    let touched = behind.iter().position(|word| *word != u32::MAX);
    assert_eq!(touched, None, "element written behind the last");
    bytemuck::cast_slice(&words).to_vec()
}

/// The whole content of a buffer.
pub(crate) fn read<T: bytemuck::Pod>(gpu: &Gpu, tensor: &Tensor) -> Vec<T> {
    pollster::block_on(tensor.read_as(gpu)).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn read_values(gpu: &Gpu, tensor: &Tensor) -> Vec<f32> {
    pollster::block_on(tensor.read(gpu)).unwrap_or_else(|error| panic!("{error}"))
}

/// Rows of `channels` values, without the padding to vec4s.
pub(crate) fn unpadded(values: &[f32], channels: u32) -> Vec<f32> {
    let rows = values.chunks_exact(pack::padded(channels) as usize);
    let rows = rows.flat_map(|row| &row[..channels as usize]);
    rows.copied().collect()
}

/// Plans a program and runs it with bindings from `outside`.
pub(crate) fn run<T>(
    gpu: &Gpu,
    outside: &[(&str, Resource<'_>)],
    plan: impl FnOnce(&mut ProgramBuilder<'_>) -> T,
) -> T {
    run_in(gpu, Formats::F32, outside, plan)
}

/// Like [`run`], in these formats.
pub(crate) fn run_in<T>(
    gpu: &Gpu,
    formats: Formats,
    outside: &[(&str, Resource<'_>)],
    plan: impl FnOnce(&mut ProgramBuilder<'_>) -> T,
) -> T {
    run_built(ProgramBuilder::new(gpu, formats), outside, plan)
}

/// Like [`run`], with this builder.
pub(crate) fn run_built<T>(
    builder: ProgramBuilder<'_>,
    outside: &[(&str, Resource<'_>)],
    plan: impl FnOnce(&mut ProgramBuilder<'_>) -> T,
) -> T {
    // Small enough that kernels unfold rows of workgroups, and that small maps have several bands.
    let mut builder = builder.split(Splits {
        row: 3,
        band: 64 << 10,
    });
    let gpu = builder.gpu();
    let planned = plan(&mut builder);
    let program = builder.finish().unwrap_or_else(|error| panic!("{error}"));
    submit(gpu, &program, outside);
    planned
}

/// Runs one dispatch of a kernel, and returns what it wrote to an `output` of so many `elements`.
#[track_caller]
pub(crate) fn computed<const N: usize>(
    gpu: &Gpu,
    formats: Formats,
    elements: usize,
    (kernel, constants): (&'static KernelSource, [(&'static str, u32); N]),
    bind: impl FnOnce(Dispatch) -> Dispatch,
) -> Vec<f32> {
    let output = stored_output(gpu, formats.maps, elements);
    run_in(gpu, formats, &[], |b| {
        let kernel = b.kernel(kernel, &constants).unwrap();
        b.dispatch(bind(Dispatch::new("test", &kernel).bind("output", &output)));
    });
    stored_written(gpu, formats.maps, &output, elements)
}

/// Runs all of a program with bindings from `outside`.
pub(crate) fn submit(gpu: &Gpu, program: &Program, outside: &[(&str, Resource<'_>)]) {
    let bindings = program.bind(gpu, outside);
    let submitted = gpu.scoped("a test", || {
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        program.record(Recording {
            encoder: &mut encoder,
            bindings: &[&bindings],
            conditions: Conditions {
                generated_noise: true,
                head_model: true,
                alpha: true,
                stage: None,
            },
            times: Default::default(),
        })?;
        gpu.queue().submit([encoder.finish()]);
        Ok(())
    });
    submitted.unwrap_or_else(|error| panic!("{error}"));
}

/// Fails unless every number is within its tolerance; NaN is infinitely far from everything.
#[track_caller]
pub(crate) fn assert_close(
    what: &str,
    found: &[f32],
    expected: &[f32],
    tolerance: impl Fn(usize) -> f32,
) {
    assert_eq!(found.len(), expected.len(), "{what}: number of elements");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let (difference, tolerance) = ((found - expected).abs(), tolerance(i));
        assert!(
            difference <= tolerance,
            "{what}: element {i} is {found}, expected {expected} ± {tolerance:e}"
        );
    }
}

#[test]
fn every_kernel_has_a_test_and_passes_it_with_all_checks() {
    use super::{field, fusion, head, output, points, rays, source, style_unet};
    let gpu = open(ShaderChecks::Checked, AdapterKind::Gpu, [true; 2]);
    let software = open(ShaderChecks::Checked, AdapterKind::Cpu, [true, false]);
    let narrow = open(ShaderChecks::Checked, AdapterKind::Cpu, [false; 2]);
    for examples in [
        field::tests::examples,
        fusion::tests::examples,
        head::tests::examples,
        output::tests::examples,
        points::tests::examples,
        rays::tests::examples,
        source::tests::examples,
        style_unet::tests::examples,
        crate::track::nets::tests::examples,
    ] {
        [&gpu, &software, &narrow].into_iter().for_each(examples);
    }
    // Nothing else runs on these devices.
    let mut compiled = gpu.compiled();
    compiled.extend(software.compiled());
    compiled.extend(narrow.compiled());
    let all = kernels::ALL.iter();
    let all = all.filter(|kernel| match kernel.matrices {
        Some(size) => gpu.matrices() == Some(size),
        None if kernel.subgroups => software.has_subgroups(),
        None => !kernel.half_arithmetic || gpu.has_half_arithmetic(),
    });
    assert_eq!(compiled, all.map(|kernel| kernel.name).collect());
    let others = kernels::ALL.iter().map(|kernel| kernel.name);
    let others: Vec<_> = others.filter(|name| !compiled.contains(name)).collect();
    if !others.is_empty() {
        absent(
            "kernels",
            &format!("the device runs no {}", others.join(", ")),
        );
    }
}
