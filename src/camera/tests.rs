use super::*;
use crate::error::refused;
use crate::weights::TensorFile;

fn max_difference(a: &[[f32; 4]; 3], b: &[[f32; 4]; 3]) -> f32 {
    let pairs = a.as_flattened().iter().zip(b.as_flattened());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn orbit_matches_the_authors() {
    let golden = TensorFile::golden("geometry.safetensors");
    let parameters = golden.f32("orbit.parameters").unwrap();
    let transforms = golden.f32("orbit.transforms").unwrap();
    let transforms: &[[[f32; 4]; 3]] = bytemuck::cast_slice(&transforms);
    assert_eq!(parameters.len() / 3, transforms.len());
    for (p, expected) in parameters.chunks_exact(3).zip(transforms) {
        let camera = Camera::orbit(p[0], p[1], p[2]);
        camera.validate().unwrap();
        // One rounding step at the distance of 10; the authors computed in f32.
        assert!(max_difference(&camera.transform, expected) < 2e-6, "{p:?}");
    }
}

#[test]
fn orbit_stands_where_it_says_and_looks_at_the_origin() {
    for elevation in [-90.0, -89.9, -30.0, 0.0, 45.0, 90.0] {
        for azimuth in [-180.0, -60.0, 0.0, 90.0] {
            let camera = Camera::orbit(9.0, elevation, azimuth);
            camera.validate().unwrap();
            let (e, a) = (elevation.to_radians(), azimuth.to_radians());
            let position = 9.0 * Vec3::new(e.cos() * a.sin(), e.sin(), e.cos() * a.cos());
            // Angles in f32 are off by 1e-7 of up to π, times the distance.
            assert!(camera.origin().abs_diff_eq(position, 1e-5));
            let centre = camera.project(DVec3::ZERO).unwrap();
            assert!(centre.abs_diff_eq(DVec2::ZERO, 1e-6), "{centre}");
        }
    }
}

#[test]
fn projection_has_x_left_and_y_up() {
    let camera = Camera::look_at([0.0, 0.0, 12.0], [0.0; 3], [0.0, 1.0, 0.0]);
    // The world's +X is on the right-hand side of a camera that faces the face.
    let projected = camera.project(DVec3::new(0.5, 0.25, 0.0)).unwrap();
    assert!(projected.abs_diff_eq(DVec2::new(-0.5, 0.25), 1e-6));
    assert_eq!(camera.project(DVec3::new(0.0, 0.0, 13.0)), None);
    // Beside the camera.
    assert_eq!(camera.project(DVec3::new(1.0, 0.0, 12.0)), None);
}

#[test]
fn looking_along_the_up_vector_is_still_a_camera() {
    let camera = Camera::look_at([0.0, 7.0, 0.0], [0.0; 3], [0.0, 1.0, 0.0]);
    camera.validate().unwrap();
    assert!(camera.origin().abs_diff_eq(Vec3::new(0.0, 7.0, 0.0), 1e-5));
}

#[test]
fn affine_round_trip_and_meaning() {
    let camera = Camera::orbit(11.0, 20.0, -50.0);
    let affine = Affine3A::from(camera);
    assert_eq!(Camera::from(affine), camera);
    let point = Vec3::new(0.3, -0.2, 0.9);
    let by_affine = affine.transform_point3(point);
    // The definition, row vector times matrix, spelled out.
    let by_rows = Vec3::from_array(std::array::from_fn(|j| {
        let t = &camera.transform;
        point.x * t[0][j] + point.y * t[1][j] + point.z * t[2][j] + t[j][3]
    }));
    // Rounding at magnitude 11.
    assert!(by_affine.abs_diff_eq(by_rows, 2e-6));
}

#[test]
fn what_is_no_camera_is_an_error() {
    let good = Camera::default();
    good.validate().unwrap();
    let with = |row: usize, column: usize, value: f32| {
        let mut camera = good;
        camera.transform[row][column] = value;
        camera
    };
    let mut singular = good;
    singular.transform[1] = singular.transform[0];
    let mut mirrored = good;
    mirrored.transform[0] = mirrored.transform[0].map(|v| -v);
    let bad = [
        with(0, 0, f32::NAN),
        with(2, 3, f32::INFINITY),
        with(1, 1, 1.01),
        singular,
        mirrored,
        Camera::from_transform([[0.0; 4]; 3]),
        Camera::orbit(0.0, 0.0, 0.0),
        Camera::orbit(f32::NAN, 0.0, 0.0),
        Camera::look_at([1.0; 3], [1.0; 3], [0.0, 1.0, 0.0]),
        Camera::look_at([f32::INFINITY; 3], [1.0; 3], [0.0, 1.0, 0.0]),
        Camera::look_at([1.0; 3], [0.0; 3], [f32::NAN; 3]),
        good.with_focal(0.0),
        good.with_focal(-12.0),
        good.with_focal(1e-30),
        Camera::orbit(2e6, 0.0, 0.0),
        good.with_focal(f32::NAN),
    ];
    for camera in bad {
        refused!(camera.validate(), Argument);
    }
}

#[test]
fn matrices_of_three_and_four_rows_are_cameras() {
    let camera = Camera::orbit(10.0, 5.0, 20.0);
    let [a, b, c] = camera.transform;
    assert_eq!(Camera::from_rows(&[a, b, c]).unwrap(), camera);
    assert_eq!(
        Camera::from_rows(&[a, b, c, [0.0, 0.0, 0.0, 1.0]]).unwrap(),
        camera
    );
    for rows in [
        &[a, b][..],
        &[a, b, c, [0.0, 0.0, 1.0, 1.0]],
        &[a, b, c, c, c],
    ] {
        let error = refused!(Camera::from_rows(rows), Argument);
        assert!(error.contains("0 0 0 1"), "{error}");
    }
}

#[test]
fn a_matrix_is_a_camera() {
    let transform = Camera::orbit(7.0, 20.0, 30.0).transform;
    assert_eq!(Camera::from(transform), Camera::from_transform(transform));
    assert_eq!(Camera::from(transform).transform, transform);
}

/// Then any projection from the camera's place shows the point and its pixel on the quad together.
#[test]
fn a_quad_has_every_pixel_on_its_ray() {
    for (elevation, azimuth, focal) in [(0.0, 0.0, 12.0), (20.0, -65.0, 7.0), (-80.0, 170.0, 3.0)] {
        let camera = Camera::orbit(9.0, elevation, azimuth).with_focal(focal);
        let quad = camera.quad(8.5).map(Vec3::as_dvec3);
        let eye = camera.origin().as_dvec3();
        for point in [
            DVec3::ZERO,
            DVec3::new(0.4, -0.9, 0.7),
            DVec3::new(-0.8, 0.6, -0.3),
        ] {
            let ndc = camera.project(point).unwrap();
            // Pixels count from the upper left; ±1 are the picture's edges, and +x is left.
            let [right, down] = [(1.0 - ndc.x) / 2.0, (1.0 - ndc.y) / 2.0];
            let top = quad[0].lerp(quad[1], right);
            let bottom = quad[3].lerp(quad[2], right);
            let seen = top.lerp(bottom, down);
            let [a, b] = [seen, point].map(|place| (place - eye).normalize());
            assert!((a - b).length() < 1e-6, "{camera:?}: {point} at {seen}");
        }
    }
}
