use glam::{Vec3, vec2};

use super::*;
use crate::error::refused;
use crate::track::embedding::Embedding;
use crate::track::files::tests::files;
use crate::track::fit::tests::shipped_head;
use crate::track::landmarks::tests::{golden, golden_landmarks};

fn canonical() -> Canonical {
    Canonical::parse("it", files().geometry()).unwrap()
}

#[test]
fn the_canonical_face_lies_on_the_shipped_head() {
    let (face, head, embedding) = (canonical(), shipped_head(), Embedding::shipped());
    let rest = embedding.rest(&head).unwrap();
    let found = face.placement(&embedding, &rest).unwrap();
    println!("{found:?}");
    assert!(
        (found.scale - Placement::SHIPPED.scale).abs() < 1e-5,
        "{found:?}"
    );
    assert!(
        found.offset.abs_diff_eq(Placement::SHIPPED.offset, 1e-4),
        "{found:?}"
    );
    refused!(face.placement(&embedding, &vec![DVec3::ONE; 71]), Argument);
}

#[test]
fn source_crops_and_cameras_match_the_golden_ones() {
    let (face, file) = (canonical(), golden());
    let placement = Placement::SHIPPED;
    for name in ["astronaut.0", "two.0", "rot20.0"] {
        let field = |field: &str| format!("{name}.{field}");
        let passes = golden_landmarks(&file, &field("xyz"), &field("presence"));
        let (crop, camera) = placement.pose(&face.pose(&passes[1]).unwrap()).source();
        let (expected, rows) = (
            file.f32(&field("source_crop")).unwrap(),
            file.f32(&field("source_transform")).unwrap(),
        );
        let moved = (crop.centre - vec2(expected[0], expected[1]))
            .abs()
            .max_element();
        let grown = (crop.size.x - expected[2]).abs();
        let turned = camera.transform.as_flattened().iter().zip(&*rows);
        let turned = turned.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("{name}: moved {moved:.1e}, grown {grown:.1e} px; transform {turned:.1e}");
        assert!(moved <= 0.1 && grown <= 0.1 && turned <= 1e-3);
        camera.validate().unwrap();
    }
}

#[test]
fn a_similarity_is_found_again() {
    let rotation = DMat3::from_rotation_x(2.5) * DMat3::from_rotation_y(-1.1);
    let truth = Similarity {
        scale: 0.3,
        rotation,
        translation: DVec3::new(3.0, -2.0, 8.0),
    };
    let places = (0..9).map(|i| DVec3::new((i % 3) as f64, (i / 3) as f64, (i * i % 5) as f64));
    let pairs = places.map(|a| {
        (
            1.0,
            a,
            truth.scale * (rotation.transpose() * a) + truth.translation,
        )
    });
    let found = similarity(pairs).unwrap();
    assert!((found.scale - truth.scale).abs() < 1e-9, "{found:?}");
    assert!(found.rotation.abs_diff_eq(rotation, 1e-9), "{found:?}");
    assert!(
        found.translation.abs_diff_eq(truth.translation, 1e-9),
        "{found:?}"
    );
    assert!(similarity((0..9).map(|_| (1.0, DVec3::ONE, DVec3::ONE))).is_none());
}

#[test]
fn a_face_without_extent_has_no_pose() {
    let landmarks = Landmarks {
        points: vec![Vec3::ONE; 478],
        ..Landmarks::default()
    };
    refused!(canonical().pose(&landmarks), Argument);
    refused!(canonical().pose(&Landmarks::default()), Argument);
}

#[test]
fn damaged_messages_are_refused() {
    let bytes = files().geometry();
    for end in (0..bytes.len()).step_by(97) {
        refused!(Canonical::parse("it", &bytes[..end]), Format);
    }
    for i in (0..bytes.len()).step_by(61) {
        let mut damaged = bytes.to_vec();
        damaged[i] ^= 0xff;
        if let Ok(face) = Canonical::parse("it", &damaged) {
            assert!(face.vertices.iter().all(|v| v.is_finite()));
        }
    }
}
