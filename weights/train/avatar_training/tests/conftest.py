"""Data that several tests share."""

from pathlib import Path

import pytest

from avatar_training.config import ModelConfig
from avatar_training.head import generate

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="session")
def small() -> ModelConfig:
    return ModelConfig.open(CONFIGS / "small.json")


@pytest.fixture(scope="session")
def dataset(small, tmp_path_factory):
    """Eight generated people."""
    folder = tmp_path_factory.mktemp("generated") / "data"
    generate.training_data(folder, 8, 5, small.points, 2, small.output_size, 64, 1)
    return folder
