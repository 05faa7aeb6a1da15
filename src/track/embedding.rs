//! Where landmarks lie on a head model.

#[cfg(feature = "import")]
mod mediapipe;
mod triangulate;

use glam::{DVec2, DVec3, Vec3, Vec3Swizzles};
use serde::{Deserialize, Serialize};

use super::landmarks::{LANDMARKS, Landmarks};
use super::region::Region;
use crate::error::{Error, Problems, Result};
use crate::head::HeadModel;
use crate::json;

pub use triangulate::View;

const FORMAT: &str = "landmark embedding";
const VERSION: u32 = 1;

/// The landmarks of a head model: for each some of its vertices whose mean moves as it does.
///
/// # File format
/// JSON:
///
/// ```json
/// {"version": 1, "points": [
///   {"name": "chin", "mediapipe": [199], "vertices": [1, 2, 3, 4], "weights": [0.5, 0.25, 0.25, 0],
///    "offset": [0, 0, 0], "sigma_px": 2}
/// ]}
/// ```
///
/// `mediapipe` are the landmarks whose mean the point corresponds to; the weights' sum is 1; `offset`
/// is in world units and may be absent, as `sigma_px` may be, which is in pixels of 512 and 2 then.
/// Other keys are ignored.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    points: Vec<EmbeddedPoint>,
}

/// A landmark on a head model.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddedPoint {
    /// What it is, or empty.
    pub name: String,
    /// The landmarks whose mean it corresponds to, below [`LANDMARKS`].
    pub landmarks: Vec<u16>,
    /// Vertices of the head model.
    pub vertices: [u32; 4],
    /// The share of each of them; their sum is 1.
    pub weights: [f32; 4],
    /// Where it lies from there, in the head's directions and world units.
    pub offset: Vec3,
    /// How exactly landmarks lie there: a standard deviation in pixels of a picture with 512 a side.
    pub sigma: f32,
    /// Direction out of the surface at rest, zero if unknown. A landmark that faces away counts for
    /// less.
    pub normal: Vec3,
}

/// A file.
#[derive(Deserialize, Serialize)]
struct File {
    version: u32,
    points: Vec<Row>,
}

#[derive(Deserialize, Serialize)]
struct Row {
    #[serde(default)]
    name: String,
    mediapipe: Vec<u16>,
    vertices: [u32; 4],
    weights: [f32; 4],
    #[serde(default)]
    offset: [f32; 3],
    #[serde(default = "usual")]
    sigma_px: f32,
    #[serde(default)]
    normal: [f32; 3],
}

/// Standard deviation of a landmark on a photograph, in pixels of 512.
fn usual() -> f32 {
    2.0
}

/// The same along the outline of the face, where landmarks slide.
const CONTOUR: f32 = 6.0;

impl Embedding {
    /// Side of the picture that standard deviations are measured in.
    pub const SIZE: f64 = 512.0;

    /// 71 landmarks on the shipped head model, for photographs of people.
    #[must_use]
    pub fn shipped() -> Self {
        let mut embedding = Self::shipped_for_drawings();
        for point in &mut embedding.points {
            point.offset = Vec3::ZERO;
            point.sigma = match point.name.starts_with("contour") {
                true => CONTOUR,
                false => usual(),
            };
        }
        embedding
    }

    /// The same for pictures of the shipped head model itself: where the networks put the landmarks
    /// of its 24 drawn people in 72 pictures, and how exactly.
    #[must_use]
    pub fn shipped_for_drawings() -> Self {
        let json = include_str!("embedding/shipped.json");
        Self::from_json("shipped embedding", json).expect("the shipped file is valid")
    }

    /// Reads a file (see [`Embedding`]); `what` names it in messages.
    ///
    /// # Errors
    /// [`Error::Format`] if it is not such JSON or has an unknown version; [`Error::Tensors`] with all
    /// points that are not as described.
    pub fn from_json(what: &str, json: &str) -> Result<Self> {
        let file: File = json::versioned(what, FORMAT, json, VERSION)?;
        let points = file.points.into_iter().map(|row| EmbeddedPoint {
            name: row.name,
            landmarks: row.mediapipe,
            vertices: row.vertices,
            weights: row.weights,
            offset: row.offset.into(),
            sigma: row.sigma_px,
            normal: row.normal.into(),
        });
        let points = points.collect();
        Self::build(what, points)
    }

    /// The content of a file.
    #[must_use]
    pub fn to_json(&self) -> String {
        let points = self.points.iter().map(|point| Row {
            name: point.name.clone(),
            mediapipe: point.landmarks.clone(),
            vertices: point.vertices,
            weights: point.weights,
            offset: point.offset.to_array(),
            sigma_px: point.sigma,
            normal: point.normal.to_array(),
        });
        let file = File {
            version: VERSION,
            points: points.collect(),
        };
        serde_json::to_string(&file).expect("numbers and strings are always JSON")
    }

    /// An embedding of these points.
    ///
    /// # Errors
    /// [`Error::Tensors`] with all points that are not as described at [`EmbeddedPoint`].
    pub fn new(points: Vec<EmbeddedPoint>) -> Result<Self> {
        Self::build(FORMAT, points)
    }

