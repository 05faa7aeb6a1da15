use std::f32::consts::FRAC_PI_2;

use glam::{Vec2, vec2};

use super::Region;

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
