//! Golden files: tensors that the authors' PyTorch modules computed, and how far ours may differ.

#![allow(dead_code, reason = "every test uses its own part")]

pub mod parity;
pub mod tiny;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use glam::Vec3;
use gpavatar::reference::Tensor;
use gpavatar::reference::pipeline::prepare;
use gpavatar::{Camera, ModelConfig, PointWeighting, SourceImage, SyntheticRules, Weights};
use safetensors::{Dtype, SafeTensors};

/// A file of `tests/golden`.
pub fn golden_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// The tensors of one golden safetensors file.
pub struct Golden {
    bytes: Vec<u8>,
    metadata: HashMap<String, String>,
}

impl Golden {
    pub fn open(name: &str) -> Self {
        let bytes = std::fs::read(golden_path(name)).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().clone().unwrap_or_default();
        Self { bytes, metadata }
    }

    pub fn metadata(&self, key: &str) -> &str {
        &self.metadata[key]
    }

    pub fn has(&self, name: &str) -> bool {
        self.names().any(|n| n == name)
    }

    pub fn names(&self) -> impl Iterator<Item = String> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        file.names()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
            .into_iter()
    }

    pub fn shape(&self, name: &str) -> Vec<usize> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        file.tensor(name).unwrap().shape().to_vec()
    }

    pub fn f32(&self, name: &str) -> Vec<f32> {
        self.elements(name, Dtype::F32, f32::from_le_bytes)
    }

    pub fn i32(&self, name: &str) -> Vec<i32> {
        self.elements(name, Dtype::I32, i32::from_le_bytes)
    }

    pub fn u8(&self, name: &str) -> Vec<u8> {
        self.elements(name, Dtype::U8, u8::from_le_bytes)
    }

    fn elements<T, const N: usize>(
        &self,
        name: &str,
        dtype: Dtype,
        from_le_bytes: impl Fn([u8; N]) -> T,
    ) -> Vec<T> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = file.tensor(name).unwrap();
        assert_eq!(tensor.dtype(), dtype, "{name}");
        let (elements, _) = tensor.data().as_chunks::<N>();
        elements.iter().map(|bytes| from_le_bytes(*bytes)).collect()
    }
}

/// A golden case with all its inputs.
pub struct Case {
    pub golden: Golden,
    /// There until a model takes them.
    pub weights: Option<Weights>,
    pub sources: Vec<Tensor>,
    pub pictures: Vec<SourceImage>,
    pub points: Vec<Vec3>,
    pub camera: Camera,
}

impl Case {
    /// A case of the small network; its sources are in the file.
    pub fn small(name: &str) -> Self {
        let golden = Golden::open(&format!("{name}.safetensors"));
        let sizes: serde_json::Value = serde_json::from_str(golden.metadata("config")).unwrap();
        let size = |key: &str| sizes[key].as_u64().unwrap() as u32;
        let config = ModelConfig {
            source_size: size("source"),
            plane_size: size("plane"),
            points: size("points"),
            neighbours: size("neighbours"),
            low_res_size: size("low_res"),
            coarse_samples: size("coarse"),
            fine_samples: size("fine"),
            output_size: size("image"),
            ..ModelConfig::default()
        };
        let shape = golden.shape("sources");
        let pictures = golden
            .u8("sources")
            .chunks_exact(shape[1] * shape[2] * 3)
            .map(|rgb| {
                let rgba = rgb.chunks_exact(3).flat_map(|p| [p[0], p[1], p[2], 255]);
                let (width, height) = (shape[2] as u32, shape[1] as u32);
                SourceImage::from_rgba8(width, height, rgba.collect()).unwrap()
            })
            .collect();
        Self::new(golden, config, "small_", pictures)
    }

    /// A case of the network at its released sizes; its sources are pictures beside the file.
    pub fn full(name: &str) -> Self {
        let golden = Golden::open(&format!("{name}.safetensors"));
        let names: Vec<String> = serde_json::from_str(golden.metadata("sources")).unwrap();
        let config = ModelConfig::default();
        let open = |name: &String| SourceImage::open(golden_path(name)).unwrap();
        let pictures = names.iter().map(open).collect();
        Self::new(golden, config, "", pictures)
    }

