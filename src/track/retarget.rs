//! Named expression channels on a head model that has none, such as FLAME.

use std::collections::BTreeMap;

use glam::DVec3;
use serde::{Deserialize, Serialize};

use super::embedding::Embedding;
use super::fit::{JAW_BOUNDS, Normal, Points, jaw};
use super::maths::median;
use crate::error::{Error, Result};
use crate::head::{HeadModel, check_coefficients};
use crate::json;
use crate::weights::{FloatFormat, TensorFile, TensorWriter};

const FORMAT: &str = "retargeted expression";
const VERSION: u32 = 1;
/// Metadata key.
const KEY: &str = "retargeted_expression";

/// What a coefficient costs at first, in squares of world units.
const PRIOR: f64 = 1e-6;
/// Largest norm of the coefficients of a channel at full strength.
const LARGEST: f64 = 3.0;
/// How often the prior is made ten times stronger at most.
const STRENGTHENINGS: usize = 12;
/// Gauss-Newton iterations for a channel; without a jaw the first one is exact.
const ITERATIONS: usize = 8;
/// Fewest points that two heads have in common.
const FEWEST: usize = 12;
/// Outer corners of the eyes.
const EYES: [u16; 2] = [33, 263];

/// Expression channels of one head model in the coefficients of another, found by fit: each channel
/// moves the other's landmarks as it moves its own.
///
/// Per channel, with the displacements `ΔL` of the source's points, the ratio `S` of the distances
/// between the outer corners of the eyes, and those of the target's points by its coefficients `e` and
/// the jaw's angle, it minimises
///
/// ```text
/// Σ_l |S·ΔL_l - ΔX_l(e, jaw)|²/σ_l² + λ·|e|²,  jaw in [0, 0.6] rad
/// ```
///
/// with σ relative to their median, and λ = 1e-6 or as much larger as keeps `|e| ≤ 3`. Results are
/// applied linearly.
///
/// From the shipped head to FLAME, the eyes stay still, as FLAME's expression does not move them, and
/// the tongue has no counterpart: [`Retarget::residuals`] says how much of each channel is lost.
#[derive(Clone, Debug, PartialEq)]
pub struct Retarget {
    channels: Vec<String>,
    /// For each channel the target's expression coefficients, then the jaw's angles.
    rows: Vec<f32>,
    residuals: Vec<f32>,
    expressions: usize,
    /// Which triple of the target's pose the jaw is, of how many.
    jaw: Option<[usize; 2]>,
}

/// The metadata entry of the file format.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: u32,
    channels: Vec<String>,
    jaw: Option<[usize; 2]>,
}

impl Retarget {
    /// Fits every named channel of `source` to `target`. The embeddings say where the same landmarks
    /// are in both.
    ///
    /// # Errors
    /// [`Error::Argument`] if the source has no named channels or the target no expression, an
    /// embedding is not in its head, both have fewer than 12 points in common, or the eyes of one lie
    /// in one place.
    pub fn new(source: (&HeadModel, &Embedding), target: (&HeadModel, &Embedding)) -> Result<Self> {
        let channels = source.0.parts().channels.clone();
        let named = !channels.is_empty();
        Error::unless(named, "source of a retargeting", "named channels", "none")?;
        let expressions = target.0.expression_count();
        let ok = expressions > 0;
        Error::unless(
            ok,
            "target of a retargeting",
            "expression directions",
            "none",
        )?;
        source.1.check(source.0)?;
        target.1.check(target.0)?;
        let from = Points::new(source.0, source.1);
        let pairs = Pairs::new(source.1, target.1)?;
        let width = |points: &Points, embedding: &Embedding| {
            let [a, b] = EYES.map(|eye| place_of(points.rest(), embedding, eye));
            let width = a
                .zip(b)
                .map(|(a, b)| a.distance(b))
                .filter(|width| *width > 0.0);
            width.ok_or_else(|| {
                let expected = "the outer corners of both eyes (landmarks 33 and 263)";
                Error::argument("embedding", expected, "not both")
            })
        };
        let mut to = Points::new(target.0, target.1);
        let scale = width(&to, target.1)? / width(&from, source.1)?;
        let mut solver = Solver::new(&mut to, &pairs, target.1);
        let (mut rows, mut residuals) = (Vec::new(), Vec::new());
        for channel in 0..channels.len() {
            let displacement =
                |point: usize| scale * from.derivatives(point)[from.shapes() + channel];
            let wanted: Vec<DVec3> = pairs
                .0
                .iter()
                .map(|pair| displacement(pair.source))
                .collect();
            let (row, residual) = solver.channel(&wanted)?;
            rows.extend(row.iter().map(|value| *value as f32));
            residuals.push(residual as f32);
        }
        let joints = &target.0.parts().pose_joints;
        let jaw =
            jaw(target.0).and_then(|jaw| joints.iter().position(|joint| *joint as usize == jaw));
        Ok(Self {
            channels,
            rows,
            residuals,
            expressions,
            jaw: jaw.map(|jaw| [jaw, joints.len()]),
        })
    }

