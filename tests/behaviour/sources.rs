//! Source pictures, good and bad.

use gpavatar::{Attention, Avatar, Camera, Model, ModelConfig, SourceImage};

use crate::common::refused;
use crate::common::tiny::{self, gpu, largest_difference, planes, reference_planes};
use crate::common::{Within, difference, golden_path};

#[test]
fn tracked_sources_and_sources_of_any_size_give_the_planes_of_the_reference() {
    let config = tiny::config();
    let model = tiny::model();
    let turned = Camera::orbit(14.0, 10.0, -30.0);
    for source in [
        tiny::picture(120, 120, 0).tracked(turned),
        // Corners outside of the picture.
        tiny::picture(80, 80, 1).tracked(Camera::orbit(9.0, -5.0, 20.0)),
        tiny::picture(32, 32, 2),
        tiny::picture(97, 45, 0),
        tiny::picture(13, 200, 1),
        tiny::picture(5, 3, 2),
        tiny::picture(1, 1, 0),
    ] {
        let avatar = Avatar::from_images(&model, std::slice::from_ref(&source)).unwrap();
        let expected = reference_planes(&config, std::slice::from_ref(&source));
        // Homographies in f32: positions in a picture of 200 pixels are good to 1e-5 of a pixel.
        difference(&format!("{source:?}"), &planes(&avatar), &expected.data).all_within_range(1e-4);
    }
}

#[test]
fn fusion_does_not_depend_on_the_order_of_sources() {
    let sources = [0, 1, 2].map(|seed| tiny::picture(32, 32, seed));
    let reversed: Vec<_> = sources.iter().rev().cloned().collect();
    for attention in [Attention::Softmax, Attention::Ratio] {
        let config = ModelConfig {
            attention,
            ..tiny::config()
        };
        let model = Model::new(gpu(), tiny::weights(&config)).unwrap();
        let of = |sources: &[SourceImage]| planes(&Avatar::from_images(&model, sources).unwrap());
        let found = of(&sources);
        let expected = reference_planes(&config, &sources).data;
        let [forth, back] = [found.clone(), of(&reversed)];
        let name = format!("{attention:?}");
        // A ratio of signed sums is ill-conditioned where they cancel.
        let outliers = match attention {
            Attention::Ratio => 0.01,
            Attention::Softmax => 0.0,
        };
        difference(&name, &found, &expected).within_range(3e-5, outliers);
        difference(&name, &forth, &back).within_range(3e-5, outliers);
        let others = largest_difference(&of(&sources[..1]), &found);
        assert!(others > 0.01, "the other sources do not count");
    }
}

#[test]
fn no_sources() {
    let result = Avatar::from_images(&tiny::model(), &[]);
    refused::argument(result, &["sources", "at least one picture", "none"]);
}

#[test]
fn pictures_without_pixels_or_of_another_size_than_their_data() {
    for (width, height) in [(0, 0), (0, 4), (4, 0), (SourceImage::MAX_SIDE + 1, 1)] {
        let size = format!("{width} x {height}");
        let data = vec![0; (width * height * 4) as usize];
        let parts = ["1 to 8192 pixels a side", &size];
        refused::argument(SourceImage::from_rgba8(width, height, data), &parts);
    }
    let result = SourceImage::from_rgba8(3, 2, vec![0; 23]);
    refused::argument(result, &["3 x 2 x 4 = 24 bytes", "23 bytes"]);
}

#[test]
fn picture_files_that_are_damaged_or_none() {
    let good = std::fs::read(golden_path("source_0.png")).unwrap();
    for bytes in [
        vec![],
        b"not a picture".to_vec(),
        good[..good.len() / 2].to_vec(),
        good[..40].to_vec(),
        // The header's width.
        [&good[..16], &[0; 4], &good[20..]].concat(),
        // In the middle of the pixels.
        [&good[..1000], &[0; 500], &good[1500..]].concat(),
    ] {
        refused::format(SourceImage::from_bytes(&bytes), &["source picture"]);
    }
    let missing = SourceImage::open("no/such/picture.png");
    refused::io(missing, &["cannot read no/such/picture.png"]);
}

#[test]
fn pictures_whose_camera_does_not_show_the_head() {
    let model = tiny::model();
    let good = Camera::orbit(12.0, 0.0, 0.0);
    let mut singular = good;
    singular.transform[1] = singular.transform[0];
    let edge_on = Camera::orbit(12.0, 0.0, 90.0);
    let away = Camera::look_at([0.0, 0.0, 12.0], [0.0, 0.0, 24.0], [0.0, 1.0, 0.0]);
    let not_finite = good.with_focal(f32::NAN);
    for (camera, parts) in [
        (singular, ["camera transform", "a rotation"]),
        (edge_on, ["camera of the source picture", "quadrilateral"]),
        (away, ["camera of the source picture", "behind it"]),
        (not_finite, ["camera focal length", "NaN"]),
    ] {
        let source = tiny::picture(32, 32, 0).tracked(camera);
        refused::argument(Avatar::from_images(&model, &[source]), &parts);
    }
}
