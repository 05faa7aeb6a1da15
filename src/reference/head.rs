//! A morphable head model: blend shapes, joints and linear blend skinning (SMPL, Loper et al.
//! 2015; FLAME, Li et al. 2017).

use super::{Mat3, Mat4, Real, Vec3};

/// Template plus a linear combination of directions: v + Σ_j coefficient_j · direction_j.
///
/// `template` is `[vertices]`, `directions` `[vertices][3][coefficients]`.
pub fn blend_shapes(template: &[Vec3], directions: &[Real], coefficients: &[Real]) -> Vec<Vec3> {
    debug_assert_eq!(directions.len(), template.len() * 3 * coefficients.len());
    let mut offsets = directions.chunks_exact(coefficients.len()).map(|d| {
        let products = d.iter().zip(coefficients).map(|(d, c)| d * c);
        products.sum::<Real>()
    });
    let mut offset = || offsets.next().unwrap_or_default();
    template
        .iter()
        .map(|v| v + Vec3::new(offset(), offset(), offset()))
        .collect()
}

/// Joint positions as weighted sums of the vertices; `regressor` is `[joints][vertices]`.
pub fn joints(regressor: &[Real], vertices: &[Vec3]) -> Vec<Vec3> {
    let rows = regressor.chunks_exact(vertices.len());
    rows.map(|row| row.iter().zip(vertices).map(|(w, v)| *w * *v).sum())
        .collect()
}

/// Coefficients of the pose correctives: R_1 - I, R_2 - I, … row by row, without the root's R_0.
pub fn pose_feature(rotations: &[Mat3]) -> Vec<Real> {
    rotations[1..]
        .iter()
        .flat_map(|r| (*r - Mat3::IDENTITY).transpose().to_cols_array())
        .collect()
}

/// How each joint carries the vertices around it from the unposed to the posed head. A joint
/// turns about its own place, then follows its parent, which comes before it; the root's parent
/// is negative.
pub fn joint_motions(joints: &[Vec3], parents: &[i32], rotations: &[Mat3]) -> Vec<Mat4> {
    let mut world: Vec<Mat4> = Vec::with_capacity(joints.len());
    for ((joint, parent), rotation) in joints.iter().zip(parents).zip(rotations) {
        let turn = Mat4::from_mat3(*rotation);
        world.push(match usize::try_from(*parent) {
            Ok(parent) => world[parent] * Mat4::from_translation(joint - joints[parent]) * turn,
            Err(_) => Mat4::from_translation(*joint) * turn,
        });
    }
    let pairs = world.iter().zip(joints);
    pairs
        .map(|(world, joint)| *world * Mat4::from_translation(-joint))
        .collect()
}

/// Poses the vertices by linear blend skinning, then scales them.
///
/// * `vertices`: of the shaped but unposed head.
/// * `pose_directions` `[9 * (joints - 1)][vertices][3]`: the pose correctives, one per value of
///   [`pose_feature`].
/// * `skinning` `[vertices][joints]`: the share of each of the [`joint_motions`] in each vertex.
pub fn skin(
    vertices: &[Vec3],
    pose_directions: &[Real],
    pose_feature: &[Real],
    skinning: &[Real],
    motions: &[Mat4],
    scale: Real,
) -> Vec<Vec3> {
    let pose = |(index, vertex): (usize, &Vec3)| {
        let corrective: Vec3 = pose_directions
            .chunks_exact(3 * vertices.len())
            .zip(pose_feature)
            .map(|(direction, feature)| *feature * Vec3::from_slice(&direction[3 * index..]))
            .sum();
        let posed: Vec3 = skinning[index * motions.len()..]
            .iter()
            .zip(motions)
            .map(|(share, motion)| *share * motion.transform_point3(vertex + corrective))
            .sum();
        scale * posed
    };
    vertices.iter().enumerate().map(pose).collect()
}

/// Rotation by |r| radians about r: I + sin|r| K + (1 - cos|r|) K². As in SMPL, 1e-8 is added to
/// every component inside the norm, so that a rotation by zero needs no special case.
pub fn rodrigues(r: Vec3) -> Mat3 {
    let angle = (r + 1e-8).length();
    let axis = r / angle;
    let (sin, cos) = angle.sin_cos();
    let k = Mat3::from_cols(
        Vec3::new(0.0, axis.z, -axis.y),
        Vec3::new(-axis.z, 0.0, axis.x),
        Vec3::new(axis.y, -axis.x, 0.0),
    );
    Mat3::IDENTITY + sin * k + (1.0 - cos) * (k * k)
}
