//! The data of a head model, and its checks.

use std::collections::HashSet;
use std::fmt::{self, Display};

use crate::error::Problems;

/// The data of a [`HeadModel`](crate::HeadModel), to build one from.
///
/// `V` is the number of vertices, `S` of shape directions, `E` of expression directions, `J` of
/// joints. Only the template is required:
///
/// ```
/// use gpavatar::{HeadModel, HeadModelParts};
///
/// let head = HeadModel::new(HeadModelParts {
///     template: vec![[0.0, 0.1, 0.2], [0.0, -0.1, 0.2]],
///     expression_basis: vec![[0.0, 0.0, 0.0], [0.0, -0.05, 0.0]],
///     channels: vec!["jawOpen".into()],
///     ..Default::default()
/// })?;
/// assert_eq!(head.expression_count(), 1);
/// # Ok::<(), gpavatar::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct HeadModelParts {
    /// Vertices at rest: `V` positions.
    pub template: Vec<[f32; 3]>,
    /// Identity directions: `S` times `V` displacements, one direction after the other.
    pub shape_basis: Vec<[f32; 3]>,
    /// Expression directions: `E` times `V` displacements.
    pub expression_basis: Vec<[f32; 3]>,
    /// Pose correctives, empty for none: `9 · (J - 1)` times `V` displacements, one for each entry
    /// of `R_j - I`, row by row, of every joint but the root.
    pub pose_basis: Vec<[f32; 3]>,
    /// Each joint's parent, an earlier joint; -1 for the first joint, the root. Empty for a model
    /// without joints: it gets one at the origin that carries every vertex.
    pub parents: Vec<i32>,
    /// `J x V`: joint positions are this matrix times the shaped vertices.
    pub joint_regressor: Vec<f32>,
    /// `V x J`: how much each joint carries each vertex; every row sums to 1.
    pub skinning_weights: Vec<f32>,
    /// The joints that a pose rotates, in the order of its axis-angle triples. Empty for the usual
    /// ones: with FLAME's five joints the root and the jaw (0 and 2), otherwise all.
    pub pose_joints: Vec<u32>,
    /// Factor from the model's units to the world's, in which the head fills the cube
    /// `[-1, 1]³`; 5 for FLAME, which is in metres.
    pub scale: f32,
    /// Names of the expression directions (such as ARKit's `jawOpen`); `E` of them or none.
    pub channels: Vec<String>,
    /// Names of the identity directions; `S` of them or none.
    pub shape_names: Vec<String>,
}

impl Default for HeadModelParts {
    /// Nothing, at scale 1.
    fn default() -> Self {
        Self {
            template: Vec::new(),
            shape_basis: Vec::new(),
            expression_basis: Vec::new(),
            pose_basis: Vec::new(),
            parents: Vec::new(),
            joint_regressor: Vec::new(),
            skinning_weights: Vec::new(),
            pose_joints: Vec::new(),
            scale: 1.0,
            channels: Vec::new(),
            shape_names: Vec::new(),
        }
    }
}

impl HeadModelParts {
    pub(super) fn directions(&self, basis: &[[f32; 3]]) -> usize {
        basis.len().checked_div(self.template.len()).unwrap_or(0)
    }

    /// Fills in the defaults.
    pub(super) fn complete(&mut self) {
        if self.parents.is_empty()
            && self.joint_regressor.is_empty()
            && self.skinning_weights.is_empty()
        {
            self.parents = vec![-1];
            self.joint_regressor = vec![0.0; self.template.len()];
            self.skinning_weights = vec![1.0; self.template.len()];
        }
        if self.pose_joints.is_empty() {
            self.pose_joints = match self.parents.len() {
                5 => vec![0, 2],
                joints => (0..joints as u32).collect(),
            };
        }
    }

