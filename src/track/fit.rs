//! A head model laid over landmarks by Gauss-Newton: identity, expression, jaw, pose and camera.

mod joint;
mod normal;
mod points;

use std::ops::Range;

use glam::{DMat3, DVec2, DVec3};

use super::embedding::Embedding;
use super::maths::{median, rotation_of};
use crate::camera::Camera;
use crate::drive::Drive;
use crate::error::{Error, Result};
use crate::head::HeadModel;
pub(crate) use normal::Normal;
pub(crate) use points::{Points, jaw};

/// Unknowns of the pose: three of rotation, three of translation.
const POSE: usize = 6;
/// Rounds of the active set in a step.
const ROUNDS: usize = 8;
/// Relative increase of the diagonal.
const DAMPING: f64 = 1e-4;
/// Iterations of the pose alone before those of everything, when nothing is known.
const POSE_ITERATIONS: usize = 6;
/// Iterations of everything, when nothing is known.
const ITERATIONS: usize = 10;
/// Iterations from the frame before.
const FOLLOWING: usize = 3;
/// Fewest landmarks of a fit.
const FEWEST: usize = 12;
/// Nearest depth of a point, in world units.
const NEAREST: f64 = 0.05;
/// Largest landmark coordinate, in pictures.
const FARTHEST: f64 = 100.0;

/// What a fit takes for likely, and the picture that its landmarks are measured in.
#[derive(Clone, Debug, PartialEq)]
pub struct FitOptions {
    /// Side of the square picture, in pixels.
    pub size: f64,
    /// Focal length in half picture sides, as [`Camera::focal`].
    pub focal: f64,
    /// Standard deviation of a shape coefficient.
    pub shape: f64,
    /// Standard deviation of an expression coefficient.
    pub expression: f64,
    /// Smallest and largest expression coefficient.
    pub bounds: [f64; 2],
    /// Standard deviation of the jaw's angles in radians, for models whose jaw is fitted.
    pub jaw: f64,
    /// Distance of the camera in world units that the picture was cropped for, and its standard
    /// deviation. It counts only while the shape is unknown: with a focal length of 12, depth and size
    /// are nearly the same.
    pub distance: [f64; 2],
    /// A landmark so many standard deviations astray counts half.
    pub robust: f64,
}

impl FitOptions {
    /// For a head model: its expression coefficients lie between 0 and 1 if they have names, and are
    /// those of principal components otherwise.
    #[must_use]
    pub fn of(head: &HeadModel) -> Self {
        let named = !head.parts().channels.is_empty();
        Self {
            size: 512.0,
            focal: Camera::FOCAL.into(),
            shape: if named { 0.6 } else { 1.0 },
            expression: if named { 0.4 } else { 1.0 },
            bounds: match named {
                true => [0.0, 1.0],
                false => [-3.0, 3.0],
            },
            jaw: 0.2,
            distance: [super::canonical::DISTANCE, 0.3],
            robust: 3.0,
        }
    }

    fn check(&self) -> Result<()> {
        let [distance, spread] = self.distance;
        for (what, value) in [
            ("size of the picture", self.size),
            ("focal length", self.focal),
            ("standard deviation of shapes", self.shape),
            ("standard deviation of expressions", self.expression),
            ("standard deviation of the jaw", self.jaw),
            ("distance of the camera", distance),
            ("standard deviation of the distance", spread),
            ("robust scale", self.robust),
        ] {
            let ok = value.is_finite() && value > 0.0;
            Error::unless(ok, what, "a positive number", value)?;
        }
        let [low, high] = self.bounds;
        let found = format_args!("{:?}", self.bounds);
        Error::unless(low <= 0.0 && high >= 0.0, "bounds", "0 between them", found)
    }
}

