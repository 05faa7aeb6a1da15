//! Embeddings from pictures of a head model whose cameras are known.

use glam::{DMat3, DVec2, DVec3, Vec3};

use super::{EmbeddedPoint, Embedding, usual};
use crate::camera::Camera;
use crate::error::{Error, Result};
use crate::head::HeadModel;
use crate::track::landmarks::{LANDMARKS, Landmarks};
use crate::track::maths::median;
use crate::track::region::Region;

/// Where the search for a point starts: between the eyes of a head that fills its cube.
const START: DVec3 = DVec3::new(0.0, -0.05, 0.45);
/// Iterations with all views alike, then with those that fit better counting more.
const ITERATIONS: [usize; 2] = [4, 8];
/// A view so many pixels of 512 astray counts half.
const ROBUST: f64 = 4.0;
/// Added to the diagonal.
const DAMPING: f64 = 5.0;
/// Fewest views that tell a place.
const FEWEST: usize = 2;

/// A picture of a resting head model, and the landmarks that were found in it.
#[derive(Clone, Debug)]
pub struct View {
    /// The picture's camera.
    pub camera: Camera,
    /// Width and height in pixels; the picture is a square.
    pub size: u32,
    /// What was found in it.
    pub landmarks: Landmarks,
}

/// A landmark in space.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    pub place: DVec3,
    /// Median distance from where it was seen, in pixels of 512.
    pub residual: f64,
}

impl Embedding {
    /// Finds all 478 landmarks on a head model by looking at it: about 20 pictures of it at rest from
    /// different sides (azimuth ±30°, elevation ±10°) and what the networks found in them. Each
    /// landmark is one place in the world that lies where most views have it; it is bound to the
    /// nearest place of a triangle, or to the nearest vertex if the model's `triangles` are not known,
    /// and what is left is its offset.
    ///
    /// On the shipped head model the landmarks come out 2 pixels of 512 from its own embedding for
    /// drawings.
    ///
    /// # Errors
    /// [`Error::Argument`] for fewer than 2 views, a camera that [is none](Camera::validate),
    /// landmarks that are not 478 finite points, a triangle with a vertex that the head model does
    /// not have, or landmarks that meet nowhere in front of the cameras.
    pub fn triangulated(
        head: &HeadModel,
        triangles: Option<&[[u32; 3]]>,
        views: &[View],
    ) -> Result<Self> {
        let found = views.len();
        let expected = format_args!("at least {FEWEST}");
        Error::unless(found >= FEWEST, "views of a head model", expected, found)?;
        for (i, view) in views.iter().enumerate() {
            let checked = view.camera.validate().and_then(|()| view.landmarks.check());
            checked.map_err(|error| error.of(format_args!("view {i}")))?;
            Error::unless(view.size > 0, "size of a view", "at least 1", view.size)?;
        }
        let surface = Surface::new(head, triangles)?;
        let mut seen = Vec::with_capacity(views.len());
        let points = (0..LANDMARKS).map(|index| {
            seen.clear();
            seen.extend(views.iter().map(|view| {
                let whole = Region::whole(view.size, view.size);
                let at = whole.from_picture(view.landmarks.points[index].truncate());
                (view.camera, Self::SIZE * at.as_dvec2())
            }));
            let place = triangulate(&seen).ok_or_else(|| {
                let expected = "those of one head in front of the cameras";
                Error::argument(format_args!("landmarks {index}"), expected, "others")
            })?;
            Ok(surface.bind(index as u16, &place))
        });
        Self::new(points.collect::<Result<_>>()?)
    }
}

/// The place that cameras see at pixels of 512, by Gauss-Newton.
pub(super) fn triangulate(seen: &[(Camera, DVec2)]) -> Option<Place> {
    let [plain, robust] = ITERATIONS;
    let mut place = START;
    let half = Embedding::SIZE / 2.0;
    let project = |camera: &Camera, place: DVec3| {
        let turn = camera.rotation().as_dmat3();
        let p = turn.transpose() * place + camera.translation().as_dvec3();
        let focal = f64::from(camera.focal);
        let pixel = half * (1.0 - focal * p.truncate() / p.z);
        (p.z > 0.0).then_some((pixel, turn, p, -half * focal / p.z))
    };
    for round in 0..plain + robust {
        let (mut h, mut b) = (DMat3::from_diagonal(DVec3::splat(DAMPING)), DVec3::ZERO);
        for (camera, target) in seen {
            let (pixel, turn, p, slope) = project(camera, place)?;
            let residual = pixel - *target;
            let weight = match round < plain {
                true => 1.0,
                false => 1.0 / (1.0 + residual.length_squared() / ROBUST.powi(2)),
            };
            let gradients = [
                DVec3::new(slope, 0.0, -slope * p.x / p.z),
                DVec3::new(0.0, slope, -slope * p.y / p.z),
            ];
            for (gradient, residual) in gradients.into_iter().zip(residual.to_array()) {
                let gradient = turn * gradient;
                let outer = [gradient.x, gradient.y, gradient.z].map(|g| weight * g * gradient);
                h += DMat3::from_cols(outer[0], outer[1], outer[2]);
                b -= weight * residual * gradient;
            }
        }
        place += h.inverse() * b;
    }
    let mut distances = Vec::with_capacity(seen.len());
    for (camera, target) in seen {
        distances.push(project(camera, place)?.0.distance(*target));
    }
    let residual = median(&mut distances);
    (place.is_finite() && residual.is_finite()).then_some(Place { place, residual })
}

