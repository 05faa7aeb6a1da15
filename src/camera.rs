//! The pinhole camera every ray, warp and render goes through.

use crate::error::{Error, Result};
use glam::{Affine3A, DMat3, DVec2, DVec3, Mat3, Vec3};

/// Largest coordinate of a point or a camera. Squared distances stay far below the largest f32, and
/// f32 still resolves the head's cube at this distance.
pub(crate) const FARTHEST: f32 = 1e6;

/// A pinhole camera looking at the head.
///
/// World: the head sits in the cube `[-1, 1]³`, +Y is up, and a face looks along +Z. Camera space,
/// as in PyTorch3D: +X points **left**, +Y up, +Z into the scene.
///
/// `transform` is the world-to-camera matrix `[R | T]`, 3 rows of 4, for **row** vectors:
///
/// ```text
/// x_camera = x_world · R + T          R = the first three columns, T = the fourth
/// ```
///
/// so the camera stands at `-R · T`, a camera-space direction `d` points along `R · d` in the
/// world, and the columns of `R` are the camera's axes in world coordinates.
///
/// A point in front of the camera lands at `x_ndc = focal · x_camera / z_camera` (y likewise),
/// which is pixel `W/2 · (1 - x_ndc)` of a picture `W` wide: `±1` are the picture's edges.
///
/// The fields are plain data, so a host may fill them in directly; whatever takes a camera checks
/// it with [`Camera::validate`] first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Camera {
    /// World-to-camera matrix `[R | T]` for row vectors.
    pub transform: [[f32; 4]; 3],
    /// Focal length in units of half the picture's width, from [`Camera::SHORTEST_FOCAL`].
    pub focal: f32,
    /// Where rays start when the camera stands inside the head's cube: at the camera if set,
    /// otherwise behind it at the cube's surface, as GPAvatar was trained.
    pub clamp_near: bool,
}

impl Default for Camera {
    /// [`Camera::orbit`] at distance 10, straight in front of the face.
    fn default() -> Self {
        Self::orbit(10.0, 0.0, 0.0)
    }
}

impl Camera {
    /// GPAvatar's focal length: the head's cube fills the picture at a distance of 12.
    pub const FOCAL: f32 = 12.0;

    /// Largest difference of an entry of `R · Rᵀ` from the identity: wide enough for matrices
    /// written with four digits, too small to show in a picture.
    const ORTHONORMAL_TOLERANCE: f32 = 1e-3;

    /// Smallest focal length: a view of 179.9°.
    pub const SHORTEST_FOCAL: f32 = 1e-3;

    /// A camera with the world-to-camera matrix `transform` (see [`Camera`]) and the default focal
    /// length.
    #[must_use]
    pub const fn from_transform(transform: [[f32; 4]; 3]) -> Self {
        Self {
            transform,
            focal: Self::FOCAL,
            clamp_near: false,
        }
    }

    /// A camera from the rows of its world-to-camera matrix: 3 rows of 4 numbers (see [`Camera`]), or
    /// 4, of which the last is 0 0 0 1.
    ///
    /// # Errors
    /// [`Error::Argument`] for another number of rows or another last row.
    pub fn from_rows(rows: &[[f32; 4]]) -> Result<Self> {
        let transform = Self::rows(rows.as_flattened());
        let transform = transform
            .map_err(|found| Error::argument("camera transform", Self::EXPECTED_ROWS, found))?;
        Ok(Self::from_transform(transform))
    }

    pub(crate) const EXPECTED_ROWS: &str = "3 rows of 4 numbers, or 4 with the last one 0 0 0 1";

    /// The 3 rows of a matrix of 3 or 4, or what else was found.
    pub(crate) fn rows(values: &[f32]) -> Result<[[f32; 4]; 3], String> {
        const LAST: [f32; 4] = [0.0, 0.0, 0.0, 1.0];
        match values.as_chunks() {
            (&[a, b, c], []) | (&[a, b, c, LAST], []) => Ok([a, b, c]),
            ([_, _, _, last], []) => Err(format!("the last row {last:?}")),
            _ => Err(format!("{} values", values.len())),
        }
    }

