"""Training data."""

from __future__ import annotations

import json
from pathlib import Path

from ..config import ModelConfig
from . import generated, tracked
from .batch import Batch, DatasetError
from .generated import GeneratedData
from .tracked import TrackedData


def open_dataset(folder: str | Path, config: ModelConfig) -> GeneratedData | TrackedData:
    """Opens generated data or a user's tracked clips."""
    folder = Path(folder)
    try:
        header = json.loads((folder / "dataset.json").read_text())
    except (OSError, ValueError) as error:
        raise DatasetError(folder, [f"dataset.json: {error}"]) from error
    kinds = {generated.FORMAT: GeneratedData, tracked.FORMAT: TrackedData}
    kind = kinds.get(header.get("format") if isinstance(header, dict) else None)
    if kind is None:
        expected = " or ".join(repr(format) for format in kinds)
        raise DatasetError(folder, [f"dataset.json: expected format {expected}"])
    return kind(folder, config)


__all__ = ["Batch", "DatasetError", "GeneratedData", "TrackedData", "open_dataset"]
