//! Contact sheets: labelled pictures in rows.

use image::imageops::{self, FilterType};
use image::{Pixel as _, Rgba, RgbaImage};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster};

/// A picture and its label.
pub struct Cell {
    pub label: String,
    pub picture: RgbaImage,
}

impl Cell {
    pub fn new(label: impl Into<String>, picture: RgbaImage) -> Self {
        let label = label.into();
        Self { label, picture }
    }
}

/// Space around cells, pixels.
pub const GAP: u32 = 6;
/// Space between a picture and its label, pixels.
const ABOVE: u32 = 2;
const CANVAS: Rgba<u8> = Rgba([40, 40, 44, 255]);
const INK: Rgba<u8> = Rgba([210, 210, 210, 255]);

/// Width of a sheet of `columns` cells whose pictures are `side` pixels wide.
pub fn width(columns: u32, side: u32) -> u32 {
    columns * (side + GAP) + GAP
}

/// A sheet of square cells, of which `columns` make a row of at most `width` pixels. Every group
/// of cells starts a row of its own.
pub fn sheet(groups: &[&[Cell]], columns: u32, width: u32) -> RgbaImage {
    let columns = columns.max(1);
    let pitch = ((width.saturating_sub(GAP)) / columns).max(GAP + 1);
    let side = pitch - GAP;
    let row = side + GAP + line(side);
    let rows = |cells: &[Cell]| (cells.len() as u32).div_ceil(columns);
    let height: u32 = groups.iter().map(|cells| rows(cells) * row).sum();
    let longest = groups.iter().map(|cells| cells.len()).max();
    let used = columns.min(longest.unwrap_or(0) as u32);
    let mut canvas = RgbaImage::from_pixel(used * pitch + GAP, height + GAP, CANVAS);
    let mut top = GAP;
    for cells in groups {
        for (i, cell) in (0u32..).zip(*cells) {
            let (x, y) = (GAP + i % columns * pitch, top + i / columns * row);
            place(&mut canvas, &cell.picture, (x, y), side);
            let below = (x, y + side + ABOVE);
            write(&mut canvas, &cell.label, below, letters(side));
        }
        top += rows(cells) * row;
    }
    canvas
}

/// Height of the letters below a cell.
fn letters(side: u32) -> RasterHeight {
    match side {
        0..192 => RasterHeight::Size16,
        192..256 => RasterHeight::Size20,
        256..384 => RasterHeight::Size24,
        _ => RasterHeight::Size32,
    }
}

/// Height of a line of letters with the space above it, pixels.
pub fn line(side: u32) -> u32 {
    letters(side).val() as u32 + ABOVE
}

/// Draws a picture into a square, as large as it fits and in the middle.
fn place(canvas: &mut RgbaImage, picture: &RgbaImage, (x, y): (u32, u32), side: u32) {
    let (width, height) = picture.dimensions();
    let fit = |length: u32| {
        let fitted = u64::from(length) * u64::from(side) / u64::from(width.max(height).max(1));
        (fitted as u32).max(1)
    };
    // Composited before it is scaled, so that colours of transparent pixels stay invisible.
    let mut opaque = RgbaImage::from_pixel(width, height, CANVAS);
    imageops::overlay(&mut opaque, picture, 0, 0);
    let (width, height) = (fit(width), fit(height));
    let scaled = imageops::resize(&opaque, width, height, FilterType::CatmullRom);
    let (x, y) = (x + (side - width) / 2, y + (side - height) / 2);
    imageops::overlay(canvas, &scaled, x.into(), y.into());
}

/// Writes a line of text; what does not fit on the sheet is cut off.
fn write(canvas: &mut RgbaImage, text: &str, (x, y): (u32, u32), height: RasterHeight) {
    let mut left = x;
    for letter in text.chars() {
        let glyph = |letter| get_raster(letter, FontWeight::Regular, height);
        let Some(glyph) = glyph(letter).or_else(|| glyph('?')) else {
            continue;
        };
        for (row, opacities) in (0..).zip(glyph.rows()) {
            for (column, opacity) in (0..).zip(opacities) {
                if let Some(pixel) = canvas.get_pixel_mut_checked(left + column, y + row) {
                    let Rgba([r, g, b, _]) = INK;
                    pixel.blend(&Rgba([r, g, b, *opacity]));
                }
            }
        }
        left += glyph.width() as u32;
    }
}

#[cfg(test)]
mod tests;
