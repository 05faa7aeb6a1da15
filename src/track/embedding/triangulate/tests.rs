use glam::Vec3;

use super::*;
use crate::error::refused;
use crate::head::HeadModelParts;
use crate::track::fit::tests::shipped_head;

/// 20 cameras around a head.
fn cameras() -> Vec<Camera> {
    let yaws = (0..10).map(|i| -30.0 + 60.0 * i as f32 / 9.0);
    yaws.flat_map(|yaw| [-10.0, 10.0].map(|elevation| Camera::orbit(10.6, elevation, yaw)))
        .collect()
}

/// What the cameras see of places in the world.
fn views(places: &[DVec3; LANDMARKS], size: u32) -> Vec<View> {
    let view = |camera: Camera| {
        let points = places.iter().map(|place| {
            let ndc = camera.project(*place).unwrap();
            let half = f64::from(size) / 2.0;
            (half * (1.0 - ndc)).as_vec2().extend(0.0)
        });
        View {
            camera,
            size,
            landmarks: Landmarks {
                points: points.collect(),
                presence: 1.0,
                tongue: 0.0,
            },
        }
    };
    cameras().into_iter().map(view).collect()
}

fn places() -> [DVec3; LANDMARKS] {
    let head = shipped_head();
    std::array::from_fn(|i| {
        let vertex = head.parts().template[3 * i].map(f64::from);
        DVec3::from_array(vertex) + DVec3::new(0.001, -0.002, 0.003)
    })
}

#[test]
fn landmarks_meet_where_they_are() {
    let head = shipped_head();
    let places = places();
    let embedding = Embedding::triangulated(&head, None, &views(&places, 256)).unwrap();
    let rest = embedding.rest(&head).unwrap();
    for (i, (found, place)) in rest.iter().zip(&places).enumerate() {
        // The damping draws a little towards the start.
        assert!(found.distance(*place) < 2e-3, "{i}: {found} {place}");
        let point = &embedding.points()[i];
        assert_eq!(point.landmarks, [i as u16]);
        assert!(point.offset.length() < 0.01, "{i}: {}", point.offset);
    }
}

#[test]
fn a_view_that_errs_counts_less() {
    let place = DVec3::new(0.1, 0.2, 0.5);
    let mut seen: Vec<(Camera, DVec2)> = cameras()
        .into_iter()
        .map(|camera| (camera, 256.0 * (1.0 - camera.project(place).unwrap())))
        .collect();
    seen[3].1.x += 60.0;
    let found = triangulate(&seen).unwrap();
    assert!(found.place.distance(place) < 5e-3, "{found:?}");
    assert!(found.residual < 1.0, "{found:?}");
}

#[test]
fn points_are_bound_to_triangles() {
    let head = HeadModel::new(HeadModelParts {
        template: vec![
            [0.0, 0.0, 0.1],
            [0.2, 0.0, 0.1],
            [0.0, 0.2, 0.1],
            [0.2, 0.2, 0.1],
        ],
        scale: 2.0,
        ..Default::default()
    })
    .unwrap();
    let triangles = [[0, 1, 2], [1, 3, 2]];
    let surface = Surface::new(&head, Some(&triangles)).unwrap();
    let bind = |place: DVec3| {
        surface.bind(
            7,
            &Place {
                place,
                residual: 1.5,
            },
        )
    };
    let inside = bind(DVec3::new(0.3, 0.3, 0.25));
    assert_eq!(inside.vertices[..3], [1, 3, 2]);
    assert!(
        (inside.offset - Vec3::new(0.0, 0.0, 0.05)).length() < 1e-6,
        "{inside:?}"
    );
    assert_eq!((inside.normal, inside.sigma), (Vec3::Z, 1.5));
    let beside = bind(DVec3::new(-0.1, 0.1, 0.2));
    assert!(
        (beside.offset - Vec3::new(-0.1, 0.0, 0.0)).length() < 1e-6,
        "{beside:?}"
    );
    assert_eq!(beside.weights[1], 0.0);
    let corner = bind(DVec3::new(0.5, 0.5, 0.2));
    assert_eq!(corner.weights, [0.0, 1.0, 0.0, 0.0]);
    let outside = Embedding::triangulated(&head, Some(&[[0, 1, 4]]), &views(&places(), 64));
    let found = refused!(outside, Argument);
    assert!(found.contains("triangle 0"), "{found}");
}

#[test]
fn bad_views_are_refused() {
    let head = shipped_head();
    let good = views(&places(), 256);
    refused!(Embedding::triangulated(&head, None, &good[..1]), Argument);
    let mut bad = good.clone();
    bad[1].camera.focal = 0.0;
    let found = refused!(Embedding::triangulated(&head, None, &bad), Argument);
    assert!(found.contains("view 1"), "{found}");
    let mut bad = good.clone();
    bad[2].landmarks.points.pop();
    refused!(Embedding::triangulated(&head, None, &bad), Argument);
    let mut bad = good;
    bad[2].size = 0;
    refused!(Embedding::triangulated(&head, None, &bad), Argument);
}
