//! The head's morphable model: blend shapes, joints and skinning, as data and per-frame joint
//! maths.

use crate::{Error, FloatFormat, Result, TensorFile, TensorWriter, json, weights::HEAD_MODEL};
use glam::{DAffine3, DMat3, DVec3};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    ops::Range,
};

const FORMAT: &str = "head model";
const VERSION: u32 = 1;
/// Metadata key.
const KEY: &str = "head_model";

/// The data of a [`HeadModel`], to build one from.
///
/// With `V` vertices, `S` shape and `E` expression directions and `J` joints. Everything but the
/// template may be left at its default, which is empty:
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
    /// Pose correctives, empty for none: `9 · (J - 1)` times `V` displacements, scaled by the
    /// entries of [`PosedJoints::feature`].
    pub pose_basis: Vec<[f32; 3]>,
    /// Each joint's parent, which comes before it; -1 for the first joint, the root. Empty for a
    /// model without joints: it gets one at the origin that carries every vertex.
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
    fn directions(&self, basis: &[[f32; 3]]) -> usize {
        basis.len().checked_div(self.template.len()).unwrap_or(0)
    }

    /// Fills in what may be left out.
    fn complete(&mut self) {
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

    /// One line for everything that is wrong.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |good: bool, problem: &dyn Fn() -> String| {
            if !good {
                problems.push(problem());
            }
        };
        let (vertices, joints) = (self.template.len(), self.parents.len());
        check(vertices > 0, &|| "template: no vertices".into());

        for (name, basis) in [
            ("shape_basis", &self.shape_basis),
            ("expression_basis", &self.expression_basis),
        ] {
            check(basis.len().is_multiple_of(vertices.max(1)), &|| {
                format!(
                    "{name}: expected a multiple of {vertices} displacements, found {}",
                    basis.len()
                )
            });
        }
        for (name, found, expected) in [
            (
                "pose_basis",
                self.pose_basis.len(),
                9 * joints.saturating_sub(1) * vertices,
            ),
            (
                "joint_regressor",
                self.joint_regressor.len(),
                joints * vertices,
            ),
            (
                "skinning_weights",
                self.skinning_weights.len(),
                vertices * joints,
            ),
        ] {
            let absent = name == "pose_basis" && found == 0;
            check(absent || found == expected, &|| {
                format!("{name}: expected {expected} values, found {found}")
            });
        }
        for (name, values) in [
            ("template", self.template.as_flattened()),
            ("shape_basis", self.shape_basis.as_flattened()),
            ("expression_basis", self.expression_basis.as_flattened()),
            ("pose_basis", self.pose_basis.as_flattened()),
            ("joint_regressor", &self.joint_regressor),
            ("skinning_weights", &self.skinning_weights),
            ("scale", &[self.scale]),
        ] {
            if let Some(i) = values.iter().position(|v| !v.is_finite()) {
                check(false, &|| {
                    format!("{name}: expected finite values, found {} at {i}", values[i])
                });
            }
        }
        check(self.scale > 0.0, &|| {
            format!("scale: expected more than 0, found {}", self.scale)
        });

        for (joint, &parent) in self.parents.iter().enumerate() {
            let valid = match joint {
                0 => parent == -1,
                _ => usize::try_from(parent).is_ok_and(|parent| parent < joint),
            };
            check(valid, &|| {
                format!(
                    "parents: expected -1 for joint 0 and an earlier joint for each other, found \
                     {parent} for joint {joint}"
                )
            });
        }
        for (vertex, row) in (self.skinning_weights.chunks_exact(joints.max(1))).enumerate() {
            // Half precision rounds each weight by up to 2⁻¹², and models have few joints a vertex.
            let sum: f32 = row.iter().sum();
            if (sum - 1.0).abs() > 2e-3 {
                check(false, &|| {
                    format!(
                        "skinning_weights: expected rows with sum 1, found {sum} at vertex {vertex}"
                    )
                });
                break;
            }
        }
        let distinct: HashSet<_> = self.pose_joints.iter().collect();
        let in_range = self.pose_joints.iter().all(|&j| (j as usize) < joints);
        check(
            in_range && distinct.len() == self.pose_joints.len(),
            &|| {
                format!(
                    "pose_joints: expected different joints below {joints}, found {:?}",
                    self.pose_joints
                )
            },
        );

        for (name, names, count) in [
            (
                "channels",
                &self.channels,
                self.directions(&self.expression_basis),
            ),
            (
                "shape_names",
                &self.shape_names,
                self.directions(&self.shape_basis),
            ),
        ] {
            check(names.is_empty() || names.len() == count, &|| {
                format!(
                    "{name}: expected {count} names or none, found {}",
                    names.len()
                )
            });
            if let Some(twice) = first_repeated(names) {
                check(false, &|| {
                    format!("{name}: expected different names, found {twice:?} twice")
                });
            }
        }
        problems
    }
}

