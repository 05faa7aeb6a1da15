use glam::{Vec2, vec2};

use super::*;
use crate::track::landmarks::tests::{golden, golden_landmarks, golden_regions};

/// A detection with this region.
fn at(region: &Region) -> Detection {
    let half = region.size / 3.0;
    let eye = Vec2::from_angle(region.angle);
    Detection {
        score: 0.9,
        corners: [region.centre - half, region.centre + half],
        keys: [
            region.centre,
            region.centre + eye,
            Vec2::ZERO,
            Vec2::ZERO,
            Vec2::ZERO,
            Vec2::ZERO,
        ],
    }
}

#[test]
fn the_clip_is_searched_where_its_face_is_lost() {
    let file = golden();
    let searched = file.u8("clip.searched").unwrap();
    let regions = golden_regions(&file, "clip.roi");
    let landmarks = golden_landmarks(&file, "clip.xyz", "clip.presence");
    let mut faces = Faces::new(1);
    for frame in 0..24 {
        assert_eq!(faces.searches(), searched[frame] != 0, "frame {frame}");
        let there = regions[frame].size.x > 0.0;
        if faces.searches() && there {
            faces.detected(&[at(&regions[frame])]);
        }
        let followed: Vec<Face> = faces
            .faces()
            .iter()
            .filter(|face| !face.lost)
            .copied()
            .collect();
        assert_eq!(followed.len(), usize::from(there), "frame {frame}");
        for face in followed {
            assert_eq!(face.id, 0);
            crate::track::landmarks::tests::assert_near(&face.region, &regions[frame]);
            let found = faces.seen(face.id, &landmarks[frame]);
            assert_eq!(found, landmarks[frame].presence >= FOLLOW);
        }
        faces.advance(1.0 / 30.0);
    }
    assert!(!faces.searches());
}

fn region(x: f32, size: f32) -> Region {
    Region {
        centre: vec2(x, 100.0),
        size: Vec2::splat(size),
        angle: 0.0,
    }
}

/// Landmarks in the middle of a region, whose next region is the same.
fn face_in(region: &Region) -> Landmarks {
    let half = region.size.x / 3.0;
    let corner = |i: usize| {
        let [x, y] = [i % 2, i / 2 % 2].map(|bit| if bit == 0 { -half } else { half });
        (region.centre + vec2(x, y)).extend(0.0)
    };
    let mut landmarks = Landmarks {
        points: (0..478).map(corner).collect(),
        presence: 1.0,
        tongue: 0.0,
    };
    landmarks.points[33] = region.centre.extend(0.0);
    landmarks.points[263] = (region.centre + Vec2::X).extend(0.0);
    landmarks
}

#[test]
fn several_faces_come_go_and_come_back() {
    let (left, right) = (region(100.0, 80.0), region(400.0, 90.0));
    let mut faces = Faces::new(2);
    assert!(faces.searches());
    faces.detected(&[at(&left), at(&right), at(&region(700.0, 50.0))]);
    assert_eq!(faces.faces().len(), 2);
    assert!(!faces.searches());
    assert!(faces.seen(0, &face_in(&left)));
    // The second face leaves.
    let gone = Landmarks {
        presence: 0.4,
        ..face_in(&right)
    };
    assert!(!faces.seen(1, &gone));
    faces.advance(0.1);
    assert!(faces.searches());
    assert!(faces.faces()[1].lost && faces.faces()[1].lost_for > 0.0);
    // What is found where the first face is followed is that one.
    faces.detected(&[at(&left)]);
    assert!(faces.faces()[1].lost);
    faces.detected(&[at(&left), at(&region(410.0, 90.0))]);
    assert_eq!(faces.faces()[1].id, 1);
    assert!(!faces.faces()[1].lost);
    assert_eq!(faces.faces()[1].region.centre.x, 410.0);
    // Lost for long, it is somebody else.
    assert!(!faces.seen(1, &gone));
    for _ in 0..25 {
        assert!(faces.seen(0, &face_in(&left)));
        faces.advance(0.1);
    }
    assert_eq!(faces.faces().len(), 1);
    faces.detected(&[at(&right)]);
    assert_eq!(faces.faces()[1].id, 2);
}

#[test]
fn of_two_faces_in_one_place_the_older_stays() {
    let (left, right) = (region(100.0, 80.0), region(300.0, 80.0));
    let mut faces = Faces::new(2);
    faces.detected(&[at(&left), at(&right)]);
    faces.seen(0, &face_in(&left));
    faces.seen(1, &face_in(&region(110.0, 80.0)));
    faces.advance(0.03);
    assert_eq!(
        faces.faces().iter().map(|face| face.id).collect::<Vec<_>>(),
        [0]
    );
}

#[test]
fn bad_landmarks_lose_a_face() {
    let mut faces = Faces::new(1);
    faces.detected(&[at(&region(100.0, 80.0))]);
    let mut landmarks = face_in(&region(100.0, 80.0));
    landmarks.points[3].x = f32::NAN;
    assert!(!faces.seen(0, &landmarks));
    assert!(
        !faces.seen(7, &face_in(&region(100.0, 80.0))),
        "there is no such face"
    );
    assert!(faces.searches());
}

#[test]
fn a_still_is_looked_at_until_its_region_settles() {
    let file = golden();
    let passes = golden_landmarks(&file, "astronaut.0.xyz", "astronaut.0.presence");
    let regions = golden_regions(&file, "astronaut.0.roi");
    let wanders = |pass: usize, landmarks: &Landmarks, score: f32| {
        judge(pass, &region(100.0, 80.0), landmarks, score).unwrap()
    };
    for (pass, landmarks) in passes.iter().enumerate() {
        let verdict = judge(pass + 1, &regions[pass], landmarks, 0.9).unwrap();
        assert_eq!(verdict, Verdict::Again(landmarks.region().unwrap()));
        assert_eq!(wanders(pass + 1, landmarks, 0.9), verdict);
    }
    let last = &passes[1];
    assert_eq!(wanders(PASSES, last, 0.76), Verdict::Face);
    assert_eq!(wanders(PASSES, last, 0.74), Verdict::Nothing);
    let settled = last.region().unwrap();
    assert_eq!(judge(1, &settled, last, 0.5).unwrap(), Verdict::Face);
    let doubtful = Landmarks {
        presence: 0.89,
        ..last.clone()
    };
    assert_eq!(wanders(PASSES, &doubtful, 0.9), Verdict::Nothing);
    assert_eq!(
        judge(1, &settled, &doubtful, 0.9).unwrap(),
        Verdict::Nothing
    );
}