/// A head model laid over the landmarks of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// Identity coefficients.
    pub shape: Vec<f64>,
    /// Expression coefficients.
    pub expression: Vec<f64>,
    /// Rotation vector of the jaw in radians; zero for models whose jaw is not fitted.
    pub jaw: DVec3,
    /// [`Camera::rotation`].
    pub rotation: DMat3,
    /// [`Camera::translation`].
    pub translation: DVec3,
    /// Median distance of the landmarks from the model's points, in pixels.
    pub residual: f64,
    /// True if this is hardly the person's face: a residual of more than 4 % of the face's width, a
    /// distance of the camera 2 units from the expected one, or a shape coefficient beyond ±2.5.
    /// Whoever follows a person keeps the identity of a better fit.
    pub poor: bool,
}

impl Fit {
    /// The camera of the square picture.
    #[must_use]
    pub fn camera(&self) -> Camera {
        Camera::from_axes(self.rotation.as_mat3(), self.translation.as_vec3())
    }

    /// The drive of a head model that was fitted: its expression, its jaw's pose and the camera.
    ///
    /// # Errors
    /// [`Error::Argument`] if this is the fit of another head model.
    pub fn drive(&self, head: &HeadModel) -> Result<Drive> {
        let count = head.expression_count();
        let expected = format_args!("{count} expression coefficients");
        let found = self.expression.len();
        Error::unless(found == count, "fit", expected, found)?;
        let coefficients: Vec<f32> = self.expression.iter().map(|e| *e as f32).collect();
        let drive = Drive::neutral()
            .coefficients(coefficients)
            .camera(self.camera());
        let joints = &head.parts().pose_joints;
        let turned =
            jaw(head).and_then(|jaw| joints.iter().position(|joint| *joint as usize == jaw));
        Ok(match turned {
            None => drive,
            Some(turned) => {
                let mut pose = vec![0.0; 3 * joints.len()];
                pose[3 * turned..][..3].copy_from_slice(&self.jaw.as_vec3().to_array());
                drive.pose(pose)
            }
        })
    }
}

/// Fits a head model to landmarks.
///
/// With `L` embedded points `X_l`, shape `s`, expression `e` and the camera's `[R | T]`, for row
/// vectors, it minimises over landmarks `x_l` with standard deviations σ_l
///
/// ```text
/// Σ_l ρ(|x(X_l(s, e)·R + T) - x_l| / σ_l) + Σ (s_i/σ_s)² + Σ (e_k/σ_e)² + ((T_z - d)/σ_d)²,
/// x(p) = size/2 · (1 - focal · p.x/p.z),  y likewise
/// ```
///
/// with bounds on `e`; ρ is Cauchy's robust loss. The last term counts while the shape is free. The
/// model's pose is at rest but for the jaw, as the head's rotation lies in the camera.
///
/// Nothing is allocated by [`Fitter::follow`].
#[derive(Clone, Debug)]
pub struct Fitter {
    options: FitOptions,
    points: Points,
    sigmas: Vec<f64>,
    /// Outward normals at rest, zero where unknown.
    normals: Vec<DVec3>,
    work: Work,
}

/// Where an iteration stands, and its buffers.
#[derive(Clone, Debug, Default)]
struct Work {
    /// Shape, expression and jaw.
    coefficients: Vec<f64>,
    rotation: DMat3,
    translation: DVec3,
    rows: [Vec<f64>; 2],
    system: Normal,
    part: Normal,
    /// Of the shape that several pictures share.
    shared: Normal,
    chosen: Vec<usize>,
    held: Vec<bool>,
    step: Vec<f64>,
    distances: Vec<f64>,
}

/// Which unknowns an iteration solves for, besides the pose.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Free {
    /// None.
    Pose,
    /// Expression and jaw.
    Expression,
    /// Shape, expression and jaw.
    All,
}

