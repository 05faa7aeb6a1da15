use std::f32::consts::FRAC_PI_2;

use super::*;
use crate::error::refused;

/// A picture of made-up colours.
fn picture(width: usize, height: usize) -> Vec<u8> {
    let pixel = |i: usize| [(i * 37) as u8, (i * 101) as u8, (i * 11) as u8, 255];
    (0..width * height).flat_map(pixel).collect()
}

#[test]
fn the_whole_picture_is_itself() {
    let rgba = picture(8, 8);
    assert_eq!(
        cut(&rgba, [8, 8], None, &Region::whole(8, 8), 8).unwrap(),
        rgba
    );
}

#[test]
fn a_quarter_turn_turns_pixels() {
    let rgba = picture(4, 4);
    let region = Region {
        angle: FRAC_PI_2,
        ..Region::whole(4, 4)
    };
    let found = cut(&rgba, [4, 4], None, &region, 4).unwrap();
    let pixel =
        |rgba: &[u8], column: usize, row: usize| rgba[4 * (4 * row + column)..][..4].to_vec();
    // The crop's horizontal axis points down in the picture.
    for (column, row) in (0..4).flat_map(|x| (0..4).map(move |y| (x, y))) {
        assert_eq!(pixel(&found, column, row), pixel(&rgba, 3 - row, column));
    }
}

#[test]
fn outside_is_black_and_alpha_counts() {
    let rgba = vec![200; 4 * 4];
    let region = Region {
        centre: vec2(2.0, 1.0),
        size: Vec2::splat(2.0),
        angle: 0.0,
    };
    // Its right half lies beside the picture.
    let found = cut(&rgba, [2, 2], None, &region, 2).unwrap();
    let own = (200.0f32 * 200.0 / 255.0).round() as u8;
    assert_eq!(found[..8], [own, own, own, 255, 0, 0, 0, 255]);
    let found = cut(&rgba, [2, 2], Some(&[0, 255, 0, 0]), &region, 2).unwrap();
    assert_eq!(found[..4], [200, 200, 200, 255]);
    assert_eq!(found[8..12], [0, 0, 0, 255]);
    assert!(has_alpha(&rgba) && !has_alpha(&picture(2, 2)));
    let far = Region {
        centre: vec2(1e30, -1e30),
        ..region
    };
    assert_eq!(cut(&rgba, [2, 2], None, &far, 1).unwrap(), [0, 0, 0, 255]);
}

#[test]
fn every_pixel_counts_where_it_shrinks() {
    // Single bright columns, which samples four pixels apart would see or miss.
    let pixel = |i: usize| {
        if i.is_multiple_of(4) {
            [200, 200, 200, 255]
        } else {
            [0, 0, 0, 255]
        }
    };
    let rgba: Vec<u8> = (0..64 * 64).flat_map(pixel).collect();
    let found = cut(&rgba, [64, 64], None, &Region::whole(64, 64), 16).unwrap();
    for pixel in found.chunks(4) {
        assert_eq!(pixel, [50, 50, 50, 255]);
    }
}

#[test]
fn bad_sizes_are_refused() {
    let (rgba, whole) = (picture(3, 2), Region::whole(3, 2));
    refused!(cut(&rgba, [3, 3], None, &whole, 4), Argument);
    refused!(cut(&[], [0, 0], None, &whole, 4), Argument);
    refused!(cut(&rgba, [3, 2], Some(&[0; 5]), &whole, 4), Argument);
    refused!(cut(&rgba, [3, 2], None, &whole, 0), Argument);
    for size in [Vec2::ZERO, Vec2::NAN, Vec2::splat(-1.0)] {
        refused!(
            cut(&rgba, [3, 2], None, &Region { size, ..whole }, 4),
            Argument
        );
    }
}
