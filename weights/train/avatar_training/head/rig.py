"""The head as a morphable model: joints, skinning, and the points that the network follows."""

import functools
import json
from dataclasses import dataclass

import numpy as np
from safetensors.numpy import save_file

from ..head_model import rodrigues
from . import mesh as m
from .channels import EXPRESSIONS, SHAPES

PARENTS = (-1, 0, 1)
"""Root, neck and jaw."""
POSE_JOINTS = (1, 2)
POSE = 3 * len(POSE_JOINTS)
"""A pose: axis-angle of the head on the neck, then of the jaw; radians."""


@functools.cache
def skinning_weights():
    """(V, 3): how much root, neck and jaw carry each vertex of the mesh."""
    mesh = m.mesh()
    w = np.zeros((len(mesh.template), 3))
    w[:, 1] = 1.0
    neck = mesh.ranges["neck"]
    w[neck, 1] = m.smooth(-0.68, -0.42, mesh.template[neck, 1])
    w[mesh.ranges["shirt"], 1] = 0.0
    w[:, 2] = mesh.jaw * w[:, 1]
    w[:, 1] -= w[:, 2]
    w[:, 0] = 1 - w[:, 1] - w[:, 2]
    return w.astype(np.float32)


@functools.cache
def network_points(count):
    """Indices (count,) of the mesh's vertices that the network follows.

    Farthest-point sampling in position and movement, denser where the face moves most and where
    people look: eyes and mouth. Hair has none; what cannot be seen (the back of an eyeball) neither.
    """
    mesh = m.mesh()
    t, q = mesh.template, mesh.canonical
    weight = np.ones(len(t))
    allowed = np.ones(len(t), bool)
    skin = np.zeros(len(t), bool)
    skin[mesh.ranges["skin"]] = True
    face = skin & (q[:, 2] > 0.3)
    weight[face] = 1.5
    for x, y, r in (
        (m.EYE_X, m.EYE_Y + 0.04, 0.21),
        (-m.EYE_X, m.EYE_Y + 0.04, 0.21),
        (0, m.MOUTH_Y, 0.24),
    ):
        weight[face & (np.hypot(q[:, 0] - x, q[:, 1] - y) < r)] = 2.8
    weight[skin & (q[:, 2] < -0.1)] = 0.7
    for name in ("eyeLeft", "eyeRight"):
        weight[mesh.ranges[name]] = 2.6
        part = np.zeros(len(t), bool)
        part[mesh.ranges[name]] = True
        allowed &= ~(part & (q[:, 2] < 0.25))
    for name in ("upperTeeth", "lowerTeeth", "tongue", "mouth"):
        weight[mesh.ranges[name]] = 2.2
    weight[mesh.ranges["shirt"]] = 0.6
    move = lambda *names: sum(mesh.expression_basis[EXPRESSIONS.index(n)] for n in names)
    feature = np.concatenate([t, move("jawOpen"), move("eyeBlinkLeft", "eyeBlinkRight")], 1)
    ids = np.flatnonzero(allowed)
    feature, weight = feature[ids], weight[ids]
    distance = np.full(len(ids), 1e9)
    chosen = [0]
    for _ in range(count - 1):
        distance = np.minimum(distance, ((feature - feature[chosen[-1]]) ** 2).sum(1))
        chosen.append(int(np.argmax(np.sqrt(distance) * weight)))
    return np.sort(ids[chosen])


@dataclass
class Rig:
    """The morphable model whose vertices are the network's points."""

    points: np.ndarray  # (n,) vertices of the mesh
    regressor: np.ndarray  # (3, n)

    def joints(self, vertices):
        """Joint positions (3, 3) of shaped, unposed mesh vertices (V, 3)."""
        return self.regressor @ vertices[self.points]

    def pose(self, vertices, others, pose):
        """Poses mesh vertices (V, 3) and `others` (n, 3), which the neck carries. Pose: (6,)."""
        joints = self.joints(vertices)
        head, jaw = rodrigues(np.reshape(pose, (2, 3)))
        in_head = (vertices - joints[1]) @ head.T + joints[1]
        in_jaw = ((vertices - joints[2]) @ jaw.T + joints[2] - joints[1]) @ head.T + joints[1]
        w = skinning_weights()
        posed = w[:, :1] * vertices + w[:, 1:2] * in_head + w[:, 2:] * in_jaw
        carried = (others - joints[1]) @ head.T + joints[1]
        return posed.astype(np.float32), carried.astype(np.float32)


@functools.cache
def rig(count):
    """The rig with `count` points. Joints are means of points: of the neck, and of both ears."""
    mesh = m.mesh()
    points = network_points(count)
    part = np.full(len(mesh.template), "", object)
    for name, span in mesh.ranges.items():
        part[span] = name
    part, y = part[points], mesh.template[points, 1]
    rows = [
        part == "shirt",
        (part == "neck") & (y > -0.66) & (y < -0.45),
        (part == "earLeft") | (part == "earRight"),
    ]
    regressor = np.stack([row / row.sum() for row in rows])
    return Rig(points, regressor.astype(np.float32))


def head_model(count):
    """Tensors and metadata of the head model file that the Rust crate and the network read."""
    mesh, r = m.mesh(), rig(count)
    i = r.points
    tensors = {
        "template": mesh.template[i],
        "shape_basis": mesh.shape_basis[:, i],
        "expression_basis": mesh.expression_basis[:, i],
        "joint_regressor": r.regressor,
        "skinning_weights": skinning_weights()[i],
    }
    header = {
        "version": 1,
        "scale": 1.0,
        "parents": PARENTS,
        "pose_joints": POSE_JOINTS,
        "channels": EXPRESSIONS,
        "shape_names": SHAPES,
    }
    return {k: np.ascontiguousarray(v, np.float32) for k, v in tensors.items()}, {
        "head_model": json.dumps(header)
    }


def save_head_model(path, count):
    tensors, metadata = head_model(count)
    save_file(tensors, path, metadata)