    fn build(what: &str, points: Vec<EmbeddedPoint>) -> Result<Self> {
        let mut problems = Problems::default();
        problems.expect(!points.is_empty(), "points", "at least one", "none");
        for (i, point) in points.iter().enumerate() {
            let field = |name: &str| format!("{name} of point {i}");
            let known = |landmark: &u16| usize::from(*landmark) < LANDMARKS;
            let ok = !point.landmarks.is_empty() && point.landmarks.iter().all(known);
            let expected = format_args!("numbers below {LANDMARKS}");
            let found = format_args!("{:?}", point.landmarks);
            problems.expect(ok, &field("landmarks"), expected, found);
            let sum: f32 = point.weights.iter().sum();
            let ok = point.weights.iter().all(|w| w.is_finite()) && (sum - 1.0).abs() < 1e-3;
            problems.expect(
                ok,
                &field("weights"),
                "a sum of 1",
                format_args!("{:?}", point.weights),
            );
            let ok = point.offset.is_finite() && point.normal.is_finite();
            problems.expect(ok, &field("offset and normal"), "finite numbers", "others");
            let ok = point.sigma.is_finite() && point.sigma > 0.0;
            problems.expect(ok, &field("sigma"), "a positive number", point.sigma);
        }
        match problems.0.is_empty() {
            true => Ok(Self { points }),
            false => Err(Error::Tensors {
                what: what.into(),
                problems: problems.0,
            }),
        }
    }

    /// The points.
    pub fn points(&self) -> &[EmbeddedPoint] {
        &self.points
    }

    /// The same with one standard deviation for all points, in pixels of a picture with 512 a side.
    ///
    /// # Errors
    /// [`Error::Argument`] unless it is positive.
    pub fn with_sigma(mut self, sigma: f32) -> Result<Self> {
        let ok = sigma.is_finite() && sigma > 0.0;
        Error::unless(ok, "sigma", "a positive number", sigma)?;
        for point in &mut self.points {
            point.sigma = sigma;
        }
        Ok(self)
    }

    /// Fails unless all vertices are those of the head model.
    pub(crate) fn check(&self, head: &HeadModel) -> Result<()> {
        let count = head.vertex_count();
        let outside = |point: &EmbeddedPoint| point.vertices.iter().any(|v| *v as usize >= count);
        let Some(i) = self.points.iter().position(outside) else {
            return Ok(());
        };
        let expected = format_args!("vertices below {count}, as this head model has");
        let found = format_args!("{:?} at point {i}", self.points[i].vertices);
        Err(Error::argument("embedding", expected, found))
    }

    /// The places of the points on a resting head, in world units.
    ///
    /// # Errors
    /// [`Error::Argument`] if this is not an embedding in this head.
    pub fn rest(&self, head: &HeadModel) -> Result<Vec<DVec3>> {
        self.check(head)?;
        let (parts, scale) = (head.parts(), f64::from(head.parts().scale));
        let place = |p: &EmbeddedPoint| scale * p.blend(&parts.template) + p.offset.as_dvec3();
        Ok(self.points.iter().map(place).collect())
    }

    /// Where a picture has the points, for [`Fitter`](super::Fitter): `crop` is the square part of the
    /// picture that the fit looks at, `size` its side in pixels there.
    ///
    /// # Errors
    /// [`Error::Argument`] if the landmarks are not 478 finite points or the crop is no square.
    pub fn targets(
        &self,
        landmarks: &Landmarks,
        crop: &Region,
        size: f64,
        targets: &mut Vec<Option<DVec2>>,
    ) -> Result<()> {
        landmarks.check()?;
        let ok = crop.size.x == crop.size.y && crop.size.x > 0.0 && crop.size.x.is_finite();
        Error::unless(ok, "crop of a fit", "a square", crop.size)?;
        let mean = |point: &EmbeddedPoint| {
            let places = point
                .landmarks
                .iter()
                .map(|&i| landmarks.points[usize::from(i)].xy());
            let places = places.map(|place| crop.from_picture(place).as_dvec2());
            Some(size / point.landmarks.len() as f64 * places.sum::<DVec2>())
        };
        targets.clear();
        targets.extend(self.points.iter().map(mean));
        Ok(())
    }
}

impl EmbeddedPoint {
    /// The vertices that count, with their weights.
    pub(crate) fn corners(&self) -> impl Iterator<Item = (usize, f64)> {
        let pairs = self.vertices.into_iter().zip(self.weights);
        let pairs = pairs.filter(|(_, weight)| *weight != 0.0);
        pairs.map(|(vertex, weight)| (vertex as usize, f64::from(weight)))
    }

    /// The weighted mean of what belongs to the vertices.
    pub(crate) fn blend(&self, values: &[[f32; 3]]) -> DVec3 {
        let corners = self.corners();
        corners
            .map(|(vertex, weight)| weight * DVec3::from_array(values[vertex].map(f64::from)))
            .sum()
    }
}

#[cfg(test)]
mod tests;
