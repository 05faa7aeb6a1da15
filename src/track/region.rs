//! Turned rectangles of a picture.

use glam::Vec2;

/// A turned rectangle of a picture, in continuous pixels: the part that a network looks at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// Its centre: x to the right, y down.
    pub centre: Vec2,
    /// Width and height along its own axes.
    pub size: Vec2,
    /// Clockwise turn on screen, in radians.
    pub angle: f32,
}

impl Region {
    /// The whole of a picture of this width and height.
    #[must_use]
    pub fn whole(width: u32, height: u32) -> Self {
        let size = Vec2::new(width as f32, height as f32);
        Self {
            centre: 0.5 * size,
            size,
            angle: 0.0,
        }
    }

    /// Where a place of the region lies in the picture. (0, 0) and (1, 1) are the region's upper
    /// left and lower right corners; the centre of crop pixel (column j, row i) of n x n is at
    /// ((j + ½)/n, (i + ½)/n):
    ///
    /// centre + R(angle)·((place - ½)·size), R(a) = [[cos a, -sin a], [sin a, cos a]].
    #[must_use]
    pub fn to_picture(&self, place: Vec2) -> Vec2 {
        let turn = Vec2::from_angle(self.angle);
        self.centre + turn.rotate((place - 0.5) * self.size)
    }

    /// The square region of a face from its box's corners: 1.5 times the longer side, turned so that
    /// `start` and `end`, the outer corners of the eyes from left to right, lie level.
    pub(crate) fn around([low, high]: [Vec2; 2], start: Vec2, end: Vec2) -> Self {
        let eyes = end - start;
        Self {
            centre: 0.5 * (low + high),
            size: Vec2::splat(1.5 * (high - low).max_element()),
            angle: eyes.y.atan2(eyes.x),
        }
    }

    /// The smallest upright box around the region if it were not turned: upper left and lower right
    /// corner.
    pub(crate) fn corners(&self) -> [Vec2; 2] {
        [self.centre - 0.5 * self.size, self.centre + 0.5 * self.size]
    }

    /// True if `next` differs from this region by less than 1 % of its size and 1°: another pass over
    /// `next` would show the same landmarks.
    pub(crate) fn has_settled(&self, next: &Self) -> bool {
        let share = 0.01 * self.size.min_element();
        let moved = (next.centre - self.centre).abs().max_element();
        let grown = (next.size - self.size).abs().max_element();
        let turned = Vec2::from_angle(self.angle).angle_to(Vec2::from_angle(next.angle));
        moved < share && grown < share && turned.abs() < 1f32.to_radians()
    }

    /// The inverse of [`Region::to_picture`]. Not finite if the region is empty.
    #[must_use]
    pub fn from_picture(&self, place: Vec2) -> Vec2 {
        let turn = Vec2::from_angle(-self.angle);
        turn.rotate(place - self.centre) / self.size + 0.5
    }
}

/// How much of the area of two boxes is common to both, from 0 to 1.
pub(crate) fn overlap(a: [Vec2; 2], b: [Vec2; 2]) -> f32 {
    let area = |[low, high]: [Vec2; 2]| (high - low).element_product();
    let both = [a[0].max(b[0]), a[1].min(b[1])];
    if (both[1] - both[0]).min_element() <= 0.0 {
        return 0.0;
    }
    let both = area(both);
    both / (area(a) + area(b) - both)
}

#[cfg(test)]
mod tests;
