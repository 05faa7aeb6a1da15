"""Synthetic weights: the same numbers as the Rust crate makes for the same seed and table."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).parents[4] / "tests" / "golden"
MASK = (1 << 64) - 1
STEP = 0x9E3779B97F4A7C15


def uniform(seed: int, name: str, count: int) -> np.ndarray:
    """`count` values in -1..1: splitmix64's finaliser of the name's hash plus a counter."""
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = ((state ^ byte) * 0x100000001B3) & MASK
    z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(STEP)
    z += np.uint64((state + seed * STEP) & MASK)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)


def weights(seed: int, table: str) -> dict[str, torch.Tensor]:
    """State dict by the rules in the golden file `checkpoint_<table>.tsv`."""
    state = {}
    with open(GOLDEN / f"checkpoint_{table}.tsv") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            shape = [int(side) for side in row["shape"].split("x")]
            values = uniform(seed, row["name"], int(np.prod(shape)))
            values = np.float32(row["offset"]) + np.float32(row["scale"]) * values
            state[row["name"]] = torch.from_numpy(values.astype(np.float32)).reshape(shape)
    return state
