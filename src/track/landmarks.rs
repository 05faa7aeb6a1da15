//! The landmarks of a face.

use glam::{Vec2, Vec3, Vec3Swizzles};

use super::region::Region;
use super::sigmoid;
use crate::error::{Error, Result};

/// Number of landmarks: 468 on the face, then 5 for each iris.
pub const LANDMARKS: usize = 478;

/// The net's input has so many pixels a side, and its points are in these pixels.
const INPUT: f32 = 256.0;
/// The outer corner of the eye at the left of an upright picture, the person's right; the other one.
const EYES: [usize; 2] = [33, 263];

/// The landmarks that a net found in a region of a picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Landmarks {
    /// Their places in continuous pixels of the picture; z in the same unit, smaller is nearer to the
    /// camera. There are [`LANDMARKS`] of them, all finite.
    pub points: Vec<Vec3>,
    /// How sure it is that there is a face, from 0 to 1.
    pub presence: f32,
    /// How far the tongue is out, from 0 to 1. No positive case of it is known.
    pub tongue: f32,
}

impl Landmarks {
    /// Takes a net's output for a region of the picture: `raw` are 478 x (x, y, z) in pixels of the
    /// input, 256 a side; `presence` is a logit.
    ///
    /// ```text
    /// p = raw/256;  place = centre + R(angle)·((p.xy - ½)·size),  z = p.z·width
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] for another count and for what is not finite; the landmarks stay as they
    /// were.
    pub(crate) fn place(
        &mut self,
        raw: &[f32],
        presence: f32,
        tongue: f32,
        region: &Region,
    ) -> Result<()> {
        const WHAT: &str = "output of the landmark net";
        let count = raw.len();
        let expected = format_args!("{} numbers", 3 * LANDMARKS);
        Error::unless(count == 3 * LANDMARKS, WHAT, expected, count)?;
        let (rows, _) = raw.as_chunks::<3>();
        let places = rows.iter().map(|row| {
            let [x, y, z] = row.map(|v| v / INPUT);
            region.to_picture(Vec2::new(x, y)).extend(z * region.size.x)
        });
        let finite = places.clone().all(|place| place.is_finite());
        let finite = finite && presence.is_finite() && tongue.is_finite();
        Error::unless(finite, WHAT, "finite numbers", "others")?;
        self.points.clear();
        self.points.extend(places);
        self.presence = sigmoid(presence);
        self.tongue = tongue;
        Ok(())
    }

    /// The region for the next pass over a still, or for the next frame: a square of 1.5 times the
    /// longer side of the box around all points, turned so that the eyes lie level.
    ///
    /// # Errors
    /// [`Error::Argument`] if the points are not 478 finite ones.
    pub fn region(&self) -> Result<Region> {
        self.check()?;
        let [low, high] = self.bounds();
        let [start, end] = EYES.map(|i| self.points[i].xy());
        Ok(Region::around([low, high], start, end))
    }

    /// Upper left and lower right corner of the box around all points.
    pub(crate) fn bounds(&self) -> [Vec2; 2] {
        let places = self.points.iter().map(|p| p.xy());
        [
            places.clone().fold(Vec2::INFINITY, Vec2::min),
            places.fold(Vec2::NEG_INFINITY, Vec2::max),
        ]
    }

    /// Fails unless there are 478 finite points.
    pub(crate) fn check(&self) -> Result<()> {
        let count = self.points.len();
        let expected = format_args!("{LANDMARKS} points");
        Error::unless(count == LANDMARKS, "landmarks", expected, count)?;
        let wrong = self.points.iter().position(|point| !point.is_finite());
        let Some(index) = wrong else {
            return Ok(());
        };
        let found = format_args!("{} at {index}", self.points[index]);
        Err(Error::argument("landmarks", "finite points", found))
    }
}

#[cfg(test)]
pub(crate) mod tests;
