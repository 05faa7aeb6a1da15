"""Training, by one process or by several that share their gradients."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from . import export, losses
from .config import ModelConfig
from .data import GeneratedData, open_dataset
from .exchange import Exchange
from .network import GPAvatar
from .network.points import set_threads
from .preview import contact_sheet
from .recipe import RECIPES, Recipe

CHECKPOINT = "checkpoint.pt"
TERMS = ("coarse", "fine", "output", "perceptual", "face_box", "gradients", "ssim", "opacity")
TERMS += ("chroma", "colour", "occupancy", "read_outs", "density")


@dataclasses.dataclass(frozen=True)
class Job:
    """Options of a training."""

    config: ModelConfig
    recipe: Recipe
    dataset: str
    out: Path
    steps: int | None
    minutes: float | None
    seed: int
    workers: int
    device: str
    precision: str
    held_out: int
    preview_minutes: float
    save_minutes: float
    start: str | None
    perception: str | None
    resume: bool


def _recipe(name: str, settings: list[str]) -> Recipe:
    recipe = RECIPES[name]
    for setting in settings:
        key, equals, value = setting.partition("=")
        target = recipe.weights if key.startswith("weights.") else recipe
        field = key.removeprefix("weights.")
        if (
            not equals
            or field not in {f.name for f in dataclasses.fields(target)}
            or field == "weights"
        ):
            raise SystemExit(f"--set {setting}: expected NAME=VALUE with a field of the recipe")
        old = getattr(target, field)
        try:
            new = json.loads(value.lower()) if not isinstance(old, str) else value
        except json.JSONDecodeError:
            raise SystemExit(f"--set {setting}: expected a value like {old!r}") from None
        new = tuple(new) if isinstance(old, tuple) else type(old)(new)
        if target is recipe:
            recipe = recipe.changed(**{field: new})
        else:
            recipe = recipe.changed(weights=dataclasses.replace(recipe.weights, **{field: new}))
    return recipe


def main(args: argparse.Namespace) -> None:
    """Trains as the command line asks (see `commands`)."""
    recipe = _recipe(args.recipe, args.set)
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    workers = args.workers or (1 if device.startswith("cuda") else min(2, os.cpu_count() or 1))
    if recipe.identities % workers or recipe.pretrain_identities % workers:
        raise SystemExit(
            f"--workers {workers}: expected a divisor of the identities of a step "
            f"({recipe.identities}, {recipe.pretrain_identities} before rendering)"
        )
    job = Job(
        config=ModelConfig.open(args.config),
        recipe=recipe,
        dataset=args.dataset,
        out=args.out,
        steps=args.steps,
        minutes=args.minutes,
        seed=args.seed,
        workers=workers,
        device=device,
        precision=args.precision,
        held_out=args.held_out,
        preview_minutes=args.preview_minutes,
        save_minutes=args.save_minutes,
        start=args.start,
        perception=args.perception,
        resume=args.resume,
    )
    run(job)


def run(job: Job) -> dict[str, float]:
    """Trains; returns the last means of the terms of the loss."""
    job.out.mkdir(parents=True, exist_ok=True)
    if not job.resume and (job.out / CHECKPOINT).exists():
        raise SystemExit(
            f"{job.out}: holds a checkpoint; --resume to go on from it, or another --out"
        )
    if job.workers == 1:
        return Trainer(job, 0, None).train()
    # Processes of one thread each: within a process the threads of a convolution wait for each
    # other hundreds of times a step, which costs dearly when anything else runs on the machine.
    context = torch.multiprocessing.get_context("spawn")
    length = sum(p.numel() for p in Parts(job.config, job).parameters()) + 1 + len(TERMS)
    exchange = Exchange(job.workers, length, context)
    others = [
        context.Process(target=_worker, args=(job, rank, exchange), daemon=True)
        for rank in range(1, job.workers)
    ]
    for process in others:
        process.start()
    try:
        result = Trainer(job, 0, exchange).train()
        for process in others:
            process.join()
        return result
    except BaseException:
        exchange.abort()
        raise


def _worker(job: Job, rank: int, exchange: Exchange) -> None:
    # Would wait for the others half an hour if the first process were killed.
    parent = torch.multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
    try:
        Trainer(job, rank, exchange).train()
    except BaseException:
        exchange.abort()
        raise


class Parts(torch.nn.Module):
    """Everything that is trained: the network, and the read-outs that only training needs."""

    def __init__(self, config: ModelConfig, job: Job):
        super().__init__()
        torch.manual_seed(job.seed)
        self.network = GPAvatar(config)
        self.read_outs = losses.ReadOuts(config.plane_channels, 24)


class Trainer:
    """One process of a training. All processes hold the same weights and optimiser."""

    def __init__(self, job: Job, rank: int, exchange: Exchange | None):
        self.job, self.rank, self.exchange = job, rank, exchange
        self.recipe, self.config = job.recipe, job.config
        self.device = torch.device(job.device)
        if self.device.type == "cpu":
            threads = max(1, (os.cpu_count() or 1) // job.workers)
            torch.set_num_threads(threads)
            set_threads(threads)
        else:
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        self.data = open_dataset(job.dataset, job.config)
        if self.recipe.pretrain and not isinstance(self.data, GeneratedData):
            raise SystemExit(
                f"{job.dataset}: tracked frames do not tell where surfaces are, which training "
                "without rendering needs: --recipe released, or --set pretrain=0"
            )
        self.train_ids = self.data.identifiers("train", job.held_out)
        self.test_ids = self.data.identifiers("held_out", job.held_out)
        self.parts = Parts(job.config, job).to(self.device)
        self.network = self.parts.network
        if job.start:
            state = export.read_weights(job.start, job.config)
            self.network.load_state_dict(state)
        self.perception = (
            losses.AlexNetPerception(job.perception)
            if job.perception
            else losses.GradientPerception()
        ).to(self.device)
        self.average = {k: v.clone() for k, v in self.network.state_dict().items()}
        groups = self._groups()
        self.clipped = [
            [p for g in groups if g["part"] == part for p in g["params"]]
            for part in ("unet", "field")
        ]
        self.rates = [g["lr"] for g in groups]
        self.optimiser = torch.optim.Adam(groups, betas=self.recipe.betas, fused=True)
        self.step, self.rendered, self.elapsed, self.progress = 0, 0, 0.0, 0.0
        if job.resume:
            self._load()

    def _groups(self) -> list[dict]:
        recipe, groups = self.recipe, {}
        for name, parameter in self.parts.named_parameters():
            slow = recipe.style_factor if "style_mlp" in name or "final_linear" in name else 1.0
            if name.startswith("read_outs"):
                key = ("read_outs", 3e-3)
            elif "style_tplane." in name or "up_renderer." in name:
                key = ("unet", recipe.unet_rate * slow)
            else:
                key = ("field", recipe.field_rate)
            groups.setdefault(key, []).append(parameter)
        return [{"params": ps, "lr": rate, "part": part} for (part, rate), ps in groups.items()]

    # ------------------------------------------------------------------ checkpoints

    def _save(self) -> None:
        state = {
            "parts": self.parts.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "rendered": self.rendered,
            "elapsed": self.elapsed,
            "progress": self.progress,
            "config": self.config.to_json(),
        }
        path = self.job.out / CHECKPOINT
        torch.save(state, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def _load(self) -> None:
        path = self.job.out / CHECKPOINT
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["config"] != self.config.to_json():
            raise SystemExit(f"{path}: of another model configuration")
        self.parts.load_state_dict(state["parts"])
        self.average = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])
        for group in self.optimiser.param_groups:
            group["betas"] = self.recipe.betas
        self.rendered = state.get("rendered", 0)
        self.step, self.elapsed, self.progress = state["step"], state["elapsed"], state["progress"]

    def export(self, means: dict[str, float]) -> None:
        """Writes the averaged weights as a weights file."""
        training = {
            "recipe": dataclasses.asdict(self.recipe),
            "steps": self.step,
            "minutes": round(self.elapsed / 60, 2),
            "seed": self.job.seed,
            "data_seed": self.data.header.get("seed"),
            "losses": {name: round(value, 5) for name, value in means.items()},
        }
        path = self.job.out / "weights.safetensors"
        export.write_weights(path, self.config, self.average, self.data.head_path, training)

    # ------------------------------------------------------------------ one step

    @contextmanager
    def _fast(self, part: str):
        on = self.job.precision == "bf16" and (part == "unet" or self.device.type == "cuda")
        with torch.autocast(self.device.type, torch.bfloat16, enabled=on):
            yield

    def _draw(self, identities: int, progress: float):
        recipe, job = self.recipe, self.job
        # The same for all processes, so that none waits for one with more sources.
        shared = np.random.default_rng([job.seed, self.step])
        counts = [
            int(shared.integers(2, recipe.most_sources + 1))
            if recipe.most_sources > 1 and shared.random() < recipe.several
            else 1
            for _ in range(identities // job.workers)
        ]
        rng = np.random.default_rng([job.seed, self.step, self.rank])
        torch.manual_seed(int(rng.integers(1 << 62)))
        direct = recipe.direct_weight(progress) > 0
        points = recipe.surface_points if direct else 0
        return self.data.draw(rng, counts, points, self.train_ids).to(self.device)

    def _planes(self, batch) -> Tensor:
        """Fused tri-planes (B, 3, C, P, P)."""
        with self._fast("unet"):
            each = self.network.encode(batch.sources[batch.present], self.recipe.fresh_noise)
        each = each.float()
        if batch.present.shape[1] == 1:
            return each
        padded = each.new_zeros((*batch.present.shape, *each.shape[1:]))
        several = batch.present.sum(1) > 1
        padded = padded.index_put((batch.present,), each)
        fused = self.network.fuse(padded[several], batch.present[several])
        return padded[:, 0].index_put((several,), fused) if len(fused) else padded[:, 0]

    def loss(self, batch, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its terms for a batch."""
        recipe, weights, config = self.recipe, self.recipe.weights, self.config
        terms: dict[str, Tensor] = {}
        planes = self._planes(batch)
        total = planes.new_zeros(())
        if weights.read_outs and batch.colours is not None:
            terms["read_outs"] = self.parts.read_outs(planes, batch.sources[:, 0], batch.colours)
            total = total + recipe.read_outs_weight(progress) * terms["read_outs"]
        direct = None
        if batch.surface is not None:
            direct = losses.SurfaceSamples(
                batch.surface, batch.alpha, batch.transform, config.focal, recipe.empty_points
            )
        if progress < recipe.pretrain:
            with self._fast("field"):
                alpha, rgb = self.network.query(planes, batch.points, direct.x, direct.directions)
            return total + self._direct(direct, alpha, rgb, progress, terms), terms

        size = recipe.low_res(config.low_res_size, progress)
        truth = losses.low_res_truth(torch.cat([batch.target, batch.alpha], 1), size)
        truth, alpha = truth[:, :3], truth[:, 3:]
        rays = self._rays(alpha) if recipe.select_rays else None
        with self._fast("field"):
            rendering = self.network.render(
                planes,
                batch.points,
                batch.transform,
                size,
                rays,
                jitter=True,
                extra=None if direct is None else (direct.x, direct.directions),
            )
        with self._fast("unet"):
            output = self.network.upsample(rendering.low_res, recipe.fresh_noise)
        low = rendering.low_res[:, :3]
        region = losses.region_map(batch.regions, config.output_size)
        mask = torch.ones_like(alpha)
        if rays is not None:
            mask = torch.zeros_like(alpha).flatten(1).scatter(1, rays, 1.0).reshape(alpha.shape)
        focus = recipe.region_weight(progress)
        low_weight = mask * (1 + min(focus, 6.0) * losses.low_res_truth(region, size))
        weight = 1 + focus * region
        weight = weight / weight.mean()
        terms["coarse"] = losses.weighted_l1(rendering.coarse, truth, low_weight)
        terms["fine"] = losses.weighted_l1(low, truth, low_weight)
        terms["output"] = ((output - batch.target).abs() * weight).mean()
        if weights.gradients:
            terms["gradients"] = losses.gradients(output, batch.target, weight)
        if weights.ssim:
            terms["ssim"] = losses.dissimilarity(output, batch.target)
        if weights.chroma:
            pair = losses.chroma(output), losses.chroma(batch.target)
            terms["chroma"] = losses.weighted_l1(*pair, region)
        if weights.opacity:
            terms["opacity"] = losses.weighted_l1(rendering.opacity, alpha, mask)
        pairs = [(rendering.coarse, truth), (low, truth), (output, batch.target)]
        if weights.perceptual:
            terms["perceptual"] = sum(self.perception(a, b) for a, b in pairs) / 3
        if weights.face_box:
            terms["face_box"] = self._face_box(pairs, batch.face_box)
        for name in (
            "coarse",
            "fine",
            "output",
            "gradients",
            "ssim",
            "chroma",
            "opacity",
            "perceptual",
            "face_box",
        ):
            if name in terms:
                total = total + getattr(weights, name) * terms[name]
        terms["density"] = rendering.density.mean()
        total = total + weights.density * terms["density"]
        total = total + weights.density_excess * F.relu(rendering.density - 3).mean()
        if weights.alpha_norm:
            total = total + weights.alpha_norm * rendering.coarse_alpha.norm()
        if direct is not None:
            total = total + self._direct(
                direct, rendering.extra_alpha, rendering.extra_rgb, progress, terms
            )
        return total, terms

    def _direct(self, samples, alpha, rgb, progress, terms) -> Tensor:
        terms["colour"], terms["occupancy"] = samples.losses(alpha, rgb)
        weight = self.recipe.direct_weight(progress)
        return weight * (2 * terms["colour"] + 0.1 * terms["occupancy"])

    def _face_box(self, pairs, boxes: Tensor) -> Tensor:
        size = self.config.output_size // 2
        total = 0.0
        for found, expected in pairs:
            scale = found.shape[-1] / self.config.output_size
            a, b = (losses.crops(x, boxes * scale, size) for x in (found, expected))
            total = total + (self.perception(a, b) * 1e-2 + (a - b).abs().mean()) / 2
        return total

    @staticmethod
    def _rays(alpha: Tensor) -> Tensor:
        """Indices (B, R) of the rays within and around the head, and of a few others."""
        near = F.max_pool2d(alpha, 5, 1, 2).flatten(1) > 0.02
        # The same number for each picture, so that they are one batch.
        count = int(near.sum(1).max()) + near.shape[1] // 16
        score = near + torch.rand(near.shape, device=alpha.device)
        chosen = score.topk(min(count, near.shape[1]), dim=1)[1]
        # Neighbouring rays one after the other.
        return chosen.sort(dim=1)[0]

    def _share(self, terms: dict[str, Tensor], progress: float) -> tuple[dict[str, float], float]:
        """Averages gradients and terms over the processes; all go on with the first's progress."""
        values = torch.tensor(
            [float(terms[name].detach()) if name in terms else 0.0 for name in TERMS]
        )
        if self.exchange is None:
            return dict(zip(TERMS, values.tolist())), progress
        parameters = list(self.parts.parameters())
        pieces = [
            torch.zeros(p.numel()) if p.grad is None else p.grad.reshape(-1) for p in parameters
        ]
        lead = torch.tensor([progress if self.rank == 0 else 0.0])
        total = self.exchange.sum(self.rank, torch.cat([*pieces, values, lead]))
        share = 1 / self.job.workers
        offset = 0
        for p in parameters:
            if p.grad is not None:
                p.grad.copy_(total[offset : offset + p.numel()].view_as(p)).mul_(share)
            offset += p.numel()
        return dict(zip(TERMS, (total[offset:-1] * share).tolist())), total[-1].item()

    def train(self) -> dict[str, float]:
        """Trains to the end; returns means of the terms over the last steps."""
        job, recipe, lead = self.job, self.recipe, self.rank == 0
        started = last = time.monotonic()
        before = self.elapsed
        saved, shown, history = time.monotonic(), time.monotonic(), []
        if lead:
            count = sum(p.numel() for p in self.network.parameters())
            print(
                f"{count / 1e6:.2f} M parameters, {len(self.train_ids)} identities to train on, "
                f"{len(self.test_ids)} held out, {job.workers} processes",
                flush=True,
            )
        means: dict[str, float] = {}
        while self.progress < 1:
            alone = self.progress < recipe.pretrain
            batch = self._draw(
                recipe.pretrain_identities if alone else recipe.identities, self.progress
            )
            loss, terms = self.loss(batch, self.progress)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self.elapsed = before + time.monotonic() - started
            following = (
                (self.step + 1) / job.steps if job.steps else self.elapsed / (job.minutes * 60)
            )
            values, following = self._share(terms, following)
            if not np.isfinite(sum(values.values())):
                raise SystemExit(f"step {self.step}: the loss is not finite: {values}")
            factor = recipe.rate(self.step if alone else self.rendered, self.progress)
            for group, rate in zip(self.optimiser.param_groups, self.rates):
                group["lr"] = rate * factor
            if recipe.clip:
                for parameters in self.clipped:
                    torch.nn.utils.clip_grad_norm_(parameters, recipe.clip)
            self.optimiser.step()
            self.step += 1
            self.rendered += not alone
            self.progress = following
            self._average()
            history = [*history[-49:], values]
            if not lead:
                continue
            means = {name: float(np.mean([v[name] for v in history])) for name in TERMS}
            now = time.monotonic()
            if self.step % 25 == 0 or self.progress >= 1:
                self._report(means, (now - last) / (25 if self.step % 25 == 0 else self.step % 25))
                last = now
            if now - shown > job.preview_minutes * 60 or self.progress >= 1:
                shown = now
                self._preview()
            if now - saved > job.save_minutes * 60 or self.progress >= 1:
                saved = now
                self._save()
                self.export(means)
        return means

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        names = [n for n, _ in self.network.named_parameters()]
        targets = [self.average[n] for n in names]
        torch._foreach_lerp_(targets, list(self.network.parameters()), 1 - decay)

    def _report(self, means: dict[str, float], seconds: float) -> None:
        left = self.elapsed / max(self.progress, 1e-6) * (1 - self.progress)
        shown = " ".join(f"{k} {v:.4f}" for k, v in means.items() if v)
        print(
            f"step {self.step} {100 * self.progress:.1f} % {self.elapsed / 60:.1f} min, "
            f"{left / 60:.1f} left, {1000 * seconds:.0f} ms/step | {shown}",
            flush=True,
        )
        with open(self.job.out / "log.jsonl", "a") as file:
            row = {"step": self.step, "minutes": self.elapsed / 60, "progress": self.progress}
            file.write(json.dumps({**row, **{k: round(v, 6) for k, v in means.items()}}) + "\n")

    def _preview(self) -> None:
        current = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(self.average)
        size = self.recipe.low_res(self.config.low_res_size, self.progress)
        ids = self.test_ids if len(self.test_ids) else self.train_ids
        path = self.job.out / "previews" / f"{self.step:06d}.png"
        psnr = contact_sheet(self.network, self.data, ids[:6], path, size)
        self.network.load_state_dict(current)
        print(f"preview {path}: {psnr:.2f} dB over {min(6, len(ids))} identities", file=sys.stderr)
