use super::*;
use crate::drive::Geometry;
use crate::error::refused;
use crate::head::HeadModelParts;
use crate::reference::track_fits::degrees;
use crate::track::embedding::Embedding;
use crate::track::fit::tests::shipped_head;

const DT: f64 = 1.0 / 30.0;

/// No calibration but by hand, and no smoothing.
fn plain() -> DriverOptions {
    DriverOptions {
        calibration: Calibration::Manual,
        smooth: false,
        ..DriverOptions::default()
    }
}

fn score(pairs: &[(&str, f32)]) -> Vec<f32> {
    let mut scores = vec![0.0; ARKIT.len()];
    for (name, value) in pairs {
        scores[ARKIT.iter().position(|channel| channel == name).unwrap()] = *value;
    }
    scores
}

/// A head that has turned by so many degrees since it was frontal, as a camera.
fn pose(azimuth: f64, elevation: f64, roll: f64) -> HeadPose {
    let [azimuth, elevation, roll] = [azimuth, elevation, roll].map(f64::to_radians);
    HeadPose {
        rotation: orbit(azimuth, elevation) * DMat3::from_rotation_z(roll),
        origin: DVec2::new(320.0, 240.0),
        unit: 25.0,
    }
}

fn frame<'a>(scores: &'a [f32], pose: HeadPose) -> FaceFrame<'a> {
    FaceFrame {
        scores,
        pose,
        fit: None,
        presence: 1.0,
    }
}

/// Values of the head model's channels.
fn expression(drive: &Drive, head: &HeadModel) -> Vec<f32> {
    match drive
        .resolve(Some(head), head.vertex_count())
        .unwrap()
        .geometry
    {
        Geometry::Coefficients { expression, .. } => expression,
        other => panic!("{other:?}"),
    }
}

#[test]
fn channels_go_to_their_names() {
    let head = shipped_head();
    let mut driver = Driver::new(&head, plain()).unwrap();
    let scores = score(&[
        ("jawOpen", 0.5),
        ("mouthSmileLeft", 0.75),
        ("tongueOut", 0.1),
    ]);
    let drive = driver
        .drive(Some(&frame(&scores, pose(0.0, 0.0, 0.0))), DT)
        .unwrap();
    let found = expression(&drive, &head);
    for (name, value) in head.parts().channels.iter().zip(&found) {
        let expected = match name.as_str() {
            "jawOpen" => 0.5,
            "mouthSmileLeft" => 0.75,
            "tongueOut" => 0.1,
            _ => 0.0,
        };
        assert_eq!(*value, expected, "{name}");
    }

    // Another order, and others beside.
    let few = HeadModel::new(HeadModelParts {
        template: vec![[0.0; 3]; 2],
        expression_basis: vec![[0.0; 3]; 6],
        channels: ["mouthSmileLeft", "wink", "jawOpen"]
            .map(String::from)
            .into(),
        ..Default::default()
    })
    .unwrap();
    let mut driver = Driver::new(&few, plain()).unwrap();
    let drive = driver
        .drive(Some(&frame(&scores, pose(0.0, 0.0, 0.0))), DT)
        .unwrap();
    assert_eq!(expression(&drive, &few), [0.75, 0.0, 0.5]);
}

#[test]
fn the_neutral_face_is_at_rest_and_frontal() {
    let head = shipped_head();
    let mut driver = Driver::new(&head, plain()).unwrap();
    let scores = score(&[("browInnerUp", 0.5), ("jawOpen", 0.1)]);
    let neutral = pose(5.0, -8.0, 3.0);
    driver.drive(Some(&frame(&scores, neutral)), DT).unwrap();
    driver.calibrate();
    let drive = driver.drive(Some(&frame(&scores, neutral)), DT).unwrap();
    assert!(expression(&drive, &head).iter().all(|value| *value == 0.0));
    let front = Camera::orbit(10.6, 0.0, 0.0);
    let found = drive.camera;
    assert!(degrees(found.rotation().as_dmat3(), front.rotation().as_dmat3()) < 1e-3);
    assert!((found.translation() - front.translation()).length() < 1e-5);
    let drive = driver.drive(
        Some(&frame(
            &score(&[("browInnerUp", 0.75), ("jawOpen", 0.1)]),
            neutral,
        )),
        DT,
    );
    let found = expression(&drive.unwrap(), &head);
    assert_eq!(found[head.channel("browInnerUp").unwrap()], 0.5);
}

