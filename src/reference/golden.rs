//! Golden cases: tensors that the authors' PyTorch modules computed, and how far ours are from
//! them.

#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;

use glam::Vec3;

use super::Tensor;
#[cfg(not(target_arch = "wasm32"))]
use crate::file;
use crate::{
    Camera, Error, ModelConfig, PointWeighting, Result, SourceImage, SyntheticRules, TensorFile,
    Weights,
};

/// Dimensions of a tensor that must have `N` of them.
///
/// # Errors
/// [`Error::Argument`] if it has another number of them, and those of [`TensorFile::shape`].
pub fn shape<const N: usize>(file: &TensorFile, name: &str) -> Result<[usize; N]> {
    let found = file.shape(name)?;
    found.try_into().map_err(|_| {
        let found = format_args!("shape {found:?}");
        Error::argument(name, format_args!("{N} dimensions"), found)
    })
}

/// A golden case: the inputs of the network and all its results.
pub struct Case {
    /// The tensors that the network computed.
    pub golden: TensorFile,
    /// The weights that it computed with.
    pub weights: Weights,
    /// Pictures of the avatar.
    pub pictures: Vec<SourceImage>,
    /// Points of the frame.
    pub points: Vec<Vec3>,
    /// Camera of the frame.
    pub camera: Camera,
}

/// Sizes of a case other than the released network's: its metadata entry `config`.
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
    /// Reads a case file. The rules of its made-up weights lie beside it, and so do its pictures
    /// unless they are inside.
    ///
    /// # Errors
    /// [`Error::Format`] if its metadata is incomplete, and the errors of its files.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let golden = TensorFile::open(path)?;
        let rules = path.with_file_name(Self::rules(&golden)?);
        let rules = std::fs::read_to_string(&rules).map_err(file::failed("read", &rules))?;
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
    /// The errors of its files.
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
        let Ok(rows) = <[[f32; 4]; 3]>::try_from(transform.as_chunks().0) else {
            let found = format!("{} numbers", transform.len());
            return Err(Error::argument("transform", "3 rows of 4 numbers", found));
        };
        Ok(Self {
            camera: Camera::from_transform(rows),
            points: vectors(&golden.f32("points")?),
            pictures,
            weights,
            golden,
        })
    }
}

/// The `[sources][y][x][rgb]` bytes of a small case.
fn pictures_inside(golden: &TensorFile) -> Result<Vec<SourceImage>> {
    let [_, height, width, channels] = shape(golden, "sources")?;
    let found = format_args!("{channels} channels");
    Error::unless(channels == 3, "sources", "red, green and blue", found)?;
    let bytes = golden.u8("sources")?;
    bytes
        .chunks_exact((height * width * 3).max(1))
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
    let reason = format!("metadata entry {key:?}: {reason}");
    Error::format(golden.what(), "golden case", reason)
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
    /// [`distance`]s, largest first.
    sorted: Vec<f32>,
    /// Largest minus smallest golden value.
    range: f32,
}

impl Difference {
    /// Compares what was `found` with what was `expected`.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is nothing to compare, or not as much as expected.
    pub fn new(name: &str, found: &[f32], expected: &[f32]) -> Result<Self> {
        Error::unless(
            found.len() == expected.len() && !found.is_empty(),
            name,
            format_args!("{} numbers, as the case has", expected.len()),
            found.len(),
        )?;
        let differences = found.iter().zip(expected);
        let differences = differences.map(|(found, expected)| distance(*found, *expected));
        Ok(Self::of(name, differences.collect(), expected))
    }

    /// How much farther from the `exact` numbers, computed in `f64`, is what was `found` than what
    /// was `expected`: never more than the difference of these two, and nothing where the golden
    /// number is the one that rounding has moved.
    ///
    /// # Errors
    /// See [`Difference::new`].
    pub fn beyond_rounding(
        name: &str,
        found: &[f32],
        expected: &[f32],
        exact: &[f32],
    ) -> Result<Self> {
        Self::new(name, found, expected)?;
        Self::new(name, exact, expected)?;
        let differences = (found.iter().zip(expected))
            .zip(exact)
            .map(|(both, exact)| {
                let (ours, golden) = (distance(*both.0, *exact), distance(*both.1, *exact));
                (ours - golden).max(0.0)
            });
        Ok(Self::of(name, differences.collect(), expected))
    }

    fn of(name: &str, mut differences: Vec<f32>, expected: &[f32]) -> Self {
        differences.sort_by(|a, b| b.total_cmp(a));
        Self {
            name: name.to_owned(),
            sorted: differences,
            range: range(expected),
        }
    }

    /// Name of the tensor.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Largest minus smallest golden value.
    pub fn range(&self) -> f32 {
        self.range
    }

    /// Largest absolute difference.
    pub fn max(&self) -> f32 {
        self.sorted[0]
    }

    /// Mean absolute difference.
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
}

/// Absolute difference; NaN is infinitely far from everything.
pub(super) fn distance(found: f32, expected: f32) -> f32 {
    let difference = (found - expected).abs();
    if difference.is_nan() {
        f32::INFINITY
    } else {
        difference
    }
}

/// Largest minus smallest of the values.
pub(super) fn range(values: &[f32]) -> f32 {
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    high - low
}

/// Three numbers each as vectors.
fn vectors(flat: &[f32]) -> Vec<Vec3> {
    flat.chunks_exact(3).map(Vec3::from_slice).collect()
}