/// The first name that an earlier one equals.
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

/// A morphable head: turns identity, expression and pose into the points that drive an avatar.
///
/// Any model whose vertices keep their meaning works; FLAME (Li et al., "Learning a model of facial
/// shape and expression from 4D scans", 2017) is what the released GPAvatar weights were trained
/// with. As in SMPL and FLAME, with shape coefficients `s`, expression coefficients `e`, bases
/// `B` and joint rotations `R_j`:
///
/// ```text
/// shaped  = template + B_shape · s + B_expression · e
/// joints  = regressor · shaped
/// posed   = shaped + B_pose · (R_j - I for every joint but the root)
/// points  = scale · Σ_j weight_j · (joint j's motion along its chain of parents) · posed
/// ```
///
/// This type holds the data and computes what is small: the joints and their motion
/// ([`HeadModel::pose`]). Vertices are computed on the GPU.
///
/// # File format
/// A safetensors file, alone or with other content (then every tensor's name is prefixed with
/// `head_model.`). Floats may be F16, BF16, F32 or F64.
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
/// The metadata entry `head_model` is JSON with the rest of [`HeadModelParts`]; only `version` and
/// `scale` must be there:
///
/// ```json
/// {"version": 1, "scale": 5.0, "parents": [-1, 0, 1, 1, 1], "pose_joints": [0, 2],
///  "channels": ["jawOpen", "…"], "shape_names": []}
/// ```
///
/// FLAME files converted to safetensors under the usual names are read as well: `v_template`
/// `[V, 3]`, `shapedirs` `[V, 3, N]`, `posedirs` `[9(J-1), 3V]` or `[V, 3, 9(J-1)]`, `J_regressor`
/// `[J, V]`, `lbs_weights` `[V, J]`, `parents` `[J]`; metadata `n_shape` and `n_expression` say how
/// `shapedirs` is divided (identity first) and `scale` is the scale. Without them, all 400 of
/// FLAME's directions (300 for identity, then 100 for expression) are reduced to GPAvatar's first
/// 100 and first 50, 150 are taken to be just these, and the scale is 5.
#[derive(Clone)]
pub struct HeadModel {
    parts: HeadModelParts,
    /// Joint positions at rest, `J`.
    joints: Vec<DVec3>,
    /// Their change with every shape, then every expression coefficient, `J x (S + E)`.
    joint_basis: Vec<DVec3>,
}

/// What a pose does to the joints of a [`HeadModel`].
#[derive(Clone, Debug, PartialEq)]
pub struct PosedJoints {
    /// For each joint the rows of the `3 x 4` matrix `[A | t]` that takes a vertex of the posed
    /// (pose-corrected) model to the world: `A · v + t`, the model's scale included. A point is the
    /// sum of these over the joints, weighted by its skinning weights.
    pub matrices: Vec<[[f32; 4]; 3]>,
    /// Coefficients of the pose correctives: the entries of `R_j - I`, row by row, for every joint
    /// but the root; `9 · (J - 1)` values.
    pub feature: Vec<f32>,
}

impl HeadModel {
    /// Checks the parts and prepares what [`HeadModel::pose`] needs.
    ///
    /// # Errors
    /// [`Error::Tensors`] with everything that is wrong: sizes that contradict each other, values
    /// that are not finite, joints out of order, weights that do not sum to 1 (±0.002), repeated
    /// names.
    pub fn new(parts: HeadModelParts) -> Result<Self> {
        Self::build("head model", parts)
    }

