"""Measures of a weights file on held-out heads; `gpavatar evaluate` computes the same."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .config import ModelConfig
from .data.warp import canonical_views
from .export import read_config, read_weights
from .head_model import HeadModel
from .network import GPAvatar

FORMAT = "gpavatar evaluation"
# Pixels of eyes and mouth count as changing where a channel differs by more than this.
CHANGE = 0.15
LEAST_CHANGING = 20
OTHERS = 20


def psnr(found: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> float | None:
    """Peak signal to noise ratio in dB of RGB pictures (H, W, 3) over a mask (H, W)."""
    difference = (found.astype(np.float64) - truth) ** 2
    difference = difference if mask is None else difference[mask]
    error = difference.mean() if difference.size else 0.0
    return 10 * np.log10(1 / error) if error > 0 else None


def l1(found: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Mean absolute difference over a mask (H, W)."""
    return np.abs(found.astype(np.float64) - truth)[mask].mean()


def ssim(found: np.ndarray, truth: np.ndarray) -> float:
    """Structural similarity: 7x7 uniform windows at valid positions, mean over the channels."""

    def mean(x: np.ndarray) -> np.ndarray:
        sums = np.pad(x.cumsum(0).cumsum(1), ((1, 0), (1, 0), (0, 0)))
        return (sums[7:, 7:] - sums[:-7, 7:] - sums[7:, :-7] + sums[:-7, :-7]) / 49

    a, b = found.astype(np.float64), truth.astype(np.float64)
    ma, mb = mean(a), mean(b)
    va, vb, covariance = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    c1, c2 = 0.01**2, 0.03**2
    return (
        ((2 * ma * mb + c1) * (2 * covariance + c2)) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    ).mean()


