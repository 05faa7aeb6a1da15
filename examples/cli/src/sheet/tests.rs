//! Where cells and labels are.

use image::{Rgba, RgbaImage};

use super::{Cell, GAP, line, sheet, width};
use crate::testing::plain;

#[test]
fn a_sheet_has_its_cells_in_rows() {
    let red = |i: u8| Cell::new("8", plain(32, [200 + i, 0, 0, 255]));
    let (above, below) = ([red(0)], [red(1), red(2), red(3), red(4)]);
    let (columns, width) = (3, 300);
    let sheet = sheet(&[&above, &below], columns, width);
    let pitch = (width - GAP) / columns;
    let side = pitch - GAP;
    let height = side + GAP + line(side);
    assert_eq!(sheet.dimensions(), (width, 3 * height + GAP));
    let cells = [(0, 0), (0, 1), (1, 1), (2, 1), (0, 2)];
    for (i, (column, row)) in (0u8..).zip(cells) {
        let (left, y) = (GAP + column * pitch, GAP + row * height);
        let middle = sheet.get_pixel(left + side / 2, y + side / 2);
        assert_eq!(middle.0, [200 + i, 0, 0, 255]);
        // One letter, and nothing beside it.
        let canvas = sheet.get_pixel(0, 0);
        let below = |columns: std::ops::Range<u32>| {
            let pixels = columns.flat_map(|x| (y + side..y + height - GAP).map(move |y| (x, y)));
            let inked = |(x, y): &(u32, u32)| sheet.get_pixel(left + x, *y) != canvas;
            pixels.filter(inked).count()
        };
        assert!(below(0..8) > 20, "label {i}");
        assert_eq!(below(8..side), 0, "label {i}");
    }
}

#[test]
fn a_picture_that_is_not_square_is_in_the_middle_of_its_cell() {
    let cell = Cell::new("", RgbaImage::from_pixel(40, 10, Rgba([255; 4])));
    let sheet = sheet(&[&[cell]], 1, 100 + 2 * GAP);
    let white: Vec<u32> = (0..sheet.height())
        .filter(|y| sheet.get_pixel(GAP + 50, *y)[0] == 255)
        .collect();
    assert_eq!((white.len(), white[0]), (25, GAP + 37));
}

#[test]
fn a_sheet_may_show_pictures_as_they_are() {
    let cells = [0, 1].map(|_| Cell::new("", plain(32, [255; 4])));
    let sheet = sheet(&[&cells], 2, width(2, 32));
    let white = |x: &u32| sheet.get_pixel(*x, GAP)[0] == 255;
    assert_eq!((0..sheet.width()).filter(white).count(), 64);
}