    fn new(golden: Golden, config: ModelConfig, size: &str, pictures: Vec<SourceImage>) -> Self {
        let sources = pictures
            .iter()
            .map(|picture| prepare(&config, picture).unwrap());
        let sources = sources.collect();
        let weighting = golden.metadata("point_weighting");
        let table = golden_path(&format!("checkpoint_{size}{weighting}.tsv"));
        let rules = SyntheticRules::parse(&std::fs::read_to_string(table).unwrap()).unwrap();
        let config = ModelConfig {
            point_weighting: match weighting {
                "paper" => PointWeighting::Paper,
                _ => PointWeighting::Released,
            },
            ..config
        };
        let seed = golden.metadata("seed").parse().unwrap();
        Self {
            weights: Some(Weights::synthetic(config, seed, rules).unwrap()),
            sources,
            pictures,
            points: vectors(&golden.f32("points")),
            camera: camera(&golden.f32("transform")),
            golden,
        }
    }

    pub fn weights(&self) -> &Weights {
        self.weights.as_ref().unwrap()
    }

    pub fn compare(&self, name: &str, found: &[f32]) -> Difference {
        Difference::new(name, found, &self.golden.f32(name))
    }
}

/// Every stride-th element of each axis of a `[height, width, channels]` map, channel-major.
pub fn every(map: &Tensor, [channels, height, width]: [usize; 3]) -> Vec<f32> {
    let mut kept = Vec::new();
    for channel in (0..map.shape[2]).step_by(channels) {
        for row in (0..map.shape[0]).step_by(height) {
            let columns = (0..map.shape[1]).step_by(width);
            kept.extend(columns.map(|column| map.pixel(row, column)[channel]));
        }
    }
    kept
}

/// How far one tensor is from its golden counterpart.
pub struct Difference {
    name: String,
    /// Absolute differences, largest first.
    sorted: Vec<f32>,
    /// Largest minus smallest golden value.
    range: f32,
}

impl Difference {
    /// Prints a line of the parity table (`--nocapture` shows it). NaN counts as infinitely far.
    pub fn new(name: &str, found: &[f32], expected: &[f32]) -> Self {
        assert_eq!(found.len(), expected.len(), "{name}: number of elements");
        let differences = found.iter().zip(expected).map(|(found, expected)| {
            let difference = (found - expected).abs();
            if difference.is_nan() {
                f32::INFINITY
            } else {
                difference
            }
        });
        let mut sorted: Vec<f32> = differences.collect();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let low = expected.iter().copied().fold(f32::INFINITY, f32::min);
        let high = expected.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let difference = Self {
            name: name.to_owned(),
            sorted,
            range: high - low,
        };
        println!(
            "{name:24} max {:.1e}  99.9 % {:.1e}  mean {:.1e}  PSNR {:.0} dB  range {:.3}",
            difference.max(),
            difference.beyond(0.001),
            difference.mean(),
            difference.psnr(),
            difference.range,
        );
        difference
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Largest minus smallest golden value.
    pub fn range(&self) -> f32 {
        self.range
    }

    pub fn max(&self) -> f32 {
        self.sorted[0]
    }

    pub fn mean(&self) -> f32 {
        (self.sorted.iter().map(|d| f64::from(*d)).sum::<f64>() / self.sorted.len() as f64) as f32
    }

    /// Peak signal-to-noise ratio in dB, the peak being 1.
    pub fn psnr(&self) -> f32 {
        let squares = self.sorted.iter().map(|d| f64::from(*d) * f64::from(*d));
        (-10.0 * (squares.sum::<f64>() / self.sorted.len() as f64).log10()) as f32
    }

    /// The largest difference once a share of the elements, the worst, is left out.
    pub fn beyond(&self, share: f32) -> f32 {
        self.sorted[(self.sorted.len() as f32 * share) as usize]
    }

    /// Fails unless every element is within `tolerance`.
    pub fn all_within(&self, tolerance: f32) -> &Self {
        self.within(tolerance, 0.0)
    }

    /// Fails unless every element is within `tolerance` times the golden range.
    pub fn all_within_range(&self, tolerance: f32) -> &Self {
        self.within(tolerance * self.range, 0.0)
    }

    /// Fails unless all but a share of the elements are within `tolerance`.
    pub fn within(&self, tolerance: f32, outliers: f32) -> &Self {
        let found = self.beyond(outliers);
        assert!(
            found <= tolerance,
            "{}: expected a difference of at most {tolerance:e} for all but {outliers} of the \
             elements, found {found:e}",
            self.name,
        );
        self
    }

    /// Fails unless all but a share of the elements are within `tolerance` times the golden range.
    pub fn within_range(&self, tolerance: f32, outliers: f32) -> &Self {
        self.within(tolerance * self.range, outliers)
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
