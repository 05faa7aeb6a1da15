//! The points of a head model that landmarks are compared with, and their derivatives.

use glam::{DMat3, DVec3};

use super::super::embedding::Embedding;
use super::super::maths::rotation_of;
use crate::head::HeadModel;

/// Step of the one-sided differences by the jaw's angles, in radians.
const JAW_STEP: f64 = 1e-4;

/// The embedded points of a head model: places and derivatives for given coefficients.
///
/// Without a jaw to turn they are linear in the coefficients. With one, the vertices of each point are
/// skinned anew.
#[derive(Clone, Debug)]
pub(crate) struct Points {
    shapes: usize,
    expressions: usize,
    /// Places at rest.
    rest: Vec<DVec3>,
    /// Places for the coefficients of the last [`Points::update`].
    places: Vec<DVec3>,
    /// Derivatives there, for each point by every shape, expression and angle of the jaw.
    derivatives: Vec<DVec3>,
    jaw: Option<Skinned>,
}

impl Points {
    /// The embedding fits the head.
    pub fn new(head: &HeadModel, embedding: &Embedding) -> Self {
        let (shapes, expressions) = (head.shape_count(), head.expression_count());
        let parts = head.parts();
        let jaw = Skinned::new(head, embedding);
        let scale = f64::from(parts.scale);
        let bases = [&parts.shape_basis, &parts.expression_basis];
        let directions = || {
            bases
                .into_iter()
                .flat_map(|basis| basis.chunks_exact(head.vertex_count()))
        };
        let rest: Vec<DVec3> = (embedding.points().iter())
            .map(|point| scale * point.blend(&parts.template) + point.offset.as_dvec3())
            .collect();
        let angles = if jaw.is_some() { 3 } else { 0 };
        let derivatives = (embedding.points().iter())
            .flat_map(|point| {
                let linear = directions().map(|basis| scale * point.blend(basis));
                linear.chain(std::iter::repeat_n(DVec3::ZERO, angles))
            })
            .collect();
        Self {
            shapes,
            expressions,
            places: rest.clone(),
            rest,
            derivatives,
            jaw,
        }
    }

    pub fn count(&self) -> usize {
        self.places.len()
    }

    pub fn shapes(&self) -> usize {
        self.shapes
    }

    pub fn expressions(&self) -> usize {
        self.expressions
    }

    /// True if the jaw's three angles are unknowns, after the expression.
    pub fn has_jaw(&self) -> bool {
        self.jaw.is_some()
    }

    /// Number of unknowns of a point: shapes, expressions, angles of the jaw.
    pub fn unknowns(&self) -> usize {
        self.shapes + self.expressions + if self.has_jaw() { 3 } else { 0 }
    }

    /// Places at rest.
    pub fn rest(&self) -> &[DVec3] {
        &self.rest
    }

    /// Places for the coefficients of the last [`Points::update`].
    pub fn places(&self) -> &[DVec3] {
        &self.places
    }

    /// Derivatives of a point by every unknown.
    pub fn derivatives(&self, point: usize) -> &[DVec3] {
        let unknowns = self.unknowns();
        &self.derivatives[point * unknowns..(point + 1) * unknowns]
    }

    /// Computes places and derivatives for these coefficients, one for every unknown.
    pub fn update(&mut self, coefficients: &[f64]) {
        if let Some(jaw) = &mut self.jaw {
            jaw.update(coefficients, &mut self.places, &mut self.derivatives);
            return;
        }
        let rows = self.derivatives.chunks_exact(coefficients.len().max(1));
        for ((place, rest), row) in self.places.iter_mut().zip(&self.rest).zip(rows) {
            let moved = row.iter().zip(coefficients).map(|(d, c)| *d * *c);
            *place = *rest + moved.sum::<DVec3>();
        }
    }
}

