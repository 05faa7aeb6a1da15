"""Training data."""

from __future__ import annotations

from pathlib import Path

from ..config import ModelConfig
from .generated import Batch, DatasetError, GeneratedData


def open_dataset(folder: str | Path, config: ModelConfig):
    """Opens generated data."""
    return GeneratedData(folder, config)


__all__ = ["Batch", "DatasetError", "GeneratedData", "open_dataset"]
