//! Faces in the detector's output.

use glam::{Vec2, vec2};

use super::region::{Region, overlap};
use super::sigmoid;
use crate::error::{Error, Result};

/// Anchors of the detector: for each cell of a grid, row by row, so many of them at its centre.
const GRIDS: [(u32, usize); 2] = [(16, 2), (8, 6)];
/// Number of anchors.
pub(crate) const ANCHORS: usize = 896;
/// Numbers that the detector gives for an anchor: centre and size of a box, then six key points.
pub(crate) const REGRESSORS: usize = 16;
/// The detector's input has so many pixels a side, and its regressors are in these pixels.
const INPUT: f32 = 128.0;

/// Smallest score of a face.
pub(crate) const SCORE: f32 = 0.5;
/// Detections that overlap by more than this are one face.
const SAME: f32 = 0.5;

/// A face that the detector found, in continuous pixels of the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// Confidence, from 0 to 1.
    pub score: f32,
    /// Upper left and lower right corner of its box, from the brows to below the mouth.
    pub corners: [Vec2; 2],
    /// The eye at the picture's left (the person's right), the other eye, the tip of the nose, the
    /// mouth, the ear at the picture's left and the other one; left and right of an upright picture.
    pub keys: [Vec2; 6],
}

impl Detection {
    /// The square region to look for landmarks in: 1.5 times the longer side of the box, turned so
    /// that the eyes lie level.
    #[must_use]
    pub fn region(&self) -> Region {
        Region::around(self.corners, self.keys[0], self.keys[1])
    }
}

/// Appends the faces in the detector's output for a square `region` of the picture.
///
/// `regressors` are `[896][16]`, `logits` `[896]`. A regressor is an offset from the anchor's centre
/// in pixels of the input (128 a side); a score is the sigmoid of a logit.
///
/// # Errors
/// [`Error::Argument`] for other counts. What is not finite is no face.
pub(crate) fn decode(
    regressors: &[f32],
    logits: &[f32],
    region: &Region,
    found: &mut Vec<Detection>,
) -> Result<()> {
    for (what, count, values) in [
        (
            "regressors of the detector",
            ANCHORS * REGRESSORS,
            regressors,
        ),
        ("logits of the detector", ANCHORS, logits),
    ] {
        let expected = format_args!("{count} numbers");
        Error::unless(values.len() == count, what, expected, values.len())?;
    }
    let (rows, _) = regressors.as_chunks::<REGRESSORS>();
    for ((anchor, row), &logit) in anchors().zip(rows).zip(logits) {
        let score = sigmoid(logit);
        if score.is_nan() || score < SCORE {
            continue;
        }
        let pair = |i: usize| vec2(row[i], row[i + 1]) / INPUT;
        let (centre, half) = (anchor + pair(0), 0.5 * pair(2));
        // The box of a turned region is the one around its turned corners.
        let corners = [vec2(1.0, 1.0), vec2(1.0, -1.0)].map(|sign| half * sign);
        let corners = corners.map(|arm| [centre - arm, centre + arm].map(|p| region.to_picture(p)));
        let [[a, b], [c, d]] = corners;
        let detection = Detection {
            score,
            corners: [a.min(b).min(c).min(d), a.max(b).max(c).max(d)],
            keys: std::array::from_fn(|k| region.to_picture(anchor + pair(4 + 2 * k))),
        };
        let finite = |p: &Vec2| p.is_finite();
        if half.min_element() > 0.0
            && detection.corners.iter().all(finite)
            && detection.keys.iter().all(finite)
        {
            found.push(detection);
        }
    }
    Ok(())
}

/// Centres of the anchors in the unit square.
fn anchors() -> impl Iterator<Item = Vec2> {
    GRIDS.into_iter().flat_map(|(side, count)| {
        let cells =
            (0..side * side).map(move |i| (vec2((i % side) as f32, (i / side) as f32), side));
        cells.flat_map(move |(cell, side)| std::iter::repeat_n((cell + 0.5) / side as f32, count))
    })
}

/// Makes one detection of all that overlap, best first: the best one takes those whose boxes overlap
/// with its own; box and key points become their mean, weighted by score.
pub(crate) fn suppress(found: &mut Vec<Detection>) {
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept = 0;
    while kept < found.len() {
        let best = found[kept];
        let mut sum = Sum::default();
        let mut write = kept + 1;
        sum.add(&best);
        for read in kept + 1..found.len() {
            let other = found[read];
            if overlap(best.corners, other.corners) > SAME {
                sum.add(&other);
            } else {
                found[write] = other;
                write += 1;
            }
        }
        found.truncate(write);
        found[kept] = sum.mean(best.score);
        kept += 1;
    }
}

/// A sum of detections, weighted by score.
#[derive(Default)]
struct Sum {
    score: f32,
    corners: [Vec2; 2],
    keys: [Vec2; 6],
}

impl Sum {
    fn add(&mut self, detection: &Detection) {
        self.score += detection.score;
        for (sum, place) in self.corners.iter_mut().zip(&detection.corners) {
            *sum += detection.score * *place;
        }
        for (sum, place) in self.keys.iter_mut().zip(&detection.keys) {
            *sum += detection.score * *place;
        }
    }

    fn mean(&self, score: f32) -> Detection {
        Detection {
            score,
            corners: self.corners.map(|sum| sum / self.score),
            keys: self.keys.map(|sum| sum / self.score),
        }
    }
}

/// The square that the whole picture is searched in: it is centred, and black beside the picture.
pub(crate) fn letterbox(picture: Region) -> Region {
    Region {
        size: Vec2::splat(picture.size.max_element()),
        ..picture
    }
}

/// Square tiles for faces that are too small to be found in the whole picture: `per_side` a side of
/// `share` of the picture's longer side, evenly spread from edge to edge.
///
/// The detector finds faces whose width is a tenth of the square's side. 2 x 2 tiles of 0.6, then
/// 4 x 4 of 0.3 find them down to 0.07 and 0.036 of the picture's longer side.
pub(crate) fn tiles(
    picture: Region,
    (per_side, share): (u32, f32),
) -> impl Iterator<Item = Region> {
    let picture = picture.size;
    let side = share * picture.max_element();
    (0..per_side * per_side).map(move |i| {
        let at = vec2((i % per_side) as f32, (i / per_side) as f32);
        let part = at / (per_side.max(2) - 1) as f32;
        Region {
            centre: (picture - side) * part + 0.5 * side,
            size: Vec2::splat(side),
            angle: 0.0,
        }
    })
}

/// Tilings for stills in which the whole picture shows no face, in the order to try them.
pub(crate) const TILINGS: [(u32, f32); 2] = [(2, 0.6), (4, 0.3)];

#[cfg(test)]
pub(crate) mod tests;
