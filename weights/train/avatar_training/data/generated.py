"""Training pictures that the procedural head made: memory-mapped, drawn at random in batches."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..config import ModelConfig
from ..head_model import HeadModel
from .warp import canonical_views

FORMAT = "gpavatar training data"


class DatasetError(ValueError):
    """Everything that is wrong with a data set, one line each."""

    def __init__(self, folder: Path, problems: list[str]):
        super().__init__(f"{folder}: not usable for training:\n  " + "\n  ".join(problems))
        self.problems = problems


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
    surface: Tensor | None
    """(B, M, 6): points seen in the target, world position and RGB."""
    colours: Tensor | None
    """(B, 24): colours of the identity."""
    face_box: Tensor
    """(B, 4): x0, y0, x1, y1 of the face in target pixels, half-open."""

    def to(self, device: torch.device | str) -> Batch:
        """The batch on another device."""
        move = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in vars(self).items()}
        return Batch(**move)


def regions_box(regions: np.ndarray, size: int) -> np.ndarray:
    """Square boxes (N, 4) around the face, from its eyes and mouth (N, 3, 4), within the picture."""
    centre = regions[:, :, :2].mean(1)
    spread = np.abs(regions[:, :, :2] - centre[:, None]).max((1, 2)) * 2.2 + 4
    box = np.concatenate([centre - spread[:, None], centre + spread[:, None]], 1)
    box = np.clip(np.round(box), 0, size)
    empty = (box[:, 2] - box[:, 0] < 8) | (box[:, 3] - box[:, 1] < 8)
    box[empty] = (0, 0, size, size)
    return box.astype(np.int64)


class GeneratedData:
    """A folder made by `python -m avatar_training heads`."""

    def __init__(self, folder: str | Path, config: ModelConfig):
        self.folder, self.config = Path(folder), config
        header = json.loads((self.folder / "dataset.json").read_text())
        if header.get("format") != FORMAT or header.get("version") != 1:
            raise DatasetError(
                self.folder,
                [
                    f"dataset.json: expected format {FORMAT!r}, version 1, found "
                    f"{header.get('format')!r}, version {header.get('version')}"
                ],
            )
        self.header = header
        self.head_path = self.folder / "head.safetensors"
        self.head = HeadModel.open(self.head_path)
        self.sources = np.load(self.folder / "sources.npy", mmap_mode="r")
        self.targets = np.load(self.folder / "targets.npy", mmap_mode="r")
        self.surface = np.load(self.folder / "surface_points.npy", mmap_mode="r")
        self.labels = dict(np.load(self.folder / "labels.npz"))
        self.identities, self.views = self.targets.shape[:2]
        self.pixels = self.targets.shape[2]
        problems = []
        if len(self.head.template) != config.points:
            problems.append(
                f"head.safetensors: expected {config.points} vertices (the configuration's points),"
                f" found {len(self.head.template)}"
            )
        if self.pixels % config.output_size:
            problems.append(
                f"targets.npy: expected a multiple of output_size ({config.output_size}) pixels, "
                f"found {self.pixels}"
            )
        if problems:
            raise DatasetError(self.folder, problems)

    def identifiers(self, fold: str, held_out: int) -> np.ndarray:
        """Identities of the fold `train` or `held_out`; the last `held_out` are the latter."""
        first = self.identities - min(held_out, self.identities // 8)
        return np.arange(first) if fold == "train" else np.arange(first, self.identities)

    def batch(
        self,
        identity: np.ndarray,
        view: np.ndarray,
        choice: list[np.ndarray],
        rng: np.random.Generator | None = None,
        surface_points: int = 0,
    ) -> Batch:
        """One target `view[b]` of each `identity[b]`, seen from its sources `choice[b]`.

        With a generator, source cameras get the errors of a tracker and the light varies.
        """
        config, labels = self.config, self.labels
        count, most = len(identity), max(len(c) for c in choice)
        present = np.zeros((count, most), bool)
        pictures, transforms, owners = [], [], []
        for b, (i, chosen) in enumerate(zip(identity, choice)):
            present[b, : len(chosen)] = True
            for s in chosen:
                pictures.append(self.sources[i, s])
                transforms.append(labels["source_transform"][i, s])
            owners += [(b, v) for v in range(len(chosen))]
        shifts = np.zeros((len(pictures), 4, 2))
        if rng is not None:
            # A common error of all corners and a smaller one of each.
            shifts += rng.uniform(-1, 1, (len(pictures), 1, 2)) + rng.uniform(-0.5, 0.5, shifts.shape)
        views = canonical_views(
            np.stack(pictures), np.stack(transforms), config.source_size, config.focal, shifts
        )
        size = config.source_size
        sources = np.zeros((count, most, 3, size, size), np.float32)
        for (b, v), picture in zip(owners, views):
            sources[b, v] = picture

        target = self.targets[identity, view].astype(np.float32) / 255
        target = torch.from_numpy(target).permute(0, 3, 1, 2)
        scale = self.pixels // config.output_size
        if scale > 1:
            target = torch.nn.functional.avg_pool2d(target, scale)
        alpha = target[:, 3:]
        rgb = target[:, :3] * alpha
        points = self.head.points(
            labels["shape"][identity], labels["expression"][identity, view], labels["pose"][identity, view]
        )
        regions = labels["regions"][identity, view].astype(np.float32) / scale
        surface = None
        if surface_points:
            found = self.surface[identity, view]
            if surface_points < found.shape[1]:
                start = 0 if rng is None else int(rng.integers(found.shape[1]))
                pick = (start + np.arange(surface_points) * 7) % found.shape[1]
                found = found[:, pick]
            surface = torch.from_numpy(found.astype(np.float32))
        sources = torch.from_numpy(sources)
        if rng is not None:
            gain = torch.from_numpy(rng.uniform(0.85, 1.1, (count, 1, 1, 1)).astype(np.float32))
            sources = (sources * gain[:, None]).clamp(max=1)
            rgb = (rgb * gain).clamp(max=1)
            if surface is not None:
                surface[..., 3:] = (surface[..., 3:] * gain[:, 0]).clamp(max=1)
        return Batch(
            sources=sources,
            present=torch.from_numpy(present),
            target=rgb.contiguous(),
            alpha=alpha.contiguous(),
            transform=torch.from_numpy(labels["transform"][identity, view].astype(np.float32)),
            points=torch.from_numpy(points),
            regions=torch.from_numpy(regions),
            surface=surface,
            colours=torch.from_numpy(labels["colours"][identity].reshape(count, -1).astype(np.float32)),
            face_box=torch.from_numpy(regions_box(regions, config.output_size)),
        )

    def view_count(self, identity: int) -> int:
        """Targets of an identity."""
        return self.views

    def draw(
        self,
        rng: np.random.Generator,
        counts: list[int],
        surface_points: int = 0,
        identities: np.ndarray | None = None,
        augment: bool = True,
    ) -> Batch:
        """A random identity and target for each of `counts`, which says how many sources it has.

        Of several sources the first is the frontal one; a single one may be any.
        """
        pool = np.arange(self.identities) if identities is None else identities
        identity = rng.choice(pool, len(counts), replace=len(pool) < len(counts))
        view = rng.integers(self.views, size=len(counts))
        total = self.sources.shape[1]
        choice = []
        for count in counts:
            if count == 1:
                # Half profiles alone teach what a single unusual picture holds.
                chosen = [0 if rng.random() < 0.75 else int(rng.integers(total))]
            else:
                chosen = [0, *rng.permutation(np.arange(1, total))[: count - 1]]
            choice.append(np.array(chosen))
        return self.batch(identity, view, choice, rng if augment else None, surface_points)
