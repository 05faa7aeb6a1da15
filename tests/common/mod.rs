//! Golden files, and the differences from them that are allowed.

#![allow(dead_code, reason = "every test uses its own part")]

pub mod absent;
pub mod heap;
pub mod refused;
pub mod tiny;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use glam::Vec3;
use gpavatar::reference::golden::{Case, Difference};
use gpavatar::reference::pipeline::prepare;
use gpavatar::reference::{Tensor, head};
use gpavatar::{Camera, Gpu, GpuOptions, Result, ShaderChecks, TensorFile, wgpu};

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
    fn difference(&self) -> &Difference;

    /// Every element has to be within `tolerance`.
    #[track_caller]
    fn all_within(&self, tolerance: f32) -> &Self {
        self.within(tolerance, 0.0)
    }

    /// Every element has to be within `tolerance` times the golden range.
    #[track_caller]
    fn all_within_range(&self, tolerance: f32) -> &Self {
        self.within_range(tolerance, 0.0)
    }

    /// All but a share of the elements have to be within `tolerance` times the golden range.
    #[track_caller]
    fn within_range(&self, tolerance: f32, outliers: f32) -> &Self {
        self.within(tolerance * self.difference().range(), outliers)
    }

    /// All but a share of the elements, the worst, have to be within `tolerance`. Prints how far they
    /// are (`--nocapture` shows it).
    #[track_caller]
    fn within(&self, tolerance: f32, outliers: f32) -> &Self {
        let it = self.difference();
        println!(
            "{:24} max {:.1e}  99.9 % {:.1e}  mean {:.1e}  PSNR {:.0} dB  range {:.3}",
            it.name(),
            it.max(),
            it.beyond(0.001),
            it.mean(),
            it.psnr(),
            it.range(),
        );
        let (name, found) = (it.name(), it.beyond(outliers));
        assert!(
            found <= tolerance,
            "{name}: expected a difference of at most {tolerance:e} for all but {outliers} of the \
             elements, found {found:e}",
        );
        self
    }
}

impl Within for Difference {
    fn difference(&self) -> &Difference {
        self
    }
}

/// The points of FLAME's tensors in `golden`, computed by the reference. The pose is the global
/// rotation and the jaw's.
pub fn flame_points(golden: &TensorFile, coefficients: &[f32], pose: &[Vec3]) -> Vec<Vec3> {
    let f32 = |name: &str| golden.f32(name).unwrap();
    let parents = golden.i64("parents").unwrap();
    let parents: Vec<i32> = parents.iter().map(|parent| *parent as i32).collect();
    let template = vectors(&f32("v_template"));
    let vertices = head::blend_shapes(&template, &f32("shapedirs"), coefficients);
    let joints = head::joints(&f32("J_regressor"), &vertices);
    let pose = [pose[0], Vec3::ZERO, pose[1], Vec3::ZERO, Vec3::ZERO];
    let rotations = pose.map(head::rodrigues);
    head::skin(
        &vertices,
        &f32("posedirs"),
        &head::pose_feature(&rotations),
        &f32("lbs_weights"),
        &head::joint_motions(&joints, &parents, &rotations),
        golden.metadata()["scale"].parse().unwrap(),
    )
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
pub fn host_gpu(limits: wgpu::Limits, shaders: ShaderChecks) -> Result<Gpu> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default())).unwrap();
    let descriptor = wgpu::DeviceDescriptor {
        required_limits: limits,
        ..Default::default()
    };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    device.on_uncaptured_error(Arc::new(|error| panic!("on the host's device: {error}")));
    let options = GpuOptions {
        shaders,
        ..GpuOptions::default()
    };
    Gpu::from_device(&adapter, device, queue, &options)
}

/// The tracker's networks, which set-up brings.
#[track_caller]
pub fn net_files() -> gpavatar::track::NetFiles {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/track");
    let (task, selfie) = (
        folder.join("face_landmarker.task"),
        folder.join("selfie_segmentation.tflite"),
    );
    gpavatar::track::NetFiles::open(task, Some(&selfie))
        .unwrap_or_else(|error| panic!("{error}; get it with: bash weights/track/get.sh"))
}