#[test]
fn a_restart_keeps_the_neutral_face_only() {
    let head = shipped_head();
    let options = DriverOptions::default();
    let mut driver = Driver::new(&head, options.clone()).unwrap();
    let (still, smile) = (score(&[("jawOpen", 0.2)]), score(&[("jawOpen", 0.7)]));
    let neutral = frame(&still, pose(5.0, 0.0, 0.0));
    for _ in 0..45 {
        driver.drive(Some(&neutral), DT).unwrap();
    }
    driver
        .drive(Some(&frame(&smile, pose(30.0, 0.0, 0.0))), DT)
        .unwrap();
    driver.restart();
    let rest = Driver::new(&head, options)
        .unwrap()
        .drive(None, DT)
        .unwrap();
    assert_eq!(driver.drive(None, DT).unwrap(), rest);
    // At once, as nothing is smoothed in a first frame.
    let drive = driver.drive(Some(&neutral), DT).unwrap();
    assert!(expression(&drive, &head).iter().all(|value| *value < 1e-6));
    let front = Camera::orbit(10.6, 0.0, 0.0).rotation();
    assert!(drive.camera.rotation().abs_diff_eq(front, 1e-3));
}

#[test]
fn small_turns_are_the_camera_of_an_orbit() {
    let head = shipped_head();
    let mut driver = Driver::new(&head, plain()).unwrap();
    let scores = score(&[]);
    driver
        .drive(Some(&frame(&scores, pose(0.0, 0.0, 0.0))), DT)
        .unwrap();
    for (azimuth, elevation) in [(20.0, 5.0), (-30.0, -12.0), (0.0, 15.0)] {
        let drive = driver
            .drive(Some(&frame(&scores, pose(azimuth, elevation, 0.0))), DT)
            .unwrap();
        let expected = Camera::orbit(10.6, elevation as f32, azimuth as f32);
        let (found, expected) = (drive.camera.rotation(), expected.rotation());
        assert!(found.abs_diff_eq(expected, 1e-5), "{found} {expected}");
        drive.camera.validate().unwrap();
    }
    // Towards the camera, and to the picture's left, where camera space has its +x.
    let mut near = pose(0.0, 0.0, 0.0);
    near.unit *= 1.02;
    near.origin.x -= near.unit * 0.05;
    let place = driver
        .drive(Some(&frame(&scores, near)), DT)
        .unwrap()
        .camera
        .translation();
    assert!(
        (place.z - 10.6 / 1.02).abs() < 1e-4 && (place.x - 0.05).abs() < 1e-5,
        "{place}"
    );
}

#[test]
fn no_pose_is_beyond_what_the_model_knows() {
    let head = shipped_head();
    let mut driver = Driver::new(&head, plain()).unwrap();
    let scores = score(&[]);
    driver
        .drive(Some(&frame(&scores, pose(0.0, 0.0, 0.0))), DT)
        .unwrap();
    let mut before = 0.0;
    for azimuth in (0..=170).step_by(10).map(f64::from) {
        let mut pose = pose(azimuth, azimuth / 3.0, azimuth / 2.0);
        pose.unit = 25.0 * (1.0 + azimuth);
        pose.origin.y += 9.0 * azimuth;
        let camera = driver
            .drive(Some(&frame(&scores, pose)), DT)
            .unwrap()
            .camera;
        camera.validate().unwrap();
        let forward = camera.rotation().z_axis.as_dvec3();
        let found = (-forward.x).atan2(-forward.z).to_degrees();
        // Further turns stay further, until they are lost in rounding.
        assert!(
            found >= before - 1e-4 && found <= 45.0 + 1e-3,
            "{azimuth}: {found}"
        );
        before = found;
        assert!((-forward.y).asin().to_degrees() <= 20.0 + 1e-3);
        let place = camera.translation();
        assert!(
            place.z >= 10.1 - 1e-4 && place.y.abs() <= 0.1 + 1e-6,
            "{place}"
        );
    }
    assert!(before > 44.0, "{before}");
}

#[test]
fn a_soft_limit_has_no_step() {
    let mut before = soft(-3.0, 1.0);
    for i in -300..300 {
        let value = f64::from(i) / 100.0;
        let found = soft(value, 1.0);
        assert!(found >= before && found - before < 0.0101 && found.abs() <= 1.0);
        if value.abs() <= 0.8 {
            assert_eq!(found, value);
        }
        before = found;
    }
    assert_eq!(soft(5.0, 0.0), 0.0);
}