    /// [`Retarget::new`], kept in the user's folder for caches: the same heads and embeddings are
    /// fitted once. A file there that cannot be used is made again, and one that cannot be written is
    /// not.
    ///
    /// # Errors
    /// As for [`Retarget::new`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn cached(
        source: (&HeadModel, &Embedding),
        target: (&HeadModel, &Embedding),
    ) -> Result<Self> {
        let name = Self::file_name(source, target)?;
        let file = dirs::cache_dir().map(|folder| folder.join("gpavatar").join(name));
        Self::kept(file.as_deref(), || Self::new(source, target))
    }

    /// What a file holds, else what `make` makes, which the file then holds.
    #[cfg(not(target_arch = "wasm32"))]
    fn kept(file: Option<&std::path::Path>, make: impl FnOnce() -> Result<Self>) -> Result<Self> {
        let found = file.and_then(|file| TensorFile::open(file).ok());
        if let Some(Ok(found)) = found.map(|found| Self::from_file(&found)) {
            return Ok(found);
        }
        let made = make()?;
        if let Some(file) = file {
            // Without it the next run takes longer.
            let folder = file.parent().map(std::fs::create_dir_all);
            if folder.is_none_or(|made| made.is_ok()) {
                let _ = made.writer().write(file);
            }
        }
        Ok(made)
    }

    /// A file name with a hash of two heads and their embeddings.
    #[cfg(not(target_arch = "wasm32"))]
    fn file_name(
        source: (&HeadModel, &Embedding),
        target: (&HeadModel, &Embedding),
    ) -> Result<String> {
        let [a, b] = [source.0.to_safetensors()?, target.0.to_safetensors()?];
        let [c, d] = [source.1.to_json(), target.1.to_json()];
        let hash = crate::hash::fnv([a.as_slice(), b.as_slice(), c.as_bytes(), d.as_bytes()]);
        Ok(format!("retarget-{hash:016x}.safetensors"))
    }

    /// The content of a file that [`Retarget::from_safetensors`] reads.
    ///
    /// # Errors
    /// None for what was fitted.
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        self.writer().into_bytes()
    }

    /// Reads the content of a file.
    ///
    /// # Errors
    /// [`Error::Format`] if it is no such file or of an unknown version; [`Error::Tensors`] if its
    /// tensors do not fit together.
    pub fn from_safetensors(bytes: Vec<u8>) -> Result<Self> {
        Self::from_file(&TensorFile::from_bytes(FORMAT, bytes)?)
    }

    /// The channels' names.
    pub fn channels(&self) -> &[String] {
        &self.channels
    }

    /// The share of each channel's displacements that the target cannot follow: 0 if it is as good as
    /// the source, 1 if it does not move or the channel moves no landmark, as the tongue's.
    pub fn residuals(&self) -> &[f32] {
        &self.residuals
    }

    /// The target's expression coefficients and pose for the values of the channels.
    ///
    /// # Errors
    /// [`Error::Argument`] for another number of values, or one that is not finite.
    pub fn apply(&self, values: &[f32]) -> Result<(Vec<f32>, Vec<f32>)> {
        check_coefficients("channels", values, self.channels.len())?;
        let mut sum = vec![0.0; self.expressions + 3];
        for (row, value) in self.rows.chunks_exact(sum.len()).zip(values) {
            for (sum, row) in sum.iter_mut().zip(row) {
                *sum += row * value;
            }
        }
        let angles = sum.split_off(self.expressions);
        for e in &mut sum {
            *e = e.clamp(-LARGEST as f32, LARGEST as f32);
        }
        let mut pose = Vec::new();
        if let Some([jaw, joints]) = self.jaw {
            pose.resize(3 * joints, 0.0);
            let [low, high] = JAW_BOUNDS.map(|bound| bound as f32);
            pose[3 * jaw..][..3].copy_from_slice(&angles);
            pose[3 * jaw] = pose[3 * jaw].clamp(low, high);
        }
        Ok((sum, pose))
    }

    /// Fails unless the target was this head model, as far as can be told.
    pub(crate) fn check(&self, head: &HeadModel) -> Result<()> {
        let count = head.expression_count();
        let expected = format_args!("one for {count} coefficients, as this head model has");
        let ok = self.expressions == count
            && self
                .jaw
                .is_none_or(|[_, joints]| joints == head.parts().pose_joints.len());
        Error::unless(ok, "retargeted expression", expected, self.expressions)
    }

    fn writer(&self) -> TensorWriter<'_> {
        let mut writer = TensorWriter::new(BTreeMap::new());
        let (channels, columns) = (self.channels.len(), self.expressions + 3);
        for (name, shape, values) in [
            ("rows", &[channels, columns][..], &self.rows),
            ("residuals", &[channels], &self.residuals),
        ] {
            writer.floats(name, shape, FloatFormat::F32, || Ok(values.into()));
        }
        let header = Header {
            version: VERSION,
            channels: self.channels.clone(),
            jaw: self.jaw,
        };
        let json = serde_json::to_string(&header).expect("numbers and strings are always JSON");
        writer.metadata(KEY, json);
        writer
    }

    fn from_file(file: &TensorFile) -> Result<Self> {
        let invalid = |reason: &str| Error::format(file.what(), FORMAT, reason);
        let json = file.metadata().get(KEY);
        let json = json.ok_or_else(|| invalid("it has no such metadata"))?;
        let header: Header = json::versioned(file.what(), FORMAT, json, VERSION)?;
        let channels = header.channels.len();
        let [_, columns] = file.expect_shape("rows", [Some(channels), None])?;
        file.expect_shape("residuals", [Some(channels)])?;
        let (rows, residuals) = (file.f32("rows")?, file.f32("residuals")?);
        let ok = rows
            .iter()
            .chain(&*residuals)
            .all(|value| value.is_finite())
            && header
                .jaw
                .is_none_or(|[jaw, joints]| jaw < joints && joints < 1 << 10);
        let expressions = columns.checked_sub(3).filter(|_| ok);
        Ok(Self {
            expressions: expressions.ok_or_else(|| invalid("its numbers do not fit"))?,
            channels: header.channels,
            rows: rows.into_owned(),
            residuals: residuals.into_owned(),
            jaw: header.jaw,
        })
    }
}