    fn build(what: &str, mut parts: HeadModelParts) -> Result<Self> {
        parts.complete();
        let problems = parts.problems();
        if !problems.is_empty() {
            return Err(Error::Tensors {
                what: what.to_owned(),
                problems,
            });
        }
        let vertices = parts.template.len();
        // Joints are linear in the vertices and those are in the coefficients, so the regressor
        // meets each direction once, here, instead of the shaped head in every frame.
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

    /// Reads a head model file, or the head model inside a weights file (see [`HeadModel`]).
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::Format`] if it is no safetensors file, else
    /// those of [`HeadModel::from_file`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self> {
        Self::from_file(&TensorFile::open(path)?)
    }

    /// Reads the content of a head model file.
    ///
    /// # Errors
    /// [`Error::Format`] if it is no safetensors file, else those of [`HeadModel::from_file`].
    pub fn from_safetensors(bytes: Vec<u8>) -> Result<Self> {
        Self::from_file(&TensorFile::from_bytes(FORMAT, bytes)?)
    }

    /// Reads a head model file, or the head model inside a weights file (see [`HeadModel`]).
    ///
    /// # Errors
    /// [`Error::Format`] if it holds no head model or one of an unknown version, [`Error::Tensors`]
    /// if tensors are missing or do not fit together (see [`HeadModel::new`]).
    pub fn from_file(file: &TensorFile) -> Result<Self> {
        let parts = if file.contains("v_template") {
            flame_parts(file)
        } else {
            own_parts(file)
        };
        Self::build(file.what(), parts?)
    }

    /// The head model inside a weights file, if there is one.
    ///
    /// # Errors
    /// Those of [`HeadModel::from_file`].
    pub(crate) fn embedded(file: &TensorFile) -> Result<Option<Self>> {
        is_embedded(file).then(|| Self::from_file(file)).transpose()
    }

    /// Writes a head model file (see [`HeadModel`]), replacing an older one as a whole.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn write(&self, path: impl AsRef<std::path::Path>) -> Result<()> {
        self.writer().write(path)
    }

    /// The content of a head model file.
    ///
    /// # Errors
    /// Those of [`TensorWriter::into_bytes`], of which a head model that is valid gives none.
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        self.writer().into_bytes()
    }

    /// Adds the head model to a weights file in the making, in place of one that is there, its
    /// floats in `format`.
    ///
    /// ```
    /// # use gpavatar::{FloatFormat, HeadModel, Weights};
    /// # fn example(weights: Weights, head: HeadModel) -> gpavatar::Result<()> {
    /// let mut writer = weights.writer(FloatFormat::F16)?;
    /// head.embed(&mut writer, FloatFormat::F16);
    /// writer.write("weights.safetensors")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn embed<'a>(&'a self, writer: &mut TensorWriter<'a>, format: FloatFormat) {
        writer.retain(|name| !name.starts_with(HEAD_MODEL));
        self.add_to(writer, HEAD_MODEL, format);
    }

