use std::{collections::BTreeMap, iter};

use glam::{DMat3, DVec3};

use super::{
    HeadModel, HeadModelParts, PosedJoints,
    file::KEY,
    maths::{dissimilarity, rodrigues},
};
use crate::error::refused;
use crate::file::Scratch;
use crate::import::{HeadOptions, head_model};
use crate::weights::tests::{problems, tiny_weights};
use crate::weights::{FloatFormat, TensorFile, TensorWriter, Weights};

/// Every vertex in the world, by the definition and in f32 as a GPU would: the joints come from
/// the shaped vertices here, not from the prepared tables.
fn vertices(head: &HeadModel, joints: &PosedJoints, coefficients: &[f32]) -> Vec<[f32; 3]> {
    let parts = head.parts();
    let basis = || {
        let both = [&parts.shape_basis, &parts.expression_basis].into_iter();
        both.flat_map(|b| b.chunks_exact(head.vertex_count()))
    };
    let displace = |v: &mut [f32; 3], direction: &[f32; 3], coefficient: f32| {
        for axis in 0..3 {
            v[axis] += direction[axis] * coefficient;
        }
    };
    let weights = parts.skinning_weights.chunks_exact(head.joint_count());
    (parts.template.iter().zip(weights).enumerate())
        .map(|(i, (rest, weights))| {
            let mut v = *rest;
            for (direction, &coefficient) in basis().zip(coefficients) {
                displace(&mut v, &direction[i], coefficient);
            }
            let correctives = parts.pose_basis.chunks_exact(head.vertex_count());
            for (direction, &coefficient) in correctives.zip(&joints.feature) {
                displace(&mut v, &direction[i], coefficient);
            }
            std::array::from_fn(|axis| {
                (weights.iter().zip(&joints.matrices))
                    .map(|(weight, rows)| {
                        let [x, y, z, t] = rows[axis];
                        weight * (x * v[0] + y * v[1] + z * v[2] + t)
                    })
                    .sum()
            })
        })
        .collect()
}

pub(crate) fn golden_model() -> HeadModel {
    let path = TensorFile::golden_path("head_model_512.safetensors");
    head_model(path, &HeadOptions::default()).unwrap()
}

#[test]
fn points_match_the_authors() {
    let golden = TensorFile::golden("head_model_512.safetensors");
    let head = golden_model();
    assert_eq!(head.vertex_count(), 512);
    assert_eq!((head.shape_count(), head.expression_count()), (100, 50));
    assert_eq!(head.parts().scale, 5.0);
    for case in 0..3 {
        let read = |name| golden.f32(&format!("case{case}.{name}")).unwrap();
        let (shape, expression) = (read("shape"), read("expression"));
        let joints = head.pose(&shape, &expression, &read("pose")).unwrap();
        let found = vertices(&head, &joints, &[shape, expression].concat());
        let expected = read("points");
        assert_eq!(expected.len(), 3 * 512);
        let worst = iter::zip(found.as_flattened(), &*expected)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        // Points reach 1.5; both sides sum 186 products of f32, scaled by 5.
        assert!(worst < 2e-6, "case {case}: {worst}");
    }
}

#[test]
fn joint_tables_agree_with_the_regressor() {
    let golden = TensorFile::golden("head_model_512.safetensors");
    let head = golden_model();
    let parts = head.parts();
    let shape = golden.f32("case1.shape").unwrap();
    let expression = golden.f32("case1.expression").unwrap();
    let positions = head.joint_positions(&shape, &expression);
    let mut shaped: Vec<DVec3> = (parts.template.iter())
        .map(|v| DVec3::from_array(v.map(f64::from)))
        .collect();
    for (basis, coefficients) in [
        (&parts.shape_basis, &shape),
        (&parts.expression_basis, &expression),
    ] {
        for (direction, &coefficient) in basis.chunks_exact(512).zip(&**coefficients) {
            for (v, d) in shaped.iter_mut().zip(direction) {
                *v += f64::from(coefficient) * DVec3::from_array(d.map(f64::from));
            }
        }
    }
    for (row, position) in parts.joint_regressor.chunks_exact(512).zip(positions) {
        let weighted = row.iter().zip(&shaped).map(|(&w, v)| f64::from(w) * v);
        let expected: DVec3 = weighted.sum();
        // The same sums in another order, in f64.
        assert!(position.abs_diff_eq(expected, 1e-13));
    }
}