impl Fitter {
    /// A fitter of a head model by the landmarks of an embedding in it.
    ///
    /// # Errors
    /// [`Error::Argument`] if the embedding has fewer than 12 points or is not one in this head, or an
    /// option is out of its range.
    pub fn new(head: &HeadModel, embedding: &Embedding, options: FitOptions) -> Result<Self> {
        options.check()?;
        embedding.check(head)?;
        let count = embedding.points().len();
        let expected = format_args!("at least {FEWEST} points");
        Error::unless(count >= FEWEST, "embedding", expected, count)?;
        let points = Points::new(head, embedding);
        let unknowns = POSE + points.unknowns();
        let rows = [vec![0.0; unknowns], vec![0.0; unknowns]];
        Ok(Self {
            work: Work {
                coefficients: vec![0.0; points.unknowns()],
                rows,
                ..Work::default()
            },
            // They are in pixels of another picture.
            sigmas: (embedding.points().iter())
                .map(|point| f64::from(point.sigma) * options.size / Embedding::SIZE)
                .collect(),
            normals: (embedding.points().iter())
                .map(|point| point.normal.as_dvec3())
                .collect(),
            points,
            options,
        })
    }

    /// Fits everything to one picture, of which nothing is known; or its pose and expression, if the
    /// person's `shape` is.
    ///
    /// `landmarks` are pixels of the square picture, one for each point of the embedding, or none
    /// where it was not found.
    ///
    /// # Errors
    /// [`Error::Argument`] for another number of landmarks, fewer than 12 that are there, one that is
    /// not finite or far outside of the picture, a shape of another size, and for landmarks that are
    /// no face.
    pub fn fit(&mut self, landmarks: &[Option<DVec2>], shape: Option<&[f64]>) -> Result<Fit> {
        self.check(landmarks)?;
        self.start(landmarks, shape)?;
        let free = match shape {
            None => Free::All,
            Some(_) => Free::Expression,
        };
        for _ in 0..POSE_ITERATIONS {
            self.iterate(landmarks, Free::Pose, None)?;
        }
        for _ in 0..ITERATIONS {
            self.iterate(landmarks, free, None)?;
        }
        let mut fit = self.empty();
        self.finish(landmarks, &mut fit)?;
        Ok(fit)
    }

    /// Fits the next frame of a video, from the last one's `fit` whose shape is kept: three
    /// iterations.
    ///
    /// # Errors
    /// As for [`Fitter::fit`]; `fit` stays as it was.
    pub fn follow(&mut self, fit: &mut Fit, landmarks: &[Option<DVec2>]) -> Result<()> {
        self.check(landmarks)?;
        self.resume(fit)?;
        for _ in 0..FOLLOWING {
            self.iterate(landmarks, Free::Expression, None)?;
        }
        self.finish(landmarks, fit)
    }

    fn empty(&self) -> Fit {
        Fit {
            shape: vec![0.0; self.points.shapes()],
            expression: vec![0.0; self.points.expressions()],
            jaw: DVec3::ZERO,
            rotation: DMat3::IDENTITY,
            translation: DVec3::ZERO,
            residual: 0.0,
            poor: true,
        }
    }

    fn check(&self, landmarks: &[Option<DVec2>]) -> Result<()> {
        const WHAT: &str = "landmarks of a fit";
        let count = self.points.count();
        let expected = format_args!("{count}, one for each point of the embedding");
        Error::unless(landmarks.len() == count, WHAT, expected, landmarks.len())?;
        let most = FARTHEST * self.options.size;
        // NaN is not within anything.
        let within = |place: &DVec2| place.x.abs() <= most && place.y.abs() <= most;
        let mut there = landmarks.iter().flatten();
        if let Some(place) = there.clone().find(|place| !within(place)) {
            let expected = format_args!("coordinates within ±{most}");
            return Err(Error::argument(WHAT, expected, place));
        }
        let found = there.by_ref().count();
        let expected = format_args!("at least {FEWEST} that were found");
        Error::unless(found >= FEWEST, WHAT, expected, found)
    }

    fn no_face() -> Error {
        let expected = "those of a face in front of the camera";
        Error::argument("landmarks of a fit", expected, "others")
    }