/// The mean of the places of an embedding's points for a landmark.
fn place_of(places: &[DVec3], embedding: &Embedding, landmark: u16) -> Option<DVec3> {
    let mut points = embedding.points().iter();
    let point = points.position(|point| point.landmarks == [landmark])?;
    places.get(point).copied()
}

/// Points of two embeddings that correspond.
struct Pairs(Vec<Pair>);

struct Pair {
    source: usize,
    /// Points of the target whose mean corresponds.
    target: Vec<usize>,
}

impl Pairs {
    fn new(source: &Embedding, target: &Embedding) -> Result<Self> {
        let find = |landmarks: &[u16]| {
            target
                .points()
                .iter()
                .position(|p| p.landmarks == landmarks)
        };
        let pairs = source.points().iter().enumerate().filter_map(|(i, point)| {
            let same = find(&point.landmarks).map(|point| vec![point]);
            let parts = || {
                point
                    .landmarks
                    .iter()
                    .map(|&landmark| find(&[landmark]))
                    .collect()
            };
            same.or_else(parts).map(|target| Pair { source: i, target })
        });
        let pairs: Vec<_> = pairs.collect();
        let expected = format_args!("at least {FEWEST} landmarks in common");
        Error::unless(pairs.len() >= FEWEST, "embeddings", expected, pairs.len())?;
        Ok(Self(pairs))
    }
}

/// Fits one channel after the other.
struct Solver<'a> {
    to: &'a mut Points,
    pairs: &'a Pairs,
    /// Inverse standard deviations of the pairs, relative to their median.
    weights: Vec<f64>,
    /// Unknowns: expression coefficients, then the jaw's angle if it has one.
    unknowns: usize,
}

impl<'a> Solver<'a> {
    fn new(to: &'a mut Points, pairs: &'a Pairs, embedding: &Embedding) -> Self {
        let sigma = |pair: &Pair| {
            let points = pair
                .target
                .iter()
                .map(|&i| f64::from(embedding.points()[i].sigma));
            points.sum::<f64>() / pair.target.len() as f64
        };
        let sigmas: Vec<f64> = pairs.0.iter().map(sigma).collect();
        let median = median(&mut sigmas.clone());
        Self {
            unknowns: to.expressions() + usize::from(to.has_jaw()),
            weights: sigmas.iter().map(|sigma| median / sigma).collect(),
            to,
            pairs,
        }
    }