    /// A camera on a sphere around the origin, looking at it.
    ///
    /// `distance` is in world units (the head's cube has half-width 1); the angles are degrees.
    /// Positive `elevation_deg` looks down from above and positive `azimuth_deg` moves the camera
    /// towards the world's +X. With both zero it faces the face.
    ///
    /// ```text
    /// position = distance · (cos e · sin a, sin e, cos e · cos a)
    /// ```
    #[must_use]
    pub fn orbit(distance: f32, elevation_deg: f32, azimuth_deg: f32) -> Self {
        // f64, so that a camera exactly above the head still has a well-defined azimuth: the
        // cosine of 90° is then tiny instead of zero.
        let (sin_e, cos_e) = f64::from(elevation_deg).to_radians().sin_cos();
        let (sin_a, cos_a) = f64::from(azimuth_deg).to_radians().sin_cos();
        let eye = f64::from(distance) * DVec3::new(cos_e * sin_a, sin_e, cos_e * cos_a);
        Self::facing(eye, DVec3::ZERO, DVec3::Y)
    }

    /// A camera at `eye` that looks at `target` and has `up` point upwards in its picture.
    ///
    /// All three are world coordinates. `up` need not be perpendicular to the view; when it is
    /// parallel to it, the picture's roll is arbitrary. `eye` and `target` must differ, otherwise
    /// this is no camera and [`Camera::validate`] says so.
    #[must_use]
    pub fn look_at(eye: impl Into<Vec3>, target: impl Into<Vec3>, up: impl Into<Vec3>) -> Self {
        let [eye, target, up] = [eye.into(), target.into(), up.into()].map(Vec3::as_dvec3);
        Self::facing(eye, target, up)
    }

    fn facing(eye: DVec3, target: DVec3, up: DVec3) -> Self {
        let z = match (target - eye).try_normalize() {
            Some(z) if up.is_finite() => z,
            // No direction to look in: what `validate` then refuses.
            _ => return Self::from_transform([[f32::NAN; 4]; 3]),
        };
        let x = (up.cross(z))
            .try_normalize()
            .unwrap_or_else(|| z.any_orthonormal_vector());
        let y = z.cross(x);
        let translation = -DVec3::new(eye.dot(x), eye.dot(y), eye.dot(z));
        Self::from_axes(DMat3::from_cols(x, y, z).as_mat3(), translation.as_vec3())
    }

    /// `axes`: the camera's axes in world coordinates, as columns.
    pub(crate) fn from_axes(axes: Mat3, translation: Vec3) -> Self {
        Self::from_transform(std::array::from_fn(|i| {
            axes.row(i).extend(translation[i]).to_array()
        }))
    }

    /// The same camera with another focal length (in half picture widths).
    #[must_use]
    pub const fn with_focal(mut self, focal: f32) -> Self {
        self.focal = focal;
        self
    }

    /// The same camera with [`Camera::clamp_near`] set or cleared.
    #[must_use]
    pub const fn with_clamp_near(mut self, clamp_near: bool) -> Self {
        self.clamp_near = clamp_near;
        self
    }

    /// The matrix `R`: it takes a camera-space direction `d` to `R · d` in the world.
    pub fn rotation(&self) -> Mat3 {
        let [a, b, c] = self.transform.map(|[x, y, z, _]| Vec3::new(x, y, z));
        Mat3::from_cols(a, b, c).transpose()
    }

    /// The vector `T`: where the world's origin lies in camera space.
    pub fn translation(&self) -> Vec3 {
        Vec3::from_array(self.transform.map(|row| row[3]))
    }

