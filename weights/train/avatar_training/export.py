"""Weights files, which the Rust crate opens and training can start from."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from .config import ModelConfig
from .head_model import PREFIX

LICENCE = "MIT OR Apache-2.0"


class WeightsError(ValueError):
    """A weights file that does not fit."""


def write_weights(
    path: str | Path,
    config: ModelConfig,
    state: dict[str, Tensor],
    head: str | Path | None,
    training: dict,
    licence: str = LICENCE,
) -> None:
    """Writes a weights file in half precision.

    `head` is a head model file that is put inside; `training` says how the weights came about.
    """
    tensors = {name: value.detach().cpu().half().contiguous() for name, value in state.items()}
    metadata = {
        "config": config.to_json(),
        "licence": licence,
        "training": json.dumps(training),
    }
    broken = [name for name, value in tensors.items() if not torch.isfinite(value).all()]
    if broken:
        raise WeightsError(f"{path}: beyond half precision or not finite: {', '.join(broken)}")
    if head is not None:
        with safe_open(head, "pt") as file:
            names = set(file.keys())
            prefix = PREFIX if PREFIX + "template" in names else ""
            for name in names:
                if name.startswith(prefix):
                    value = file.get_tensor(name)
                    value = value.half() if value.is_floating_point() else value
                    tensors[PREFIX + name[len(prefix) :]] = value.contiguous()
            header = file.metadata() or {}
        for key in ("head_model", "n_shape", "n_expression", "scale"):
            if key in header:
                metadata[key] = header[key]
    path = Path(path)
    new = path.with_suffix(".new")
    save_file(tensors, new, metadata)
    new.chmod(0o644)
    new.replace(path)


def read_config(path: str | Path) -> ModelConfig:
    """The configuration in a weights file."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
    if "config" not in metadata:
        raise WeightsError(
            f"{path}: expected metadata `config` of a weights file, found {sorted(metadata)}"
        )
    return ModelConfig.from_json(metadata["config"])


def read_weights(path: str | Path, config: ModelConfig) -> dict[str, Tensor]:
    """State dict (f32) of a weights file for a model of `config`.

    Sample counts and the size of the volume rendering may differ: no tensor depends on them.
    """
    from .network import GPAvatar

    with torch.device("meta"):
        expected = {name: value.shape for name, value in GPAvatar(config).state_dict().items()}
    problems, state = [], {}
    with safe_open(path, "pt") as file:
        names = set(file.keys())
        for name, shape in expected.items():
            if name not in names:
                problems.append(f"{name}: expected {tuple(shape)}, found nothing")
                continue
            value = file.get_tensor(name).float()
            if value.shape != shape:
                problems.append(f"{name}: expected {tuple(shape)}, found {tuple(value.shape)}")
            state[name] = value
    if problems:
        raise WeightsError(f"{path}: of another model:\n  " + "\n  ".join(problems))
    return state


def main(args: argparse.Namespace) -> None:
    """Exports as the command line asks (see `commands`)."""
    state = torch.load(args.checkpoint, map_location="cpu", weights_only=True)
    config = ModelConfig.from_json(state["config"])
    training = {"steps": state["step"], "minutes": round(state["elapsed"] / 60, 2)}
    write_weights(args.weights, config, state["average"], args.head, training, args.licence)
    print(f"{args.weights}: {args.weights.stat().st_size} bytes")