/// What landmarks are bound to.
struct Surface<'a> {
    vertices: Vec<DVec3>,
    triangles: Option<&'a [[u32; 3]]>,
}

impl<'a> Surface<'a> {
    fn new(head: &HeadModel, triangles: Option<&'a [[u32; 3]]>) -> Result<Self> {
        check_triangles(head, triangles.unwrap_or_default())?;
        let scale = f64::from(head.parts().scale);
        let template = head.parts().template.iter();
        Ok(Self {
            vertices: template
                .map(|v| scale * DVec3::from_array(v.map(f64::from)))
                .collect(),
            triangles: triangles.filter(|triangles| !triangles.is_empty()),
        })
    }

    fn bind(&self, landmark: u16, found: &Place) -> EmbeddedPoint {
        let mut best = (f64::INFINITY, [0; 3], DVec3::X);
        let mut consider = |corners: [u32; 3], weights: DVec3| {
            let distance = self.at(corners, weights).distance_squared(found.place);
            if distance < best.0 {
                best = (distance, corners, weights);
            }
        };
        match self.triangles {
            Some(triangles) => {
                for &corners in triangles {
                    let [a, b, c] = corners.map(|i| self.vertices[i as usize]);
                    consider(corners, nearest(found.place, [a, b, c]));
                }
            }
            None => {
                for i in 0..self.vertices.len() {
                    consider([i as u32; 3], DVec3::X);
                }
            }
        }
        let (_, corners, weights) = best;
        let [a, b, c] = corners.map(|i| self.vertices[i as usize]);
        let [x, y, z] = weights.as_vec3().to_array();
        EmbeddedPoint {
            name: String::new(),
            landmarks: vec![landmark],
            vertices: [corners[0], corners[1], corners[2], corners[0]],
            weights: [x, y, z, 0.0],
            offset: (found.place - self.at(corners, weights)).as_vec3(),
            sigma: (found.residual as f32).max(0.1 * usual()),
            normal: outward(a, b, c),
        }
    }

    fn at(&self, corners: [u32; 3], weights: DVec3) -> DVec3 {
        let pairs = corners.into_iter().zip(weights.to_array());
        pairs
            .map(|(i, weight)| weight * self.vertices[i as usize])
            .sum()
    }
}

/// Fails unless all corners are vertices of the head model.
pub(super) fn check_triangles(head: &HeadModel, triangles: &[[u32; 3]]) -> Result<()> {
    let count = head.vertex_count();
    let outside = |corners: &[u32; 3]| corners.iter().any(|i| *i as usize >= count);
    let Some(i) = triangles.iter().position(outside) else {
        return Ok(());
    };
    let expected = format_args!("vertices below {count}, as this head model has");
    let found = format_args!("{:?} at triangle {i}", triangles[i]);
    Err(Error::argument(
        "triangles of a head model",
        expected,
        found,
    ))
}

/// The direction that a triangle with counter-clockwise corners faces; zero if it has no area.
pub(super) fn outward(a: DVec3, b: DVec3, c: DVec3) -> Vec3 {
    (b - a).cross(c - a).normalize_or_zero().as_vec3()
}

/// Barycentric weights of the place of a triangle that is nearest to a point (Ericson, "Real-Time
/// Collision Detection", 2005, section 5.1.5).
fn nearest(point: DVec3, [a, b, c]: [DVec3; 3]) -> DVec3 {
    let (ab, ac) = (b - a, c - a);
    let along = |from: DVec3| (ab.dot(point - from), ac.dot(point - from));
    let ((a1, a2), (b1, b2), (c1, c2)) = (along(a), along(b), along(c));
    if a1 <= 0.0 && a2 <= 0.0 {
        return DVec3::X;
    }
    if b1 >= 0.0 && b2 <= b1 {
        return DVec3::Y;
    }
    if c2 >= 0.0 && c1 <= c2 {
        return DVec3::Z;
    }
    let (va, vb, vc) = (b1 * c2 - c1 * b2, c1 * a2 - a1 * c2, a1 * b2 - b1 * a2);
    if vc <= 0.0 && a1 >= 0.0 && b1 <= 0.0 {
        let t = a1 / (a1 - b1);
        return DVec3::new(1.0 - t, t, 0.0);
    }
    if vb <= 0.0 && a2 >= 0.0 && c2 <= 0.0 {
        let t = a2 / (a2 - c2);
        return DVec3::new(1.0 - t, 0.0, t);
    }
    let (from_b, from_c) = (b2 - b1, c1 - c2);
    if va <= 0.0 && from_b >= 0.0 && from_c >= 0.0 {
        let t = from_b / (from_b + from_c);
        return DVec3::new(0.0, 1.0 - t, t);
    }
    let sum = va + vb + vc;
    match sum > 0.0 {
        true => DVec3::new(va, vb, vc) / sum,
        false => DVec3::X,
    }
}

#[cfg(test)]
mod tests;
