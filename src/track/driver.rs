//! From tracked faces to drives of a head model.

use glam::{DMat3, DVec2, DVec3};

use super::canonical::{DISTANCE, HeadPose};
use super::filter::{OneEuro, Rotation, Values, after_loss};
use super::fit::Fit;
use super::maths::{rotation_of, vector_of};
use super::neutral::{Calibration, Neutral};
use super::retarget::Retarget;
use crate::camera::Camera;
use crate::drive::Drive;
use crate::error::{Error, Result};
use crate::head::{ARKIT, HeadModel, check_finite};

/// What was found of a face in a frame.
#[derive(Clone, Copy, Debug)]
pub struct FaceFrame<'a> {
    /// Scores of ARKit's 52 channels in alphabetical order, `browDownLeft` to `noseSneerRight`, then
    /// `tongueOut`: from 0 to 1.
    pub scores: &'a [f32],
    /// Where the head is.
    pub pose: HeadPose,
    /// A fit of the head model with the person's identity. Without one, scores drive all channels, as
    /// they do where the expression is retargeted.
    pub fit: Option<&'a Fit>,
    /// How sure it is that there is a face, from 0 to 1.
    pub presence: f32,
}

/// What a model was trained for. Poses beyond come out nearer and nearer to these, never beyond.
#[derive(Clone, Debug, PartialEq)]
pub struct DriveLimits {
    /// Azimuth of the camera in degrees, to both sides.
    pub azimuth: f64,
    /// Elevation of the camera in degrees, up and down.
    pub elevation: f64,
    /// Roll of the camera in degrees, to both sides.
    pub roll: f64,
    /// Nearest, usual and farthest distance of the camera in world units.
    pub distance: [f64; 3],
    /// How far the head moves in the picture, in world units to each side.
    pub shift: f64,
}

impl Default for DriveLimits {
    /// Those of the shipped model.
    fn default() -> Self {
        Self {
            azimuth: 45.0,
            elevation: 20.0,
            roll: 10.0,
            distance: [10.1, DISTANCE, 11.2],
            shift: 0.1,
        }
    }
}

/// How a [`Driver`] turns what is tracked into drives.
#[derive(Clone, Debug, PartialEq)]
pub struct DriverOptions {
    /// How the neutral face is found.
    pub calibration: Calibration,
    /// What the model was trained for.
    pub limits: DriveLimits,
    /// Smooths what is tracked, at the price of a frame or so.
    pub smooth: bool,
    /// How much of the head's rotation goes into the first joint that a pose turns (of the shipped
    /// model the neck, up to 0.17), in radians; the camera has the rest.
    pub neck: f64,
    /// Turns left into right, as in a mirror.
    pub mirror: bool,
}

impl Default for DriverOptions {
    /// First still second, the shipped model's limits, smooth, all rotation in the camera, no mirror.
    fn default() -> Self {
        Self {
            calibration: Calibration::default(),
            limits: DriveLimits::default(),
            smooth: true,
            neck: 0.0,
            mirror: false,
        }
    }
}

/// Drives one head model by one person's face.
///
/// Expressions are measured from the person's neutral face, and so is the pose: the model faces the
/// viewer when the person looks as they do at rest.
///
/// Channels come from the scores; with a [`Fit`], it gives those that a fit tells better (jaw, smile,
/// frown, stretch, brows, mouth to the sides), and blinks are the mean of both.
///
/// A face that is lost keeps its pose; its expression stays for half a second and then returns to
/// rest.
#[derive(Clone, Debug)]
pub struct Driver {
    options: DriverOptions,
    /// For each channel of the scores, its place in the head model, or none.
    places: Vec<Option<usize>>,
    expressions: usize,
    /// Number of joints that a pose turns.
    joints: usize,
    retarget: Option<Retarget>,
    scores: Neutral,
    fits: Neutral,
    filters: Values,
    rotation: Rotation,
    place: Values,
    /// What the last face gave.
    last: State,
    lost_for: f64,
    /// The channels of the last frame before calibration.
    raw: Option<(Vec<f64>, Vec<f64>, HeadPose)>,
}

/// A face in the head model's terms.
#[derive(Clone, Debug)]
struct State {
    /// ARKit's channels.
    channels: Vec<f64>,
    /// Rotation and translation of the camera, before limits.
    rotation: DMat3,
    translation: DVec3,
}

impl State {
    fn at_rest(limits: &DriveLimits) -> Self {
        Self {
            channels: vec![0.0; ARKIT.len()],
            rotation: FRONTAL,
            translation: DVec3::Z * limits.distance[1],
        }
    }
}

