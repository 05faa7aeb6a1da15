//! The pose of a face without a head model: the canonical face that comes with the landmark net,
//! laid over the landmarks.

use glam::{DMat3, DQuat, DVec2, DVec3, Vec2};

use super::embedding::Embedding;
use super::landmarks::Landmarks;
use super::maths::median;
use super::region::Region;
use crate::camera::Camera;
use crate::error::{Error, Result};

/// Vertices of the canonical face: the landmarks without those of the irises.
pub(crate) const VERTICES: usize = 468;

/// Distance of the camera that a source picture is cropped for, in world units.
pub(crate) const DISTANCE: f64 = 10.6;

const FORMAT: &str = "canonical face";

/// A resting face in centimetres, in the world's directions: x to the person's left, y up, z out of
/// the face.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Canonical {
    /// One for each of the first 468 landmarks.
    pub vertices: Vec<DVec3>,
    /// How much each of them counts for the pose; most are 0.
    pub weights: Vec<f64>,
}

/// A similarity of row vectors: `y = scale · x · rotation + translation`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Similarity {
    pub scale: f64,
    /// As a matrix that row vectors are multiplied with, like [`Camera::rotation`].
    pub rotation: DMat3,
    pub translation: DVec3,
}

/// Where the canonical face lies in a head model's space: `x_model = scale · x_canonical + offset`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Placement {
    pub scale: f64,
    pub offset: DVec3,
}

/// Where a head is in a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadPose {
    /// The head's rotation, as that of a camera ([`Camera::rotation`](crate::Camera::rotation)).
    pub rotation: DMat3,
    /// Where the head's origin is, in pixels.
    pub origin: DVec2,
    /// Pixels for a world unit at the head's distance.
    pub unit: f64,
}

impl Canonical {
    /// Reads the metadata of the landmark net's container, a message of Protocol Buffers: field 1 is
    /// the mesh (its field 3, repeated: x, y, z, u, v of every vertex), field 2, repeated, a landmark
    /// (1) and its weight (2).
    ///
    /// # Errors
    /// [`Error::Format`] if it is not such a message.
    pub fn parse(what: &str, bytes: &[u8]) -> Result<Self> {
        Self::read(bytes).map_err(|reason| Error::format(what, FORMAT, reason))
    }

    fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut numbers = Vec::new();
        let mut weights = vec![0.0; VERTICES];
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(mesh)) => {
                    for field in Fields(mesh) {
                        if let (3, Value::Float(number)) = field? {
                            numbers.push(f64::from(number));
                        }
                    }
                }
                (2, Value::Bytes(pair)) => {
                    let (mut landmark, mut weight) = (0, 0.0);
                    for field in Fields(pair) {
                        match field? {
                            (1, Value::Integer(index)) => landmark = index,
                            (2, Value::Float(value)) => weight = f64::from(value),
                            _ => {}
                        }
                    }
                    let place = usize::try_from(landmark).ok();
                    let place = place.and_then(|index| weights.get_mut(index));
                    *place.ok_or_else(|| {
                        format!("expected landmarks below {VERTICES}, found {landmark}")
                    })? = weight;
                }
                _ => {}
            }
        }
        let (vertices, rest) = numbers.as_chunks::<5>();
        if vertices.len() != VERTICES || !rest.is_empty() {
            let found = numbers.len();
            return Err(format!("expected {} numbers, found {found}", 5 * VERTICES));
        }
        let face = Self {
            vertices: vertices
                .iter()
                .map(|[x, y, z, ..]| DVec3::new(*x, *y, *z))
                .collect(),
            weights,
        };
        let sound = face.vertices.iter().all(|v| v.is_finite())
            && face.weights.iter().all(|w| w.is_finite() && *w >= 0.0)
            && face.weights.iter().filter(|w| **w > 0.0).count() >= 3;
        match sound {
            true => Ok(face),
            false => Err("expected finite vertices and at least 3 positive weights".into()),
        }
    }

    /// The similarity that takes the canonical face to the landmarks in a camera's directions, (-x,
    /// -y, z) in pixels: the best one in the weighted least squares' sense. Its rotation is that of the
    /// crate's cameras.
    ///
    /// # Errors
    /// [`Error::Argument`] if the landmarks are not 478 finite points, or all in one place.
    pub fn pose(&self, landmarks: &Landmarks) -> Result<Similarity> {
        landmarks.check()?;
        let place = |i: usize| {
            let p = landmarks.points[i].as_dvec3();
            DVec3::new(-p.x, -p.y, p.z)
        };
        let weighted = (self.weights.iter().enumerate())
            .filter(|(_, weight)| **weight > 0.0)
            .map(|(i, weight)| (*weight, self.vertices[i], place(i)));
        similarity(weighted).ok_or_else(|| {
            let expected = "a face that is larger than a point";
            Error::argument("landmarks", expected, "one without any extent")
        })
    }

    /// Where this face lies in the space of a head model, from the places of an embedding's points on
    /// it at rest: the best scale and offset. Points that are much less certain than most, such as
    /// those of the outline, do not count.
    ///
    /// # Errors
    /// [`Error::Argument`] if the embedding has no two such places.
    pub fn placement(&self, embedding: &Embedding, rest: &[DVec3]) -> Result<Placement> {
        let points = embedding.points();
        let mut sigmas: Vec<f64> = points.iter().map(|point| point.sigma.into()).collect();
        let most = 2.0 * median(&mut sigmas);
        let pairs = points.iter().zip(rest).filter_map(|(point, place)| {
            let vertices = point
                .landmarks
                .iter()
                .map(|&i| self.vertices.get(usize::from(i)));
            let sum = vertices.sum::<Option<DVec3>>()?;
            let certain = f64::from(point.sigma) <= most;
            certain.then(|| (sum / point.landmarks.len() as f64, *place))
        });
        let pairs: Vec<(DVec3, DVec3)> = pairs.collect();
        let count = pairs.len() as f64;
        let from = pairs.iter().map(|pair| pair.0).sum::<DVec3>() / count;
        let to = pairs.iter().map(|pair| pair.1).sum::<DVec3>() / count;
        let products = pairs.iter().map(|(a, b)| (*a - from).dot(*b - to));
        let squares = pairs.iter().map(|(a, _)| a.distance_squared(from));
        let scale = products.sum::<f64>() / squares.sum::<f64>();
        let expected = "points of a head that faces +z";
        let ok = scale.is_finite() && scale > 0.0;
        Error::unless(
            ok,
            "embedding",
            expected,
            format_args!("a scale of {scale}"),
        )?;
        Ok(Placement {
            scale,
            offset: to - scale * from,
        })
    }
}

impl Placement {
    /// On the shipped head model.
    pub const SHIPPED: Self = Self {
        scale: 0.04936,
        offset: DVec3::new(0.0, -0.0853, 0.1610),
    };

    /// Where a head model is that has its face where this pose has the canonical one.
    pub fn pose(&self, face: &Similarity) -> HeadPose {
        let unit = face.scale / self.scale;
        // Row vectors: multiplied from the left.
        let offset = face.rotation.transpose() * self.offset;
        HeadPose {
            rotation: face.rotation,
            origin: -(face.translation - unit * offset).truncate(),
            unit,
        }
    }
}

impl HeadPose {
    /// The crop of a source picture and its camera: a square in which the head model's origin is at
    /// the centre and 10.6 away.
    #[must_use]
    pub fn source(&self) -> (Region, Camera) {
        let side = 2.0 * self.unit * DISTANCE / f64::from(Camera::FOCAL);
        let region = Region {
            centre: self.origin.as_vec2(),
            size: Vec2::splat(side as f32),
            angle: 0.0,
        };
        let place = DVec3::Z * DISTANCE;
        let camera = Camera::from_axes(self.rotation.as_mat3(), place.as_vec3());
        (region, camera)
    }
}

