//! A frame's depth map and 8-bit pixels.

use super::shared::add_bilinear_clamped;
use super::{Real, Tensor};
use crate::Background;

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

/// The mean depth of what is seen on a square of rays, along the axis of a camera of this focal length:
/// `depth / opacity`, divided by the length of the ray to the plane at 1. It is 0 below an opacity of
/// 1/255.
pub fn surface(depth: &[Real], opacity: &[Real], focal: Real) -> Vec<Real> {
    let side = depth.len().isqrt();
    let slope = |i: usize| (1.0 - 2.0 * i as Real / (side - 1) as Real) / focal;
    let rays = depth.iter().zip(opacity).enumerate();
    let seen = rays.map(|(ray, (depth, opacity))| {
        let [x, y] = [slope(ray % side), slope(ray / side)];
        match *opacity < 1.0 / 255.0 {
            true => 0.0,
            false => depth / opacity / (1.0 + x * x + y * y).sqrt(),
        }
    });
    seen.collect()
}

/// 8-bit RGBA pixels of an image `[height, width, 3]`, clamped to [0, 1] and rounded.
///
/// [`Background::Black`] makes the image opaque. For the others it counts as composited on black, and its
/// alpha follows from the field's low-resolution image `[h, w, 4]`: red, green, blue on black and opacity.
pub fn display(image: &Tensor, background: Background, field: &Tensor) -> Vec<u8> {
    let [height, width, _] = image.image();
    let byte = |v: Real| (v.clamp(0.0, 1.0) * 255.0).round() as u8;
    let foreground = foreground(field);
    let mut bytes = Vec::with_capacity(height * width * 4);
    for row in 0..height {
        for column in 0..width {
            let colour = image.pixel(row, column);
            if background == Background::Black {
                bytes.extend(colour.iter().map(|c| byte(*c)).chain([255]));
                continue;
            }
            let ray = |i: usize, pixels: usize, rays: usize| {
                (i as Real + 0.5) / pixels as Real * (rays - 1) as Real
            };
            let x = ray(column, width, field.shape[1]);
            let y = ray(row, height, field.shape[0]);
            let mut around = [0.0; 6];
            add_bilinear_clamped(&foreground, x, y, &mut around);
            let alpha = byte(alpha(colour, around));
            let scale = match (alpha, background) {
                (0, _) => 0.0,
                (_, Background::Straight) => 255.0 / Real::from(alpha),
                _ => 1.0,
            };
            let colours = colour.iter().map(|c| byte(c.clamp(0.0, 1.0) * scale));
            bytes.extend(colours.chain([alpha]));
        }
    }
    bytes
}

/// The alpha of a colour on black before a foreground of [`foreground`]: the projection of the colour on
/// the foreground's, at least the largest of the colour, and 1 where all rays around are opaque.
fn alpha(colour: &[Real], [r, g, b, spread, opacity, least]: [Real; 6]) -> Real {
    let full = [r, g, b].map(|c| c / spread.max(1e-4));
    let dot = |a: &[Real]| -> Real { a.iter().zip(full).map(|(a, f)| a.clamp(0.0, 1.0) * f).sum() };
    let length: Real = full.iter().map(|f| f * f).sum();
    let projected = (dot(colour) / 0.9 + 1e-4 * opacity) / (length + 1e-4);
    let inside = (least - 0.9) / 0.1;
    let largest = colour.iter().copied().fold(0.0, Real::max);
    projected.max(inside).max(largest).clamp(0.0, 1.0)
}

/// The foreground at every ray of a field's image `[h, w, 4]`: its colour and opacity with a fiftieth of
/// a Gaussian of 0.8 rays around it, then its opacity, and the least opacity of 3x3 rays.
fn foreground(field: &Tensor) -> Tensor {
    let [height, width, _] = field.image();
    let at = |x: usize, y: usize, dx: isize, dy: isize| {
        let clamped = |i: usize, d: isize, n: usize| i.saturating_add_signed(d).min(n - 1);
        let ray = field.pixel(clamped(y, dy, height), clamped(x, dx, width));
        [0, 1, 2, 3].map(|c| ray[c].clamp(0.0, 1.0))
    };
    let square = |radius: isize| {
        (-radius..=radius).flat_map(move |dy| (-radius..=radius).map(move |dx| (dx, dy)))
    };
    let weight = |(dx, dy): (isize, isize)| (-((dx * dx + dy * dy) as Real) / 1.28).exp();
    let weights: Real = square(3).map(weight).sum();
    let mut data = Vec::with_capacity(height * width * 6);
    for y in 0..height {
        for x in 0..width {
            let own = at(x, y, 0, 0);
            let spread = |c: usize| -> Real {
                let around = square(3).map(|(dx, dy)| weight((dx, dy)) * at(x, y, dx, dy)[c]);
                own[c] + 0.02 / weights * around.sum::<Real>()
            };
            data.extend([0, 1, 2, 3].map(spread));
            let around = square(1).map(|(dx, dy)| at(x, y, dx, dy)[3]);
            data.extend([own[3], around.fold(1.0, Real::min)]);
        }
    }
    Tensor::new([height, width, 6], data)
}
