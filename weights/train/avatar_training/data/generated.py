"""Training pictures that the procedural head made: memory-mapped, drawn at random in batches."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ..config import ModelConfig
from ..head_model import HeadModel
from .batch import (
    Batch,
    DatasetError,
    Identities,
    canonical_sources,
    check_header,
    check_points,
)

FORMAT = "gpavatar training data"


def regions_box(regions: np.ndarray, size: int) -> np.ndarray:
    """Square boxes (N, 4) around the face, from its eyes and mouth (N, 3, 4), within the picture."""
    centre = regions[:, :, :2].mean(1)
    spread = np.abs(regions[:, :, :2] - centre[:, None]).max((1, 2)) * 2.2 + 4
    box = np.concatenate([centre - spread[:, None], centre + spread[:, None]], 1)
    box = np.clip(np.round(box), 0, size)
    empty = (box[:, 2] - box[:, 0] < 8) | (box[:, 3] - box[:, 1] < 8)
    box[empty] = (0, 0, size, size)
    return box.astype(np.int64)


class GeneratedData(Identities):
    """A folder made by `python -m avatar_training heads`."""

    def __init__(self, folder: str | Path, config: ModelConfig):
        self.folder, self.config = Path(folder), config
        header = json.loads((self.folder / "dataset.json").read_text())
        problems = check_header(header, FORMAT)
        if problems:
            raise DatasetError(self.folder, problems)
        self.header = header
        self.head_path = self.folder / "head.safetensors"
        self.head = HeadModel.open(self.head_path)
        self.sources = np.load(self.folder / "sources.npy", mmap_mode="r")
        self.targets = np.load(self.folder / "targets.npy", mmap_mode="r")
        self.surface = np.load(self.folder / "surface_points.npy", mmap_mode="r")
        self.labels = dict(np.load(self.folder / "labels.npz"))
        self.identities, self.views = self.targets.shape[:2]
        self.pixels = self.targets.shape[2]
        problems = check_points(len(self.head.template), config)
        if self.pixels % config.output_size:
            problems.append(
                f"targets.npy: expected a multiple of output_size ({config.output_size}) pixels, "
                f"found {self.pixels}"
            )
        if problems:
            raise DatasetError(self.folder, problems)

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
        labels = self.labels
        sources, present = canonical_sources(
            [[self.sources[i, s] for s in chosen] for i, chosen in zip(identity, choice)],
            [
                [labels["source_transform"][i, s] for s in chosen]
                for i, chosen in zip(identity, choice)
            ],
            self.config,
            rng,
        )
        target = self.targets[identity, view].astype(np.float32) / 255
        target = torch.from_numpy(target).permute(0, 3, 1, 2)
        alpha = target[:, 3:]
        rgb = target[:, :3] * alpha
        scale = self.pixels // self.config.output_size
        if scale > 1:
            rgb, alpha = F.avg_pool2d(rgb, scale), F.avg_pool2d(alpha, scale)
        points = self.head.points(
            labels["shape"][identity],
            labels["expression"][identity, view],
            labels["pose"][identity, view],
        )
        regions = labels["regions"][identity, view].astype(np.float32) / scale
        colours = labels["colours"][identity].reshape(len(identity), -1).astype(np.float32)
        batch = Batch(
            sources=sources,
            present=present,
            target=rgb.contiguous(),
            alpha=alpha.contiguous(),
            transform=torch.from_numpy(labels["transform"][identity, view].astype(np.float32)),
            points=torch.from_numpy(points),
            regions=torch.from_numpy(regions),
            face_box=torch.from_numpy(regions_box(regions, self.config.output_size)),
            surface=self._surface(identity, view, rng, surface_points),
            colours=torch.from_numpy(colours),
        )
        if rng is not None:
            batch.vary_light(rng)
        return batch

    def _surface(self, identity, view, rng, count):
        if not count:
            return None
        found = self.surface[identity, view]
        if count < found.shape[1]:
            # A prime step that divides no sensible number of points covers all places.
            start = 0 if rng is None else int(rng.integers(found.shape[1]))
            found = found[:, (start + np.arange(count) * 7) % found.shape[1]]
        return torch.from_numpy(found.astype(np.float32))

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
        identity = self.pick(rng, len(counts), identities)
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