#[test]
fn a_lost_face_is_held_then_comes_to_rest() {
    let head = shipped_head();
    let mut driver = Driver::new(
        &head,
        DriverOptions {
            calibration: Calibration::Manual,
            ..Default::default()
        },
    )
    .unwrap();
    let jaw = head.channel("jawOpen").unwrap();
    assert_eq!(
        expression(&driver.drive(None, DT).unwrap(), &head)[jaw],
        0.0
    );
    let scores = score(&[("jawOpen", 0.8)]);
    driver
        .drive(Some(&frame(&scores, pose(0.0, 0.0, 0.0))), DT)
        .unwrap();
    let seen = driver
        .drive(Some(&frame(&scores, pose(10.0, 0.0, 0.0))), DT)
        .unwrap();
    let lost = driver.drive(None, 0.4).unwrap();
    assert_eq!(lost, seen);
    let later = driver.drive(None, 0.4).unwrap();
    let expected = 0.8 * (-1f32).exp();
    assert!((expression(&later, &head)[jaw] - expected).abs() < 1e-3);
    assert_eq!(later.camera, seen.camera);
    // Back again, it does not glide from where it was.
    let back = driver
        .drive(Some(&frame(&score(&[]), pose(-10.0, 0.0, 0.0))), DT)
        .unwrap();
    assert_eq!(expression(&back, &head)[jaw], 0.0);
    let expected = Camera::orbit(10.6, 0.0, -10.0).rotation();
    assert!(back.camera.rotation().abs_diff_eq(expected, 1e-5));
}

#[test]
fn a_mirror_swaps_sides() {
    let head = shipped_head();
    let options = DriverOptions {
        mirror: true,
        ..plain()
    };
    let mut driver = Driver::new(&head, options).unwrap();
    let scores = score(&[("mouthSmileLeft", 0.7), ("jawRight", 0.2)]);
    driver
        .drive(Some(&frame(&scores, pose(0.0, 0.0, 0.0))), DT)
        .unwrap();
    let drive = driver
        .drive(Some(&frame(&scores, pose(20.0, 5.0, 4.0))), DT)
        .unwrap();
    let found = expression(&drive, &head);
    assert_eq!(found[head.channel("mouthSmileRight").unwrap()], 0.7);
    assert_eq!(found[head.channel("jawLeft").unwrap()], 0.2);
    let expected = pose(-20.0, 5.0, -4.0).rotation.as_mat3();
    assert!(drive.camera.rotation().abs_diff_eq(expected, 1e-5));
}

#[test]
fn a_mirror_is_put_up_and_taken_away() {
    let head = shipped_head();
    let options = DriverOptions {
        smooth: true,
        ..plain()
    };
    let scores = score(&[("mouthSmileLeft", 0.7)]);
    let mut driver = Driver::new(&head, options.clone()).unwrap();
    let mut mirrored = Driver::new(
        &head,
        DriverOptions {
            mirror: true,
            ..options
        },
    )
    .unwrap();
    let see = |driver: &mut Driver, azimuth| {
        let face = frame(&scores, pose(azimuth, 5.0, 4.0));
        driver.drive(Some(&face), DT).unwrap()
    };
    for driver in [&mut driver, &mut mirrored] {
        see(driver, 0.0);
        see(driver, 10.0);
    }
    driver.set_mirror(true);
    // Also while the face is lost.
    let [found, expected] =
        [&mut driver, &mut mirrored].map(|driver| driver.drive(None, DT).unwrap());
    assert_eq!(found, expected);
    // At once, as after a loss.
    let [found, expected] = [&mut driver, &mut mirrored].map(|driver| see(driver, 20.0));
    assert_eq!(found, expected);
    driver.set_mirror(false);
    driver.set_mirror(false);
    let back = see(&mut driver, 20.0);
    assert_eq!(
        expression(&back, &head)[head.channel("mouthSmileLeft").unwrap()],
        0.7
    );
    assert_ne!(back, expected);
}

#[test]
fn a_neck_takes_the_first_part_of_a_turn() {
    let head = shipped_head();
    let options = DriverOptions {
        neck: 0.17,
        ..plain()
    };
    let mut driver = Driver::new(&head, options).unwrap();
    let scores = score(&[]);
    driver
        .drive(Some(&frame(&scores, pose(0.0, 0.0, 0.0))), DT)
        .unwrap();
    // The camera goes to the person's left when the head turns to its right.
    let drive = driver
        .drive(Some(&frame(&scores, pose(5.0, 0.0, 0.0))), DT)
        .unwrap();
    assert_eq!(drive.pose.len(), 6);
    assert!(
        (drive.pose[1] + 5f32.to_radians()).abs() < 1e-5,
        "{:?}",
        drive.pose
    );
    let front = Camera::orbit(10.6, 0.0, 0.0).rotation();
    assert!(drive.camera.rotation().abs_diff_eq(front, 1e-5));
    let drive = driver
        .drive(Some(&frame(&scores, pose(20.0, 0.0, 0.0))), DT)
        .unwrap();
    assert!((drive.pose[1] + 0.17).abs() < 1e-5, "{:?}", drive.pose);
    let rest = Camera::orbit(10.6, 0.0, 20.0 - 0.17f32.to_degrees()).rotation();
    assert!(drive.camera.rotation().abs_diff_eq(rest, 1e-5));
    drive.resolve(Some(&head), head.vertex_count()).unwrap();
}