#[test]
fn rest_is_the_scaled_identity() {
    let joints = golden_model().pose(&[], &[], &[]).unwrap();
    assert_eq!(joints.matrices.len(), 5);
    assert_eq!(joints.feature, [0.0; 36]);
    for rows in joints.matrices {
        for (row, values) in rows.into_iter().enumerate() {
            for (column, value) in values.into_iter().enumerate() {
                let expected = if row == column { 5.0 } else { 0.0 };
                // The translations cancel to f64 rounding.
                assert!((value - expected).abs() < 1e-14, "{rows:?}");
            }
        }
    }
}

#[test]
fn rodrigues_turns_by_its_length() {
    let quarter = rodrigues(DVec3::Z * std::f64::consts::FRAC_PI_2);
    // The 1e-8 that keeps the axis finite is this far off.
    assert!((quarter * DVec3::X).abs_diff_eq(DVec3::Y, 2e-8));
    for r in [[0.0f32; 3], [1e-8; 3], [-1e-8; 3], [-0.1, 0.8, 2.9]] {
        let r = DVec3::from_array(r.map(f64::from));
        let rotation = rodrigues(r);
        let product = rotation * rotation.transpose();
        assert!(product.abs_diff_eq(DMat3::IDENTITY, 1e-7), "{rotation}");
    }
    assert_eq!(rodrigues(DVec3::ZERO), DMat3::IDENTITY);
}

#[test]
fn a_pose_drives_its_joints_or_all() {
    let head = golden_model();
    let (global, jaw) = ([0.1, -0.2, 0.05], [0.3, 0.0, 0.0]);
    let short = head.pose(&[], &[], &[global, jaw].concat()).unwrap();
    let rest = [0.0; 3];
    let all = [global, rest, jaw, rest, rest].concat();
    assert_eq!(short, head.pose(&[], &[], &all).unwrap());
    let turned = head.pose(&[], &[], &[global, rest].concat()).unwrap();
    assert_ne!(short, turned);
    // A turn of the root alone moves everything rigidly.
    assert_eq!(turned.feature, [0.0; 36]);
}

pub(crate) fn tiny_parts() -> HeadModelParts {
    HeadModelParts {
        template: vec![[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]],
        shape_basis: vec![[0.1, 0.0, 0.0], [0.1, 0.0, 0.0]],
        expression_basis: vec![
            [0.0, 0.0, 0.0],
            [0.0, -0.5, 0.0],
            [0.2, 0.0, 0.0],
            [0.0, 0.0, 0.0],
        ],
        pose_basis: vec![[0.0; 3]; 18],
        parents: vec![-1, 0],
        joint_regressor: vec![0.5, 0.5, 0.0, 1.0],
        skinning_weights: vec![1.0, 0.0, 0.25, 0.75],
        pose_joints: Vec::new(),
        scale: 2.0,
        channels: vec!["jawOpen".into(), "browInnerUp".into()],
        shape_names: vec!["headWidth".into()],
    }
}

#[test]
fn a_model_without_joints_still_turns() {
    let head = HeadModel::new(HeadModelParts {
        template: vec![[1.0, 0.0, 0.0]],
        ..Default::default()
    })
    .unwrap();
    let turn = head.pose(&[], &[], &[0.0, 0.0, std::f32::consts::FRAC_PI_2]);
    let turned = vertices(&head, &turn.unwrap(), &[]);
    // f32 rounding of π and the 1e-8 in the angle.
    assert!((turned[0][0]).abs() < 1e-7 && (turned[0][1] - 1.0).abs() < 1e-7);
}

#[test]
fn files_round_trip() {
    let scratch = Scratch::new("head-files");
    let path = scratch.path("head.safetensors");
    let no_joints = HeadModelParts {
        template: vec![[0.5; 3]; 4],
        ..Default::default()
    };
    for parts in [tiny_parts(), no_joints, golden_model().parts().clone()] {
        let head = HeadModel::new(parts).unwrap();
        head.write(&path).unwrap();
        let read = HeadModel::open(&path).unwrap();
        assert_eq!(read.parts(), head.parts());
        assert_eq!(read.joint_basis, head.joint_basis);
    }
}