    /// Takes a pose for the landmarks of a resting head from the front.
    fn start(&mut self, landmarks: &[Option<DVec2>], shape: Option<&[f64]>) -> Result<()> {
        let shapes = self.points.shapes();
        let shape = shape.unwrap_or_default();
        let ok = [0, shapes].contains(&shape.len()) && shape.iter().all(|s| s.is_finite());
        let expected = format_args!("{shapes} finite coefficients");
        Error::unless(ok, "shape of a fit", expected, format_args!("{shape:?}"))?;
        self.work.coefficients.fill(0.0);
        self.work.coefficients[..shape.len()].copy_from_slice(shape);

        let rest = || {
            let pairs = self.points.rest().iter().zip(landmarks);
            pairs.filter_map(|(rest, seen)| seen.map(|_| rest.truncate()))
        };
        let distances = &mut self.work.distances;
        let mut spread = |places: &mut dyn Iterator<Item = DVec2>, centre: DVec2| {
            distances.clear();
            distances.extend(places.map(|place| place.distance(centre)));
            median(distances)
        };
        let depths = self.points.rest().iter().map(|rest| rest.z);
        let seen = || landmarks.iter().flatten().copied();
        let (centre, mine) = (middle(seen()), middle(rest()));
        // Pixels for a unit.
        let scale = spread(&mut seen(), centre) / spread(&mut rest(), mine);
        let depth = median(&mut depths.collect::<Vec<_>>());
        let rotation = DMat3::from_diagonal(DVec3::new(-1.0, 1.0, -1.0));
        let half = self.options.size / 2.0;
        let place = (DVec2::splat(half) - centre) / scale - mine * DVec2::new(-1.0, 1.0);
        self.work.rotation = rotation;
        self.work.translation = place.extend(self.options.focal * half / scale + depth);
        match self.work.translation.is_finite() {
            true => Ok(()),
            false => Err(Self::no_face()),
        }
    }

    /// Takes the state of another fit.
    fn resume(&mut self, fit: &Fit) -> Result<()> {
        let (shapes, expressions) = (self.points.shapes(), self.points.expressions());
        let ok = fit.shape.len() == shapes && fit.expression.len() == expressions;
        let expected = format_args!("{shapes} shape and {expressions} expression coefficients");
        let found = format_args!("{} and {}", fit.shape.len(), fit.expression.len());
        Error::unless(ok, "fit", expected, found)?;
        fit.camera().validate()?;
        let [shape, expression] = [&fit.shape, &fit.expression];
        let finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
        let ok = finite(shape) && finite(expression) && fit.jaw.is_finite();
        Error::unless(ok, "fit", "finite coefficients", format_args!("{fit:?}"))?;
        let work = &mut self.work;
        work.coefficients[..shapes].copy_from_slice(shape);
        work.coefficients[shapes..shapes + expressions].copy_from_slice(expression);
        if self.points.has_jaw() {
            work.coefficients[shapes + expressions..].copy_from_slice(&fit.jaw.to_array());
        }
        (work.rotation, work.translation) = (fit.rotation, fit.translation);
        Ok(())
    }

    /// Hands out the state with its quality.
    fn finish(&mut self, landmarks: &[Option<DVec2>], fit: &mut Fit) -> Result<()> {
        self.points.update(&self.work.coefficients);
        let (work, options) = (&mut self.work, &self.options);
        work.distances.clear();
        let turn = work.rotation.transpose();
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for (place, landmark) in self.points.places().iter().zip(landmarks) {
            let Some(landmark) = landmark else { continue };
            let place = turn * *place + work.translation;
            let seen = project(place, options);
            work.distances.push(seen.distance(*landmark));
            (low, high) = (low.min(landmark.x), high.max(landmark.x));
        }
        let residual = median(&mut work.distances);
        let finite = work.coefficients.iter().all(|value| value.is_finite());
        if !finite || !residual.is_finite() || !work.translation.is_finite() {
            return Err(Self::no_face());
        }
        let shapes = self.points.shapes();
        let (shape, rest) = work.coefficients.split_at(shapes);
        let (expression, jaw) = rest.split_at(self.points.expressions());
        fit.shape.copy_from_slice(shape);
        fit.expression.copy_from_slice(expression);
        fit.jaw = match jaw {
            &[x, y, z] => DVec3::new(x, y, z),
            _ => DVec3::ZERO,
        };
        (fit.rotation, fit.translation) = (work.rotation, work.translation);
        fit.residual = residual;
        fit.poor = residual > 0.04 * (high - low)
            || (work.translation.z - options.distance[0]).abs() > 2.0
            || shape.iter().any(|s| s.abs() > 2.5);
        Ok(())
    }