/// How the camera of a frontal picture is turned.
const FRONTAL: DMat3 = DMat3::from_diagonal(DVec3::new(-1.0, 1.0, -1.0));

impl Driver {
    /// A driver of a head model whose channels have names of ARKit.
    ///
    /// # Errors
    /// [`Error::Argument`] if none of its channels has, or an option is out of its range.
    pub fn new(head: &HeadModel, options: DriverOptions) -> Result<Self> {
        let channels = &head.parts().channels;
        let place = |name: &&str| channels.iter().position(|channel| channel == name);
        let places: Vec<_> = ARKIT.iter().map(place).collect();
        let expected = "channels with names of ARKit, or a retargeted expression";
        let ok = places.iter().any(Option::is_some);
        let count = head.expression_count();
        let found = format_args!("{count} channels without");
        Error::unless(ok, "head model to drive", expected, found)?;
        Self::build(head, options, places, None)
    }

    /// A driver of a head model without such channels, whose expression was retargeted from one that
    /// has them.
    ///
    /// # Errors
    /// [`Error::Argument`] if it was retargeted to another head model, from channels of which none has
    /// a name of ARKit, or an option is out of its range.
    pub fn retargeted(
        head: &HeadModel,
        retarget: Retarget,
        options: DriverOptions,
    ) -> Result<Self> {
        retarget.check(head)?;
        let channels = retarget.channels();
        let place = |name: &&str| channels.iter().position(|channel| channel == name);
        let places: Vec<_> = ARKIT.iter().map(place).collect();
        let ok = places.iter().any(Option::is_some);
        let what = "channels of the retargeted expression";
        Error::unless(ok, what, "names of ARKit", "none of them")?;
        Self::build(head, options, places, Some(retarget))
    }

    fn build(
        head: &HeadModel,
        options: DriverOptions,
        places: Vec<Option<usize>>,
        retarget: Option<Retarget>,
    ) -> Result<Self> {
        options.check()?;
        let calibration = options.calibration;
        let filters = ARKIT.iter().map(|name| OneEuro::of_channel(name)).collect();
        Ok(Self {
            places,
            expressions: head.expression_count(),
            joints: head.parts().pose_joints.len(),
            retarget,
            scores: Neutral::new(calibration, ARKIT.len()),
            fits: Neutral::new(calibration, ARKIT.len()),
            filters: Values::new(filters),
            rotation: Rotation::new(OneEuro::ROTATION),
            place: Values::new(vec![OneEuro::PLACE; 3]),
            last: State::at_rest(&options.limits),
            lost_for: 0.0,
            raw: None,
            options,
        })
    }

    /// Takes the last face that was seen for the person's neutral one. Without any, nothing changes.
    pub fn calibrate(&mut self) {
        if let Some((scores, fit, pose)) = &self.raw {
            self.scores.calibrate(scores, pose);
            self.fits.calibrate(fit, pose);
        }
    }

    /// Forgets the frames so far, but not how the person looks at rest: the next frame is the first one
    /// of another video of theirs, or of the same one, which was looked through for their neutral face.
    pub fn restart(&mut self) {
        self.filters.restart();
        self.rotation.restart();
        self.place.restart();
        self.lost_for = 0.0;
        self.last = State::at_rest(&self.options.limits);
        self.raw = None;
    }

    /// Turns left into right from the next frame on, or no longer. The neutral face stays.
    pub fn set_mirror(&mut self, mirrored: bool) {
        if self.options.mirror == mirrored {
            return;
        }
        self.options.mirror = mirrored;
        // What is smoothed does not glide from one side to the other.
        self.filters.restart();
        self.rotation.restart();
        self.place.restart();
        let last = &mut self.last;
        mirror(
            &mut last.channels,
            &mut last.rotation,
            &mut last.translation,
        );
    }

