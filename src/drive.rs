//! One frame of expression, pose and camera, which drives an avatar.

use std::sync::Arc;

use crate::camera::{Camera, FARTHEST};
use crate::error::{Error, Result};
use crate::head::{HeadModel, check_coefficients, check_finite};

/// Expression, pose and camera of one frame.
///
/// ```
/// use gpavatar::{Camera, Drive};
///
/// let drive = Drive::neutral()
///     .expression("jawOpen", 0.6)
///     .pose([0.0, 0.2, 0.0, 0.0, 0.0, 0.0])
///     .camera(Camera::orbit(10.0, 5.0, 10.0));
/// ```
///
/// A drive knows no model; names and counts are checked against one when it is rendered, or
/// beforehand by [`Drive::resolve`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drive {
    /// Names of `coefficients`, shared by the frames of a motion; without them they are the head
    /// model's channels in order.
    pub(crate) channels: Option<Arc<[String]>>,
    pub(crate) coefficients: Vec<f32>,
    named: Vec<(String, f32)>,
    pub(crate) pose: Vec<f32>,
    points: Option<Vec<[f32; 3]>>,
    pub(crate) camera: Camera,
}

impl Drive {
    /// The head at rest before the default camera.
    #[must_use]
    pub fn neutral() -> Self {
        Self::default()
    }

    /// Explicit points, for hosts with a morphable model of their own.
    ///
    /// They replace expression and pose. Their number, meaning and order are those of the model's
    /// training; they are in world coordinates (see [`Camera`]) within ±10⁶.
    #[must_use]
    pub fn points(points: Vec<[f32; 3]>) -> Self {
        Self {
            points: Some(points),
            ..Self::default()
        }
    }

    /// Sets one expression channel of the head model, usually between 0 and 1.
    ///
    /// It overrides [`Drive::coefficients`] and an earlier call for the same channel.
    #[must_use]
    pub fn expression(mut self, channel: impl AsRef<str>, value: f32) -> Self {
        self.set_expression(channel, value);
        self
    }

    /// [`Drive::expression`] for a drive that is kept from frame to frame: a channel that was set before
    /// allocates nothing.
    pub fn set_expression(&mut self, channel: impl AsRef<str>, value: f32) -> &mut Self {
        let channel = channel.as_ref();
        match self.named.iter_mut().find(|(name, _)| name == channel) {
            Some((_, known)) => *known = value,
            None => self.named.push((channel.into(), value)),
        }
        self
    }

    /// Sets the coefficients of all expression channels, in the head model's order.
    #[must_use]
    pub fn coefficients(mut self, coefficients: impl Into<Vec<f32>>) -> Self {
        self.channels = None;
        self.coefficients = coefficients.into();
        self
    }

    /// [`Drive::coefficients`] for a drive that is kept from frame to frame.
    pub fn set_coefficients(&mut self, coefficients: &[f32]) -> &mut Self {
        self.channels = None;
        self.coefficients.clear();
        self.coefficients.extend_from_slice(coefficients);
        self
    }

    /// Sets the pose: an axis-angle triple (axis times angle in radians) for each joint that the
    /// head model lets a pose drive, or for each of its joints.
    ///
    /// With FLAME that is the global rotation, then the jaw's: `[gx, gy, gz, jx, jy, jz]`.
    #[must_use]
    pub fn pose(mut self, pose: impl Into<Vec<f32>>) -> Self {
        self.pose = pose.into();
        self
    }

    /// [`Drive::pose`] for a drive that is kept from frame to frame.
    pub fn set_pose(&mut self, pose: &[f32]) -> &mut Self {
        self.pose.clear();
        self.pose.extend_from_slice(pose);
        self
    }

    /// Sets the camera.
    #[must_use]
    pub fn camera(mut self, camera: impl Into<Camera>) -> Self {
        self.set_camera(camera);
        self
    }

    /// [`Drive::camera`] for a drive that is kept from frame to frame.
    pub fn set_camera(&mut self, camera: impl Into<Camera>) -> &mut Self {
        self.camera = camera.into();
        self
    }

    /// Checks this drive against a model and puts names in their places.
    ///
    /// `head` is the model's head, if it has one; `points` is the model's number of points.
    ///
    /// # Errors
    /// [`Error::Argument`] if a channel is unknown (with the most similar names), a count does not
    /// fit, a value is not finite, a point lies beyond ±10⁶, the camera is
    /// [no camera](Camera::validate), or points are given together with an expression or pose.
    pub fn resolve(&self, head: Option<&HeadModel>, points: usize) -> Result<ResolvedDrive<'_>> {
        self.camera.validate()?;
        let at_rest = self.coefficients.is_empty() && self.named.is_empty() && self.pose.is_empty();
        let geometry = match (&self.points, head) {
            (Some(_), _) if !at_rest => {
                let expected = "either points or expression and pose";
                return Err(Error::argument("drive", expected, "both"));
            }
            (Some(found), _) => {
                check_points(found, points)?;
                Geometry::Points(found)
            }
            (None, Some(head)) => {
                head.check_pose(&self.pose)?;
                Geometry::Coefficients {
                    expression: self.resolve_expression(head)?,
                    pose: &self.pose,
                }
            }
            (None, None) => {
                let expected = format!("{points} explicit points, as the model has no head model");
                return Err(Error::argument("drive", expected, "none"));
            }
        };
        Ok(ResolvedDrive {
            geometry,
            camera: &self.camera,
        })
    }

    fn resolve_expression(&self, head: &HeadModel) -> Result<Vec<f32>> {
        let mut expression = vec![0.0; head.expression_count()];
        match &self.channels {
            Some(channels) if **channels != *head.parts().channels => {
                check_finite("expression", &self.coefficients)?;
                for (channel, &value) in channels.iter().zip(&self.coefficients) {
                    expression[head.channel(channel)?] = value;
                }
            }
            _ => {
                check_coefficients("expression", &self.coefficients, expression.len())?;
                if !self.coefficients.is_empty() {
                    expression.copy_from_slice(&self.coefficients);
                }
            }
        }
        for (channel, value) in &self.named {
            check_finite(&format!("expression {channel:?}"), &[*value])?;
            expression[head.channel(channel)?] = *value;
        }
        Ok(expression)
    }
}

fn check_points(points: &[[f32; 3]], count: usize) -> Result<()> {
    const WHAT: &str = "points of the drive";
    let expected = format_args!("{count} points");
    Error::unless(points.len() == count, WHAT, expected, points.len())?;
    let within = |point: &[f32; 3]| point.iter().all(|v| v.abs() <= FARTHEST);
    if let Some(i) = points.iter().position(|point| !within(point)) {
        let expected = format_args!("coordinates within ±{FARTHEST}");
        let found = format_args!("{:?} at index {i}", points[i]);
        return Err(Error::argument(WHAT, expected, found));
    }
    Ok(())
}

/// A [`Drive`] that fits a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedDrive<'a> {
    /// The head's points, or what they are computed from.
    pub geometry: Geometry<'a>,
    /// The camera, valid.
    pub camera: &'a Camera,
}

/// The points of a [`ResolvedDrive`], or what they are computed from.
#[derive(Clone, Debug, PartialEq)]
pub enum Geometry<'a> {
    /// Coefficients of the head model.
    Coefficients {
        /// One coefficient for every expression direction.
        expression: Vec<f32>,
        /// Axis-angle triples: for each joint that a pose drives, for each joint, or none.
        pose: &'a [f32],
    },
    /// The host's points.
    Points(&'a [[f32; 3]]),
}

#[cfg(test)]
pub(crate) mod tests;
