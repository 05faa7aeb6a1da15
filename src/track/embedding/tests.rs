use glam::vec2;

use super::*;
use crate::error::refused;
use crate::track::fit::tests::shipped_head;

#[test]
fn the_shipped_embedding_lies_on_the_shipped_head() {
    let head = shipped_head();
    let [photographs, drawings] = [Embedding::shipped(), Embedding::shipped_for_drawings()];
    assert_eq!(photographs.points().len(), 71);
    let rest = photographs.rest(&head).unwrap();
    let named = |name: &str| {
        let index = photographs
            .points()
            .iter()
            .position(|point| point.name == name);
        rest[index.unwrap()]
    };
    // The person's left is at +x, the nose is in front, the brows above the chin.
    assert!(named("eyeLeftOuter").x > 0.1 && named("eyeRightOuter").x < -0.1);
    assert!(named("noseTip").z > named("chin").z && named("browLeft2").y > named("noseTip").y);
    assert!(
        photographs
            .points()
            .iter()
            .all(|point| point.offset == Vec3::ZERO)
    );
    let sigmas = |name: &str| {
        photographs
            .points()
            .iter()
            .find(|p| p.name == name)
            .unwrap()
            .sigma
    };
    assert_eq!([sigmas("chin"), sigmas("contourLeft454")], [2.0, 6.0]);
    assert!(
        drawings
            .points()
            .iter()
            .any(|point| point.offset.length() > 0.01)
    );
}

#[test]
fn an_embedding_comes_back_from_its_file() {
    let embedding = Embedding::shipped_for_drawings();
    let again = Embedding::from_json("it", &embedding.to_json()).unwrap();
    assert_eq!(again, embedding);
}

#[test]
fn bad_files_are_refused() {
    let json = |change: &str| {
        format!(
            r#"{{"version": 1, "points": [{{"mediapipe": [4], "vertices": [0, 1, 2, 3], "weights": [1, 0, 0, 0]{change}}}]}}"#
        )
    };
    let point = Embedding::from_json("it", &json("")).unwrap().points()[0].clone();
    assert_eq!((point.sigma, point.offset), (2.0, Vec3::ZERO));
    refused!(Embedding::from_json("it", "{}"), Format);
    refused!(
        Embedding::from_json("it", &json("").replace("\"version\": 1", "\"version\": 2")),
        Format
    );
    refused!(
        Embedding::from_json("it", &json("").replace("[4]", "[-4]")),
        Format
    );
    for bad in [
        json("").replace("[4]", "[478]"),
        json("").replace("[4]", "[]"),
        json("").replace("[1, 0, 0, 0]", "[1, 0.1, 0, 0]"),
        json(r#", "sigma_px": 0"#),
        r#"{"version": 1, "points": []}"#.into(),
    ] {
        refused!(Embedding::from_json("it", &bad), Tensors);
    }
    refused!(Embedding::shipped().with_sigma(f32::NAN), Argument);
}

#[test]
fn targets_are_means_of_landmarks_in_the_crop() {
    let embedding = Embedding::shipped();
    let points = (0..LANDMARKS).map(|i| Vec3::new(i as f32, 2.0 * i as f32, 0.0));
    let landmarks = Landmarks {
        points: points.collect(),
        presence: 1.0,
        tongue: 0.0,
    };
    let crop = Region {
        centre: vec2(100.0, 200.0),
        size: vec2(256.0, 256.0),
        angle: 0.0,
    };
    let mut targets = Vec::new();
    embedding
        .targets(&landmarks, &crop, 512.0, &mut targets)
        .unwrap();
    assert_eq!(targets.len(), 71);
    for (target, point) in targets.iter().zip(embedding.points()) {
        let indices = point.landmarks.iter().map(|i| f64::from(*i));
        let mean = indices.sum::<f64>() / point.landmarks.len() as f64;
        let expected = DVec2::new(2.0 * (mean - 100.0), 2.0 * (2.0 * mean - 200.0)) + 256.0;
        assert!(
            target.unwrap().abs_diff_eq(expected, 1e-3),
            "{target:?} {expected}"
        );
    }
    let flat = Region {
        size: vec2(256.0, 100.0),
        ..crop
    };
    refused!(
        embedding.targets(&landmarks, &flat, 512.0, &mut targets),
        Argument
    );
}