/// The best similarity of weighted pairs of points (Horn, "Closed-form solution of absolute
/// orientation using unit quaternions", 1987). None if the points do not say.
fn similarity(pairs: impl Iterator<Item = (f64, DVec3, DVec3)> + Clone) -> Option<Similarity> {
    let total: f64 = pairs.clone().map(|(weight, ..)| weight).sum();
    let mean =
        |pick: fn((f64, DVec3, DVec3)) -> DVec3| pairs.clone().map(pick).sum::<DVec3>() / total;
    let (from, to) = (mean(|(w, a, _)| w * a), mean(|(w, _, b)| w * b));
    let (mut m, mut size) = ([[0.0; 3]; 3], 0.0);
    for (weight, a, b) in pairs {
        let (a, b) = (a - from, b - to);
        let (row, column) = (a.to_array(), b.to_array());
        for (i, j) in (0..3).flat_map(|i| (0..3).map(move |j| (i, j))) {
            m[i][j] += weight / total * row[i] * column[j];
        }
        size += weight / total * a.length_squared();
    }
    let [[xx, xy, xz], [yx, yy, yz], [zx, zy, zz]] = m;
    let (value, [w, x, y, z]) = largest([
        [xx + yy + zz, yz - zy, zx - xz, xy - yx],
        [yz - zy, xx - yy - zz, xy + yx, zx + xz],
        [zx - xz, xy + yx, yy - xx - zz, yz + zy],
        [xy - yx, zx + xz, yz + zy, zz - xx - yy],
    ]);
    let (scale, turn) = (value / size, DQuat::from_xyzw(x, y, z, w).normalize());
    // A rotation of column vectors is the transpose of that of row vectors.
    let rotation = DMat3::from_quat(turn).transpose();
    let found = Similarity {
        scale,
        rotation,
        translation: to - scale * (rotation.transpose() * from),
    };
    let sound = scale > 0.0 && scale.is_finite() && turn.is_finite();
    (sound && found.translation.is_finite()).then_some(found)
}

/// The largest eigenvalue of a symmetric matrix with its eigenvector, by Jacobi's rotations.
fn largest(mut a: [[f64; 4]; 4]) -> (f64, [f64; 4]) {
    let mut vectors = [0, 1, 2, 3].map(|i| {
        let mut row = [0.0; 4];
        row[i] = 1.0;
        row
    });
    // It converges quadratically.
    for (p, q) in (0..12).flat_map(|_| (0..4).flat_map(|q| (0..q).map(move |p| (p, q)))) {
        if a[p][q] == 0.0 {
            continue;
        }
        let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
        let tangent = theta.signum() / (theta.abs() + theta.hypot(1.0));
        let cosine = 1.0 / tangent.hypot(1.0);
        let sine = tangent * cosine;
        let turn = |x: f64, y: f64| (cosine * x - sine * y, sine * x + cosine * y);
        for row in a.iter_mut().chain(&mut vectors) {
            (row[p], row[q]) = turn(row[p], row[q]);
        }
        let (above, below) = a.split_at_mut(q);
        for (x, y) in above[p].iter_mut().zip(&mut below[0]) {
            (*x, *y) = turn(*x, *y);
        }
    }
    let best = (0..4)
        .max_by(|&i, &j| a[i][i].total_cmp(&a[j][j]))
        .unwrap_or(0);
    (a[best][best], vectors.map(|row| row[best]))
}

/// A value of a message of Protocol Buffers.
enum Value<'a> {
    Integer(u64),
    Float(f32),
    Bytes(&'a [u8]),
    Other,
}

/// The fields of a message, with their numbers.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| "it ends within a field, or has one of an unknown kind".into()))
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let key = self.integer()?;
        let value = match key & 7 {
            0 => Value::Integer(self.integer()?),
            1 => {
                self.take(8)?;
                Value::Other
            }
            2 => {
                let length = self.integer()?;
                Value::Bytes(self.take(usize::try_from(length).ok()?)?)
            }
            5 => Value::Float(f32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((key >> 3, value))
    }

    /// Seven bits a byte, the lowest first; the highest bit says that more follow.
    fn integer(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests;
