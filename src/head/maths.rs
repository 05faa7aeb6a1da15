//! A head model and its per-frame joint maths.

use super::parts::HeadModelParts;
use crate::error::{Error, Result};
use crate::weights::fits;
use glam::{DAffine3, DMat3, DVec3};
use std::fmt;

/// A morphable head: turns identity, expression and pose into the points that drive an avatar.
///
/// Every model whose vertices keep their meaning works. The released GPAvatar weights were trained
/// with FLAME (Li et al., "Learning a model of facial shape and expression from 4D scans", 2017).
/// With shape coefficients `s`, expression coefficients `e`, bases `B` and joint rotations `R_j`, as
/// in SMPL and FLAME:
///
/// ```text
/// shaped  = template + B_shape · s + B_expression · e
/// joints  = regressor · shaped
/// posed   = shaped + B_pose · (R_j - I for every joint but the root)
/// points  = scale · Σ_j weight_j · (joint j's motion along its chain of parents) · posed
/// ```
///
/// The joints and their motion are computed on the CPU, the vertices on the GPU.
///
/// # File format
/// A safetensors file. In a file with other content every tensor's name has the prefix
/// `head_model.`. Floats may be F16, BF16, F32 or F64.
///
/// | tensor             | shape             |                                             |
/// |--------------------|-------------------|---------------------------------------------|
/// | `template`         | `[V, 3]`          |                                             |
/// | `shape_basis`      | `[S, V, 3]`       | may be absent                               |
/// | `expression_basis` | `[E, V, 3]`       | may be absent                               |
/// | `pose_basis`       | `[9(J-1), V, 3]`  | may be absent                               |
/// | `joint_regressor`  | `[J, V]`          | absent for a model without joints           |
/// | `skinning_weights` | `[V, J]`          | absent for a model without joints           |
///
/// The metadata entry `head_model` is JSON with the rest of [`HeadModelParts`]. Only `version` and
/// `scale` are required:
///
/// ```json
/// {"version": 1, "scale": 5.0, "parents": [-1, 0, 1, 1, 1], "pose_joints": [0, 2],
///  "channels": ["jawOpen", "…"], "shape_names": []}
/// ```
///
/// FLAME's own files are read by `import::head_model` (feature `import`).
#[derive(Clone)]
pub struct HeadModel {
    pub(super) parts: HeadModelParts,
    /// Joint positions at rest, `J`.
    joints: Vec<DVec3>,
    /// Their change with every shape, then every expression coefficient, `J x (S + E)`.
    pub(super) joint_basis: Vec<DVec3>,
}

/// The joints of a [`HeadModel`] in a pose.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PosedJoints {
    /// For each joint the rows of the `3 x 4` matrix `[A | t]` that takes a vertex of the posed
    /// (pose-corrected) model to the world: `A · v + t`, the model's scale included. A point is the
    /// sum of these over the joints, weighted by its skinning weights.
    pub matrices: Vec<[[f32; 4]; 3]>,
    /// Coefficients of the pose correctives: the entries of `R_j - I`, row by row, for every joint
    /// but the root; `9 · (J - 1)` values.
    pub feature: Vec<f32>,
}

impl HeadModel {
    /// Checks the parts and prepares the joints.
    ///
    /// # Errors
    /// [`Error::Tensors`] with all problems: contradictory sizes, values that are not finite, joints
    /// out of order, skinning weights that do not sum to 1 (±0.002), repeated names.
    pub fn new(parts: HeadModelParts) -> Result<Self> {
        Self::build("head model", parts)
    }

    pub(crate) fn build(what: &str, mut parts: HeadModelParts) -> Result<Self> {
        parts.complete();
        fits(what, parts.problems())?;
        let vertices = parts.template.len();
        // Joints are linear in the vertices, and vertices in the coefficients. So the regressor is
        // applied to each direction once, here, and not to the shaped head in every frame.
        let mut joints = Vec::new();
        let mut joint_basis = Vec::new();
        for row in parts.joint_regressor.chunks_exact(vertices) {
            joints.push(regress(row, &parts.template));
            for basis in [&parts.shape_basis, &parts.expression_basis] {
                joint_basis.extend(basis.chunks_exact(vertices).map(|b| regress(row, b)));
            }
        }
        Ok(Self {
            parts,
            joints,
            joint_basis,
        })
    }

