//! Golden files: tensors that the authors' PyTorch modules computed, and how far ours may differ.

#![allow(dead_code, reason = "every test uses its own part")]

pub mod parity;
#[cfg(not(target_arch = "wasm32"))]
pub mod tiny;

use std::path::{Path, PathBuf};

use glam::Vec3;
use gpavatar::reference::Tensor;
use gpavatar::reference::pipeline::prepare;
use gpavatar::{
    Camera, Error, ModelConfig, PointWeighting, Result, SourceImage, SyntheticRules, TensorFile,
    Weights,
};

/// A file of `tests/golden`.
pub fn golden_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// The tensors of a safetensors file of `tests/golden`.
#[cfg(not(target_arch = "wasm32"))]
pub fn golden(name: &str) -> TensorFile {
    TensorFile::open(golden_path(name)).unwrap()
}

/// Dimensions of a tensor that has to have `N` of them.
pub fn shape<const N: usize>(file: &TensorFile, name: &str) -> Result<[usize; N]> {
    let found = file.shape(name)?;
    found
        .try_into()
        .map_err(|_| misfit(name, format!("{N} dimensions"), format!("shape {found:?}")))
}

/// Something of a case file does not go together with the rest, or with the weights.
fn misfit(what: &str, expected: impl Into<String>, found: impl Into<String>) -> Error {
    Error::Argument {
        what: what.to_owned(),
        expected: expected.into(),
        found: found.into(),
    }
}

/// A golden case: what the network was given and all that it computed.
pub struct Case {
    /// What it computed.
    pub golden: TensorFile,
    pub weights: Weights,
    pub pictures: Vec<SourceImage>,
    pub points: Vec<Vec3>,
    pub camera: Camera,
}

/// Sizes of a case that is not of the released network's, in its metadata under `config`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Sizes {
    source: u32,
    plane: u32,
    points: u32,
    neighbours: u32,
    low_res: u32,
    coarse: u32,
    fine: u32,
    image: u32,
}

impl Case {
    /// A case of `tests/golden`.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn named(name: &str) -> Self {
        Self::open(golden_path(&format!("{name}.safetensors"))).unwrap()
    }

    /// Reads a case file. The rules of its made-up weights lie beside it, and so do its pictures
    /// unless they are inside.
    ///
    /// # Errors
    /// Those of its files; [`Error::Format`] if its metadata is incomplete.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let golden = TensorFile::open(path)?;
        let rules = path.with_file_name(Self::rules(&golden)?);
        let rules = std::fs::read_to_string(&rules).map_err(|source| Error::Io {
            action: "read",
            path: rules,
            source,
        })?;
        let weights = Self::synthetic(&golden, &rules)?;
        Self::beside(golden, path, weights)
    }

    /// A case that holds its pictures, with the rules of its made-up weights.
    ///
    /// # Errors
    /// [`Error::Format`] if its metadata is incomplete, and those of the rules.
    pub fn parse(golden: TensorFile, rules: &str) -> Result<Self> {
        let weights = Self::synthetic(&golden, rules)?;
        let pictures = pictures_inside(&golden)?;
        Self::new(golden, pictures, weights)
    }

    /// Reads a case file that was computed with real weights.
    ///
    /// # Errors
    /// Those of its files.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn with_weights(path: impl AsRef<Path>, weights: Weights) -> Result<Self> {
        let path = path.as_ref();
        Self::beside(TensorFile::open(path)?, path, weights)
    }

    /// Name of the file with the rules of a case's made-up weights.
    ///
    /// # Errors
    /// [`Error::Format`] if its metadata is incomplete.
    pub fn rules(golden: &TensorFile) -> Result<String> {
        let size = match golden.metadata().get("config") {
            None => "",
            Some(_) => "small_",
        };
        let weighting = metadata(golden, "point_weighting")?;
        Ok(format!("checkpoint_{size}{weighting}.tsv"))
    }

    fn synthetic(golden: &TensorFile, rules: &str) -> Result<Weights> {
        let invalid = |key: &str, reason: String| invalid(golden, key, reason);
        let point_weighting = match metadata(golden, "point_weighting")? {
            "released" => PointWeighting::Released,
            "paper" => PointWeighting::Paper,
            other => return Err(invalid("point_weighting", format!("unknown: {other}"))),
        };
        let seed = metadata(golden, "seed")?
            .parse()
            .map_err(|error| invalid("seed", format!("{error}")))?;
        let released = ModelConfig {
            point_weighting,
            ..ModelConfig::default()
        };
        let config = match golden.metadata().get("config") {
            None => released,
            Some(json) => {
                let sizes: Sizes = serde_json::from_str(json)
                    .map_err(|error| invalid("config", error.to_string()))?;
                ModelConfig {
                    source_size: sizes.source,
                    plane_size: sizes.plane,
                    points: sizes.points,
                    neighbours: sizes.neighbours,
                    low_res_size: sizes.low_res,
                    coarse_samples: sizes.coarse,
                    fine_samples: sizes.fine,
                    output_size: sizes.image,
                    ..released
                }
            }
        };
        Weights::synthetic(config, seed, SyntheticRules::parse(rules)?)
    }

    /// A case with its pictures, which are inside or lie beside it.
    #[cfg(not(target_arch = "wasm32"))]
    fn beside(golden: TensorFile, path: &Path, weights: Weights) -> Result<Self> {
        let pictures = if golden.contains("sources") {
            pictures_inside(&golden)?
        } else {
            let names: Vec<String> = serde_json::from_str(metadata(&golden, "sources")?)
                .map_err(|error| invalid(&golden, "sources", error.to_string()))?;
            let open = |name: &String| SourceImage::open(path.with_file_name(name));
            names.iter().map(open).collect::<Result<_>>()?
        };
        Self::new(golden, pictures, weights)
    }

    fn new(golden: TensorFile, pictures: Vec<SourceImage>, weights: Weights) -> Result<Self> {
        let transform = golden.f32("transform")?;
        if shape(&golden, "transform")? != [3, 4] {
            let found = format!("{} numbers", transform.len());
            return Err(misfit("transform", "3 rows of 4 numbers", found));
        }
        Ok(Self {
            camera: camera(&transform),
            points: vectors(&golden.f32("points")?),
            pictures,
            weights,
            golden,
        })
    }

    /// The source pictures in the canonical view, as the encoder gets them.
    pub fn sources(&self) -> Vec<Tensor> {
        let prepare = |picture| prepare(self.weights.config(), picture).unwrap();
        self.pictures.iter().map(prepare).collect()
    }

    pub fn compare(&self, name: &str, found: &[f32]) -> Difference {
        Difference::new(name, found, &self.golden.f32(name).unwrap()).unwrap()
    }
}