    fn writer(&self) -> TensorWriter<'_> {
        let mut writer = TensorWriter::new(BTreeMap::new());
        self.add_to(&mut writer, "", FloatFormat::F32);
        writer
    }

    /// Adds the tensors of the file format, their names behind `prefix`, and its metadata.
    fn add_to<'a>(&'a self, writer: &mut TensorWriter<'a>, prefix: &str, format: FloatFormat) {
        let parts = &self.parts;
        let (vertices, joints) = (self.vertex_count(), self.joint_count());
        for (name, shape, values) in [
            (
                "template",
                &[vertices, 3][..],
                parts.template.as_flattened(),
            ),
            (
                "shape_basis",
                &[self.shape_count(), vertices, 3],
                parts.shape_basis.as_flattened(),
            ),
            (
                "expression_basis",
                &[self.expression_count(), vertices, 3],
                parts.expression_basis.as_flattened(),
            ),
            (
                "pose_basis",
                &[9 * (joints - 1), vertices, 3],
                parts.pose_basis.as_flattened(),
            ),
            (
                "joint_regressor",
                &[joints, vertices],
                &parts.joint_regressor,
            ),
            (
                "skinning_weights",
                &[vertices, joints],
                &parts.skinning_weights,
            ),
        ] {
            if !values.is_empty() {
                writer.floats(format!("{prefix}{name}"), shape, format, || {
                    Ok(values.into())
                });
            }
        }
        let header = Header {
            version: VERSION,
            scale: parts.scale,
            parents: parts.parents.clone(),
            pose_joints: parts.pose_joints.clone(),
            channels: parts.channels.clone(),
            shape_names: parts.shape_names.clone(),
        };
        let json = serde_json::to_string(&header).expect("numbers and strings are always JSON");
        writer.metadata(KEY, json);
    }

    /// The model's data, with what was left out filled in.
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

    /// Index of the expression direction called `name`.
    ///
    /// # Errors
    /// [`Error::Argument`] with the most similar names if there is none of this name.
    pub fn channel(&self, name: &str) -> Result<usize> {
        let channels = &self.parts.channels;
        if let Some(i) = channels.iter().position(|channel| channel == name) {
            return Ok(i);
        }
        let expected = if channels.is_empty() {
            "coefficients instead of names, as this head model's channels have none".to_owned()
        } else {
            let mut nearest: Vec<_> = (channels.iter())
                .map(|channel| (dissimilarity(name, channel), channel))
                .collect();
            nearest.sort();
            let nearest: Vec<_> = (nearest.iter().take(3))
                .map(|(_, channel)| format!("{channel:?}"))
                .collect();
            format!(
                "a channel of the head model (nearest: {})",
                nearest.join(", ")
            )
        };
        Err(Error::argument("expression", expected, format!("{name:?}")))
    }

    /// The joints' motion for an identity, an expression and a pose.
    ///
    /// `shape` and `expression` are the `S` and `E` coefficients. `pose` is an axis-angle triple
    /// (axis times angle in radians) for each of [`HeadModelParts::pose_joints`] (FLAME: global
    /// rotation, then jaw), the other joints being at rest; or one for every joint. Each of the
    /// three may be empty, which stands for all zeros.
    ///
    /// The cost is `J · 3 · (S + E)` multiplications and little else.
    ///
    /// # Errors
    /// [`Error::Argument`] if a count does not fit or a value is not finite.
    pub fn pose(&self, shape: &[f32], expression: &[f32], pose: &[f32]) -> Result<PosedJoints> {
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
            matrices.push(std::array::from_fn(|row| {
                linear
                    .row(row)
                    .extend(translation[row])
                    .as_vec4()
                    .to_array()
            }));
        }
        let feature = (rotations.iter().skip(1))
            // Columns of the transpose are the rows.
            .flat_map(|rotation| (*rotation - DMat3::IDENTITY).transpose().to_cols_array())
            .map(|v| v as f32)
            .collect();
        Ok(PosedJoints { matrices, feature })
    }

    /// Checks what [`HeadModel::pose`] would of a `pose`.
    pub(crate) fn check_pose(&self, pose: &[f32]) -> Result<()> {
        self.rotations(pose).map(drop)
    }

    /// Every joint's axis-angle vector.
    fn rotations(&self, pose: &[f32]) -> Result<Vec<DVec3>> {
        let (driven, joints) = (&self.parts.pose_joints, self.joint_count());
        let (triples, rest) = pose.as_chunks::<3>();
        let fits = rest.is_empty() && [0, driven.len(), joints].contains(&triples.len());
        if !fits {
            return Err(Error::argument(
                "pose",
                format!(
                    "3 values for each of the joints {driven:?}, for each of all {joints}, or none"
                ),
                format!("{} values", pose.len()),
            ));
        }
        check_finite("pose", pose)?;
        let mut rotations = vec![DVec3::ZERO; joints];
        for (i, triple) in triples.iter().enumerate() {
            let joint = if triples.len() == driven.len() {
                driven[i] as usize
            } else {
                i
            };
            rotations[joint] = DVec3::from_array(triple.map(f64::from));
        }
        Ok(rotations)
    }

    fn joint_positions(&self, shape: &[f32], expression: &[f32]) -> Vec<DVec3> {
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
    if !values.is_empty() && values.len() != count {
        return Err(Error::argument(
            what,
            format!("{count} coefficients or none"),
            values.len().to_string(),
        ));
    }
    check_finite(what, values)
}

/// Checks that there is no NaN and no infinity.
pub(crate) fn check_finite(what: &str, values: &[f32]) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(i) => Err(Error::argument(
            what,
            "finite values",
            format!("{} at index {i}", values[i]),
        )),
    }
}