    /// The drive for a frame that comes `seconds` after the last one; without a face, for one in
    /// which it is lost.
    ///
    /// # Errors
    /// [`Error::Argument`] for another number of scores, what is not finite, a fit of another head
    /// model, or a rotation that is none.
    pub fn drive(&mut self, face: Option<&FaceFrame>, seconds: f64) -> Result<Drive> {
        let Some(face) = face else {
            return self.lost(seconds);
        };
        self.check(face)?;
        let mut channels: Vec<f64> = face.scores.iter().map(|s| f64::from(*s)).collect();
        let mut fitted = channels.clone();
        let fit = face.fit.filter(|_| self.retarget.is_none());
        if let Some(fit) = fit {
            for (value, place) in fitted.iter_mut().zip(&self.places) {
                *value = place.map_or(0.0, |place| fit.expression[place]);
            }
        }
        self.raw = Some((channels.clone(), fitted.clone(), face.pose));
        self.scores
            .watch(&channels, &face.pose, face.presence, seconds);
        self.scores.calibrated(&mut channels);
        if fit.is_some() {
            self.fits.watch(&fitted, &face.pose, face.presence, seconds);
            self.fits.calibrated(&mut fitted);
            for ((value, fit), name) in channels.iter_mut().zip(&fitted).zip(ARKIT) {
                let share = fit_share(name);
                *value += share * (fit - *value);
            }
        }
        let (mut rotation, mut translation) = self.relative(&face.pose);
        if self.options.mirror {
            mirror(&mut channels, &mut rotation, &mut translation);
        }
        if self.lost_for > 0.0 {
            self.filters.restart();
            self.rotation.restart();
            self.place.restart();
            self.lost_for = 0.0;
        }
        if self.options.smooth {
            self.filters.step(&mut channels, seconds);
            rotation = self.rotation.step(rotation, seconds);
            let mut place = translation.to_array();
            self.place.step(&mut place, seconds);
            translation = place.into();
        }
        self.last = State {
            channels,
            rotation,
            translation,
        };
        self.of(&self.last, 1.0)
    }

    fn lost(&mut self, seconds: f64) -> Result<Drive> {
        self.lost_for += seconds.max(0.0);
        self.of(&self.last, after_loss(self.lost_for))
    }

    fn check(&self, face: &FaceFrame) -> Result<()> {
        let (count, found) = (ARKIT.len(), face.scores.len());
        Error::unless(found == count, "scores", format_args!("{count}"), found)?;
        check_finite("scores", face.scores)?;
        let HeadPose {
            rotation,
            origin,
            unit,
        } = face.pose;
        let ok = origin.is_finite() && unit.is_finite() && unit > 0.0;
        let found = format_args!("{:?}", face.pose);
        Error::unless(
            ok,
            "pose of a face",
            "finite numbers and a positive unit",
            found,
        )?;
        Camera::from_axes(rotation.as_mat3(), glam::Vec3::Z).validate()?;
        let Some(fit) = face.fit else {
            return Ok(());
        };
        let expected = format_args!(
            "one of this head model, with {} coefficients",
            self.expressions
        );
        let found = fit.expression.len();
        let ok = found == self.expressions;
        Error::unless(ok, "fit of a face", expected, found)?;
        let finite = fit.expression.iter().all(|e| e.is_finite());
        Error::unless(finite, "fit of a face", "finite coefficients", "others")
    }

    /// The pose relative to the neutral one, which is frontal at the usual distance.
    fn relative(&self, pose: &HeadPose) -> (DMat3, DVec3) {
        let neutral = self.scores.pose().unwrap_or(pose);
        let rotation = FRONTAL * (neutral.rotation.transpose() * pose.rotation);
        // Camera space has x to the left and y up.
        let moved: DVec2 = (neutral.origin - pose.origin) / pose.unit;
        let distance = self.options.limits.distance[1] * neutral.unit / pose.unit;
        (rotation, moved.extend(distance))
    }

    /// The drive of a state with so much of its expression.
    fn of(&self, state: &State, share: f64) -> Result<Drive> {
        let count = self
            .retarget
            .as_ref()
            .map(|retarget| retarget.channels().len());
        let mut coefficients = vec![0.0; count.unwrap_or(self.expressions)];
        for (value, place) in state.channels.iter().zip(&self.places) {
            if let Some(place) = place {
                coefficients[*place] = (share * value) as f32;
            }
        }
        let (coefficients, mut pose) = match &self.retarget {
            Some(retarget) => retarget.apply(&coefficients)?,
            None => (coefficients, Vec::new()),
        };
        let limits = &self.options.limits;
        let mut rotation = state.rotation;
        if self.options.neck > 0.0 && self.joints > 0 {
            // The head's rotation in the world.
            let turn = vector_of(FRONTAL * rotation.transpose());
            let part = turn.clamp_length_max(self.options.neck);
            pose.resize(3 * self.joints, 0.0);
            pose[..3].copy_from_slice(&part.as_vec3().to_array());
            rotation = rotation_of(turn - part).transpose() * FRONTAL;
        }
        let camera = limits.apply(rotation, state.translation);
        Ok(Drive::neutral()
            .coefficients(coefficients)
            .pose(pose)
            .camera(camera))
    }
}

