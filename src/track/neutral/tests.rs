use glam::DVec3;

use super::*;
use crate::track::maths::rotation_of;

const DT: f64 = 1.0 / 30.0;

fn pose(turn: f64) -> HeadPose {
    HeadPose {
        rotation: rotation_of(DVec3::Y * turn),
        origin: DVec2::new(100.0, 50.0),
        unit: 20.0,
    }
}

#[test]
fn the_first_still_second_is_neutral() {
    let mut neutral = Neutral::new(Calibration::FirstSecond, 2);
    // A head that turns at 60 degrees a second, then a face that is hardly seen: neither counts.
    for i in 0..40 {
        neutral.watch(&[0.9, 0.9], &pose(0.035 * f64::from(i)), 1.0, DT);
    }
    for _ in 0..40 {
        neutral.watch(&[0.9, 0.9], &pose(1.4), 0.5, DT);
    }
    let mut row = [0.5, 0.5];
    neutral.calibrated(&mut row);
    assert_eq!(row, [0.5, 0.5]);
    // A blink in between does not matter.
    for i in 0..60 {
        neutral.watch(&[0.2, if i == 10 { 1.0 } else { 0.6 }], &pose(1.4), 1.0, DT);
    }
    let mut row = [0.6, 0.6];
    neutral.calibrated(&mut row);
    assert!((row[0] - 0.5).abs() < 1e-12 && row[1] == 0.0, "{row:?}");
    assert!(
        neutral
            .pose()
            .unwrap()
            .rotation
            .abs_diff_eq(pose(1.4).rotation, 1e-6)
    );
    // It stays.
    for _ in 0..100 {
        neutral.watch(&[0.9, 0.9], &pose(0.0), 1.0, DT);
    }
    let mut row = [0.6, 0.6];
    neutral.calibrated(&mut row);
    assert!((row[0] - 0.5).abs() < 1e-12, "{row:?}");
}

#[test]
fn a_running_neutral_is_a_low_quantile() {
    let mut neutral = Neutral::new(Calibration::Running, 1);
    let mut row = [0.5];
    neutral.calibrated(&mut row);
    assert_eq!(row, [0.5]);
    // Talking over a mouth that reads 0.1 at rest.
    for i in 0..3000 {
        let value = if i % 30 < 6 {
            0.1
        } else {
            0.1 + 0.8 * f64::from(i % 7) / 7.0
        };
        neutral.watch(&[value], &pose(0.0), 1.0, DT);
    }
    let mut row = [0.1];
    neutral.calibrated(&mut row);
    assert_eq!(row, [0.0]);
    let mut row = [1.0];
    neutral.calibrated(&mut row);
    assert_eq!(row, [1.0]);
    // Half a minute later nothing of it is left.
    let capacity = neutral.samples.capacity();
    for _ in 0..1000 {
        neutral.watch(&[0.7], &pose(0.0), 1.0, DT);
    }
    let mut row = [0.85];
    neutral.calibrated(&mut row);
    assert!((row[0] - 0.5).abs() < 1e-9, "{row:?}");
    assert_eq!(neutral.samples.capacity(), capacity);
}

#[test]
fn by_hand_it_is_this_frame() {
    let mut neutral = Neutral::new(Calibration::Manual, 1);
    assert!(neutral.pose().is_none());
    for _ in 0..60 {
        neutral.watch(&[0.5], &pose(0.2), 1.0, DT);
    }
    let mut row = [0.5];
    neutral.calibrated(&mut row);
    assert_eq!(row, [0.5]);
    neutral.calibrate(&[0.9], &pose(0.3));
    // A channel that is high at rest is not amplified by more than four.
    let mut row = [1.0];
    neutral.calibrated(&mut row);
    assert!((row[0] - 0.4).abs() < 1e-12, "{row:?}");
    assert_eq!(neutral.pose().unwrap().rotation, pose(0.3).rotation);
}