    /// Corners of what the picture shows at a depth along the view, in world coordinates: upper left,
    /// upper right, lower right, lower left.
    ///
    /// With it an avatar stands in a 3D scene. The scene's camera, whatever its projection (off-centre,
    /// not square), stands at `eye` in the avatar's world. The avatar is rendered from the same place,
    /// and its picture is drawn by the scene's own view-projection on this quad, as a texture:
    ///
    /// ```
    /// use gpavatar::{Camera, glam::Vec3};
    ///
    /// let eye = Vec3::new(4.0, 1.0, 9.0);
    /// // A focal length of the distance: the head's cube fills the picture.
    /// let camera = Camera::look_at(eye, Vec3::ZERO, Vec3::Y).with_focal(eye.length());
    /// let corners = camera.quad(eye.length());
    /// assert!(corners.iter().all(|corner| corner.length() < 1.5));
    /// ```
    ///
    /// Both cameras see the quad, and the head, along the same rays: nothing is distorted.
    #[must_use]
    pub fn quad(&self, depth: f32) -> [Vec3; 4] {
        let half = depth / self.focal;
        let (rotation, translation) = (self.rotation(), self.translation());
        [[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]]
            .map(|[x, y]| rotation * (Vec3::new(half * x, half * y, depth) - translation))
    }

    /// The camera's position in the world, `-R · T`.
    pub fn origin(&self) -> Vec3 {
        -(self.rotation() * self.translation())
    }

    /// Normalised device coordinates of a world point (`±1` = the picture's edges, +x left, +y up),
    /// or `None` unless it lies in front of the camera.
    pub(crate) fn project(&self, point: DVec3) -> Option<DVec2> {
        let camera = self.rotation().as_dmat3().transpose() * point + self.translation().as_dvec3();
        (camera.z > 0.0).then(|| f64::from(self.focal) * camera.truncate() / camera.z)
    }

    /// Checks that this is a camera at all.
    ///
    /// # Errors
    /// [`Error::Argument`] if a value is not finite, the focal length is less than
    /// [`Camera::SHORTEST_FOCAL`], an entry of `T` is beyond ±10⁶, or `R` is not a rotation: rows
    /// of length 1 at right angles (products of two rows within 0.001 of the identity's), not a
    /// mirror image.
    pub fn validate(&self) -> Result<()> {
        let what = "camera transform";
        let transform = format_args!("{:?}", self.transform);
        let finite = self.transform.as_flattened().iter().all(|v| v.is_finite());
        Error::unless(finite, what, "finite values", transform)?;
        let ok = self.focal.is_finite() && self.focal >= Self::SHORTEST_FOCAL;
        let expected = format_args!("a number from {}", Self::SHORTEST_FOCAL);
        Error::unless(ok, "camera focal length", expected, self.focal)?;
        let translation = self.translation();
        let ok = translation.abs().max_element() <= FARTHEST;
        let expected = format_args!("a translation within ±{FARTHEST} along each axis");
        Error::unless(ok, what, expected, translation)?;
        let rotation = self.rotation();
        let product = rotation * rotation.transpose();
        let determinant = rotation.determinant();
        let ok =
            product.abs_diff_eq(Mat3::IDENTITY, Self::ORTHONORMAL_TOLERANCE) && determinant >= 0.0;
        let expected = "a rotation in its first three columns (orthonormal rows, determinant 1)";
        let found = format_args!("{transform} with determinant {determinant}");
        Error::unless(ok, what, expected, found)
    }
}

impl From<[[f32; 4]; 3]> for Camera {
    /// [`Camera::from_transform`].
    fn from(transform: [[f32; 4]; 3]) -> Self {
        Self::from_transform(transform)
    }
}

impl From<Affine3A> for Camera {
    /// Takes glam's world-to-camera transform, which multiplies **column** vectors.
    fn from(world_to_camera: Affine3A) -> Self {
        Self::from_axes(
            Mat3::from(world_to_camera.matrix3).transpose(),
            world_to_camera.translation.into(),
        )
    }
}

impl From<Camera> for Affine3A {
    /// The world-to-camera transform for column vectors.
    fn from(camera: Camera) -> Self {
        Self::from_mat3_translation(camera.rotation().transpose(), camera.translation())
    }
}

#[cfg(test)]
mod tests;
