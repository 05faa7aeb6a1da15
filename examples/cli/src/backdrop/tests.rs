//! Colours behind pictures.

use image::{Rgba, RgbaImage};

use super::Backdrop;

#[test]
fn colours_show_through() {
    let backdrop = "#ff0080".parse();
    assert_eq!(backdrop, Ok(Backdrop::Colour([255, 0, 128])));
    let mut picture = RgbaImage::new(3, 1);
    picture.put_pixel(1, 0, Rgba([0, 200, 0, 255]));
    picture.put_pixel(2, 0, Rgba([0, 200, 0, 51]));
    backdrop.unwrap().apply(&mut picture);
    let pixels: Vec<_> = picture.pixels().map(|pixel| pixel.0).collect();
    // A fifth of the front, four of the back.
    assert_eq!(
        pixels,
        [[255, 0, 128, 255], [0, 200, 0, 255], [204, 40, 102, 255]]
    );
    for wrong in ["", "red", "#12345", "#1234567", "#gggggg", "ff0080"] {
        assert!(wrong.parse::<Backdrop>().is_err(), "{wrong}");
    }
}
