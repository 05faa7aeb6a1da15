//! Golden files, and the differences from them that are allowed.

#![allow(dead_code, reason = "every test uses its own part")]

pub mod refused;
pub mod tiny;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use glam::Vec3;
use gpavatar::reference::Tensor;
use gpavatar::reference::golden::{Case, Difference};
use gpavatar::reference::pipeline::prepare;
use gpavatar::{Camera, TensorFile, wgpu};

/// A file of `tests/golden`.
pub fn golden_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// The tensors of a safetensors file of `tests/golden`.
pub fn golden(name: &str) -> TensorFile {
    TensorFile::open(golden_path(name)).unwrap()
}

/// A case of `tests/golden`.
pub fn case(name: &str) -> Case {
    Case::open(golden_path(&format!("{name}.safetensors"))).unwrap()
}

/// The source pictures of a case in the canonical view, as the encoder gets them.
pub fn sources(case: &Case) -> Vec<Tensor> {
    let prepare = |picture| prepare(case.weights.config(), picture).unwrap();
    case.pictures.iter().map(prepare).collect()
}

/// Compares with a golden tensor of a case.
#[track_caller]
pub fn compare(case: &Case, name: &str, found: &[f32]) -> Difference {
    difference(name, found, &case.golden.f32(name).unwrap())
}

/// The difference of two tensors of the same length.
#[track_caller]
pub fn difference(name: &str, found: &[f32], expected: &[f32]) -> Difference {
    Difference::new(name, found, expected).unwrap()
}

/// Fails where a difference is too large.
pub trait Within {
    /// Every element has to be within `tolerance`.
    fn all_within(&self, tolerance: f32) -> &Self;
    /// Every element has to be within `tolerance` times the golden range.
    fn all_within_range(&self, tolerance: f32) -> &Self;
    /// All but a share of the elements, the worst, have to be within `tolerance`. Prints how far they
    /// are (`--nocapture` shows it).
    fn within(&self, tolerance: f32, outliers: f32) -> &Self;
    /// All but a share of the elements have to be within `tolerance` times the golden range.
    fn within_range(&self, tolerance: f32, outliers: f32) -> &Self;
}

impl Within for Difference {
    #[track_caller]
    fn all_within(&self, tolerance: f32) -> &Self {
        self.within(tolerance, 0.0)
    }

    #[track_caller]
    fn all_within_range(&self, tolerance: f32) -> &Self {
        self.within(tolerance * self.range(), 0.0)
    }

    #[track_caller]
    fn within(&self, tolerance: f32, outliers: f32) -> &Self {
        println!(
            "{:24} max {:.1e}  99.9 % {:.1e}  mean {:.1e}  PSNR {:.0} dB  range {:.3}",
            self.name(),
            self.max(),
            self.beyond(0.001),
            self.mean(),
            self.psnr(),
            self.range(),
        );
        let found = self.beyond(outliers);
        assert!(
            found <= tolerance,
            "{}: expected a difference of at most {tolerance:e} for all but {outliers} of the \
             elements, found {found:e}",
            self.name(),
        );
        self
    }

    #[track_caller]
    fn within_range(&self, tolerance: f32, outliers: f32) -> &Self {
        self.within(tolerance * self.range(), outliers)
    }
}

pub fn vectors(flat: &[f32]) -> Vec<Vec3> {
    flat.chunks_exact(3).map(Vec3::from_slice).collect()
}

pub fn flat(vectors: &[Vec3]) -> Vec<f32> {
    vectors.iter().flat_map(|v| v.to_array()).collect()
}

pub fn camera(transform: &[f32]) -> Camera {
    let (rows, _) = transform.as_chunks::<4>();
    Camera::from_transform(rows.try_into().unwrap())
}

/// A device with these limits that belongs to a host application.
pub fn host_device(limits: wgpu::Limits) -> (wgpu::Adapter, wgpu::Device, wgpu::Queue) {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default())).unwrap();
    let descriptor = wgpu::DeviceDescriptor {
        required_limits: limits,
        ..Default::default()
    };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    device.on_uncaptured_error(Arc::new(|error| panic!("on the host's device: {error}")));
    (adapter, device, queue)
}