/// The `[sources][y][x][rgb]` bytes of a small case.
fn pictures_inside(golden: &TensorFile) -> Result<Vec<SourceImage>> {
    let [_, height, width, channels] = shape(golden, "sources")?;
    if channels != 3 {
        let found = format!("{channels} channels");
        return Err(misfit("sources", "red, green and blue", found));
    }
    let pictures = golden
        .u8("sources")?
        .chunks_exact((height * width * 3).max(1));
    pictures
        .map(|rgb| {
            let rgba = rgb.chunks_exact(3).flat_map(|p| [p[0], p[1], p[2], 255]);
            SourceImage::from_rgba8(width as u32, height as u32, rgba.collect())
        })
        .collect()
}

fn metadata<'a>(golden: &'a TensorFile, key: &str) -> Result<&'a str> {
    let value = golden.metadata().get(key).map(String::as_str);
    value.ok_or_else(|| invalid(golden, key, "missing".into()))
}

fn invalid(golden: &TensorFile, key: &str, reason: String) -> Error {
    Error::Format {
        what: golden.what().to_owned(),
        format: "golden case",
        reason: format!("metadata entry {key:?}: {reason}"),
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
    /// Absolute differences, largest first; NaN counts as infinitely far.
    sorted: Vec<f32>,
    /// Largest minus smallest golden value.
    range: f32,
}

impl Difference {
    /// The difference of two tensors that a test made, so that their lengths agree.
    #[track_caller]
    pub fn of(name: &str, found: &[f32], expected: &[f32]) -> Self {
        Self::new(name, found, expected).unwrap()
    }

    /// # Errors
    /// [`Error::Argument`] if there is nothing to compare, or not as much as expected.
    pub fn new(name: &str, found: &[f32], expected: &[f32]) -> Result<Self> {
        if found.len() != expected.len() || found.is_empty() {
            return Err(misfit(
                name,
                format!("{} numbers, as the case has", expected.len()),
                format!("{}", found.len()),
            ));
        }
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
        Ok(Self {
            name: name.to_owned(),
            sorted,
            range: high - low,
        })
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

    /// Fails unless all but a share of the elements are within `tolerance`, and prints how far they
    /// are (`--nocapture` shows it).
    pub fn within(&self, tolerance: f32, outliers: f32) -> &Self {
        println!(
            "{:24} max {:.1e}  99.9 % {:.1e}  mean {:.1e}  PSNR {:.0} dB  range {:.3}",
            self.name,
            self.max(),
            self.beyond(0.001),
            self.mean(),
            self.psnr(),
            self.range,
        );
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