/// Rotation matrix (for column vectors) of an axis-angle vector: `I + sin θ K + (1 - cos θ) K²`
/// with `K` the cross-product matrix of the axis. As in SMPL, `θ` is the length of `r + 1e-8`,
/// which keeps the axis `r / θ` finite at rest.
fn rodrigues(r: DVec3) -> DMat3 {
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
        // Regressors are sparse: a joint hangs on the few vertices around it.
        .filter(|(weight, _)| **weight != 0.0)
        .map(|(&weight, v)| f64::from(weight) * DVec3::from_array(v.map(f64::from)))
        .sum()
}

/// Edit distance without regard to case; a name that contains the other is nearest.
fn dissimilarity(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    if a.contains(&b) || b.contains(&a) {
        return 0;
    }
    let b: Vec<char> = b.chars().collect();
    let mut distances: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = distances[0];
        distances[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = distances[j + 1];
            distances[j + 1] = replaced.min(diagonal + 1).min(distances[j] + 1);
        }
    }
    distances[b.len()]
}

/// The metadata entry of the file format.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: u32,
    scale: f32,
    #[serde(default)]
    parents: Vec<i32>,
    #[serde(default)]
    pose_joints: Vec<u32>,
    #[serde(default)]
    channels: Vec<String>,
    #[serde(default)]
    shape_names: Vec<String>,
}

/// Whether a file holds a head model among other tensors.
fn is_embedded(file: &TensorFile) -> bool {
    file.tensor_names().any(|name| name.starts_with(HEAD_MODEL))
}

fn own_parts(file: &TensorFile) -> Result<HeadModelParts> {
    let json = file.metadata().get(KEY).ok_or_else(|| {
        Error::format(
            file.what(),
            FORMAT,
            format!("expected a metadata entry {KEY:?} or a tensor \"v_template\", found neither"),
        )
    })?;
    let header: Header = json::versioned(file.what(), FORMAT, json, VERSION)?;
    let prefix = if is_embedded(file) { HEAD_MODEL } else { "" };
    let tensor = |name: &str| format!("{prefix}{name}");

    let template = tensor("template");
    let [vertices, _] = file.expect_shape(&template, [None, Some(3)])?;
    let basis = |name: &str, directions: Option<usize>| {
        let name = tensor(name);
        if !file.contains(&name) {
            return Ok(Vec::new());
        }
        file.expect_shape(&name, [directions, Some(vertices), Some(3)])?;
        vectors(file, &name)
    };
    let joints = header.parents.len();
    let joint_matrix = |name: &str, shape: [usize; 2]| {
        let name = tensor(name);
        if joints == 0 && !file.contains(&name) {
            return Ok(Vec::new());
        }
        matrix(file, &name, shape)
    };
    Ok(HeadModelParts {
        template: vectors(file, &template)?,
        shape_basis: basis("shape_basis", None)?,
        expression_basis: basis("expression_basis", None)?,
        pose_basis: basis("pose_basis", Some(9 * joints.saturating_sub(1)))?,
        joint_regressor: joint_matrix("joint_regressor", [joints, vertices])?,
        skinning_weights: joint_matrix("skinning_weights", [vertices, joints])?,
        parents: header.parents,
        pose_joints: header.pose_joints,
        scale: header.scale,
        channels: header.channels,
        shape_names: header.shape_names,
    })
}

/// The parts from the names and layouts of FLAME's own files.
fn flame_parts(file: &TensorFile) -> Result<HeadModelParts> {
    let [vertices, _] = file.expect_shape("v_template", [None, Some(3)])?;
    let [joints] = file.expect_shape("parents", [None])?;
    let parents = (file.i64("parents")?.iter())
        .map(|&parent| match parent {
            // The original files are unsigned.
            0xffff_ffff => Ok(-1),
            parent => i32::try_from(parent).map_err(|_| {
                Error::format(file.what(), FORMAT, format!("{parent} among the parents"))
            }),
        })
        .collect::<Result<Vec<_>>>()?;

    let [.., count] = file.expect_shape("shapedirs", [Some(vertices), Some(3), None])?;
    let directions = file.f32("shapedirs")?;
    let (shapes, expressions) = flame_columns(file, count)?;

    let pose_count = 9 * joints.saturating_sub(1);
    let pose_basis = if !file.contains("posedirs") {
        Vec::new()
    } else if file.shape("posedirs")?.len() == 2 {
        file.expect_shape("posedirs", [Some(pose_count), Some(3 * vertices)])?;
        vectors(file, "posedirs")?
    } else {
        file.expect_shape("posedirs", [Some(vertices), Some(3), Some(pose_count)])?;
        columns(&file.f32("posedirs")?, pose_count, 0..pose_count)
    };
    Ok(HeadModelParts {
        template: vectors(file, "v_template")?,
        shape_basis: columns(&directions, count, shapes),
        expression_basis: columns(&directions, count, expressions),
        pose_basis,
        joint_regressor: matrix(file, "J_regressor", [joints, vertices])?,
        skinning_weights: matrix(file, "lbs_weights", [vertices, joints])?,
        parents,
        scale: flame_number(file, "scale")?.unwrap_or(5.0),
        ..Default::default()
    })
}

