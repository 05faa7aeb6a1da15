//! A frame's depth map and 8-bit pixels.

use super::shared::{add_bilinear_clamped, resized};
use super::{Real, Tensor};

/// A depth map in [0, 1], 0 nearest: `depth + (1 - opacity) * farthest`, so that the background
/// lies at the farthest sample, scaled to the image's own range. A constant map becomes zero.
pub fn normalise_depth(depth: &[Real], opacity: &[Real], farthest: Real) -> Vec<Real> {
    let depth = depth
        .iter()
        .zip(opacity)
        .map(|(d, a)| d + (1.0 - a) * farthest);
    let depth: Vec<Real> = depth.collect();
    let nearest = depth.iter().copied().fold(Real::INFINITY, Real::min);
    let range = depth.iter().copied().fold(Real::NEG_INFINITY, Real::max) - nearest;
    let normalise = |d: Real| {
        if range > 0.0 {
            (d - nearest) / range
        } else {
            0.0
        }
    };
    depth.into_iter().map(normalise).collect()
}

/// 8-bit RGBA pixels of an image `[height, width, 3]`, clamped to [0, 1] and rounded.
///
/// Without `opacity` the image is opaque. With it, a map `[h, w, 1]` of any size that is resized
/// bilinearly to the image's, the image counts as composited on black: alpha is the opacity, and
/// colours are divided by it (straight alpha).
pub fn display(image: &Tensor, opacity: Option<&Tensor>) -> Vec<u8> {
    let [height, width, _] = image.image();
    let byte = |v: Real| (v.clamp(0.0, 1.0) * 255.0).round() as u8;
    let mut bytes = Vec::with_capacity(height * width * 4);
    for row in 0..height {
        for column in 0..width {
            let alpha = opacity.map_or(1.0, |map| {
                let mut alpha = [0.0];
                let x = resized(column, map.shape[1], width);
                add_bilinear_clamped(map, x, resized(row, map.shape[0], height), &mut alpha);
                alpha[0]
            });
            let scale = if alpha > 0.0 { 1.0 / alpha } else { 0.0 };
            let colours = image.pixel(row, column).iter().map(|c| byte(c * scale));
            bytes.extend(colours.chain([byte(alpha)]));
        }
    }
    bytes
}