impl DriverOptions {
    fn check(&self) -> Result<()> {
        let limits = &self.limits;
        for (what, value) in [
            ("limit of the azimuth", limits.azimuth),
            ("limit of the elevation", limits.elevation),
            ("limit of the roll", limits.roll),
            ("limit of the shift", limits.shift),
            ("rotation of the neck", self.neck),
        ] {
            let ok = value.is_finite() && value >= 0.0;
            Error::unless(ok, what, "a finite number from 0", value)?;
        }
        let [near, usual, far] = limits.distance;
        let ok = 0.0 < near && near <= usual && usual <= far && far.is_finite();
        let found = format_args!("{:?}", limits.distance);
        Error::unless(
            ok,
            "distances",
            "positive numbers in ascending order",
            found,
        )
    }
}

impl DriveLimits {
    /// The camera for a pose, within the limits.
    fn apply(&self, rotation: DMat3, translation: DVec3) -> Camera {
        let forward = rotation.z_axis;
        let elevation = (-forward.y).clamp(-1.0, 1.0).asin();
        let azimuth = (-forward.x).atan2(-forward.z);
        let upright = orbit(azimuth, elevation);
        let left = rotation.x_axis;
        let roll = left.dot(upright.y_axis).atan2(left.dot(upright.x_axis));
        let [azimuth, elevation, roll] = [
            (azimuth, self.azimuth),
            (elevation, self.elevation),
            (roll, self.roll),
        ]
        .map(|(angle, limit)| soft(angle, limit.to_radians()));
        let rotation = orbit(azimuth, elevation) * DMat3::from_rotation_z(roll);
        let [near, usual, far] = self.distance;
        let farther = translation.z - usual;
        let reach = if farther < 0.0 {
            usual - near
        } else {
            far - usual
        };
        let place = DVec3::new(
            soft(translation.x, self.shift),
            soft(translation.y, self.shift),
            usual + soft(farther, reach),
        );
        Camera::from_axes(rotation.as_mat3(), place.as_vec3())
    }
}

/// A camera's axes on a sphere around the head, as [`Camera::orbit`] has them; angles in radians.
fn orbit(azimuth: f64, elevation: f64) -> DMat3 {
    let (sin_e, cos_e) = elevation.sin_cos();
    let (sin_a, cos_a) = azimuth.sin_cos();
    let z = -DVec3::new(cos_e * sin_a, sin_e, cos_e * cos_a);
    // Perpendicular to the view and level, also from above.
    let x = DVec3::new(-cos_a, 0.0, sin_a);
    DMat3::from_cols(x, z.cross(x), z)
}

/// The value itself up to four fifths of the limit, from there on nearer and nearer to the limit.
fn soft(value: f64, limit: f64) -> f64 {
    const KNEE: f64 = 0.8;
    let knee = KNEE * limit;
    let beyond = value.abs() - knee;
    match beyond > 0.0 && limit > 0.0 {
        true => value.signum() * (knee + (limit - knee) * (beyond / (limit - knee)).tanh()),
        false => value.clamp(-limit, limit),
    }
}

/// How much of a channel comes from a fit, measured on drawn people.
fn fit_share(name: &str) -> f64 {
    const FITTED: [&str; 6] = [
        "jawOpen",
        "mouthSmile",
        "mouthFrown",
        "mouthStretch",
        "brow",
        "mouthLeft",
    ];
    match name {
        "mouthRight" => 1.0,
        _ if FITTED.iter().any(|fitted| name.starts_with(fitted)) => 1.0,
        _ if name.starts_with("eyeBlink") => 0.5,
        _ => 0.0,
    }
}

/// Turns left into right.
fn mirror(channels: &mut [f64], rotation: &mut DMat3, translation: &mut DVec3) {
    for (i, name) in ARKIT.iter().enumerate() {
        let Some(stem) = name.strip_suffix("Left") else {
            continue;
        };
        let other = format!("{stem}Right");
        if let Some(j) = ARKIT.iter().position(|name| *name == other) {
            channels.swap(i, j);
        }
    }
    // x of world and camera change their signs.
    let flip = DMat3::from_diagonal(DVec3::new(-1.0, 1.0, 1.0));
    *rotation = flip * *rotation * flip;
    translation.x = -translation.x;
}

#[cfg(test)]
mod tests;