/// The vertices of the embedded points of a head whose jaw turns.
///
/// ```text
/// vertex = scale · Σ_j weight_j · (A_j · (v - p_j) + t_j),
/// v      = template + B · c + pose correctives,  p_j = joint j's place, linear in c
/// A_j    = A_parent · R_j,  t_j = A_parent · (p_j - p_parent) + t_parent
/// ```
#[derive(Clone, Debug)]
struct Skinned {
    scale: f64,
    directions: usize,
    /// The joint that turns.
    joint: usize,
    parents: Vec<i32>,
    /// Places of the joints at rest, and their change with every direction, joint by joint.
    joints: Vec<DVec3>,
    joint_basis: Vec<DVec3>,
    offsets: Vec<DVec3>,
    /// For each point so many of the following.
    ends: Vec<usize>,
    vertices: Vec<Vertex>,
    /// Displacements of each vertex by every direction.
    basis: Vec<DVec3>,
    /// Pose correctives of each vertex by the entries of R - I of the joint that turns, or none.
    correctives: Vec<DVec3>,
    /// Joints' weights of each vertex.
    skinning: Vec<f64>,
    /// Buffers: each joint's linear part, its place, its moved place, and derivatives of those two.
    linear: Vec<DMat3>,
    place: Vec<DVec3>,
    moved: Vec<DVec3>,
    turned: Vec<DVec3>,
}

#[derive(Clone, Copy, Debug)]
struct Vertex {
    weight: f64,
    template: DVec3,
}

/// The joint that a fit turns besides the whole head: of models whose expression has no names, such as
/// FLAME, the last one that a pose turns. Channels with names open the mouth themselves.
pub(crate) fn jaw(head: &HeadModel) -> Option<usize> {
    let parts = head.parts();
    let joint = parts.pose_joints.iter().rfind(|joint| **joint != 0);
    let joint = joint.filter(|_| parts.channels.is_empty());
    joint.map(|joint| *joint as usize)
}

impl Skinned {
    fn new(head: &HeadModel, embedding: &Embedding) -> Option<Self> {
        let joint = jaw(head)?;
        let parts = head.parts();
        let count = head.vertex_count();
        let (joints, joint_basis) = head.joints();
        let vector = |v: &[f32; 3]| DVec3::from_array(v.map(f64::from));
        let mut skinned = Self {
            scale: f64::from(parts.scale),
            directions: head.shape_count() + head.expression_count(),
            joint,
            parents: parts.parents.clone(),
            joints: joints.to_vec(),
            joint_basis: joint_basis.to_vec(),
            offsets: Vec::new(),
            ends: Vec::new(),
            vertices: Vec::new(),
            basis: Vec::new(),
            correctives: Vec::new(),
            skinning: Vec::new(),
            linear: vec![DMat3::IDENTITY; joints.len()],
            place: joints.to_vec(),
            moved: joints.to_vec(),
            turned: joints.to_vec(),
        };
        for point in embedding.points() {
            skinned.offsets.push(point.offset.as_dvec3());
            for (index, weight) in point.corners() {
                skinned.vertices.push(Vertex {
                    weight,
                    template: vector(&parts.template[index]),
                });
                for basis in [&parts.shape_basis, &parts.expression_basis] {
                    let directions = basis.chunks_exact(count);
                    skinned
                        .basis
                        .extend(directions.map(|basis| vector(&basis[index])));
                }
                // The root has none.
                let correctives = parts
                    .pose_basis
                    .chunks_exact(count)
                    .skip(9 * (joint - 1))
                    .take(9);
                skinned
                    .correctives
                    .extend(correctives.map(|basis| vector(&basis[index])));
                let row = &parts.skinning_weights[index * joints.len()..][..joints.len()];
                skinned.skinning.extend(row.iter().map(|w| f64::from(*w)));
            }
            skinned.ends.push(skinned.vertices.len());
        }
        Some(skinned)
    }

    /// Linear parts and moved places of the joints with the jaw turned.
    fn turn(&mut self, angles: DVec3) -> DMat3 {
        let rotation = rotation_of(angles);
        for joint in 0..self.joints.len() {
            let own = match joint == self.joint {
                true => rotation,
                false => DMat3::IDENTITY,
            };
            (self.linear[joint], self.moved[joint]) = match self.parents[joint] {
                -1 => (own, self.place[joint]),
                parent => {
                    let parent = parent as usize;
                    let arm = self.place[joint] - self.place[parent];
                    (
                        self.linear[parent] * own,
                        self.moved[parent] + self.linear[parent] * arm,
                    )
                }
            };
        }
        rotation
    }