def in_ellipses(size: int, regions: list[list[float]]) -> np.ndarray:
    """Pixels (size, size) whose centres lie in any of the ellipses (cx, cy, rx, ry)."""
    y, x = np.mgrid[:size, :size] + 0.5
    inside = [((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1 for cx, cy, rx, ry in regions]
    return np.any(inside, 0)


def read_picture(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """RGB (H, W, 3) in 0..1 on black and where the picture is not wholly transparent (H, W)."""
    pixels = np.asarray(Image.open(path).convert("RGBA")).astype(np.float32) / 255
    return pixels[..., :3] * pixels[..., 3:], pixels[..., 3] > 0


@dataclass
class Avatar:
    """A person's tri-planes and shape."""

    planes: Tensor
    shape: np.ndarray


class Renderer:
    """A weights file, ready to build and render avatars."""

    def __init__(self, weights: Path, device: str):
        self.config: ModelConfig = read_config(weights)
        self.network = GPAvatar(self.config)
        self.network.load_state_dict(read_weights(weights, self.config))
        self.network.eval().to(device)
        self.head = HeadModel.open(weights)
        self.device = device

    @torch.no_grad()
    def avatar(self, pictures: list[np.ndarray], transforms: list, shape: list[float]) -> Avatar:
        """Builds an avatar from tracked pictures (H, W, 4) u8."""
        views = canonical_views(
            np.stack(pictures), np.asarray(transforms), self.config.source_size, self.config.focal
        )
        planes = self.network.encode(torch.from_numpy(views).to(self.device))
        return Avatar(self.network.fuse(planes[None]), np.asarray(shape, np.float32))

    @torch.no_grad()
    def render(
        self, avatar: Avatar, expression: np.ndarray, pose: list, transform: list
    ) -> np.ndarray:
        """A picture (H, W, 3) in 0..1."""
        pose = np.asarray(pose, np.float32)[None]
        points = self.head.points(avatar.shape[None], expression[None], pose)
        camera = torch.tensor(transform, dtype=torch.float32, device=self.device)[None]
        rendering = self.network.render(
            avatar.planes, torch.from_numpy(points).to(self.device), camera
        )
        picture = self.network.upsample(rendering.low_res)[0].clamp(0, 1)
        return picture.permute(1, 2, 0).cpu().numpy()


class Evaluation:
    """Collects the measures of all identities."""

    def __init__(self):
        self.values: dict[str, list[float]] = {}
        self.channels: dict[str, list[tuple[float, float]]] = {}
        self.identities: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, name: str, value: float | None) -> None:
        """One value of a measure; none where it does not apply."""
        if value is not None:
            self.values.setdefault(name, []).append(float(value))

    def mean(self, name: str) -> float | None:
        """Mean of a measure."""
        return float(np.mean(self.values[name])) if name in self.values else None

    def identity_score(self) -> float | None:
        """Share of heads that are closest to their own truth among it and the next 20."""
        count, hits = len(self.identities), []
        for i, (found, truth, head) in enumerate(self.identities):
            own = l1(found, truth, head)
            others = [self.identities[(i + k) % count][1] for k in range(1, min(count, OTHERS + 1))]
            hits.append(all(own < l1(found, other, head) for other in others))
        return float(np.mean(hits)) if hits else None

    def report(self, identities: int) -> dict:
        """All measures, as in the file that `--json` writes."""

        def median(name: str) -> float:
            return float(np.median(self.values.get(name, [0.0])))

        names = ("psnr", "psnr_three_sources", "fusion_gain", "fusion_gain_front", "region_psnr")
        names += ("ssim", "face_l1")
        report = {"identities": identities, **{name: self.mean(name) for name in names}}
        report["expression_closer"] = self.mean("expression_closer")
        report["identity_score"] = self.identity_score()
        report["view_drop"] = self.mean("view_drop")
        report["channels"] = {}
        for name, pairs in self.channels.items():
            cosine, amplitude = np.mean(pairs, 0)
            report["channels"][name] = {"cosine": float(cosine), "amplitude": float(amplitude)}
        report["seconds_per_avatar"] = median("seconds_per_avatar")
        report["seconds_per_frame"] = median("seconds_per_frame")
        return report


def table(report: dict) -> str:
    """The measures as two tables in Markdown."""

    def number(value: float | None, digits: int, unit: str = "", factor: float = 1.0) -> str:
        return "–" if value is None else f"{value * factor:.{digits}f}{unit}"

    others = min(OTHERS, report["identities"] - 1)
    rows = [
        ("identities", str(report["identities"])),
        ("PSNR, one source", number(report["psnr"], 2, " dB")),
        ("PSNR, three sources", number(report["psnr_three_sources"], 2, " dB")),
        ("gain over each of them alone", number(report["fusion_gain"], 2, " dB")),
        ("gain over the one from the front", number(report["fusion_gain_front"], 2, " dB")),
        ("PSNR of eyes and mouth", number(report["region_psnr"], 2, " dB")),
        ("SSIM", number(report["ssim"], 4)),
        ("L1 of the face", number(report["face_l1"], 4)),
        (
            "expression closer to target than to rest",
            number(report["expression_closer"], 1, " %", 100),
        ),
        (f"identity told from {others} others", number(report["identity_score"], 1, " %", 100)),
        ("loss of views at ±45°", number(report["view_drop"], 2, " dB")),
        ("seconds per avatar", number(report["seconds_per_avatar"], 3)),
        ("seconds per frame", number(report["seconds_per_frame"], 3)),
    ]
    lines = ["| measure | value |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)]
    lines += ["", "| channel | cosine | amplitude |", "|---|---|---|"]
    for name, values in report["channels"].items():
        lines.append(f"| {name} | {values['cosine']:.2f} | {values['amplitude']:.2f} |")
    return "\n".join(lines)


def measure(renderer: Renderer, folder: Path, most: int | None = None) -> tuple[dict, list]:
    """Renders and measures everything; returns the report and rows of pictures to look at."""
    document = json.loads((folder / "evaluation.json").read_text())
    if document.get("format") != FORMAT or document.get("version") != 1:
        raise ValueError(
            f"{folder}/evaluation.json: expected format {FORMAT!r}, version 1, found "
            f"{document.get('format')!r}, version {document.get('version')}"
        )
    if document["image_size"] != renderer.config.output_size:
        raise ValueError(
            f"{folder}/evaluation.json: targets are {document['image_size']} pixels wide, the "
            f"model's pictures {renderer.config.output_size}"
        )
    own = renderer.head.channels
    unknown = [name for name in document["channels"] if name not in own]
    if unknown:
        raise ValueError(f"{folder}/evaluation.json: channels not in the head model: {unknown}")
    columns = [own.index(name) for name in document["channels"]]
    people = document["identities"][:most]
    evaluation, rows = Evaluation(), []
    for person in people:
        pictures = [
            np.asarray(Image.open(folder / source["picture"]).convert("RGBA"))
            for source in person["sources"]
        ]
        transforms = [source["transform"] for source in person["sources"]]
        alone = []
        for picture, transform in zip(pictures, transforms):
            started = time.perf_counter()
            alone.append(renderer.avatar([picture], [transform], person["shape"]))
            evaluation.add("seconds_per_avatar", time.perf_counter() - started)
        fused = renderer.avatar(pictures, transforms, person["shape"])

        def render(avatar: Avatar, target: dict) -> np.ndarray:
            expression = np.zeros(len(own), np.float32)
            expression[columns] = target["expression"]
            started = time.perf_counter()
            picture = renderer.render(avatar, expression, target["pose"], target["transform"])
            evaluation.add("seconds_per_frame", time.perf_counter() - started)
            return picture

        views, channels, row = [], {}, []
        for target in person["targets"]:
            truth, head = read_picture(folder / target["picture"])
            found = render(alone[0], target)
            kind = target["kind"]
            if kind == "random":
                neutral, _ = read_picture(folder / target["neutral"])
                each = [found, *(render(avatar, target) for avatar in alone[1:])]
                _random(evaluation, target, each, truth, neutral, render(fused, target))
                if len(row) < 6:
                    row += [truth, found, np.minimum(3 * np.abs(found - truth), 1)]
            elif kind == "channel":
                channels[target["channel"]] = found, truth
            elif kind == "identity":
                evaluation.identities.append((found, truth, head))
            elif kind == "view":
                views.append((abs(target["yaw"]) < 1, psnr(found, truth)))
        front, side = ([v for is_front, v in views if is_front == f] for f in (True, False))
        if front and side:
            evaluation.add("view_drop", np.mean(front) - np.mean(side))
        if "neutral" in channels:
            rest, true_rest = channels.pop("neutral")
            for name, (found, truth) in channels.items():
                a, b = (found - rest).astype(np.float64), (truth - true_rest).astype(np.float64)
                power = (b * b).sum()
                if power > 0 and (a * a).sum() > 0:
                    pair = (a * b).sum() / np.sqrt((a * a).sum() * power), (a * b).sum() / power
                    evaluation.channels.setdefault(name, []).append(pair)
        rows.append((pictures[0], row))
    return evaluation.report(len(people)), rows


def _random(evaluation, target, each, truth, neutral, fused) -> None:
    size, found = len(truth), each[0]
    three, alone = psnr(fused, truth), [psnr(picture, truth) for picture in each]
    evaluation.add("psnr", alone[0])
    evaluation.add("psnr_three_sources", three)
    if three is not None and None not in alone:
        evaluation.add("fusion_gain", three - np.mean(alone))
        evaluation.add("fusion_gain_front", three - alone[0])
    regions = in_ellipses(size, target["regions"])
    evaluation.add("region_psnr", psnr(found, truth, regions))
    evaluation.add("ssim", ssim(found, truth))
    left, top, right, bottom = target["face_box"]
    box = np.zeros((size, size), bool)
    box[top:bottom, left:right] = True
    evaluation.add("face_l1", l1(found, truth, box))
    changing = regions & (np.abs(truth - neutral).max(-1) > CHANGE)
    if changing.sum() > LEAST_CHANGING:
        closer = l1(found, truth, changing) < l1(found, neutral, changing)
        evaluation.add("expression_closer", float(closer))


def write_sheet(path: Path, rows: list, most: int = 8) -> None:
    """Source, then truth, rendering and difference of two targets, for some identities."""
    chosen = [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, most).round().astype(int))]
    lines = []
    for source, cells in chosen:
        side = len(cells[0])
        source = np.asarray(Image.fromarray(source).convert("RGBa").resize((side, side)))
        lines.append(np.concatenate([source[..., :3] / 255, *cells], 1))
    sheet = np.round(np.concatenate(lines) * 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(path)


def main(args: argparse.Namespace) -> None:
    """Evaluates as the command line asks (see `commands`)."""
    report, rows = measure(Renderer(args.weights, args.device), args.folder, args.identities)
    print(table(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    if args.sheet:
        write_sheet(args.sheet, rows)