fn fit(head: &HeadModel, pairs: &[(&str, f64)]) -> Fit {
    let mut expression = vec![0.0; head.expression_count()];
    for (name, value) in pairs {
        expression[head.channel(name).unwrap()] = *value;
    }
    Fit {
        shape: vec![0.0; head.shape_count()],
        expression,
        jaw: DVec3::ZERO,
        rotation: FRONTAL,
        translation: DVec3::Z,
        residual: 0.0,
        poor: false,
    }
}

#[test]
fn a_fit_drives_what_it_tells_better() {
    let head = shipped_head();
    let mut driver = Driver::new(&head, plain()).unwrap();
    let names = [
        "jawOpen",
        "browDownLeft",
        "mouthRight",
        "eyeBlinkRight",
        "mouthPucker",
        "eyeLookInLeft",
    ];
    let fit = fit(&head, &names.map(|name| (name, 0.2)));
    let scores = score(&names.map(|name| (name, 0.6)));
    let face = FaceFrame {
        fit: Some(&fit),
        ..frame(&scores, pose(0.0, 0.0, 0.0))
    };
    let found = expression(&driver.drive(Some(&face), DT).unwrap(), &head);
    for (name, expected) in names.into_iter().zip([0.2, 0.2, 0.2, 0.4, 0.6, 0.6]) {
        let value = found[head.channel(name).unwrap()];
        assert!((value - expected).abs() < 1e-6, "{name}: {value}");
    }
    let mut other = fit.clone();
    other.expression.pop();
    refused!(
        driver.drive(
            Some(&FaceFrame {
                fit: Some(&other),
                ..face
            }),
            DT
        ),
        Argument
    );
}

#[test]
fn a_head_without_names_is_driven_by_a_retargeted_expression() {
    let (head, embedding) = (shipped_head(), Embedding::shipped());
    let target = HeadModel::new(HeadModelParts {
        channels: Vec::new(),
        ..head.parts().clone()
    })
    .unwrap();
    let found = refused!(Driver::new(&target, plain()), Argument);
    assert!(found.contains("retargeted"), "{found}");
    let retarget = Retarget::new((&head, &embedding), (&target, &embedding)).unwrap();
    let mut driver = Driver::retargeted(&target, retarget.clone(), plain()).unwrap();
    let scores = score(&[("mouthSmileLeft", 1.0)]);
    let drive = driver
        .drive(Some(&frame(&scores, pose(0.0, 0.0, 0.0))), DT)
        .unwrap();
    let (expected, jaw) = retarget.apply(&scores).unwrap();
    assert_eq!(expression(&drive, &target), expected);
    assert_eq!(drive.pose, jaw);
    let other = HeadModel::new(HeadModelParts {
        template: vec![[0.0; 3]; 2],
        expression_basis: vec![[0.0; 3]; 6],
        ..Default::default()
    })
    .unwrap();
    refused!(Driver::retargeted(&other, retarget, plain()), Argument);
}

#[test]
fn bad_frames_are_refused() {
    let head = shipped_head();
    let mut driver = Driver::new(&head, plain()).unwrap();
    let scores = score(&[]);
    let good = pose(0.0, 0.0, 0.0);
    refused!(driver.drive(Some(&frame(&scores[1..], good)), DT), Argument);
    refused!(
        driver.drive(Some(&frame(&[f32::NAN; 52], good)), DT),
        Argument
    );
    refused!(
        driver.drive(Some(&frame(&scores, HeadPose { unit: 0.0, ..good })), DT),
        Argument
    );
    refused!(
        driver.drive(
            Some(&frame(
                &scores,
                HeadPose {
                    rotation: DMat3::ZERO,
                    ..good
                }
            )),
            DT
        ),
        Argument
    );
    let options = DriverOptions {
        neck: -1.0,
        ..plain()
    };
    refused!(Driver::new(&head, options), Argument);
    let mut options = plain();
    options.limits.distance = [11.0, 10.0, 12.0];
    refused!(Driver::new(&head, options), Argument);
    // A calibration before any face changes nothing.
    driver.calibrate();
    driver.drive(None, f64::NAN).unwrap();
}
