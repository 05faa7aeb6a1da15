//! Which regions of a picture to look at: faces from frame to frame, and passes over a still.
//!
//! These are decisions only. Whoever runs the networks asks which of them to run, and reports what
//! they found.

use super::detection::Detection;
use super::landmarks::Landmarks;
use super::region::{Region, overlap};
use crate::error::Result;

/// Presence from which a face of a video is followed.
pub(crate) const FOLLOW: f32 = 0.5;
/// Presence from which a still shows a face: true ones have 0.9999, other things up to 0.6.
pub(crate) const STILL: f32 = 0.9;
/// Score from which a detection is a face although its region does not settle. True faces have more
/// unless they are small or turned, and settle then; what the landmark net takes for a face has less,
/// and its region wanders.
const SURE: f32 = 0.75;
/// Most passes over a still.
pub(crate) const PASSES: usize = 4;
/// Seconds after which a lost face is forgotten: a face that is found then is somebody else.
const FORGOTTEN: f64 = 2.0;
/// Regions that overlap by more than this show the same face.
const SAME: f32 = 0.5;

/// The faces of a video.
///
/// In each frame: if [`Faces::searches`], run the detector and report to [`Faces::detected`]. Then
/// run the landmark net for each face that has a region and report to [`Faces::seen`]; at the end
/// call [`Faces::advance`].
#[derive(Clone, Debug)]
pub(crate) struct Faces {
    most: usize,
    /// Oldest first.
    faces: Vec<Face>,
    next: u64,
}

/// A face of a video.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Face {
    /// Counts the faces of the video.
    pub id: u64,
    /// Where it is, or was when it was lost.
    pub region: Region,
    /// True while it is not found.
    pub lost: bool,
    /// Seconds since it was lost, 0 while it is followed.
    pub lost_for: f64,
}

impl Faces {
    /// Follows up to `most` faces.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            faces: Vec::with_capacity(most),
            next: 0,
        }
    }

    /// The faces, oldest first, those that were lost lately included.
    pub fn faces(&self) -> &[Face] {
        &self.faces
    }

    /// True if the detector has to look at this frame: fewer faces are followed than wanted.
    pub fn searches(&self) -> bool {
        self.faces.iter().filter(|face| !face.lost).count() < self.most
    }

    /// Takes what the detector found, best first. A lost face comes back at the detection that is
    /// nearest to where it was; others become new faces.
    pub fn detected(&mut self, detections: &[Detection]) {
        for i in 0..self.faces.len() {
            let face = self.faces[i];
            if !face.lost {
                continue;
            }
            let regions = detections.iter().map(Detection::region);
            let free = regions.filter(|region| !self.follows(region));
            let distance = |region: &Region| region.centre.distance_squared(face.region.centre);
            let nearest = free.min_by(|a, b| distance(a).total_cmp(&distance(b)));
            if let Some(region) = nearest {
                self.faces[i] = Face {
                    region,
                    lost: false,
                    lost_for: 0.0,
                    ..face
                };
            }
        }
        for region in detections.iter().map(Detection::region) {
            if !self.searches() {
                break;
            }
            if self.follows(&region) {
                continue;
            }
            if self.faces.len() >= self.most {
                break;
            }
            self.faces.push(Face {
                id: self.next,
                region,
                lost: false,
                lost_for: 0.0,
            });
            self.next += 1;
        }
    }

    /// True if the region shows a face that is followed.
    fn follows(&self, region: &Region) -> bool {
        let corners = region.corners();
        let mut followed = self.faces.iter().filter(|face| !face.lost);
        followed.any(|face| overlap(face.region.corners(), corners) > SAME)
    }

    /// Takes the landmarks of a face in this frame: they say where it will be in the next one, or
    /// that it is lost. Returns true if it is there.
    pub fn seen(&mut self, id: u64, landmarks: &Landmarks) -> bool {
        let region = match landmarks.presence >= FOLLOW {
            true => landmarks.region().ok(),
            false => None,
        };
        let Some(face) = self.faces.iter_mut().find(|face| face.id == id) else {
            return false;
        };
        face.lost = region.is_none();
        face.region = region.unwrap_or(face.region);
        region.is_some()
    }

    /// Ends a frame that lasted `seconds`: of two faces in the same place the younger one goes, and
    /// so does who was lost for two seconds.
    pub fn advance(&mut self, seconds: f64) {
        let mut kept = 0;
        for i in 0..self.faces.len() {
            let mut face = self.faces[i];
            face.lost_for = match face.lost {
                true => face.lost_for + seconds.max(0.0),
                false => 0.0,
            };
            let corners = face.region.corners();
            let twice = self.faces[..kept].iter().any(|older| {
                !older.lost && !face.lost && overlap(older.region.corners(), corners) > SAME
            });
            if !twice && face.lost_for < FORGOTTEN {
                self.faces[kept] = face;
                kept += 1;
            }
        }
        self.faces.truncate(kept);
    }
}

/// What to do after a pass over a face of a still.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Look again, at this region.
    Again(Region),
    /// These landmarks are the face's.
    Face,
    /// There is no face.
    Nothing,
}

/// Judges the landmarks of the pass number `pass`, from 1, over `region` of a still, which was detected
/// with this `score`. The first region is the detector's, which is rough, so passes go on until the
/// region settles.
///
/// # Errors
/// [`crate::Error::Argument`] if the landmarks are not 478 finite points.
pub(crate) fn judge(
    pass: usize,
    region: &Region,
    landmarks: &Landmarks,
    score: f32,
) -> Result<Verdict> {
    let next = landmarks.region()?;
    let settled = region.has_settled(&next);
    Ok(match settled || pass >= PASSES {
        false => Verdict::Again(next),
        true if landmarks.presence >= STILL && (settled || score >= SURE) => Verdict::Face,
        true => Verdict::Nothing,
    })
}

#[cfg(test)]
mod tests;
