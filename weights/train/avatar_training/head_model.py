"""The morphable head that turns coefficients into points: the twin of the crate's `HeadModel`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import safe_open

PREFIX = "head_model."


class HeadModelError(ValueError):
    """A file that holds no usable head model."""


@dataclass
class HeadModel:
    """Vertices at rest, blend shapes, joints and skinning weights; layouts as in the file format.

    template (V, 3), shape_basis (S, V, 3), expression_basis (E, V, 3), pose_basis (9(J-1), V, 3)
    or empty, joint_regressor (J, V), skinning_weights (V, J), parents (J).
    """

    template: np.ndarray
    shape_basis: np.ndarray
    expression_basis: np.ndarray
    pose_basis: np.ndarray
    joint_regressor: np.ndarray
    skinning_weights: np.ndarray
    parents: list[int]
    pose_joints: list[int]
    scale: float
    channels: list[str] = field(default_factory=list)
    shape_names: list[str] = field(default_factory=list)

    def __post_init__(self):
        joints = np.einsum("jv,vc->jc", self.joint_regressor, self.template)
        directions = np.concatenate([self.shape_basis, self.expression_basis])
        self._joints = joints
        self._joint_basis = np.einsum("jv,nvc->njc", self.joint_regressor, directions)
        self._directions = directions.reshape(len(directions), -1)

    @property
    def pose_size(self) -> int:
        """Values of a pose: three for each joint that it drives."""
        return 3 * len(self.pose_joints)

    @classmethod
    def open(cls, path: str | Path) -> HeadModel:
        """Reads a head model file, a weights file with one inside, or converted FLAME data."""
        with safe_open(path, "np") as file:
            metadata, names = file.metadata() or {}, set(file.keys())
            prefix = PREFIX if PREFIX + "template" in names else ""
            tensors = {
                name[len(prefix) :]: file.get_tensor(name).astype(np.float32)
                for name in names
                if name.startswith(prefix)
            }
        if "v_template" in tensors:
            return cls._flame(tensors, metadata)
        if "template" not in tensors or "head_model" not in metadata:
            raise HeadModelError(
                f"{path}: expected a head model (tensor template and metadata head_model), found "
                f"tensors {sorted(names)[:5]} and metadata {sorted(metadata)}"
            )
        header = json.loads(metadata["head_model"])
        vertices = len(tensors["template"])
        none = np.zeros((0, vertices, 3), np.float32)
        joints = tensors.get("joint_regressor")
        if joints is None:
            tensors["joint_regressor"] = np.zeros((1, vertices), np.float32)
            tensors["skinning_weights"] = np.ones((vertices, 1), np.float32)
        parents = header.get("parents") or [-1]
        usual = [0, 2] if len(parents) == 5 else list(range(len(parents)))
        return cls(
            tensors["template"],
            tensors.get("shape_basis", none),
            tensors.get("expression_basis", none),
            tensors.get("pose_basis", none),
            tensors["joint_regressor"],
            tensors["skinning_weights"],
            parents,
            header.get("pose_joints") or usual,
            header["scale"],
            header.get("channels", []),
            header.get("shape_names", []),
        )

    @classmethod
    def _flame(cls, tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> HeadModel:
        directions = tensors["shapedirs"].transpose(2, 0, 1)
        count = len(directions)
        shapes, expressions = directions[:100], directions[100:150]
        if "n_shape" in metadata:
            shapes = directions[: int(metadata["n_shape"])]
            expressions = directions[len(shapes) :][: int(metadata["n_expression"])]
        elif count == 400:
            expressions = directions[300:350]
        vertices = len(tensors["v_template"])
        correctives = tensors["posedirs"]
        if correctives.ndim == 3:
            correctives = correctives.transpose(2, 0, 1)
        return cls(
            tensors["v_template"],
            shapes,
            expressions,
            correctives.reshape(-1, vertices, 3),
            tensors["J_regressor"],
            tensors["lbs_weights"],
            [int(parent) for parent in tensors["parents"]],
            [0, 2],
            float(metadata.get("scale", 5.0)),
        )

    def points(self, shape: np.ndarray, expression: np.ndarray, pose: np.ndarray) -> np.ndarray:
        """World positions (N, V, 3) f32 for coefficients (N, S) and (N, E) and poses (N, P).

        A pose is an axis-angle triple in radians for each of `pose_joints`.
        """
        count = len(shape)
        coefficients = np.concatenate([shape, expression], 1).astype(np.float32)
        vertices = self.template + (coefficients @ self._directions).reshape(count, -1, 3)
        joints = self._joints + np.einsum("nd,djc->njc", coefficients, self._joint_basis)
        rotations = np.tile(np.eye(3), (count, len(self.parents), 1, 1))
        for i, joint in enumerate(self.pose_joints):
            rotations[:, joint] = rodrigues(pose[:, 3 * i : 3 * i + 3])
        if len(self.pose_basis):
            feature = (rotations[:, 1:] - np.eye(3)).reshape(count, -1).astype(np.float32)
            flat = self.pose_basis.reshape(len(self.pose_basis), -1)
            vertices = vertices + (feature @ flat).reshape(count, -1, 3)
        turns, offsets = [], []
        for joint, parent in enumerate(self.parents):
            turn, place = rotations[:, joint], joints[:, joint]
            if parent >= 0:
                reach = place - joints[:, parent]
                place = np.einsum("nij,nj->ni", turns[parent], reach) + offsets[parent]
                turn = turns[parent] @ turn
            turns.append(turn)
            offsets.append(place)
        # Vertices are given at rest, so a joint's rest position is taken away first.
        moves = [
            offset - np.einsum("nij,nj->ni", turn, joints[:, i])
            for i, (turn, offset) in enumerate(zip(turns, offsets))
        ]
        turn = np.einsum("vj,jnab->nvab", self.skinning_weights, np.stack(turns).astype(np.float32))
        move = np.einsum("vj,jna->nva", self.skinning_weights, np.stack(moves).astype(np.float32))
        world = np.einsum("nvab,nvb->nva", turn, vertices) + move
        return (world * self.scale).astype(np.float32)


def rodrigues(vectors: np.ndarray) -> np.ndarray:
    """Rotation matrices (N, 3, 3) of axis-angle vectors (N, 3) in radians, as SMPL has them."""
    vectors = np.asarray(vectors, np.float64)
    angle = np.linalg.norm(vectors + 1e-8, axis=1)[:, None, None]
    x, y, z = (vectors / angle[:, :, 0]).T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).reshape(-1, 3, 3)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