    /// One line a problem.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Problems::default();
        let mut expect = |ok: bool, name: &str, expected: &dyn Display, found: &dyn Display| {
            problems.expect(ok, name, expected, found);
        };
        let (vertices, joints) = (self.template.len(), self.parents.len());
        expect(vertices > 0, "template", &"at least one vertex", &"none");
        let [shapes, expressions] = [&self.shape_basis, &self.expression_basis];
        for (name, basis) in [("shape_basis", shapes), ("expression_basis", expressions)] {
            let ok = basis.len().is_multiple_of(vertices.max(1));
            let expected = format_args!("a multiple of {vertices} displacements");
            expect(ok, name, &expected, &basis.len());
        }
        let found = self.pose_basis.len();
        let count = 9 * joints.saturating_sub(1) * vertices;
        let ok = found == 0 || found == count;
        let expected = format_args!("{count} displacements");
        expect(ok, "pose_basis", &expected, &found);
        for (name, values) in [
            ("joint_regressor", &self.joint_regressor),
            ("skinning_weights", &self.skinning_weights),
        ] {
            let expected = joints * vertices;
            let ok = values.len() == expected;
            expect(ok, name, &format_args!("{expected} values"), &values.len());
        }
        for (name, values) in [
            ("template", self.template.as_flattened()),
            ("shape_basis", shapes.as_flattened()),
            ("expression_basis", expressions.as_flattened()),
            ("pose_basis", self.pose_basis.as_flattened()),
            ("joint_regressor", &self.joint_regressor),
            ("skinning_weights", &self.skinning_weights),
            ("scale", &[self.scale]),
        ] {
            if let Some(i) = values.iter().position(|v| !v.is_finite()) {
                let found = format_args!("{} at {i}", values[i]);
                expect(false, name, &"finite values", &found);
            }
        }
        expect(self.scale > 0.0, "scale", &"more than 0", &self.scale);

        for (joint, &parent) in self.parents.iter().enumerate() {
            let ok = match joint {
                0 => parent == -1,
                _ => usize::try_from(parent).is_ok_and(|parent| parent < joint),
            };
            let expected = "-1 for joint 0 and an earlier joint for each other";
            let found = format_args!("{parent} for joint {joint}");
            expect(ok, "parents", &expected, &found);
        }
        // Half precision rounds each weight by up to 2⁻¹², and models have few joints a vertex.
        let rows = self.skinning_weights.chunks_exact(joints.max(1));
        let mut sums = rows.map(|row| row.iter().sum::<f32>()).enumerate();
        if let Some((vertex, sum)) = sums.find(|(_, sum)| (sum - 1.0).abs() > 2e-3) {
            let found = format_args!("{sum} at vertex {vertex}");
            expect(false, "skinning_weights", &"rows with sum 1", &found);
        }
        let distinct: HashSet<_> = self.pose_joints.iter().collect();
        let ok = distinct.iter().all(|&&j| (j as usize) < joints)
            && distinct.len() == self.pose_joints.len();
        let expected = format_args!("different joints below {joints}");
        let found = format_args!("{:?}", self.pose_joints);
        expect(ok, "pose_joints", &expected, &found);

        for (name, names, basis) in [
            ("channels", &self.channels, expressions),
            ("shape_names", &self.shape_names, shapes),
        ] {
            let count = self.directions(basis);
            let ok = names.is_empty() || names.len() == count;
            let expected = format_args!("{count} names or none");
            expect(ok, name, &expected, &names.len());
            if let Some(twice) = first_repeated(names) {
                let found = format_args!("{twice:?} twice");
                expect(false, name, &"different names", &found);
            }
        }
        problems.0
    }
}

/// The first name that equals an earlier one.
pub(crate) fn first_repeated(names: &[String]) -> Option<&String> {
    let mut seen = HashSet::new();
    names.iter().find(|name| !seen.insert(*name))
}

impl fmt::Debug for HeadModelParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeadModelParts")
            .field("vertices", &self.template.len())
            .field("shapes", &self.directions(&self.shape_basis))
            .field("expressions", &self.directions(&self.expression_basis))
            .field("joints", &self.parents.len())
            .field("pose_joints", &self.pose_joints)
            .field("scale", &self.scale)
            .finish_non_exhaustive()
    }
}