    /// One Gauss-Newton step. With a `gauge` the distance's prior counts or not, instead of only
    /// while the shape is free.
    fn iterate(
        &mut self,
        landmarks: &[Option<DVec2>],
        free: Free,
        gauge: Option<bool>,
    ) -> Result<()> {
        let first = self.assemble(landmarks, free)?;
        let size = self.work.system.size();
        self.add_priors(first, POSE..size);
        if gauge.unwrap_or(free == Free::All) {
            self.add_gauge();
        }
        let Self {
            points,
            work,
            options,
            ..
        } = self;
        for i in 0..size {
            *work.system.diagonal(i) *= 1.0 + DAMPING;
        }
        // Unknowns with bounds lie behind the shape.
        let bounded = match free {
            Free::Pose => size,
            Free::Expression => POSE,
            Free::All => POSE + points.shapes(),
        };
        let bounds = |unknown: usize| bounds(points, options, first + unknown - POSE);
        let at = |work: &Work, unknown: usize| work.coefficients[first + unknown - POSE];
        work.held.clear();
        work.held.resize(size, false);
        for i in bounded..size {
            let ([low, high], value, pull) = (bounds(i), at(work, i), work.system.b[i]);
            work.held[i] = (value <= low && pull < 0.0) || (value >= high && pull > 0.0);
        }
        for _ in 0..ROUNDS {
            work.chosen.clear();
            work.chosen.extend((0..size).filter(|&i| !work.held[i]));
            work.part.select(&work.system, &work.chosen);
            if !work.part.solve() {
                return Err(Self::no_face());
            }
            work.step.clear();
            work.step.resize(size, 0.0);
            for (&i, &step) in work.chosen.iter().zip(&work.part.b) {
                work.step[i] = step;
            }
            let mut left = false;
            for i in bounded..size {
                let ([low, high], value) = (bounds(i), at(work, i));
                let next = value + work.step[i];
                let leaves = (value <= low && next < low) || (value >= high && next > high);
                if leaves && !work.held[i] {
                    (work.held[i], left) = (true, true);
                }
            }
            if !left {
                break;
            }
        }
        let step = DVec3::from_slice(&work.step[..3]);
        work.rotation *= rotation_of(step).transpose();
        work.translation += DVec3::from_slice(&work.step[3..POSE]);
        for i in POSE..size {
            let value = at(work, i) + work.step[i];
            work.coefficients[first + i - POSE] = match i >= bounded {
                true => {
                    let [low, high] = bounds(i);
                    value.clamp(low, high)
                }
                false => value,
            };
        }
        Ok(())
    }