    /// Expression coefficients and the jaw's angles for these displacements, and the share of them that
    /// is left.
    fn channel(&mut self, wanted: &[DVec3]) -> Result<(Vec<f64>, f64)> {
        let mut prior = PRIOR;
        let mut solution = self.minimise(wanted, prior)?;
        for _ in 0..STRENGTHENINGS {
            let (row, _) = &solution;
            let square: f64 = row[..self.to.expressions()].iter().map(|e| e * e).sum();
            if square.sqrt() <= LARGEST {
                break;
            }
            prior *= 10.0;
            solution = self.minimise(wanted, prior)?;
        }
        Ok(solution)
    }

    fn minimise(&mut self, wanted: &[DVec3], prior: f64) -> Result<(Vec<f64>, f64)> {
        let (shapes, expressions) = (self.to.shapes(), self.to.expressions());
        let mut coefficients = vec![0.0; self.to.unknowns()];
        let (mut system, mut part) = (Normal::default(), Normal::default());
        let mut rows = [0, 1, 2, 3].map(|_| vec![0.0; self.unknowns]);
        for _ in 0..ITERATIONS {
            self.to.update(&coefficients);
            system.clear(self.unknowns);
            for (i, pair) in self.pairs.0.iter().enumerate() {
                let share = self.weights[i] / pair.target.len() as f64;
                for row in &mut rows {
                    row.fill(0.0);
                }
                for &point in &pair.target {
                    let derivatives = &self.to.derivatives(point)[shapes..];
                    for (k, derivative) in derivatives[..self.unknowns].iter().enumerate() {
                        for (row, value) in rows.iter_mut().zip(derivative.to_array()) {
                            row[k] += share * value;
                        }
                    }
                }
                let [x, y, z] = (self.weights[i] * (self.moved(pair) - wanted[i])).to_array();
                system.add([&rows[0], &rows[1]], [x, y]);
                system.add([&rows[2], &rows[3]], [z, 0.0]);
            }
            for k in 0..expressions {
                *system.diagonal(k) += prior;
                system.b[k] -= prior * coefficients[shapes + k];
            }
            if self.to.has_jaw() {
                // So that a jaw that moves nothing stays where it is.
                *system.diagonal(expressions) += prior;
            }
            let mut step = solve(&system, &mut part, None)?;
            if let Some(angle) = step.get(expressions) {
                let before = coefficients[shapes + expressions];
                let [low, high] = JAW_BOUNDS;
                let bounded = (before + angle).clamp(low, high) - before;
                if bounded != *angle {
                    step = solve(&system, &mut part, Some(bounded))?;
                }
            }
            for (value, step) in coefficients[shapes..].iter_mut().zip(&step) {
                *value += step;
            }
        }
        self.to.update(&coefficients);
        let (mut left, mut all) = (0.0, 0.0);
        for (pair, wanted) in self.pairs.0.iter().zip(wanted) {
            left += (self.moved(pair) - *wanted).length_squared();
            all += wanted.length_squared();
        }
        coefficients.drain(..shapes);
        coefficients.resize(expressions + 3, 0.0);
        // Of a channel that moves no landmark nothing is known.
        let residual = if all > 0.0 { (left / all).sqrt() } else { 1.0 };
        Ok((coefficients, residual))
    }

    /// How far the coefficients of the last update have moved a pair's target.
    fn moved(&self, pair: &Pair) -> DVec3 {
        let moved = |&point: &usize| self.to.places()[point] - self.to.rest()[point];
        pair.target.iter().map(moved).sum::<DVec3>() / pair.target.len() as f64
    }
}

/// The solution of a system, or of its part without the last unknown, whose step is `last`.
fn solve(system: &Normal, part: &mut Normal, last: Option<f64>) -> Result<Vec<f64>> {
    let free = system.size() - usize::from(last.is_some());
    part.select(system, &(0..free).collect::<Vec<_>>());
    if let Some(step) = last {
        for (k, b) in part.b.iter_mut().enumerate() {
            *b -= step * system.h[k * system.size() + free];
        }
    }
    if !part.solve() {
        let expected = "directions that move its landmarks";
        return Err(Error::argument(
            "target of a retargeting",
            expected,
            "others",
        ));
    }
    Ok(part.b.iter().copied().chain(last).collect())
}

#[cfg(test)]
mod tests;
