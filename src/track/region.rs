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

    /// The inverse of [`Region::to_picture`]. Not finite if the region is empty.
    #[must_use]
    pub fn from_picture(&self, place: Vec2) -> Vec2 {
        let turn = Vec2::from_angle(-self.angle);
        turn.rotate(place - self.centre) / self.size + 0.5
    }
}

#[cfg(test)]
mod tests;
