"""The warp to the canonical view."""

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from avatar_training.data.warp import canonical_views, corners

from .synthetic import GOLDEN


@pytest.mark.parametrize("i", [0, 1])
def test_golden(i):
    golden = load_file(GOLDEN / "geometry.safetensors")
    transform = golden[f"warp{i}.transform"]
    picture = np.asarray(Image.open(GOLDEN / f"source_{i}.png").convert("RGBA"))
    found = corners(transform, picture.shape[1], picture.shape[0], 12.0)
    assert np.abs(found - golden[f"warp{i}.corners"]).max() < 5e-4
    view = canonical_views(picture[None], transform[None], 512)[0]
    # The authors' warp never rounds to 8 bits, ours rounds only transparent pixels.
    assert np.abs(view[:, ::2, ::2] - golden[f"warp{i}.image_half"]).max() < 2e-3


def test_transparent_pixels_are_black():
    picture = np.full((1, 32, 32, 4), 255, np.uint8)
    picture[..., 3] = 0
    transform = np.array([[[-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 11]]], np.float32)
    assert canonical_views(picture, transform, 16).max() == 0


def test_a_camera_that_looks_away_is_an_error():
    transform = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -11]], np.float32)
    with pytest.raises(ValueError, match="in front"):
        corners(transform, 32, 32, 12.0)