    /// The normal equations of the landmarks alone, in the work's system. Returns the first coefficient
    /// that is an unknown; it comes after those of the pose.
    fn assemble(&mut self, landmarks: &[Option<DVec2>], free: Free) -> Result<usize> {
        let Self {
            points,
            work,
            options,
            ..
        } = self;
        points.update(&work.coefficients);
        let (first, count) = match free {
            Free::Pose => (0, 0),
            Free::Expression => (points.shapes(), points.unknowns() - points.shapes()),
            Free::All => (0, points.unknowns()),
        };
        let size = POSE + count;
        work.system.clear(size);
        let turn = work.rotation.transpose();
        let slope = -options.size / 2.0 * options.focal;
        for (l, landmark) in landmarks.iter().enumerate() {
            let Some(landmark) = landmark else { continue };
            // From the world's origin, which rotations are about.
            let arm = turn * points.places()[l];
            let place = arm + work.translation;
            if !(place.z > NEAREST && place.is_finite()) {
                return Err(Self::no_face());
            }
            // What faces away is hidden, and the nets guess it.
            let hidden = (turn * self.normals[l]).dot(place) > 0.0;
            let sigma = self.sigmas[l] * if hidden { 3.0 } else { 1.0 };
            let residual = (project(place, options) - *landmark) / sigma;
            let weight = 1.0 / (1.0 + residual.length_squared() / options.robust.powi(2));
            let share = weight.sqrt();
            let along = slope / place.z;
            let gradients = [
                DVec3::new(along, 0.0, -along * place.x / place.z),
                DVec3::new(0.0, along, -along * place.y / place.z),
            ];
            for (row, gradient) in work.rows.iter_mut().zip(gradients) {
                let gradient = gradient * (share / sigma);
                row[..3].copy_from_slice(&arm.cross(gradient).to_array());
                row[3..POSE].copy_from_slice(&gradient.to_array());
                // Derivatives of points are in the world.
                let gradient = work.rotation * gradient;
                let derivatives = &points.derivatives(l)[first..first + count];
                for (entry, derivative) in row[POSE..size].iter_mut().zip(derivatives) {
                    *entry = gradient.dot(*derivative);
                }
            }
            let [x, y] = &work.rows;
            let residual = residual * share;
            work.system
                .add([&x[..size], &y[..size]], residual.to_array());
        }
        Ok(first)
    }

    /// Adds what is likely of some unknowns to the system.
    fn add_priors(&mut self, first: usize, unknowns: Range<usize>) {
        let Self {
            points,
            work,
            options,
            ..
        } = self;
        for unknown in unknowns {
            let index = first + unknown - POSE;
            let spread = spread(points, options, index);
            add_prior(&mut work.system, unknown, work.coefficients[index], spread);
        }
    }

    /// Adds what is likely of the camera's distance to the system.
    fn add_gauge(&mut self) {
        let [distance, spread] = self.options.distance;
        let work = &mut self.work;
        add_prior(&mut work.system, 5, work.translation.z - distance, spread);
    }
}

/// Adds the square of (`value`/`spread`) of an unknown.
fn add_prior(system: &mut Normal, unknown: usize, value: f64, spread: f64) {
    let precision = spread.powi(-2);
    *system.diagonal(unknown) += precision;
    system.b[unknown] -= value * precision;
}

/// Standard deviation of a coefficient.
fn spread(points: &Points, options: &FitOptions, index: usize) -> f64 {
    match index.checked_sub(points.shapes()) {
        None => options.shape,
        Some(index) if index < points.expressions() => options.expression,
        Some(_) => options.jaw,
    }
}

/// Smallest and largest value of a coefficient of the expression or the jaw, which opens by turning
/// about x.
fn bounds(points: &Points, options: &FitOptions, index: usize) -> [f64; 2] {
    match (index - points.shapes()).checked_sub(points.expressions()) {
        None => options.bounds,
        Some(0) => JAW_BOUNDS,
        Some(_) => [-0.2, 0.2],
    }
}

/// Smallest and largest angle of an open jaw, in radians.
pub(crate) const JAW_BOUNDS: [f64; 2] = [0.0, 0.6];

/// The pixel of a place in camera space.
fn project(place: DVec3, options: &FitOptions) -> DVec2 {
    options.size / 2.0 * (1.0 - options.focal * place.truncate() / place.z)
}

/// The median of each coordinate.
fn middle(places: impl Iterator<Item = DVec2> + Clone) -> DVec2 {
    let of = |pick: fn(DVec2) -> f64| median(&mut places.clone().map(pick).collect::<Vec<_>>());
    DVec2::new(of(|place| place.x), of(|place| place.y))
}

#[cfg(test)]
pub(crate) mod tests;
