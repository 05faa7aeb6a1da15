//! What the tracker found, drawn into the picture.

use gpavatar::glam::{DMat3, Vec2, Vec3Swizzles};
use gpavatar::track::{Fit, Region, TrackedFace};
use image::imageops::{self, FilterType};
use image::{Rgba, RgbaImage};

/// Longest side of an annotated picture.
const LONGEST: u32 = 1024;
const POINT: Rgba<u8> = Rgba([90, 255, 140, 255]);
const SEARCHED: Rgba<u8> = Rgba([255, 200, 60, 255]);
const SOURCE: Rgba<u8> = Rgba([90, 170, 255, 255]);

/// The picture, made smaller if it is large, with a face's landmarks, the region that they were found
/// in (yellow) and its source (blue).
pub fn annotated(picture: &RgbaImage, face: &TrackedFace) -> RgbaImage {
    let (width, height) = picture.dimensions();
    let scale = (LONGEST as f32 / width.max(height) as f32).min(1.0);
    let sides = [width, height].map(|side| ((side as f32 * scale).round() as u32).max(1));
    let mut canvas = match scale < 1.0 {
        true => imageops::resize(picture, sides[0], sides[1], FilterType::Triangle),
        false => picture.clone(),
    };
    let thickness = (scale * face.region.size.max_element() / 80.0).clamp(1.0, 5.0) as u32;
    let mut dot = |place: Vec2, colour: Rgba<u8>| {
        let corner = (scale * place - 0.5 * thickness as f32).round();
        for (x, y) in (0..thickness).flat_map(|y| (0..thickness).map(move |x| (x, y))) {
            let at = corner + Vec2::new(x as f32, y as f32);
            if at.min_element() >= 0.0
                && let Some(pixel) = canvas.get_pixel_mut_checked(at.x as u32, at.y as u32)
            {
                *pixel = colour;
            }
        }
    };
    for (region, colour) in [(face.region, SEARCHED), (face.pose.source().0, SOURCE)] {
        outline(&region, scale, |place| dot(place, colour));
    }
    for point in &face.landmarks.points {
        dot(point.xy(), POINT);
    }
    canvas
}

/// The places of a region's outline, a pixel apart.
fn outline(region: &Region, scale: f32, mut dot: impl FnMut(Vec2)) {
    let corners = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]].map(Vec2::from_array);
    // A face as large as the picture has few lines longer than this.
    let steps = (scale * region.size.max_element()).clamp(1.0, 8.0 * LONGEST as f32) as u32;
    for (i, from) in corners.iter().enumerate() {
        let to = corners[(i + 1) % 4];
        for step in 0..steps {
            dot(region.to_picture(from.lerp(to, step as f32 / steps as f32)));
        }
    }
}

/// How far a camera of this rotation stands to the side of the head, in radians.
pub fn azimuth(rotation: &DMat3) -> f64 {
    let forward = rotation.z_axis;
    (-forward.x).atan2(-forward.z)
}

/// How sure the tracker is, and how the head is turned.
pub fn quality(face: &TrackedFace, fit: Option<&Fit>) -> String {
    let forward = face.pose.rotation.z_axis;
    let azimuth = azimuth(&face.pose.rotation);
    let elevation = (-forward.y).clamp(-1.0, 1.0).asin();
    // Adding 0 takes the sign from -0.
    let [azimuth, elevation, roll] = [azimuth, elevation, f64::from(face.region.angle)]
        .map(|angle| angle.to_degrees().round() + 0.0);
    let presence = face.landmarks.presence;
    let mut text =
        format!("presence {presence:.3}, azimuth {azimuth}°, elevation {elevation}°, roll {roll}°");
    if let Some(fit) = fit {
        let poor = if fit.poor { " (poor)" } else { "" };
        text.push_str(&format!(", fit {:.1} px{poor}", fit.residual));
    }
    text
}

#[cfg(test)]
mod tests;
