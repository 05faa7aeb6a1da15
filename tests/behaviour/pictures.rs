//! Alpha, depth and the low-resolution image.

use gpavatar::reference::{Tensor, output};
use gpavatar::{Background, Camera, Drive, Model, RenderOptions};

use crate::common::refused;
use crate::common::tiny::{self, Picture, gpu, reference_frame};
use crate::common::{Within, difference};

#[test]
fn transparent_pictures_have_straight_alpha() {
    let avatar = tiny::avatar(&tiny::model());
    let config = tiny::config();
    let camera = Camera::orbit(14.0, 10.0, 25.0);
    let points = tiny::points(config.points);
    let drive = Drive::points(points.clone()).camera(camera);
    let options = RenderOptions {
        background: Background::Transparent,
        ..RenderOptions::default()
    };
    let frame = avatar.render_with(&drive, &options).unwrap();
    let found = Picture::of(&frame, gpu());
    let opaque = Picture::render(&avatar, &drive);
    assert_eq!(found.image, opaque.image);
    assert!(opaque.rgba.chunks_exact(4).all(|pixel| pixel[3] == 255));

    let side = config.output_size as usize;
    let image = Tensor::new([side, side, 3], found.image.clone());
    let opacity = reference_frame(&config, &points, &camera).opacity;
    let expected = output::display(&image, Some(&opacity));
    let (mut clear, mut solid) = (0, 0);
    for (found, expected) in found.rgba.chunks_exact(4).zip(expected.chunks_exact(4)) {
        let alpha = expected[3];
        let close = found[3].abs_diff(alpha) <= 1;
        assert!(close, "{found:?} instead of {expected:?}");
        // Colours are divided by the rounded alpha.
        let most = 2 + (255 / u16::from(alpha.max(1))).min(253) as u8;
        if alpha > 8 {
            let mut pairs = found.iter().zip(expected);
            let close = pairs.all(|(f, e)| f.abs_diff(*e) <= most);
            assert!(close, "{found:?} instead of {expected:?}");
        }
        clear += u32::from(alpha == 0);
        solid += u32::from(alpha > 128);
    }
    let both = clear > 50 && solid > 50;
    assert!(both, "{clear} clear, {solid} solid pixels");
}

#[test]
fn depth_runs_from_zero_to_one() {
    for config in [tiny::config(), tiny::released()] {
        let avatar = tiny::avatar(&Model::new(gpu(), tiny::weights(&config)).unwrap());
        let camera = Camera::orbit(13.0, -20.0, 40.0);
        let points = tiny::points(config.points);
        let found = Picture::render(&avatar, &Drive::points(points.clone()).camera(camera)).depth;
        assert!(found.iter().all(|d| (0.0..=1.0).contains(d)));
        assert!(found.contains(&0.0) && found.iter().any(|d| *d > 0.999));
        let expected = reference_frame(&config, &points, &camera).depth.data;
        // Depths of ten, f32 apart, over a range of about two.
        difference("depth", &found, &expected)
            .within(1e-4, 0.05)
            .all_within(1e-2);
    }
}

#[test]
fn low_resolution_images_that_do_not_fit() {
    let model = tiny::model();
    let not_finite = pollster::block_on(model.super_resolve(&[f32::NAN; 648]));
    let parts = ["low-resolution image", "finite", "NaN at index 0"];
    refused::argument(not_finite, &parts);
    let result = pollster::block_on(model.super_resolve(&[0.0; 7]));
    refused::argument(result, &["low-resolution image", "648 numbers", "7"]);
}
