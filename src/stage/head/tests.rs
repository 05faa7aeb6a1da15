use glam::{Mat3, Vec3};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::gpu::Resource;
use crate::head::tests::golden_model;
use crate::reference::head as twin;
use crate::stage::testing::*;
use crate::{HeadModelParts, TensorFile};

/// One call of each kernel.
pub(in crate::stage) fn examples(gpu: &Gpu) {
    let model = Random::new(1, 70, 3, 2, 3);
    model.compare(gpu, &[0.5, -1.0, 0.25], &[1.0, -0.5]);
}

/// The points of an identity, an expression and a pose, by both kernels.
fn points(gpu: &Gpu, model: &HeadModel, [shape, expression, pose]: [&[f32]; 3]) -> Vec<Vec3> {
    let head = Head::new(gpu, model).unwrap();
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    let identity = head.identity(gpu, &mut encoder, shape).unwrap();
    gpu.queue().submit([encoder.finish()]);
    let coefficients = head.pack(expression, &model.pose(shape, expression, pose).unwrap());
    assert_eq!(coefficients.len(), head.coefficients());
    let points = output(gpu, 4 * model.vertex_count());
    run(gpu, &[("identity", Resource::Tensor(&identity))], |b| {
        head.skin(b, &input(gpu, &coefficients), &points).unwrap();
    });
    let found = written(gpu, &points, 4 * model.vertex_count());
    let points = found.as_chunks::<4>().0.iter().map(|&[x, y, z, w]| {
        assert_eq!(w, 0.0);
        Vec3::new(x, y, z)
    });
    points.collect()
}

#[test]
fn the_authors_heads_are_posed_as_they_did() {
    let golden = TensorFile::golden("head_model_512.safetensors");
    let model = golden_model();
    for case in ["case0", "case1", "case2"] {
        let read = |name: &str| golden.f32(&format!("{case}.{name}")).unwrap();
        let [shape, expression, pose] = ["shape", "expression", "pose"].map(read);
        let found = points(gpu(), &model, [&shape, &expression, &pose]);
        // Coordinates of order one, sums of 150 and 36 terms.
        assert_close(case, &flat(&found), &read("points"), |_| 2e-6);
    }
}

/// A made-up model, and its data in the twin's layout.
struct Random {
    parts: HeadModelParts,
    pose: Vec<f32>,
}

impl Random {
    fn new(seed: u64, vertices: usize, shapes: usize, expressions: usize, joints: usize) -> Self {
        let vectors = |name: &str, count: usize, scale: f32| -> Vec<[f32; 3]> {
            let vectors = random_vectors(seed, name, count).into_iter();
            vectors.map(|v| (scale * v).to_array()).collect()
        };
        let rows_of_one = |name: &str, rows: usize, columns: usize| -> Vec<f32> {
            let values = random(seed, name, rows * columns).into_iter();
            let values: Vec<f32> = values.map(|v| v + 1.1).collect();
            let rows = values.chunks_exact(columns);
            rows.flat_map(|row| {
                let sum: f32 = row.iter().sum();
                row.iter().map(move |v| v / sum)
            })
            .collect()
        };
        let parts = HeadModelParts {
            template: vectors("template", vertices, 1.0),
            shape_basis: vectors("shapes", shapes * vertices, 0.3),
            expression_basis: vectors("expressions", expressions * vertices, 0.3),
            pose_basis: vectors("correctives", 9 * (joints - 1) * vertices, 0.1),
            parents: (0..joints as i32).map(|joint| joint.min(2) - 1).collect(),
            joint_regressor: rows_of_one("regressor", joints, vertices),
            skinning_weights: rows_of_one("skinning", vertices, joints),
            pose_joints: (0..joints as u32).collect(),
            scale: 1.5,
            ..HeadModelParts::default()
        };
        Self {
            parts,
            pose: random(seed, "pose", 3 * joints),
        }
    }

