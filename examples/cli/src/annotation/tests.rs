//! What is drawn, and where.

use gpavatar::glam::{DMat3, DVec2, DVec3, Vec2, Vec3};
use gpavatar::track::{HeadPose, Landmarks, Region, TrackedFace};
use image::RgbaImage;

use super::{POINT, SEARCHED, annotated, quality};

/// A face at (300, 200), of which one landmark is known, and another one is outside of the picture.
fn face() -> TrackedFace {
    TrackedFace {
        id: 0,
        region: Region {
            centre: Vec2::new(300.0, 200.0),
            size: Vec2::splat(160.0),
            angle: 30f32.to_radians(),
        },
        landmarks: Landmarks {
            points: vec![Vec3::new(310.0, 190.0, 5.0), Vec3::new(-50.0, 9e9, 0.0)],
            presence: 0.98,
            tongue: 0.0,
        },
        scores: [0.0; 52],
        pose: HeadPose {
            rotation: DMat3::from_diagonal(DVec3::new(-1.0, 1.0, -1.0)),
            origin: DVec2::new(300.0, 180.0),
            unit: 60.0,
        },
        fit: None,
        lost: false,
    }
}

#[test]
fn landmarks_and_regions_are_where_they_belong() {
    let face = face();
    for (factor, side) in [(1, 400), (8, 3200)] {
        // A large picture is made smaller, and what is drawn goes with it.
        let mut face = face.clone();
        let scaled = factor as f32;
        face.region.centre *= scaled;
        face.region.size *= scaled;
        face.landmarks.points[0] *= scaled;
        let picture = annotated(&RgbaImage::new(side, side), &face);
        let scale = picture.width() as f32 / 400.0;
        assert_eq!(picture.width(), side.min(1024));
        let colour = |place: Vec2| {
            let place = (scale * place).as_uvec2();
            *picture.get_pixel(place.x, place.y)
        };
        assert_eq!(colour(Vec2::new(310.0, 190.0)), POINT);
        let corner = face.region.to_picture(Vec2::ZERO) / scaled;
        assert_eq!(colour(corner), SEARCHED);
        assert_eq!(colour(Vec2::new(100.0, 300.0)).0, [0; 4]);
    }
}

#[test]
fn quality_is_told_in_degrees() {
    let told = quality(&face(), None);
    assert_eq!(told, "presence 0.980, azimuth 0°, elevation 0°, roll 30°");
}