#[test]
fn a_model_inside_a_weights_file_is_found() {
    let weights = tiny_weights();
    let reopened =
        |writer: TensorWriter| Weights::from_bytes(writer.into_bytes().unwrap()).unwrap();
    let without = reopened(weights.writer(FloatFormat::F32).unwrap());
    let found = HeadModel::embedded(without.file().unwrap()).unwrap();
    assert!(found.is_none(), "{found:?}");
    refused!(HeadModel::from_file(without.file().unwrap()), Format);

    // This one has parts that the next one lacks. None of them may remain.
    let earlier = golden_model();
    let head = HeadModel::new(HeadModelParts {
        pose_basis: Vec::new(),
        ..tiny_parts()
    })
    .unwrap();
    let mut writer = without.writer(FloatFormat::F32).unwrap();
    earlier.embed(&mut writer, FloatFormat::F32);
    head.embed(&mut writer, FloatFormat::F32);
    let once = reopened(writer);
    // Weights in another format keep the head model as it is.
    let twice = reopened(once.writer(FloatFormat::F16).unwrap());
    for weights in [once, twice] {
        let read = HeadModel::embedded(weights.file().unwrap()).unwrap();
        assert_eq!(read.unwrap().parts(), head.parts());
    }
}

#[test]
fn half_precision_keeps_a_head_model_valid() {
    let head = golden_model();
    let mut writer = TensorWriter::new(BTreeMap::new());
    head.embed(&mut writer, FloatFormat::F16);
    let read = HeadModel::from_safetensors(writer.into_bytes().unwrap()).unwrap();
    let pairs = iter::zip(&read.parts().template, &head.parts().template);
    for (found, expected) in pairs.flat_map(|(a, b)| iter::zip(a, b)) {
        // Half a unit in the last of 11 places, of values below 1/2.
        let close = (found - expected).abs() <= f32::exp2(-13.0);
        assert!(close, "{found} {expected}");
    }
}

#[test]
fn an_embedded_model_that_is_broken_is_an_error_not_none() {
    let head = HeadModel::new(tiny_parts()).unwrap();
    let mut writer = TensorWriter::new(BTreeMap::new());
    head.embed(&mut writer, FloatFormat::F32);
    writer.retain(|name| name != "head_model.template");
    let file = TensorFile::from_bytes("test", writer.into_bytes().unwrap()).unwrap();
    let expected = "head_model.template: expected shape [any, 3], found nothing";
    assert_eq!(problems(HeadModel::embedded(&file)), [expected]);
}

#[test]
fn every_contradiction_is_named() {
    type Damage = fn(&mut HeadModelParts);
    let damages: [(&str, Damage); 20] = [
        ("template", |p| p.template.clear()),
        ("template", |p| p.template[0][1] = f32::NAN),
        ("shape_basis", |p| p.shape_basis.truncate(1)),
        ("shape_basis", |p| p.shape_basis[0][0] = f32::INFINITY),
        ("expression_basis", |p| p.expression_basis.truncate(3)),
        ("expression_basis", |p| p.expression_basis[3][2] = f32::NAN),
        ("pose_basis", |p| p.pose_basis.truncate(17)),
        ("pose_basis", |p| p.pose_basis[17][0] = f32::NAN),
        ("joint_regressor", |p| p.joint_regressor.truncate(3)),
        ("joint_regressor", |p| p.joint_regressor[0] = f32::NAN),
        ("skinning_weights", |p| p.skinning_weights.truncate(3)),
        ("skinning_weights", |p| p.skinning_weights[2] = 0.5),
        ("parents", |p| p.parents[1] = 1),
        ("parents", |p| p.parents[0] = 0),
        ("parents", |p| p.parents[1] = -1),
        ("scale", |p| p.scale = 0.0),
        ("scale", |p| p.scale = f32::NAN),
        ("channels", |p| p.channels.truncate(1)),
        ("channels", |p| p.channels[1] = "jawOpen".into()),
        ("pose_joints", |p| p.pose_joints = vec![0, 2]),
    ];
    HeadModel::new(tiny_parts()).unwrap();
    for (name, damage) in damages {
        let mut parts = tiny_parts();
        damage(&mut parts);
        let problems = problems(HeadModel::new(parts));
        let named = problems.iter().any(|p| p.starts_with(name));
        assert!(named, "{name}: {problems:?}");
    }
}