/// Which of `count` columns are identity and which are expression.
fn flame_columns(file: &TensorFile, count: usize) -> Result<(Range<usize>, Range<usize>)> {
    let given = (
        flame_number::<usize>(file, "n_shape")?,
        flame_number::<usize>(file, "n_expression")?,
    );
    match (given, count) {
        ((Some(s), Some(e)), _) if s.checked_add(e).is_some_and(|sum| sum <= count) => {
            Ok((0..s, s..s + e))
        }
        ((None, None), 400) => Ok((0..100, 300..350)),
        ((None, None), 150) => Ok((0..100, 100..150)),
        _ => Err(Error::format(
            file.what(),
            FORMAT,
            format!(
                "expected metadata \"n_shape\" and \"n_expression\" that divide the {count} \
                 columns of shapedirs, found {given:?}"
            ),
        )),
    }
}

fn flame_number<T: std::str::FromStr>(file: &TensorFile, key: &str) -> Result<Option<T>> {
    let parse = |text: &String| {
        (text.parse()).map_err(|_| {
            Error::format(
                file.what(),
                FORMAT,
                format!("expected a number as metadata {key:?}, found {text:?}"),
            )
        })
    };
    file.metadata().get(key).map(parse).transpose()
}

/// Some columns of a `[V, 3, count]` tensor, each as `V` vectors.
fn columns(values: &[f32], count: usize, columns: Range<usize>) -> Vec<[f32; 3]> {
    if values.is_empty() {
        // The other sizes of an empty tensor may be any.
        return Vec::new();
    }
    let vertices = || values.chunks_exact(3 * count);
    columns
        .flat_map(|column| {
            vertices().map(move |v| std::array::from_fn(|axis| v[axis * count + column]))
        })
        .collect()
}

fn matrix(file: &TensorFile, name: &str, shape: [usize; 2]) -> Result<Vec<f32>> {
    file.expect_shape(name, shape.map(Some))?;
    Ok(file.f32(name)?.into_owned())
}

