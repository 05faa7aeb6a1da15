"""The network reproduces the numbers of the authors' own modules."""

import json

import pytest
import torch
from safetensors import safe_open

from avatar_training.config import ModelConfig
from avatar_training.network import GPAvatar

from .synthetic import GOLDEN, uniform, weights


def load(case):
    with safe_open(GOLDEN / f"{case}.safetensors", "pt") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}


def small_model(metadata):
    sizes = json.loads(metadata["config"])
    config = ModelConfig(
        source_size=sizes["source"],
        plane_size=sizes["plane"],
        points=sizes["points"],
        neighbours=sizes["neighbours"],
        low_res_size=sizes["low_res"],
        coarse_samples=sizes["coarse"],
        fine_samples=sizes["fine"],
        output_size=sizes["image"],
        point_weighting=metadata["point_weighting"],
    )
    model = GPAvatar(config)
    state = weights(int(metadata["seed"]), f"small_{metadata['point_weighting']}")
    state = {name: value for name, value in state.items() if ".toRGB." not in name}
    model.load_state_dict(state, strict=True)
    return model.eval()


def error(found, expected):
    return (found - expected).abs().max().item()


def test_the_generator_of_synthetic_weights():
    expected = [0.664047, 0.65289223, 0.13270187, -0.21251774]
    assert uniform(7, "a.weight", 4) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("case", ["small_released_two_sources", "small_paper_one_source"])
def test_golden(case):
    metadata, golden = load(case)
    model = small_model(metadata)
    with torch.no_grad():
        sources = golden["sources"].permute(0, 3, 1, 2).float() / 255
        each = model.encode(sources)
        planes = model.fuse(each[None])
        points, transform = golden["points"][None], golden["transform"][None]
        rendering = model.render(planes, points, transform)
        image = model.upsample(rendering.low_res)[0]
    span = (golden["planes"].max() - golden["planes"].min()).item()
    assert (
        error(each.reshape(golden["planes_per_source"].shape), golden["planes_per_source"])
        < 3e-5 * span
    )
    assert error(planes.reshape(golden["planes"].shape), golden["planes"]) < 3e-5 * span
    assert error(rendering.coarse[0], golden["coarse_image"]) < 1e-4
    assert error(rendering.coarse_alpha[0], golden["coarse.opacity"]) < 1e-3
    assert error(rendering.depth[0], golden["depth"]) < 1e-3
    assert error(image, golden["image"]) < (1e-5 if case.startswith("small_paper") else 1e-3)
    # Roundings of the planes move a sample that lies almost on a point, so the volume rendering
    # is held to its tolerance from the golden planes.
    low = golden["low_res"]
    span = (low.max() - low.min()).item()
    assert (error(rendering.low_res[0], low)) < 3e-3 * span
    with torch.no_grad():
        exact = model.render(golden["planes"].reshape(planes.shape), points, transform)
    assert error(exact.low_res[0], low) < 1e-4 * span
