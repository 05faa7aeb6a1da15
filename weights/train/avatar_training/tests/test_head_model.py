"""Skinning of the morphable head."""

import numpy as np
from safetensors.numpy import load_file

from avatar_training.head_model import HeadModel

from .synthetic import GOLDEN


def test_golden():
    path = GOLDEN / "head_model_512.safetensors"
    head, golden = HeadModel.open(path), load_file(path)
    for i in range(3):
        case = (golden[f"case{i}.{name}"][None] for name in ("shape", "expression", "pose"))
        points = head.points(*case)[0]
        assert np.abs(points - golden[f"case{i}.points"]).max() < 1e-5