fn vectors(file: &TensorFile, name: &str) -> Result<Vec<[f32; 3]>> {
    Ok(file.f32(name)?.as_chunks().0.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Weights, file::Scratch, weights::tests::tiny_weights};
    use std::iter;

    /// Every vertex in the world, by the definition and in f32 as a GPU would: the joints come from
    /// the shaped vertices here, not from the prepared tables.
    fn vertices(head: &HeadModel, joints: &PosedJoints, coefficients: &[f32]) -> Vec<[f32; 3]> {
        let parts = head.parts();
        let basis = || {
            let both = [&parts.shape_basis, &parts.expression_basis];
            both.into_iter()
                .flat_map(|b| b.chunks_exact(head.vertex_count()))
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

    fn golden_model() -> HeadModel {
        HeadModel::from_file(&TensorFile::golden("head_model_512.safetensors")).unwrap()
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
            let expected: DVec3 = row
                .iter()
                .zip(&shaped)
                .map(|(&w, v)| f64::from(w) * v)
                .sum();
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

    fn tiny_parts() -> HeadModelParts {
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
        let error = HeadModel::from_file(without.file().unwrap()).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error}");

        // One that has parts which the next one lacks, so that none of its may be left over.
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
            assert!(
                (found - expected).abs() <= f32::exp2(-13.0),
                "{found} {expected}"
            );
        }
    }

    #[test]
    fn an_embedded_model_that_is_broken_is_an_error_not_none() {
        let head = HeadModel::new(tiny_parts()).unwrap();
        let mut writer = TensorWriter::new(BTreeMap::new());
        head.embed(&mut writer, FloatFormat::F32);
        writer.retain(|name| name != "head_model.template");
        let file = TensorFile::from_bytes("test", writer.into_bytes().unwrap()).unwrap();
        match HeadModel::embedded(&file) {
            Err(Error::Tensors { problems, .. }) => assert_eq!(
                problems,
                ["head_model.template: expected shape [any, 3], found nothing"]
            ),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flame_columns_are_chosen_by_metadata_or_count() {
        let columns_of = |count: usize, metadata: &str| {
            let (key, value) = metadata.split_once('=').unwrap();
            let writer = TensorWriter::new([(key.into(), value.into())].into());
            let bytes = writer.into_bytes().unwrap();
            flame_columns(&TensorFile::from_bytes("test", bytes).unwrap(), count)
        };
        assert_eq!(columns_of(400, "a=b").unwrap(), (0..100, 300..350));
        assert_eq!(columns_of(150, "a=b").unwrap(), (0..100, 100..150));
        for (count, metadata) in [(151, "a=b"), (150, "n_shape=100"), (150, "n_shape=many")] {
            let error = columns_of(count, metadata).unwrap_err();
            assert!(matches!(error, Error::Format { .. }), "{error}");
        }
    }

    #[test]
    fn correctives_are_read_in_both_of_flames_layouts() {
        let (vertices, count) = (2, 9);
        // Value 100 · direction + 10 · vertex + axis, in [9, 3V] and in [V, 3, 9].
        let flat: Vec<f32> = (0..count)
            .flat_map(|d| (0..vertices).flat_map(move |v| (0..3).map(move |a| (d, v, a))))
            .map(|(d, v, a)| (100 * d + 10 * v + a) as f32)
            .collect();
        let deep: Vec<f32> = (0..vertices)
            .flat_map(|v| (0..3).flat_map(move |a| (0..count).map(move |d| (d, v, a))))
            .map(|(d, v, a)| (100 * d + 10 * v + a) as f32)
            .collect();
        let expected = flat.as_chunks().0;
        assert_eq!(columns(&deep, count, 0..count), expected);

        let parts = tiny_parts();
        for (shape, values) in [(&[9, 6][..], &flat), (&[2, 3, 9], &deep)] {
            let mut writer = TensorWriter::new(BTreeMap::new());
            for (name, shape, values) in [
                ("v_template", &[2, 3][..], parts.template.as_flattened()),
                ("shapedirs", &[2, 3, 150], &[0.0; 2 * 3 * 150]),
                ("posedirs", shape, values),
                ("J_regressor", &[2, 2], &parts.joint_regressor),
                ("lbs_weights", &[2, 2], &parts.skinning_weights),
            ] {
                writer.floats(name, shape, FloatFormat::F32, || Ok(values.into()));
            }
            writer.ints("parents", &[2], &[-1, 0]);
            let signed = writer.into_bytes().unwrap();
            // -1 and the largest unsigned integer are the same bytes.
            let mut unsigned = signed.clone();
            let i32 = unsigned.windows(3).position(|name| name == b"I32").unwrap();
            unsigned[i32] = b'U';
            for bytes in [signed, unsigned] {
                let head = HeadModel::from_safetensors(bytes).unwrap();
                assert_eq!(head.parts().pose_basis, expected);
                assert_eq!(head.parts().parents, [-1, 0]);
                assert_eq!(head.parts().scale, 5.0);
            }
        }
    }

    #[test]
    fn a_flame_file_without_vertices_is_refused_whatever_else_it_claims() {
        let many = usize::MAX / 4;
        let metadata = [("n_shape", many), ("n_expression", many)];
        let metadata = metadata.map(|(key, count)| (key.into(), count.to_string()));
        let mut writer = TensorWriter::new(metadata.into());
        for (name, shape) in [
            ("v_template", &[0, 3][..]),
            ("shapedirs", &[0, 3, usize::MAX]),
            ("J_regressor", &[0, 0]),
            ("lbs_weights", &[0, 0]),
        ] {
            writer.floats(name, shape, FloatFormat::F32, || Ok(vec![].into()));
        }
        writer.ints("parents", &[0], &[]);
        match HeadModel::from_safetensors(writer.into_bytes().unwrap()) {
            Err(Error::Tensors { problems, .. }) => assert_eq!(problems, ["template: no vertices"]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_contradiction_is_named() {
        type Damage = fn(&mut HeadModelParts);
        let damages: [(&str, Damage); 20] = [
            ("template", |p| p.template.clear()),
            ("template", |p| p.template[0][1] = f32::NAN),
            ("shape_basis", |p| {
                p.shape_basis.pop();
            }),
            ("shape_basis", |p| p.shape_basis[0][0] = f32::INFINITY),
            ("expression_basis", |p| {
                p.expression_basis.pop();
            }),
            ("expression_basis", |p| p.expression_basis[3][2] = f32::NAN),
            ("pose_basis", |p| {
                p.pose_basis.pop();
            }),
            ("pose_basis", |p| p.pose_basis[17][0] = f32::NAN),
            ("joint_regressor", |p| {
                p.joint_regressor.pop();
            }),
            ("joint_regressor", |p| p.joint_regressor[0] = f32::NAN),
            ("skinning_weights", |p| {
                p.skinning_weights.pop();
            }),
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
            match HeadModel::new(parts) {
                Err(Error::Tensors { problems, .. }) => {
                    assert!(
                        problems.iter().any(|p| p.starts_with(name)),
                        "{name}: {problems:?}"
                    );
                }
                other => panic!("{name}: {other:?}"),
            }
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
            let error = head.pose(shape, expression, pose).unwrap_err();
            assert!(matches!(error, Error::Argument { .. }), "{error}");
        }
    }

    #[test]
    fn an_unknown_channel_lists_similar_ones() {
        let head = HeadModel::new(tiny_parts()).unwrap();
        assert_eq!(head.channel("browInnerUp").unwrap(), 1);
        let error = head.channel("jawopen").unwrap_err().to_string();
        assert!(
            error.contains(r#"(nearest: "jawOpen", "browInnerUp"), found "jawopen""#),
            "{error}"
        );
        assert_eq!(dissimilarity("mouthSmile", "mouthSmileLeft"), 0);
        assert_eq!(dissimilarity("kitten", "sitting"), 3);
        assert_eq!(dissimilarity("JAW_open", "jawOpen"), 1);
        let unnamed = HeadModelParts {
            channels: Vec::new(),
            ..tiny_parts()
        };
        let error = HeadModel::new(unnamed)
            .unwrap()
            .channel("jawOpen")
            .unwrap_err();
        assert!(error.to_string().contains("coefficients instead of names"));
    }

    #[test]
    fn broken_files_are_errors_and_never_panics() {
        let head = HeadModel::new(tiny_parts()).unwrap();
        let bytes = head.to_safetensors().unwrap();
        for cut in 0..bytes.len() {
            let error = HeadModel::from_safetensors(bytes[..cut].to_vec()).unwrap_err();
            assert!(matches!(error, Error::Format { .. }), "{error}");
        }
        for i in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[i] ^= 0x41;
            // Some bytes only change a value; that it returns is the test.
            let _ = HeadModel::from_safetensors(flipped);
        }
    }

    #[test]
    fn missing_tensors_and_metadata_are_named() {
        let head = HeadModel::new(tiny_parts()).unwrap();
        let refused = |writer: TensorWriter| {
            HeadModel::from_safetensors(writer.into_bytes().unwrap())
                .unwrap_err()
                .to_string()
        };
        for name in ["template", "joint_regressor", "skinning_weights"] {
            let mut writer = head.writer();
            writer.retain(|tensor| tensor != name);
            let error = refused(writer);
            assert!(
                error.contains(&format!("{name}: expected shape [")),
                "{error}"
            );
            assert!(error.contains("found nothing"), "{error}");
        }
        let file = TensorFile::from_bytes("test", head.to_safetensors().unwrap()).unwrap();
        let header = &file.metadata()[KEY];
        for (header, expected) in [
            (
                header.replace(r#""version":1"#, r#""version":7"#),
                "found 7",
            ),
            (header.replace("scale", "scales"), "unknown field"),
            (header.replace("[-1,0]", "[-1,0,0]"), "expected shape"),
        ] {
            let mut writer = head.writer();
            writer.metadata(KEY, header);
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
}