    /// The model's data, defaults filled in.
    pub fn parts(&self) -> &HeadModelParts {
        &self.parts
    }

    /// Number of vertices `V`.
    pub fn vertex_count(&self) -> usize {
        self.parts.template.len()
    }

    /// Number of identity directions `S`.
    pub fn shape_count(&self) -> usize {
        self.parts.directions(&self.parts.shape_basis)
    }

    /// Number of expression directions `E`.
    pub fn expression_count(&self) -> usize {
        self.parts.directions(&self.parts.expression_basis)
    }

    /// Number of joints `J`, at least 1.
    pub fn joint_count(&self) -> usize {
        self.parts.parents.len()
    }

    /// Places of the joints at rest, `J`, and their change with every shape, then every expression
    /// coefficient, `J x (S + E)`; in the model's units.
    #[cfg(feature = "track")]
    pub(crate) fn joints(&self) -> (&[DVec3], &[DVec3]) {
        (&self.joints, &self.joint_basis)
    }

    /// Index of the expression direction called `name`.
    ///
    /// # Errors
    /// [`Error::Argument`] with the most similar names if no direction has this name.
    pub fn channel(&self, name: &str) -> Result<usize> {
        let channels = &self.parts.channels;
        if let Some(i) = channels.iter().position(|channel| channel == name) {
            return Ok(i);
        }
        let expected = if channels.is_empty() {
            "coefficients instead of names, as this head model's channels have none".to_owned()
        } else {
            let mut nearest: Vec<_> = channels.iter().collect();
            nearest.sort_by_cached_key(|&channel| (dissimilarity(name, channel), channel));
            nearest.truncate(3);
            let nearest = nearest.iter().map(|channel| format!("{channel:?}"));
            let nearest = nearest.collect::<Vec<_>>().join(", ");
            format!("a channel of the head model (nearest: {nearest})")
        };
        Err(Error::argument("expression", expected, format!("{name:?}")))
    }

    /// The joints' motion for an identity, an expression and a pose.
    ///
    /// `shape` and `expression` are the `S` and `E` coefficients. `pose` is an axis-angle triple
    /// (axis times angle in radians) for each of [`HeadModelParts::pose_joints`] (FLAME: global
    /// rotation, then jaw), the other joints at rest; or one for every joint. An empty slice stands
    /// for zeros.
    ///
    /// The cost is `J · 3 · (S + E)` multiplications and little else.
    ///
    /// # Errors
    /// [`Error::Argument`] if a count does not fit or a value is not finite.
    pub(crate) fn pose(
        &self,
        shape: &[f32],
        expression: &[f32],
        pose: &[f32],
    ) -> Result<PosedJoints> {
        check_coefficients("shape", shape, self.shape_count())?;
        check_coefficients("expression", expression, self.expression_count())?;
        let rotations: Vec<DMat3> = self.rotations(pose)?.into_iter().map(rodrigues).collect();

        let mut chain: Vec<DAffine3> = Vec::with_capacity(self.joint_count());
        let mut matrices = Vec::with_capacity(self.joint_count());
        let positions = self.joint_positions(shape, expression);
        for (joint, (&rotation, &position)) in rotations.iter().zip(&positions).enumerate() {
            let world = match self.parts.parents[joint] {
                -1 => DAffine3::from_mat3_translation(rotation, position),
                parent => {
                    let offset = position - positions[parent as usize];
                    chain[parent as usize] * DAffine3::from_mat3_translation(rotation, offset)
                }
            };
            chain.push(world);
            // Vertices are given in the rest pose, so the joint's rest position is taken away.
            let skinning = world * DAffine3::from_translation(-position);
            let scale = f64::from(self.parts.scale);
            let linear = skinning.matrix3 * scale;
            let translation = skinning.translation * scale;
            let row = |i| linear.row(i).extend(translation[i]).as_vec4().to_array();
            matrices.push([0, 1, 2].map(row));
        }
        let feature = (rotations.iter().skip(1))
            // Columns of the transpose are the rows.
            .flat_map(|rotation| (*rotation - DMat3::IDENTITY).transpose().to_cols_array())
            .map(|v| v as f32)
            .collect();
        Ok(PosedJoints { matrices, feature })
    }

