use super::*;
use crate::error::refused;
use crate::track::landmarks::tests::{assert_near, golden, golden_regions};
use crate::weights::TensorFile;

/// The detections of a golden picture.
pub(crate) fn detections(picture: &str) -> Vec<Detection> {
    let file = golden();
    let rows = file.f32(&format!("{picture}.detections")).unwrap();
    let rows = rows.as_chunks::<17>().0.iter();
    let detection = |row: &[f32; 17]| {
        let place = |i: usize| vec2(row[1 + 2 * i], row[2 + 2 * i]);
        Detection {
            score: row[0],
            corners: [place(0), place(1)],
            keys: std::array::from_fn(|k| place(2 + k)),
        }
    };
    rows.map(detection).collect()
}

#[test]
fn regions_of_the_golden_detections() {
    let file = golden();
    assert!(detections("none").is_empty());
    for (picture, count) in [("astronaut", 1), ("two", 2), ("rot20", 1)] {
        let found = detections(picture);
        assert_eq!(found.len(), count);
        for (i, detection) in found.iter().enumerate() {
            let regions = golden_regions(&file, &format!("{picture}.{i}.roi"));
            assert_near(&detection.region(), &regions[0]);
        }
    }
}

/// The net's input was rounded to bytes there, and a pixel of it is four of the picture, so that the
/// tolerances are wider than the pipeline's.
#[test]
fn the_golden_output_is_the_astronaut() {
    let file = TensorFile::golden("track/detector.safetensors");
    let [regressors, logits] =
        ["regressors", "logits"].map(|name| file.f32(&format!("case0.{name}")).unwrap());
    let mut found = Vec::new();
    decode(
        &regressors,
        &logits,
        &letterbox(Region::whole(512, 512)),
        &mut found,
    )
    .unwrap();
    assert!(found.len() > 1, "{}", found.len());
    suppress(&mut found);
    let expected = detections("astronaut");
    assert_eq!(found.len(), expected.len());
    let (found, expected) = (found[0], expected[0]);
    assert!(
        (found.score - expected.score).abs() < 2e-3,
        "{} {}",
        found.score,
        expected.score
    );
    let places = |d: &Detection| d.corners.into_iter().chain(d.keys).collect::<Vec<_>>();
    let worst = places(&found).into_iter().zip(places(&expected));
    let worst = worst
        .map(|(a, b)| (a - b).abs().max_element())
        .fold(0.0, f32::max);
    println!(
        "score {:.1e}, places {worst:.3} px",
        (found.score - expected.score).abs()
    );
    assert!(worst < 0.2, "{worst} px");
}

fn boxed(score: f32, x: f32, size: f32) -> Detection {
    Detection {
        score,
        corners: [vec2(x, 0.0), vec2(x + size, size)],
        keys: [vec2(x, x); 6],
    }
}

#[test]
fn overlapping_detections_become_their_weighted_mean() {
    // The third overlaps with the second by more than half, but not with the best.
    let mut found = vec![
        boxed(0.6, 2.0, 10.0),
        boxed(0.9, 0.0, 10.0),
        boxed(0.5, 5.0, 10.0),
        boxed(0.7, 40.0, 10.0),
    ];
    suppress(&mut found);
    assert_eq!(found.len(), 3);
    assert_eq!(
        found.iter().map(|d| d.score).collect::<Vec<_>>(),
        [0.9, 0.7, 0.5]
    );
    let mean = (0.9 * 0.0 + 0.6 * 2.0) / 1.5;
    assert!(
        (found[0].corners[0].x - mean).abs() < 1e-6,
        "{:?}",
        found[0]
    );
    assert!((found[0].keys[3].y - mean).abs() < 1e-6, "{:?}", found[0]);
    assert_eq!(found[1], boxed(0.7, 40.0, 10.0));
}

#[test]
fn an_anchor_is_decoded_in_its_region() {
    let mut regressors = vec![0.0; ANCHORS * REGRESSORS];
    let mut logits = vec![-50.0; ANCHORS];
    // The first anchor of the second row and column of the coarse grid.
    let index = 512 + (8 + 1) * 6;
    logits[index] = 200.0;
    let row = &mut regressors[REGRESSORS * index..][..REGRESSORS];
    row[..6].copy_from_slice(&[16.0, -8.0, 32.0, 64.0, -16.0, 0.0]);
    let mut found = Vec::new();
    let region = letterbox(Region::whole(400, 200));
    assert_eq!(
        (region.centre, region.size),
        (vec2(200.0, 100.0), vec2(400.0, 400.0))
    );
    decode(&regressors, &logits, &region, &mut found).unwrap();
    let [found] = found[..] else {
        panic!("{found:?}");
    };
    // The anchor lies at 3/16 of the square, 75 pixels, and 100 pixels higher than the square's edge.
    assert_eq!(found.score, 1.0);
    assert_eq!(found.corners, [vec2(75.0, -150.0), vec2(175.0, 50.0)]);
    assert_eq!(found.keys[0], vec2(25.0, -25.0));

    // A quarter turn of the region turns the face.
    let turned = Region {
        angle: std::f32::consts::FRAC_PI_2,
        ..region
    };
    let mut again = Vec::new();
    decode(&regressors, &logits, &turned, &mut again).unwrap();
    let size = again[0].corners[1] - again[0].corners[0];
    assert!((size - vec2(200.0, 100.0)).length() < 1e-3, "{size}");
}

#[test]
fn bad_output_is_no_face() {
    let (mut regressors, mut logits) = (vec![1.0; ANCHORS * REGRESSORS], vec![f32::NAN; ANCHORS]);
    let mut found = Vec::new();
    decode(
        &regressors,
        &logits,
        &letterbox(Region::whole(9, 9)),
        &mut found,
    )
    .unwrap();
    logits.fill(9.0);
    regressors.fill(f32::NAN);
    decode(
        &regressors,
        &logits,
        &letterbox(Region::whole(9, 9)),
        &mut found,
    )
    .unwrap();
    regressors.fill(-1.0);
    decode(
        &regressors,
        &logits,
        &letterbox(Region::whole(9, 9)),
        &mut found,
    )
    .unwrap();
    assert!(found.is_empty(), "{found:?}");
    refused!(
        decode(
            &regressors[1..],
            &logits,
            &letterbox(Region::whole(9, 9)),
            &mut found
        ),
        Argument
    );
    refused!(
        decode(
            &regressors,
            &logits[1..],
            &letterbox(Region::whole(9, 9)),
            &mut found
        ),
        Argument
    );
}

#[test]
fn tiles_reach_from_edge_to_edge() {
    for (width, height) in [(1000, 400), (300, 900), (1, 1)] {
        for tiling in TILINGS {
            let found: Vec<_> = tiles(Region::whole(width, height), tiling).collect();
            assert_eq!(found.len(), (tiling.0 * tiling.0) as usize);
            let whole = Region::whole(width, height).size;
            // Every place of the picture lies in a tile.
            for (x, y) in (0..=10).flat_map(|x| (0..=10).map(move |y| (x, y))) {
                let place = whole * vec2(x as f32, y as f32) / 10.0;
                let holds = |tile: &Region| {
                    let at = tile.from_picture(place);
                    at.min_element() >= -1e-4 && at.max_element() <= 1.0 + 1e-4
                };
                assert!(found.iter().any(holds), "{place} of {whole}");
            }
        }
    }
}
