//! On pictures whose measures can be worked out by hand.

use super::*;

/// Sums of a few hundred numbers that are not exact in binary.
const ROUNDING: f64 = 1e-6;

fn picture(side: usize, colour: impl Fn(usize, usize) -> [f32; 3]) -> Picture {
    let colours = (0..side * side).map(|i| colour(i % side, i / side));
    Picture {
        side,
        colours: colours.collect(),
    }
}

fn plain(side: usize, shade: f32) -> Picture {
    picture(side, |_, _| [shade; 3])
}

#[track_caller]
fn assert_near(found: Option<f64>, expected: f64) {
    let near = found.is_some_and(|found| (found - expected).abs() < ROUNDING);
    assert!(near, "{found:?} instead of {expected}");
}

#[test]
fn means() {
    assert_eq!(mean([1.0, 2.0, 6.0]), Some(3.0));
    assert_eq!(mean([]), None);
}

#[test]
fn distances_are_means_over_the_channels_of_the_chosen_pixels() {
    let a = plain(4, 0.5);
    let b = picture(4, |x, _| if x == 0 { [0.75, 0.5, 0.5] } else { [0.5; 3] });
    assert_near(l1(&a, &b, &a.pixels()), 0.25 / 12.0);
    assert_near(l1(&b, &a, &[0]), 0.25 / 3.0);
    assert_near(psnr(&a, &b, &a.pixels()), 10.0 * (12.0f64 / 0.0625).log10());
    assert_eq!(l1(&a, &b, &[]), None);
    assert_eq!(psnr(&a, &b, &[]), None);
    assert_eq!(psnr(&a, &b, &[1, 2]), Some(f64::INFINITY));
}

#[test]
fn similarity_of_plain_pictures_is_that_of_their_means() {
    let (a, b) = (plain(9, 0.25), plain(9, 0.75));
    let c1 = 1e-4;
    let luminance = (2.0 * 0.25 * 0.75 + c1) / (0.25 * 0.25 + 0.75 * 0.75 + c1);
    assert_near(ssim(&a, &b), luminance);
    assert_near(ssim(&a, &a), 1.0);
    assert_eq!(ssim(&plain(6, 0.5), &plain(6, 0.5)), None);
}

#[test]
fn similarity_of_opposite_patterns_is_that_of_their_structure() {
    // One window: 25 of its 49 pixels are light in one picture and dark in the other.
    let board = |odd| picture(7, move |x, y| [((x + y + odd) % 2) as f32; 3]);
    let (light, dark) = (25.0 / 49.0, 24.0 / 49.0);
    let variance = light * dark;
    let (c1, c2) = (1e-4, 9e-4);
    let expected = (2.0 * light * dark + c1) * (-2.0 * variance + c2)
        / ((light * light + dark * dark + c1) * (2.0 * variance + c2));
    assert_near(ssim(&board(1), &board(0)), expected);
}

#[test]
fn regions_hold_the_pixels_whose_centres_they_hold() {
    assert_eq!(in_box(4, [1, 2, 3, 4]), [9, 10, 13, 14]);
    assert_eq!(in_ellipses(4, &[[1.0, 1.0, 0.8, 0.8]]), [0, 1, 4, 5]);
    assert_eq!(
        in_ellipses(4, &[[2.5, 0.5, 1.0, 0.1], [2.5, 0.5, 0.1, 1.0]]),
        [1, 2, 3, 6]
    );
    assert!(in_ellipses(4, &[]).is_empty());
}

#[test]
fn pixels_change_when_one_channel_does() {
    let a = plain(2, 0.5);
    let mut b = a.clone();
    b.colours[1] = [0.5, 0.9, 0.5];
    b.colours[2] = [0.6, 0.6, 0.6];
    b.colours[3] = [0.5, 0.5, 0.0];
    assert_eq!(changing(&a, &b, &[0, 1, 2], 0.15), [1]);
    assert_eq!(changing(&a, &b, &a.pixels(), 0.15), [1, 3]);
}

#[test]
fn agreement_tells_direction_from_amount() {
    let neutral = plain(2, 0.5);
    let moved = |x: f32, y: f32| {
        let mut picture = neutral.clone();
        picture.colours[0][0] += x;
        picture.colours[3][2] += y;
        picture
    };
    let agreement =
        |rendered: &Picture| Agreement::new([rendered, &neutral], [&moved(0.25, 0.0), &neutral]);
    let expect = |rendered: &Picture, cosine, amplitude| {
        let found = agreement(rendered);
        assert_near(found.map(|found| found.cosine), cosine);
        assert_near(found.map(|found| found.amplitude), amplitude);
    };
    expect(&moved(0.125, 0.0), 1.0, 0.5);
    expect(&moved(0.25, 0.25), 0.5f64.sqrt(), 1.0);
    expect(&moved(-0.25, 0.0), -1.0, -1.0);
    expect(&neutral, 0.0, 0.0);
    let still = [&neutral, &neutral];
    assert_eq!(Agreement::new([&moved(0.25, 0.0), &neutral], still), None);

    let all = [agreement(&moved(0.125, 0.0)), agreement(&neutral)].map(Option::unwrap);
    assert_near(Agreement::mean(&all).map(|mean| mean.cosine), 0.5);
    assert_near(Agreement::mean(&all).map(|mean| mean.amplitude), 0.25);
    assert_eq!(Agreement::mean(&[]), None);
}
