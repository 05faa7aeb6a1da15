use super::*;
use crate::error::refused;
use crate::head::HeadModelParts;

pub(crate) fn head() -> HeadModel {
    HeadModel::new(HeadModelParts {
        parents: vec![-1, 0],
        joint_regressor: vec![0.5; 4],
        skinning_weights: vec![0.5; 4],
        template: vec![[0.0; 3]; 2],
        expression_basis: vec![[0.0; 3]; 6],
        channels: ["jawOpen", "mouthSmileLeft", "mouthSmileRight"]
            .map(String::from)
            .into(),
        ..Default::default()
    })
    .unwrap()
}

pub(crate) fn expression(drive: &Drive, head: &HeadModel) -> Vec<f32> {
    let resolved = drive.resolve(Some(head), head.vertex_count());
    match resolved.unwrap().geometry {
        Geometry::Coefficients { expression, .. } => expression,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_drive_resolves_names_and_coefficients() {
    let head = head();
    assert_eq!(expression(&Drive::neutral(), &head), [0.0; 3]);
    let by_name = Drive::neutral()
        .expression("mouthSmileRight", 0.5)
        .expression("jawOpen", 0.1)
        .expression("jawOpen", 0.2);
    assert_eq!(expression(&by_name, &head), [0.2, 0.0, 0.5]);
    let both = by_name.coefficients([0.7, 0.8, 0.9]);
    assert_eq!(expression(&both, &head), [0.2, 0.8, 0.5]);

    let drive = Drive::neutral()
        .pose([0.1, 0.2, 0.3, 0.0, 0.0, 0.0])
        .camera(Camera::orbit(9.0, 5.0, 0.0));
    let resolved = drive.resolve(Some(&head), 2).unwrap();
    assert_eq!(*resolved.camera, Camera::orbit(9.0, 5.0, 0.0));
    assert!(matches!(
        resolved.geometry,
        Geometry::Coefficients {
            pose: [0.1, 0.2, 0.3, ..],
            ..
        }
    ));
}

#[test]
fn points_need_no_head_model() {
    let points = vec![[0.5; 3]; 4];
    let drive = Drive::points(points.clone());
    for head in [None, Some(&head())] {
        let resolved = drive.resolve(head, 4).unwrap();
        assert_eq!(resolved.geometry, Geometry::Points(&points));
    }
}

#[test]
fn a_drive_that_fits_no_model_is_an_error() {
    let head = head();
    let neutral = Drive::neutral;
    let points = || Drive::points(vec![[0.0; 3]; 2]);
    let bad = [
        neutral().expression("jawOpn", 1.0),
        neutral().expression("jawOpen", f32::NAN),
        neutral().coefficients([1.0]),
        neutral().coefficients([1.0, f32::INFINITY, 0.0]),
        neutral().pose([0.0; 4]),
        neutral().pose([0.0; 9]),
        neutral().pose([f32::NAN; 6]),
        neutral().camera([[0.0; 4]; 3]),
        points().camera(Camera::default().with_focal(f32::NAN)),
        points().expression("jawOpen", 0.0),
        points().pose([0.0; 6]),
        points().coefficients([0.0; 3]),
        Drive::points(Vec::new()),
        Drive::points(vec![[0.0; 3]; 3]),
        Drive::points(vec![[0.0; 3], [0.0, f32::NAN, 0.0]]),
    ];
    for drive in bad {
        refused!(drive.resolve(Some(&head), 2), Argument);
    }
    let error = refused!(neutral().resolve(None, 2), Argument);
    assert!(error.contains("no head model"), "{error}");
    let misspelt = neutral().expression("jawOpn", 1.0);
    let error = refused!(misspelt.resolve(Some(&head), 2), Argument);
    assert!(error.contains("nearest: \"jawOpen\""), "{error}");
}
