use std::f32::consts::FRAC_PI_2;

use glam::{Vec2, vec2};

use super::{Region, overlap};

#[test]
fn a_quarter_turn_is_clockwise_on_screen() {
    let region = Region {
        centre: vec2(100.0, 50.0),
        size: vec2(40.0, 20.0),
        angle: FRAC_PI_2,
    };
    // The right end of its horizontal axis points down.
    let right = region.to_picture(vec2(1.0, 0.5));
    assert!((right - vec2(100.0, 70.0)).length() < 1e-4, "{right}");
}

#[test]
fn places_come_back() {
    let region = Region {
        centre: vec2(311.0, 87.5),
        size: vec2(120.0, 180.0),
        angle: 0.7,
    };
    for place in [Vec2::ZERO, vec2(0.25, 0.9), vec2(-1.0, 3.0)] {
        let back = region.from_picture(region.to_picture(place));
        assert!((back - place).length() < 1e-5, "{place} {back}");
    }
    let whole = Region::whole(640, 480);
    assert_eq!(whole.to_picture(vec2(0.5 / 640.0, 0.0)), vec2(0.5, 0.0));
}

#[test]
fn a_region_settles_within_a_percent_and_a_degree() {
    let region = Region {
        centre: vec2(50.0, 60.0),
        size: Vec2::splat(200.0),
        angle: 3.1,
    };
    assert!(region.has_settled(&region));
    for (moved, grown, turned, settled) in [
        (1.9, 1.9, 0.017, true),
        (2.1, 0.0, 0.0, false),
        (0.0, 2.1, 0.0, false),
        (0.0, 0.0, 0.018, false),
        // Across the half turn.
        (0.0, 0.0, -6.29, true),
    ] {
        let next = Region {
            centre: region.centre + vec2(0.0, moved),
            size: region.size - grown,
            angle: region.angle + turned,
        };
        assert_eq!(region.has_settled(&next), settled, "{next:?}");
    }
}

#[test]
fn overlap_is_the_common_share() {
    let boxed = |x: f32, size: f32| [vec2(x, 0.0), vec2(x + size, size)];
    assert_eq!(overlap(boxed(0.0, 2.0), boxed(0.0, 2.0)), 1.0);
    assert_eq!(overlap(boxed(0.0, 2.0), boxed(1.0, 2.0)), 1.0 / 3.0);
    assert_eq!(overlap(boxed(0.0, 2.0), boxed(2.0, 2.0)), 0.0);
}
