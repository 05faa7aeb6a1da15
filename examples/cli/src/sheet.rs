//! Contact sheets: labelled pictures in rows.

use image::imageops::{self, FilterType};
use image::{Rgba, RgbaImage};

/// A picture and what is written below it.
pub struct Cell {
    pub label: String,
    pub picture: RgbaImage,
}

/// Space around cells, pixels.
pub const GAP: u32 = 6;
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
    let dot = dot(side);
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
            write(&mut canvas, &cell.label, (x, y + side + 2 * dot), dot);
        }
        top += rows(cells) * row;
    }
    canvas
}

/// Side of the dots that letters below a cell are made of, pixels.
fn dot(side: u32) -> u32 {
    (side / 64).max(2)
}

/// Height of a line of letters with the space above it, pixels.
pub fn line(side: u32) -> u32 {
    7 * dot(side)
}

/// Draws a picture into a square, as large as it fits and in the middle.
fn place(canvas: &mut RgbaImage, picture: &RgbaImage, (x, y): (u32, u32), side: u32) {
    let (width, height) = picture.dimensions();
    let fit = |length: u32| {
        let fitted = u64::from(length) * u64::from(side) / u64::from(width.max(height).max(1));
        (fitted as u32).max(1)
    };
    // Scaled on what is behind it, so that colours of transparent pixels stay invisible.
    let mut opaque = RgbaImage::from_pixel(width, height, CANVAS);
    imageops::overlay(&mut opaque, picture, 0, 0);
    let (width, height) = (fit(width), fit(height));
    let scaled = imageops::resize(&opaque, width, height, FilterType::CatmullRom);
    let (x, y) = (x + (side - width) / 2, y + (side - height) / 2);
    imageops::overlay(canvas, &scaled, x.into(), y.into());
}

fn write(canvas: &mut RgbaImage, text: &str, (x, y): (u32, u32), dot: u32) {
    for (i, letter) in (0u32..).zip(text.chars()) {
        let dots = glyph(letter);
        for (row, column) in (0..5).flat_map(|row| (0..3).map(move |column| (row, column))) {
            if dots >> (14 - 3 * row - column) & 1 == 1 {
                let (left, top) = (x + (4 * i + column) * dot, y + row * dot);
                let square = (0..dot).flat_map(|dy| (0..dot).map(move |dx| (dx, dy)));
                for (dx, dy) in square {
                    // What does not fit on the sheet is cut off.
                    if let Some(pixel) = canvas.get_pixel_mut_checked(left + dx, top + dy) {
                        *pixel = INK;
                    }
                }
            }
        }
    }
}

/// The dots of a letter, capital or not: five rows of three, an octal digit each.
fn glyph(letter: char) -> u32 {
    match letter.to_ascii_uppercase() {
        '0' => 0o75557,
        '1' => 0o26227,
        '2' => 0o71747,
        '3' => 0o71717,
        '4' => 0o55711,
        '5' => 0o74717,
        '6' => 0o74757,
        '7' => 0o71111,
        '8' => 0o75757,
        '9' => 0o75717,
        '-' => 0o00700,
        '.' => 0o00002,
        '°' => 0o25200,
        'A' => 0o25755,
        'B' => 0o65656,
        'C' => 0o74447,
        'D' => 0o65556,
        'E' => 0o74747,
        'F' => 0o74744,
        'G' => 0o74557,
        'H' => 0o55755,
        'I' => 0o72227,
        'J' => 0o11157,
        'K' => 0o55655,
        'L' => 0o44447,
        'M' => 0o57755,
        'N' => 0o65555,
        'O' => 0o75557,
        'P' => 0o75744,
        'Q' => 0o75571,
        'R' => 0o75765,
        'S' => 0o74717,
        'T' => 0o72222,
        'U' => 0o55557,
        'V' => 0o55552,
        'W' => 0o55775,
        'X' => 0o55255,
        'Y' => 0o55222,
        'Z' => 0o71247,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
