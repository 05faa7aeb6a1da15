//! Preparation of a source image: background and perspective warp to the canonical view.

use glam::{DVec2, DVec3};

use super::shared::add_bilinear_zeros;
use super::{Tensor, parallel_rows};
use crate::{Error, Result};

/// An RGBA image `[height, width, 4]` with straight alpha, composited on black:
/// `[height, width, 3]`.
pub fn composite_on_black(image: &Tensor) -> Tensor {
    let [height, width, channels] = image.image();
    debug_assert_eq!(channels, 4);
    let pixels = image.data.chunks_exact(4);
    let data = pixels.flat_map(|p| [p[0] * p[3], p[1] * p[3], p[2] * p[3]]);
    Tensor::new([height, width, 3], data.collect())
}

/// The corners (-1,1,0), (1,1,0), (1,-1,0), (-1,-1,0) of the head's cube as a camera sees them on
/// an image of `width` x `height` pixels: x to the right, y down, (0,0) the image's outer corner.
///
/// `transform` is the world-to-camera matrix [R|T] for row vectors, x_cam = x_world · R + T, and
/// `focal` the focal length in units of half the image's width (x) and height (y).
///
/// # Errors
/// If a corner does not lie in front of the camera.
pub fn corners(
    transform: &[[f32; 4]; 3],
    focal: f32,
    [width, height]: [usize; 2],
) -> Result<[DVec2; 4]> {
    let rows = transform.map(|row| row.map(f64::from));
    let mut corners = [DVec2::ZERO; 4];
    for (corner, (x, y)) in
        corners
            .iter_mut()
            .zip([(-1.0, 1.0), (1.0, 1.0), (1.0, -1.0), (-1.0, -1.0)])
    {
        let camera: [f64; 3] =
            std::array::from_fn(|i| x * rows[0][i] + y * rows[1][i] + rows[i][3]);
        let ndc = f64::from(focal) / camera[2] * DVec2::new(camera[0], camera[1]);
        if !(camera[2] > 0.0 && ndc.is_finite()) {
            return Err(Error::argument(
                "transform of a source image",
                "a camera that has the square [-1,1]² of the plane z = 0 before it",
                format!("the corner ({x}, {y}) at depth {}", camera[2]),
            ));
        }
        *corner = 0.5 * DVec2::new(width as f64, height as f64) * (1.0 - ndc);
    }
    Ok(corners)
}

/// Warps an image `[height, width, 3]` to the canonical view `[size, size, 3]`, in which the
/// square [-1,1]² of the plane z = 0 fills the frame.
///
/// The square's corners are projected ([`corners`]), truncated to whole pixels, and the image is
/// resampled by the homography that takes them to the centres of the outermost output pixels.
/// Sampling is bilinear with zeros outside, multiplied once more by the share of the sample that
/// lies on the image.
///
/// # Errors
/// If the square is not in front of the camera, or so small or oblique that its truncated corners
/// span no convex quadrilateral.
pub fn warp(image: &Tensor, transform: &[[f32; 4]; 3], focal: f32, size: usize) -> Result<Tensor> {
    let [height, width, _] = image.image();
    let corners = corners(transform, focal, [width, height])?.map(DVec2::trunc);
    let from_canonical = quad_from_square(corners)?;
    let extent = (size - 1) as f64;

    let mut warped = Tensor::zeros([size, size, 3]);
    parallel_rows(&mut warped.data, size * 3, |row, out| {
        for (column, out) in out.chunks_exact_mut(3).enumerate() {
            // Pixel centres sit at +½ on both images; the corners entered without it.
            let centre = DVec2::new(column as f64, row as f64) + 0.5;
            let source = from_canonical(centre / extent) - 0.5;
            let coverage = add_bilinear_zeros(image, source.x as f32, source.y as f32, 0, out);
            out.iter_mut().for_each(|v| *v *= coverage);
        }
    });
    Ok(warped)
}

/// The projective map that takes (0,0), (1,0), (1,1), (0,1) to the four given corners (Heckbert
/// 1989, "Fundamentals of Texture Mapping and Image Warping", section 2.2.3).
fn quad_from_square([a, b, c, d]: [DVec2; 4]) -> Result<impl Fn(DVec2) -> DVec2> {
    let turns =
        [(a, b, c), (b, c, d), (c, d, a), (d, a, b)].map(|(p, q, r)| (q - p).perp_dot(r - q));
    if !(turns.iter().all(|t| *t > 0.0) || turns.iter().all(|t| *t < 0.0)) {
        return Err(Error::argument(
            "transform of a source image",
            "a camera that sees the square [-1,1]² of the plane z = 0 as a convex quadrilateral",
            format!("corners at pixels {a}, {b}, {c}, {d}"),
        ));
    }
    let (along, across, skew) = (b - c, d - c, a - b + c - d);
    let determinant = along.perp_dot(across);
    let g = skew.perp_dot(across) / determinant;
    let h = along.perp_dot(skew) / determinant;
    let (u, v) = (b - a + g * b, d - a + h * d);
    Ok(move |p: DVec2| {
        let homogeneous = DVec3::new(p.x, p.y, 1.0);
        let w = homogeneous.dot(DVec3::new(g, h, 1.0));
        (u * p.x + v * p.y + a) / w
    })
}
