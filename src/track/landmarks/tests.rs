use glam::vec2;

use super::*;
use crate::error::refused;
use crate::weights::TensorFile;

/// The faces of the golden pictures, each with two passes.
const FACES: [&str; 4] = ["astronaut.0", "two.0", "two.1", "rot20.0"];

pub(crate) fn golden() -> TensorFile {
    TensorFile::golden("track/pictures.safetensors")
}

/// Landmarks of so many passes or frames.
pub(crate) fn golden_landmarks(file: &TensorFile, name: &str, presence: &str) -> Vec<Landmarks> {
    let (xyz, presence) = (file.f32(name).unwrap(), file.f32(presence).unwrap());
    let faces = xyz.chunks_exact(3 * LANDMARKS).zip(&*presence);
    let landmarks = faces.map(|(xyz, presence)| Landmarks {
        points: xyz.chunks_exact(3).map(Vec3::from_slice).collect(),
        presence: *presence,
        tongue: 0.0,
    });
    landmarks.collect()
}

pub(crate) fn golden_regions(file: &TensorFile, name: &str) -> Vec<Region> {
    let rows = file.f32(name).unwrap();
    let rows = rows.as_chunks::<5>().0.iter();
    let region = |&[x, y, w, h, angle]: &[f32; 5]| Region {
        centre: vec2(x, y),
        size: vec2(w, h),
        angle,
    };
    rows.map(region).collect()
}

/// Regions are within 0.05 pixels and 0.001 rad.
#[track_caller]
pub(crate) fn assert_near(found: &Region, expected: &Region) {
    let moved = (found.centre - expected.centre).abs().max_element();
    let grown = (found.size - expected.size).abs().max_element();
    let turned = (found.angle - expected.angle).abs();
    assert!(
        moved <= 0.05 && grown <= 0.05 && turned <= 1e-3,
        "{found:?} {expected:?}"
    );
}

#[test]
fn the_next_region_comes_from_the_landmarks() {
    let file = golden();
    for face in FACES {
        let field = |field: &str| format!("{face}.{field}");
        let passes = golden_landmarks(&file, &field("xyz"), &field("presence"));
        let regions = golden_regions(&file, &field("roi"));
        let next = golden_regions(&file, &field("next_roi"));
        assert_near(&passes[0].region().unwrap(), &regions[1]);
        assert_near(&passes[1].region().unwrap(), &next[0]);
    }
}

#[test]
fn places_are_those_of_the_region() {
    let region = Region {
        centre: vec2(100.0, 200.0),
        size: vec2(64.0, 64.0),
        angle: 0.0,
    };
    let mut raw = vec![128.0; 3 * LANDMARKS];
    raw[3..6].copy_from_slice(&[256.0, 0.0, -256.0]);
    let mut landmarks = Landmarks::default();
    landmarks.place(&raw, 0.0, 0.25, &region).unwrap();
    assert_eq!(landmarks.points[0], Vec3::new(100.0, 200.0, 32.0));
    assert_eq!(landmarks.points[1], Vec3::new(132.0, 168.0, -64.0));
    assert_eq!((landmarks.presence, landmarks.tongue), (0.5, 0.25));

    let before = landmarks.clone();
    let found = refused!(landmarks.place(&raw[1..], 0.0, 0.0, &region), Argument);
    assert!(found.contains("1434 numbers"), "{found}");
    raw[7] = f32::NAN;
    refused!(landmarks.place(&raw, 0.0, 0.0, &region), Argument);
    assert_eq!(landmarks, before);
}

#[test]
fn too_few_landmarks_have_no_region() {
    refused!(Landmarks::default().region(), Argument);
    let mut landmarks = Landmarks {
        points: vec![Vec3::ONE; LANDMARKS],
        ..Landmarks::default()
    };
    landmarks.points[400].z = f32::INFINITY;
    let found = refused!(landmarks.region(), Argument);
    assert!(found.contains("at 400"), "{found}");
}