    /// Checks a `pose` as [`HeadModel::pose`] does.
    pub(crate) fn check_pose(&self, pose: &[f32]) -> Result<()> {
        self.rotations(pose).map(drop)
    }

    /// Every joint's axis-angle vector.
    fn rotations(&self, pose: &[f32]) -> Result<Vec<DVec3>> {
        let (driven, joints) = (&self.parts.pose_joints, self.joint_count());
        let (triples, rest) = pose.as_chunks::<3>();
        let ok = rest.is_empty() && [0, driven.len(), joints].contains(&triples.len());
        let driven_or_all = format_args!("the joints {driven:?}, for each of all {joints}");
        let expected = format_args!("3 values for each of {driven_or_all}, or none");
        Error::unless(ok, "pose", expected, format_args!("{} values", pose.len()))?;
        check_finite("pose", pose)?;
        let mut rotations = vec![DVec3::ZERO; joints];
        for (i, triple) in triples.iter().enumerate() {
            let joint = match triples.len() == driven.len() {
                true => driven[i] as usize,
                false => i,
            };
            rotations[joint] = DVec3::from_array(triple.map(f64::from));
        }
        Ok(rotations)
    }

    pub(super) fn joint_positions(&self, shape: &[f32], expression: &[f32]) -> Vec<DVec3> {
        let (shapes, expressions) = (self.shape_count(), self.expression_count());
        let mut positions = self.joints.clone();
        for (joint, position) in positions.iter_mut().enumerate() {
            let row = joint * (shapes + expressions);
            let (by_shape, by_expression) =
                self.joint_basis[row..row + shapes + expressions].split_at(shapes);
            for (basis, coefficients) in [(by_shape, shape), (by_expression, expression)] {
                for (&direction, &coefficient) in basis.iter().zip(coefficients) {
                    *position += direction * f64::from(coefficient);
                }
            }
        }
        positions
    }
}

impl fmt::Debug for HeadModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HeadModel").field(&self.parts).finish()
    }
}

/// Checks `count` coefficients, or none.
pub(crate) fn check_coefficients(what: &str, values: &[f32], count: usize) -> Result<()> {
    let ok = values.is_empty() || values.len() == count;
    let expected = format_args!("{count} coefficients or none");
    Error::unless(ok, what, expected, values.len())?;
    check_finite(what, values)
}

/// Checks that there is no NaN and no infinity.
pub(crate) fn check_finite(what: &str, values: &[f32]) -> Result<()> {
    if let Some(i) = values.iter().position(|value| !value.is_finite()) {
        let found = format_args!("{} at index {i}", values[i]);
        return Err(Error::argument(what, "finite values", found));
    }
    Ok(())
}

/// Rotation matrix (for column vectors) of an axis-angle vector: `I + sin θ K + (1 - cos θ) K²`
/// with `K` the cross-product matrix of the axis. As in SMPL, `θ` is the length of `r + 1e-8`,
/// which keeps the axis `r / θ` finite at rest.
pub(super) fn rodrigues(r: DVec3) -> DMat3 {
    let angle = (r + 1e-8).length();
    let axis = r / angle;
    let cross = DMat3::from_cols(
        axis.cross(DVec3::X),
        axis.cross(DVec3::Y),
        axis.cross(DVec3::Z),
    );
    DMat3::IDENTITY + cross * angle.sin() + cross * cross * (1.0 - angle.cos())
}

fn regress(row: &[f32], vertices: &[[f32; 3]]) -> DVec3 {
    (row.iter().zip(vertices))
        // Regressors are sparse: a joint depends on the few vertices around it.
        .filter(|(weight, _)| **weight != 0.0)
        .map(|(&weight, v)| f64::from(weight) * DVec3::from_array(v.map(f64::from)))
        .sum()
}

/// Edit distance without regard to case; a name that contains the other is nearest.
pub(crate) fn dissimilarity(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    if a.contains(&b) || b.contains(&a) {
        return 0;
    }
    strsim::levenshtein(&a, &b)
}
