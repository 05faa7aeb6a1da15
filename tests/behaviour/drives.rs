//! Drives that do not fit a model.

use gpavatar::{Camera, Drive};

use crate::common::refused;
use crate::common::tiny::{self, model_with_head};

#[test]
fn expressions_and_poses_that_do_not_fit_the_head() {
    let avatar = tiny::avatar(&model_with_head());
    let neutral = Drive::neutral;
    let refused =
        |drive: Drive, parts: &[&str]| drop(refused::argument(avatar.render(&drive), parts));
    let channel = "a channel of the head model (nearest: \"jawOpen\"";
    let drive = neutral().expression("jawopen", 0.5);
    refused(drive, &["expression", channel, "\"jawopen\""]);
    let drive = neutral().expression("smile", 1.0);
    refused(drive, &["\"mouthSmileLeft\"", "found \"smile\""]);
    let drive = neutral().expression("jawOpen", f32::NAN);
    refused(drive, &["expression \"jawOpen\"", "NaN"]);
    let drive = neutral().coefficients([0.0; 3]);
    refused(drive, &["expression", "2 coefficients or none", "3"]);
    let drive = neutral().coefficients([0.0, f32::INFINITY]);
    refused(drive, &["expression", "inf at index 1"]);
    let drive = neutral().pose([0.0; 4]);
    refused(drive, &["pose", "3 values for each", "4 values"]);
    let drive = neutral().pose([0.0, f32::NAN, 0.0]);
    refused(drive, &["pose", "finite", "NaN at index 1"]);
    let both = tiny::drive().expression("jawOpen", 0.5);
    refused(both, &["drive", "either points or expression", "both"]);
}

#[test]
fn points_that_do_not_fit_the_network() {
    let avatar = tiny::avatar(&tiny::model());
    let count = tiny::config().points;
    let refused = |points: Vec<[f32; 3]>, parts: &[&str]| {
        refused::argument(avatar.render(&Drive::points(points)), parts);
    };
    let points = tiny::points(count - 1);
    refused(points, &["points of the drive", "100 points", "99"]);
    refused(vec![], &["points of the drive", "100 points", "found 0"]);
    for value in [f32::NAN, f32::INFINITY, -1e7, f32::MAX] {
        let mut points = tiny::points(count);
        points[7][2] = value;
        let parts = ["points of the drive", "within ±1000000", "index 7"];
        refused(points, &parts);
    }
    let neutral = avatar.render(&Drive::neutral());
    refused::argument(neutral, &["drive", "100 explicit points", "none"]);
}

#[test]
fn cameras_that_are_none() {
    let avatar = tiny::avatar(&tiny::model());
    let good = Camera::default();
    let with = |row: usize, column: usize, value: f32| {
        let mut camera = good;
        camera.transform[row][column] = value;
        camera
    };
    let mut singular = good;
    singular.transform[2] = [0.0; 4];
    let refused = |camera: Camera, what: &str, expected: &str, found: &str| {
        let result = avatar.render(&tiny::drive().camera(camera));
        refused::argument(result, &[what, expected, found]);
    };
    for (camera, expected, found) in [
        (with(1, 1, f32::NAN), "finite values", "NaN"),
        (with(0, 3, f32::INFINITY), "finite values", "inf"),
        (singular, "a rotation", "determinant 0"),
        (with(0, 0, -1.5), "a rotation", "-1.5"),
        (with(2, 3, 1e7), "within ±1000000", "10000000"),
    ] {
        refused(camera, "camera transform", expected, found);
    }
    for (focal, found) in [(0.0, "found 0"), (1e-30, "found 0.00")] {
        refused(
            good.with_focal(focal),
            "camera focal length",
            "0.001",
            found,
        );
    }
}

#[test]
fn a_drive_that_is_kept_is_one_that_is_made_anew() {
    let mut kept = Drive::neutral();
    for i in 0..3 {
        let (smile, pose) = (0.3 * i as f32, [0.1 * i as f32; 3]);
        let camera = Camera::orbit(10.0, 0.0, 10.0 * i as f32);
        kept.set_coefficients(&[0.1, smile]).set_pose(&pose);
        kept.set_expression("jawOpen", 0.2)
            .set_expression("jawOpen", smile);
        kept.set_camera(camera);
        let anew = Drive::neutral()
            .coefficients([0.1, smile])
            .expression("jawOpen", smile)
            .pose(pose)
            .camera(camera);
        assert_eq!(kept, anew);
    }
}
