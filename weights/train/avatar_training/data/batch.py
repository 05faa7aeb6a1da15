"""The batches of all data sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..config import ModelConfig
from .warp import canonical_views


class DatasetError(ValueError):
    """All problems of a data set, one line each."""

    def __init__(self, folder: Path, problems: list[str]):
        super().__init__(f"{folder}: not usable for training:\n  " + "\n  ".join(problems))
        self.problems = problems


def check_header(header: dict, expected: str) -> list[str]:
    """Problems of the format and version in dataset.json."""
    if header.get("format") == expected and header.get("version") == 1:
        return []
    found = f"{header.get('format')!r}, version {header.get('version')}"
    return [f"dataset.json: expected format {expected!r}, version 1, found {found}"]


def check_points(vertices: int, config: ModelConfig) -> list[str]:
    """Problems of a head model with this many vertices."""
    if vertices == config.points:
        return []
    return [
        f"head.safetensors: expected {config.points} vertices (the configuration's points),"
        f" found {vertices}"
    ]


class Identities:
    """Choice of identities, common to all data sets."""

    identities: int

    def identifiers(self, fold: str, held_out: int) -> np.ndarray:
        """The identities of the fold `train` or `held_out`, which is at most the last eighth."""
        first = self.identities - min(held_out, self.identities // 8)
        return np.arange(first) if fold == "train" else np.arange(first, self.identities)

    def pick(self, rng: np.random.Generator, count: int, pool: np.ndarray | None) -> np.ndarray:
        """`count` random identities of `pool` (default: all), without repeats if there are enough."""
        pool = np.arange(self.identities) if pool is None else pool
        return rng.choice(pool, count, replace=len(pool) < count)


@dataclass
class Batch:
    """B identities with V canonical sources and one target each."""

    sources: Tensor
    """(B, V, 3, S, S): canonical views, RGB in 0..1."""
    present: Tensor
    """(B, V) bool: which sources count. The first always does."""
    target: Tensor
    """(B, 3, W, W): RGB in 0..1 on black."""
    alpha: Tensor
    """(B, 1, W, W): coverage of the head in 0..1."""
    transform: Tensor
    """(B, 3, 4): camera of the target."""
    points: Tensor
    """(B, P, 3): the head's points in the target, world coordinates."""
    regions: Tensor
    """(B, 3, 4): ellipses (cx, cy, rx, ry) in target pixels of the eyes and the mouth; all zero
    where unknown."""
    face_box: Tensor
    """(B, 4): x0, y0, x1, y1 of the face in target pixels, half-open."""
    surface: Tensor | None = None
    """(B, M, 6): points seen in the target, world position and RGB, where known."""
    colours: Tensor | None = None
    """(B, 24): colours of the identity, where known."""

    def to(self, device: torch.device | str) -> Batch:
        """The batch on another device."""
        move = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in vars(self).items()}
        return Batch(**move)

    def vary_light(self, rng: np.random.Generator) -> None:
        """Makes sources and target of each identity a little darker or brighter together."""
        gain = rng.uniform(0.85, 1.1, (len(self.target), 1, 1, 1)).astype(np.float32)
        gain = torch.from_numpy(gain)
        self.sources = (self.sources * gain[:, None]).clamp(max=1)
        self.target = (self.target * gain).clamp(max=1)
        if self.surface is not None:
            self.surface[..., 3:] = (self.surface[..., 3:] * gain[:, 0]).clamp(max=1)


def canonical_sources(
    pictures: list[list[np.ndarray]],
    transforms: list[list[np.ndarray]],
    config: ModelConfig,
    rng: np.random.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Canonical views (B, V, 3, S, S) of each identity's pictures (H, W, 4) u8, and which exist.

    With a generator the cameras (3, 4) get the errors of a tracker: about a pixel.
    """
    most, size = max(len(p) for p in pictures), config.source_size
    views = np.zeros((len(pictures), most, 3, size, size), np.float32)
    present = np.zeros((len(pictures), most), bool)
    for b, (own, cameras) in enumerate(zip(pictures, transforms)):
        present[b, : len(own)] = True
        shift = None
        if rng is not None:
            # A common error of all corners and a smaller one of each.
            shift = rng.uniform(-1, 1, (len(own), 1, 2)) + rng.uniform(-0.5, 0.5, (len(own), 4, 2))
        views[b, : len(own)] = canonical_views(
            np.stack(own), np.stack(cameras), size, config.focal, shift
        )
    return torch.from_numpy(views), torch.from_numpy(present)
