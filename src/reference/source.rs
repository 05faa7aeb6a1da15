//! Preparation of a source picture: the warp to the canonical view.

use glam::{DMat3, DVec2};

use super::shared::add_bilinear_zeros;
use super::{Real, Tensor, parallel_rows};

/// Warps a picture `[height, width, 3]` to the canonical view `[size, size, 3]`.
///
/// `homography` takes (column + ½, row + ½, 1) of the view to the place in the picture that it
/// shows, in pixels from the upper left corner ([`crate::SourceImage::homography`]). Sampling is
/// bilinear with zeros outside, multiplied once more by the share of the sample that lies on the
/// picture: its border fades with the square of that share.
pub fn warp(picture: &Tensor, homography: &[[f64; 3]; 3], size: usize) -> Tensor {
    let homography = DMat3::from_cols_array_2d(homography).transpose();
    let mut view = Tensor::zeros([size, size, 3]);
    parallel_rows(&mut view.data, size * 3, |row, out| {
        for (column, out) in out.chunks_exact_mut(3).enumerate() {
            let centre = DVec2::new(column as f64, row as f64) + 0.5;
            let place = homography * centre.extend(1.0);
            let place = place.truncate() / place.z - 0.5;
            let coverage = add_bilinear_zeros(picture, place.x as Real, place.y as Real, 0, out);
            out.iter_mut().for_each(|v| *v *= coverage);
        }
    });
    view
}
