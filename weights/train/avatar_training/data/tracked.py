"""A user's own footage: tracked video frames with any head model.

```
FOLDER/dataset.json        {"format": "gpavatar tracked data", "version": 1,
                            "regions": {"left_eye": [12, …], "right_eye": […], "mouth": […]}}
FOLDER/head.safetensors    head model, or FLAME converted to safetensors
FOLDER/clips/NAME/frames/  000000.png, 000001.png, …: square, the head as the tracker saw it
FOLDER/clips/NAME/motion.json  or motion.safetensors: expression, pose and camera of each frame
FOLDER/clips/NAME/shape.json   identity coefficients, [0.1, …]
```

A clip shows one person. Frames sort by name; transparent pixels are background, and so are black
ones of frames without transparency. The motion is the crate's format, in which `import` writes
what a face tracker found; it has as many frames as there are pictures. `regions`, which may be
absent, lists vertices of the head model around eyes and mouth, to which training pays attention.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open

from ..camera import orbit, project
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

FORMAT = "gpavatar tracked data"
REGIONS = ("left_eye", "right_eye", "mouth")


@dataclass
class Clip:
    """Frames of one person."""

    frames: list[Path]
    shape: np.ndarray
    expression: np.ndarray
    """(F, E)."""
    pose: np.ndarray
    """(F, P)."""
    transform: np.ndarray
    """(F, 3, 4)."""


class MotionError(ValueError):
    """A motion that does not fit."""


def read_motion(path: Path, frames: int, head: HeadModel, focal: float):
    """Expression (F, E), pose (F, P) and transform (F, 3, 4) of a motion of `frames` frames."""
    if path.suffix == ".json":
        values = json.loads(path.read_text())
        header = values
    else:
        with safe_open(path, "np") as file:
            header = json.loads((file.metadata() or {}).get("motion", "{}"))
            values = {name: file.get_tensor(name) for name in file.keys()}
    if header.get("version") != 1:
        raise MotionError(f"version: expected 1, found {header.get('version')}")

    def track(key: str, depth: int, absent) -> np.ndarray:
        found = np.asarray(values.get(key, absent), np.float64)
        if found.ndim == depth:
            found = np.broadcast_to(found, (frames, *found.shape))
        if found.ndim != depth + 1 or len(found) != frames:
            raise MotionError(f"{key}: expected {frames} frames (the pictures), found {len(found)}")
        if not np.isfinite(found).all():
            raise MotionError(f"{key}: expected finite values")
        return found

    names = header.get("channels") or []
    own = len(head.expression_basis)
    expression = track("expression", 1, np.zeros(len(names) or own))
    if names:
        if len(names) != expression.shape[1]:
            raise MotionError(
                f"expression: expected {len(names)} values (channels), found {expression.shape[1]}"
            )
        unknown = [name for name in names if name not in head.channels]
        if unknown:
            raise MotionError(f"channels: not in the head model: {', '.join(unknown)}")
        ordered = np.zeros((frames, own))
        ordered[:, [head.channels.index(name) for name in names]] = expression
        expression = ordered
    elif expression.shape[1] != own:
        raise MotionError(f"expression: expected {own} values, found {expression.shape[1]}")
    pose = track("pose", 1, np.zeros(head.pose_size))
    if pose.shape[1] != head.pose_size:
        raise MotionError(f"pose: expected {head.pose_size} values, found {pose.shape[1]}")
    if "transform" in values:
        transform = track("transform", 2, None)
        if transform.shape[1:] != (3, 4):
            raise MotionError(f"transform: expected 3 rows of 4, found {transform.shape[1:]}")
    else:
        transform = np.stack([orbit(*o) for o in track("orbit", 1, [10, 0, 0])])
    focals = track("focal", 0, focal)
    if not np.allclose(focals, focal):
        raise MotionError(f"focal: expected {focal} (the configuration's), found {focals.min()}")
    return expression, pose, transform


class TrackedData(Identities):
    """A folder of tracked clips, in the format above."""

    def __init__(self, folder: str | Path, config: ModelConfig):
        self.folder, self.config = Path(folder), config
        self.header = json.loads((self.folder / "dataset.json").read_text())
        problems = check_header(self.header, FORMAT)
        self.head_path = self.folder / "head.safetensors"
        if not self.head_path.exists():
            raise DatasetError(self.folder, [*problems, "head.safetensors: missing"])
        try:
            self.head = HeadModel.open(self.head_path)
        except ValueError as error:
            raise DatasetError(self.folder, [*problems, str(error)]) from error
        vertices = len(self.head.template)
        problems += check_points(vertices, config)
        self.region_vertices = self._regions(vertices, problems)
        folders = sorted(p for p in (self.folder / "clips").glob("*") if p.is_dir())
        if not folders:
            problems.append("clips: expected a folder for each clip, found none")
        self.clips = [clip for clip in (self._clip(p, problems) for p in folders) if clip]
        if problems:
            raise DatasetError(self.folder, problems)
        self.identities = len(self.clips)

    def _regions(self, vertices: int, problems: list[str]) -> list[list[int]] | None:
        regions = self.header.get("regions")
        if regions is None:
            return None
        if not isinstance(regions, dict) or sorted(regions) != sorted(REGIONS):
            problems.append(
                f"dataset.json: regions: expected {', '.join(REGIONS)}, found {regions}"
            )
            return None
        for name, ids in regions.items():
            if not ids or not all(isinstance(i, int) and 0 <= i < vertices for i in ids):
                problems.append(f"dataset.json: regions.{name}: expected vertices below {vertices}")
        return [regions[name] for name in REGIONS]

    def _clip(self, folder: Path, problems: list[str]) -> Clip | None:
        name, before = f"clips/{folder.name}", len(problems)
        frames = sorted((folder / "frames").glob("*.png"))
        if len(frames) < 2:
            problems.append(
                f"{name}/frames: expected at least 2 pictures (PNG), found {len(frames)}"
            )
        for frame in frames:
            try:
                with Image.open(frame) as picture:
                    width, height = picture.size
            except OSError as error:
                problems.append(f"{name}/frames/{frame.name}: {error}")
                continue
            if width != height or width < self.config.output_size:
                problems.append(
                    f"{name}/frames/{frame.name}: expected a square of at least "
                    f"{self.config.output_size} pixels, found {width} x {height}"
                )
        shape = np.zeros(0)
        try:
            shape = np.asarray(json.loads((folder / "shape.json").read_text()), np.float32)
        except (OSError, ValueError) as error:
            problems.append(f"{name}/shape.json: {error}")
        else:
            count = len(self.head.shape_basis)
            if shape.shape != (count,):
                problems.append(
                    f"{name}/shape.json: expected a list of {count} numbers, found {shape.shape}"
                )
        motions = [p for p in (folder / "motion.json", folder / "motion.safetensors") if p.exists()]
        if len(motions) != 1:
            problems.append(
                f"{name}: expected motion.json or motion.safetensors, found {len(motions)} of them"
            )
            return None
        try:
            tracks = read_motion(motions[0], len(frames), self.head, self.config.focal)
        except (ValueError, KeyError, TypeError) as error:
            problems.append(f"{name}/{motions[0].name}: {error}")
            return None
        if len(problems) > before:
            return None
        return Clip(frames, shape, *(t.astype(np.float32) for t in tracks))

    def view_count(self, identity: int) -> int:
        """Frames of a clip."""
        return len(self.clips[identity].frames)

    @staticmethod
    def _picture(path: Path) -> np.ndarray:
        with Image.open(path) as picture:
            opaque = "A" not in picture.getbands() and "transparency" not in picture.info
            pixels = np.array(picture.convert("RGBA"))
        if opaque:
            pixels[..., 3] = np.where(pixels[..., :3].max(-1) > 4, 255, 0)
        return pixels

    def _ellipses(self, points: np.ndarray, transform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ellipses (3, 4) of eyes and mouth and the box (4) of all points, in target pixels."""
        side = self.config.output_size
        pixels = project(points, transform, side, self.config.focal)[:, :2]
        box = np.concatenate([pixels.min(0), pixels.max(0)])
        box = np.clip(np.round(box), 0, side).astype(np.int64)
        if (box[2:] - box[:2]).min() < 8:
            box = np.array([0, 0, side, side])
        ellipses = np.zeros((3, 4), np.float32)
        for i, ids in enumerate(self.region_vertices or []):
            low, high = pixels[ids].min(0), pixels[ids].max(0)
            ellipses[i, :2], ellipses[i, 2:] = (low + high) / 2, (high - low) / 2 * 1.2 + 1
        return ellipses, box

    def batch(
        self,
        identity: np.ndarray,
        view: np.ndarray,
        choice: list[np.ndarray],
        rng: np.random.Generator | None = None,
        surface_points: int = 0,
    ) -> Batch:
        """Frame `view[b]` of each clip `identity[b]`, seen from its frames `choice[b]`.

        With a generator, source cameras get the errors of a tracker and the light varies. Surfaces
        are not known: `surface_points` has no effect.
        """
        side = self.config.output_size
        clips = [self.clips[i] for i in identity]
        sources, present = canonical_sources(
            [[self._picture(clip.frames[s]) for s in own] for clip, own in zip(clips, choice)],
            [[clip.transform[s] for s in own] for clip, own in zip(clips, choice)],
            self.config,
            rng,
        )
        targets, points, regions, boxes, transforms = [], [], [], [], []
        for clip, frame in zip(clips, view):
            picture = Image.fromarray(self._picture(clip.frames[frame])).convert("RGBa")
            # Premultiplied, so that the colour of transparent pixels does not bleed.
            targets.append(np.asarray(picture.resize((side, side), Image.Resampling.BOX)))
            posed = self.head.points(
                clip.shape[None], clip.expression[frame][None], clip.pose[frame][None]
            )[0]
            points.append(posed)
            transforms.append(clip.transform[frame])
            ellipses, box = self._ellipses(posed, clip.transform[frame])
            regions.append(ellipses)
            boxes.append(box)
        target = torch.from_numpy(np.stack(targets).astype(np.float32) / 255).permute(0, 3, 1, 2)
        batch = Batch(
            sources=sources,
            present=present,
            target=target[:, :3].contiguous(),
            alpha=target[:, 3:].contiguous(),
            transform=torch.from_numpy(np.stack(transforms)),
            points=torch.from_numpy(np.stack(points)),
            regions=torch.from_numpy(np.stack(regions)),
            face_box=torch.from_numpy(np.stack(boxes)),
        )
        if rng is not None:
            batch.vary_light(rng)
        return batch

    def draw(
        self,
        rng: np.random.Generator,
        counts: list[int],
        surface_points: int = 0,
        identities: np.ndarray | None = None,
        augment: bool = True,
    ) -> Batch:
        """A random clip and target for each of `counts`, which says how many sources it has.

        Target and sources are different frames.
        """
        identity = self.pick(rng, len(counts), identities)
        view, choice = [], []
        for i, count in zip(identity, counts):
            frames = rng.permutation(self.view_count(int(i)))
            view.append(frames[0])
            choice.append(frames[1 : 1 + count])
        return self.batch(identity, np.array(view), choice, rng if augment else None)