    /// How a displacement of the joints' places moves them in the pose of the last turn.
    fn turn_direction(&mut self, direction: usize) {
        for joint in 0..self.joints.len() {
            let change = |j: usize| self.joint_basis[j * self.directions + direction];
            self.turned[joint] = match self.parents[joint] {
                -1 => change(joint),
                parent => {
                    let parent = parent as usize;
                    self.turned[parent] + self.linear[parent] * (change(joint) - change(parent))
                }
            };
        }
    }

    fn update(&mut self, coefficients: &[f64], places: &mut [DVec3], derivatives: &mut [DVec3]) {
        let directions = self.directions;
        let (linear, angles) = coefficients.split_at(directions);
        let angles = DVec3::from_slice(angles);
        for joint in 0..self.joints.len() {
            let basis = &self.joint_basis[joint * directions..(joint + 1) * directions];
            let moved = basis
                .iter()
                .zip(linear)
                .map(|(b, c)| *b * *c)
                .sum::<DVec3>();
            self.place[joint] = self.joints[joint] + moved;
        }
        // The jaw's derivatives first, so that the pose itself is the one that stays.
        let unknowns = directions + 3;
        for axis in 0..3 {
            let mut ahead = angles;
            ahead[axis] += JAW_STEP;
            let rotation = self.turn(ahead);
            for point in 0..places.len() {
                derivatives[point * unknowns + directions + axis] =
                    self.point(point, linear, rotation);
            }
        }
        let rotation = self.turn(angles);
        for (point, place) in places.iter_mut().enumerate() {
            *place = self.point(point, linear, rotation);
            for axis in 0..3 {
                let ahead = &mut derivatives[point * unknowns + directions + axis];
                *ahead = (*ahead - *place) / JAW_STEP;
            }
        }
        for direction in 0..directions {
            self.turn_direction(direction);
            for point in 0..places.len() {
                derivatives[point * unknowns + direction] = self.direction(point, direction);
            }
        }
    }

    fn vertices_of(&self, point: usize) -> std::ops::Range<usize> {
        let start = point.checked_sub(1).map_or(0, |before| self.ends[before]);
        start..self.ends[point]
    }

    fn weights_of(&self, vertex: usize) -> impl Iterator<Item = (usize, f64)> {
        let joints = self.joints.len();
        self.skinning[vertex * joints..(vertex + 1) * joints]
            .iter()
            .copied()
            .enumerate()
    }

    /// The place of a point.
    fn point(&self, point: usize, coefficients: &[f64], rotation: DMat3) -> DVec3 {
        let vertices = self.vertices_of(point).map(|v| {
            let basis = &self.basis[v * self.directions..(v + 1) * self.directions];
            let moved = basis
                .iter()
                .zip(coefficients)
                .map(|(b, c)| *b * *c)
                .sum::<DVec3>();
            let mut vertex = self.vertices[v].template + moved;
            if !self.correctives.is_empty() {
                let feature = (rotation - DMat3::IDENTITY).transpose().to_cols_array();
                let correctives = self.correctives[9 * v..9 * v + 9].iter().zip(feature);
                vertex += correctives.map(|(c, f)| *c * f).sum::<DVec3>();
            }
            let posed = self.weights_of(v).map(|(joint, weight)| {
                weight * (self.linear[joint] * (vertex - self.place[joint]) + self.moved[joint])
            });
            self.vertices[v].weight * posed.sum::<DVec3>()
        });
        self.scale * vertices.sum::<DVec3>() + self.offsets[point]
    }

    /// The derivative of a point by the direction of the last [`Skinned::turn_direction`].
    fn direction(&self, point: usize, direction: usize) -> DVec3 {
        let vertices = self.vertices_of(point).map(|v| {
            let change = self.basis[v * self.directions + direction];
            let posed = self.weights_of(v).map(|(joint, weight)| {
                let place = self.joint_basis[joint * self.directions + direction];
                weight * (self.linear[joint] * (change - place) + self.turned[joint])
            });
            self.vertices[v].weight * posed.sum::<DVec3>()
        });
        self.scale * vertices.sum::<DVec3>()
    }
}