#[test]
fn bad_coefficients_and_poses_are_errors() {
    let head = HeadModel::new(tiny_parts()).unwrap();
    head.pose(&[1.0], &[0.5, 0.0], &[0.0; 6]).unwrap();
    let bad: [(&[f32], &[f32], &[f32]); 7] = [
        (&[1.0, 2.0], &[], &[]),
        (&[f32::NAN], &[], &[]),
        (&[], &[1.0], &[]),
        (&[], &[1.0, f32::INFINITY], &[]),
        (&[], &[], &[0.0; 3]),
        (&[], &[], &[0.0; 7]),
        (&[], &[], &[0.0, 0.0, f32::NAN, 0.0, 0.0, 0.0]),
    ];
    for (shape, expression, pose) in bad {
        refused!(head.pose(shape, expression, pose), Argument);
    }
}

#[test]
fn an_unknown_channel_lists_similar_ones() {
    let head = HeadModel::new(tiny_parts()).unwrap();
    assert_eq!(head.channel("browInnerUp").unwrap(), 1);
    let error = head.channel("jawopen").unwrap_err().to_string();
    let nearest = r#"(nearest: "jawOpen", "browInnerUp"), found "jawopen""#;
    assert!(error.contains(nearest), "{error}");
    assert_eq!(dissimilarity("mouthSmile", "mouthSmileLeft"), 0);
    assert_eq!(dissimilarity("kitten", "sitting"), 3);
    assert_eq!(dissimilarity("JAW_open", "jawOpen"), 1);
    let unnamed = HeadModelParts {
        channels: Vec::new(),
        ..tiny_parts()
    };
    let unnamed = HeadModel::new(unnamed).unwrap();
    let error = unnamed.channel("jawOpen").unwrap_err();
    assert!(error.to_string().contains("coefficients instead of names"));
}

#[test]
fn broken_files_are_errors_and_never_panics() {
    let head = HeadModel::new(tiny_parts()).unwrap();
    let bytes = head.to_safetensors().unwrap();
    for cut in 0..bytes.len() {
        refused!(HeadModel::from_safetensors(bytes[..cut].to_vec()), Format);
    }
    for i in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[i] ^= 0x41;
        // Some bytes only change a value; returning is the test.
        let _ = HeadModel::from_safetensors(flipped);
    }
}

#[test]
fn missing_tensors_and_metadata_are_named() {
    let head = HeadModel::new(tiny_parts()).unwrap();
    let refused = |writer: TensorWriter| {
        let head = HeadModel::from_safetensors(writer.into_bytes().unwrap());
        head.unwrap_err().to_string()
    };
    for name in ["template", "joint_regressor", "skinning_weights"] {
        let mut writer = head.writer();
        writer.retain(|tensor| tensor != name);
        let (error, expected) = (refused(writer), format!("{name}: expected shape ["));
        assert!(error.contains(&expected), "{error}");
        assert!(error.contains("found nothing"), "{error}");
    }
    let file = TensorFile::from_bytes("test", head.to_safetensors().unwrap()).unwrap();
    let header = &file.metadata()[KEY];
    for (part, other, expected) in [
        (r#""version":1"#, r#""version":7"#, "found 7"),
        ("scale", "scales", "unknown field"),
        ("[-1,0]", "[-1,0,0]", "expected shape"),
    ] {
        let mut writer = head.writer();
        writer.metadata(KEY, header.replace(part, other));
        let error = refused(writer);
        assert!(error.contains(expected), "{error}");
    }
    let mut no_header = TensorWriter::new(BTreeMap::new());
    for name in file.tensor_names() {
        no_header.copy(&file, name).unwrap();
    }
    let error = refused(no_header);
    assert!(error.contains("expected a metadata entry"), "{error}");
}