    fn compare(&self, gpu: &Gpu, shape: &[f32], expression: &[f32]) {
        let parts = &self.parts;
        let model = HeadModel::new(parts.clone()).unwrap();
        let found = points(gpu, &model, [shape, expression, &self.pose]);

        let vectors = |triples: &[[f32; 3]]| -> Vec<Vec3> {
            triples.iter().map(|v| Vec3::from_array(*v)).collect()
        };
        let template = vectors(&parts.template);
        let basis = [&parts.shape_basis[..], &parts.expression_basis].concat();
        let coefficients = [shape, expression].concat();
        // [vertex][axis][coefficient]
        let directions: Vec<f32> = (0..template.len())
            .flat_map(|vertex| (0..3).map(move |axis| (vertex, axis)))
            .flat_map(|(vertex, axis)| {
                let of_vertex = basis.iter().skip(vertex).step_by(template.len());
                of_vertex.map(move |v| v[axis])
            })
            .collect();
        let shaped = if coefficients.is_empty() {
            template
        } else {
            twin::blend_shapes(&template, &directions, &coefficients)
        };
        let joints = twin::joints(&parts.joint_regressor, &shaped);
        let rotations = self.pose.chunks_exact(3).map(Vec3::from_slice);
        let rotations: Vec<Mat3> = rotations.map(twin::rodrigues).collect();
        let expected = twin::skin(
            &shaped,
            parts.pose_basis.as_flattened(),
            &twin::pose_feature(&rotations),
            &parts.skinning_weights,
            &twin::joint_motions(&joints, &parts.parents, &rotations),
            parts.scale,
        );
        // Coordinates of order one; sums of a few dozen terms, and up to eight chained rotations.
        let what = format!("{parts:?}");
        assert_close(&what, &flat(&found), &flat(&expected), |_| 1e-5);
    }
}

#[test]
fn heads_of_any_size_are_posed() {
    let counts = select(vec![1usize, 63, 64, 65, 200]);
    let cases = (any::<u64>(), counts, 0usize..=5, 0usize..=5, 1usize..=6);
    check(12, cases, |(seed, vertices, shapes, features, joints)| {
        let model = Random::new(seed, vertices, shapes, features, joints);
        let shape = random(seed, "shape", shapes);
        let expression = random(seed, "expression", features);
        model.compare(gpu(), &shape, &expression);
    });
}

#[test]
fn a_head_without_joints_or_coefficients_is_its_scaled_template() {
    let model = HeadModel::new(HeadModelParts {
        template: vec![[0.5, -0.25, 1.0], [0.0, 2.0, -1.0]],
        shape_basis: vec![[9.0; 3]; 4],
        scale: 2.0,
        ..HeadModelParts::default()
    })
    .unwrap();
    let expected = [Vec3::new(1.0, -0.5, 2.0), Vec3::new(0.0, 4.0, -2.0)];
    assert_eq!(points(gpu(), &model, [&[]; 3]), expected);
}

/// Coefficients may be any numbers. What overflows goes where no ray looks, the rest stays.
#[test]
fn points_that_overflow_are_far_and_finite() {
    let model = HeadModel::new(HeadModelParts {
        template: vec![[0.5, -0.25, 1.0], [0.0, 2.0, -1.0], [0.0; 3]],
        expression_basis: vec![[1.0; 3], [0.0; 3], [0.0, 0.1, 0.0]],
        scale: 2.0,
        ..HeadModelParts::default()
    })
    .unwrap();
    let far = Vec3::splat(kernels::skin::FARTHEST);
    let of = |coefficient: f32| points(gpu(), &model, [&[], &[coefficient], &[]]);
    let rest = Vec3::new(0.0, 4.0, -2.0);
    assert_eq!(of(f32::MAX), [far, rest, far]);
    assert_eq!(of(-1e30), [far, rest, far]);
    assert_eq!(of(1e6)[0], far, "2e6 is beyond, too");
    assert_eq!(of(1e6)[2], Vec3::new(0.0, 2e5, 0.0));
}
