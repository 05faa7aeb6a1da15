//! Crops of pictures, on black.

use glam::{Vec2, vec2};

use super::region::Region;
use crate::error::{Error, Result};

/// Cuts a region out of a picture, as `size · size` pixels of red, green, blue and 255: colours times
/// alpha, black outside of the picture.
///
/// `rgba` are `width · height` pixels of 4 bytes. Their alpha counts, or `alpha` in its place, a byte a
/// pixel. Pixels are interpolated bilinearly; where the crop shrinks the picture by 2 or more, blocks
/// of 2ᵏ x 2ᵏ samples are averaged.
///
/// # Errors
/// [`Error::Argument`] if sizes do not fit, or the region is empty or not finite.
pub(crate) fn cut(
    rgba: &[u8],
    [width, height]: [usize; 2],
    alpha: Option<&[u8]>,
    region: &Region,
    size: u32,
) -> Result<Vec<u8>> {
    let count = width.checked_mul(height);
    let ok = count.and_then(|count| count.checked_mul(4)) == Some(rgba.len()) && !rgba.is_empty();
    let found = format_args!("{} bytes for {width} x {height}", rgba.len());
    Error::unless(ok, "picture to cut", "4 bytes a pixel", found)?;
    let ok = alpha.is_none_or(|alpha| Some(alpha.len()) == count);
    Error::unless(ok, "alpha of a picture", "a byte a pixel", "another number")?;
    let finite = region.centre.is_finite() && region.size.is_finite() && region.angle.is_finite();
    let ok = finite && region.size.min_element() > 0.0;
    let found = format_args!("{region:?}");
    Error::unless(
        ok,
        "region to cut",
        "finite numbers and a positive size",
        found,
    )?;
    Error::unless(size > 0, "size of a crop", "at least 1", size)?;

    let (pixels, _) = rgba.as_chunks::<4>();
    // Colours times alpha; nothing outside.
    let at = |column: isize, row: isize| -> [f32; 3] {
        let inside = |at: isize, count: usize| usize::try_from(at).ok().filter(|at| *at < count);
        let (Some(column), Some(row)) = (inside(column, width), inside(row, height)) else {
            return [0.0; 3];
        };
        let index = row * width + column;
        let [colour @ .., own] = pixels[index];
        let share = f32::from(alpha.map_or(own, |alpha| alpha[index])) / 255.0;
        colour.map(|c| share * f32::from(c))
    };
    let sample = |place: Vec2| -> [f32; 3] {
        let place = place - 0.5;
        let low = place.floor();
        let part = place - low;
        // Saturates far outside.
        let (column, row) = (low.x as isize, low.y as isize);
        let next = |at: isize| at.saturating_add(1);
        let corners = [
            (at(column, row), (1.0 - part.x) * (1.0 - part.y)),
            (at(next(column), row), part.x * (1.0 - part.y)),
            (at(column, next(row)), (1.0 - part.x) * part.y),
            (at(next(column), next(row)), part.x * part.y),
        ];
        std::array::from_fn(|c| {
            corners
                .iter()
                .map(|(colour, weight)| weight * colour[c])
                .sum()
        })
    };
    let shrinks = region.size.max_element() / size as f32;
    // No picture is so large that more would show.
    let samples = (1..=5).take_while(|k| shrinks >= (1 << k) as f32).last();
    let samples = 1u32 << samples.unwrap_or(0);
    let fine = (size * samples) as f32;
    let block = |column: u32, row: u32| {
        let mut sum = [0.0; 3];
        for (x, y) in (0..samples).flat_map(|y| (0..samples).map(move |x| (x, y))) {
            let place = vec2((column * samples + x) as f32, (row * samples + y) as f32);
            let colour = sample(region.to_picture((place + 0.5) / fine));
            for (sum, c) in sum.iter_mut().zip(colour) {
                *sum += c;
            }
        }
        let [r, g, b] = sum.map(|c| (c / (samples * samples) as f32).round() as u8);
        [r, g, b, 255]
    };
    let places = (0..size).flat_map(|row| (0..size).map(move |column| (column, row)));
    Ok(places
        .flat_map(|(column, row)| block(column, row))
        .collect())
}

/// True if a picture has an alpha of its own: some pixel is not opaque.
pub(crate) fn has_alpha(rgba: &[u8]) -> bool {
    rgba.as_chunks::<4>().0.iter().any(|pixel| pixel[3] < 255)
}

#[cfg(test)]
mod tests;
