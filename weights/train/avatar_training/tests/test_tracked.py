"""A user's own tracked clips."""

import json

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from avatar_training.config import ModelConfig
from avatar_training.data import DatasetError, open_dataset
from avatar_training.recipe import RECIPES
from avatar_training.train import run

from .test_training import job


@pytest.fixture
def clips(small, dataset, tmp_path):
    """A data set of one clip of the first generated person."""
    folder = tmp_path / "tracked"
    clip = folder / "clips" / "someone"
    (clip / "frames").mkdir(parents=True)
    (folder / "head.safetensors").write_bytes((dataset / "head.safetensors").read_bytes())
    labels = np.load(dataset / "labels.npz")
    pictures = np.load(dataset / "sources.npy")[0]
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(clip / "frames" / f"{i:06}.png")
    motion = {
        "version": 1,
        "fps": 25,
        "expression": labels["source_expression"][0].tolist(),
        "pose": labels["source_pose"][0].tolist(),
        "transform": labels["source_transform"][0].tolist(),
    }
    (clip / "motion.json").write_text(json.dumps(motion))
    (clip / "shape.json").write_text(json.dumps(labels["shape"][0].tolist()))
    regions = {"left_eye": [0, 1], "right_eye": [2, 3], "mouth": [4, 5]}
    header = {"format": "gpavatar tracked data", "version": 1, "regions": regions}
    (folder / "dataset.json").write_text(json.dumps(header))
    return folder


def problems(folder, config):
    with pytest.raises(DatasetError) as error:
        open_dataset(folder, config)
    return "\n".join(error.value.problems)


def test_tracked_clips_train(small, clips, tmp_path):
    result = run(job(small, clips, tmp_path / "run", recipe=RECIPES["released"], steps=2))
    assert np.isfinite(result["output"]) and result["output"] > 0


def test_training_without_rendering_needs_surfaces(small, clips, tmp_path):
    with pytest.raises(SystemExit, match="pretrain=0"):
        run(job(small, clips, tmp_path / "run"))


def test_an_orbit_and_named_channels(small, clips):
    path = clips / "clips" / "someone" / "motion.json"
    motion = {"version": 1, "fps": 25, "orbit": [10, 5, 20], "channels": ["jawOpen"]}
    path.write_text(json.dumps({**motion, "expression": [[0.0], [0.5], [1.0]]}))
    clip = open_dataset(clips, small).clips[0]
    head = open_dataset(clips, small).head
    assert clip.expression[:, head.channels.index("jawOpen")].tolist() == [0.0, 0.5, 1.0]
    rotation, translation = clip.transform[0, :, :3], clip.transform[0, :, 3]
    assert np.linalg.norm(rotation @ translation) == pytest.approx(10, abs=1e-5)


def test_orbit_matches_the_crate():
    from avatar_training.camera import orbit

    from .synthetic import GOLDEN

    golden = load_file(GOLDEN / "geometry.safetensors")
    for values, expected in zip(golden["orbit.parameters"], golden["orbit.transforms"]):
        assert np.abs(orbit(*values.astype(float)) - expected).max() < 1e-5


def test_all_problems_are_listed(small, clips):
    clip = clips / "clips" / "someone"
    motion = json.loads((clip / "motion.json").read_text())
    motion["pose"] = motion["pose"][:2]
    (clip / "motion.json").write_text(json.dumps(motion))
    (clip / "shape.json").write_text("[1, 2]")
    Image.new("RGB", (40, 30)).save(clip / "frames" / "000001.png")
    (clip / "frames" / "000002.png").write_bytes(b"not a picture")
    (clips / "clips" / "empty").mkdir()
    found = problems(clips, small)
    for expected in (
        "someone/frames/000001.png: expected a square of at least 32 pixels, found 40 x 30",
        "someone/frames/000002.png",
        "someone/shape.json: expected a list of 24 numbers",
        "someone/motion.json: pose: expected 3 frames (the pictures), found 2",
        "empty/frames: expected at least 2 pictures",
        "empty: expected motion.json or motion.safetensors",
    ):
        assert expected in found


def test_another_number_of_points_is_refused(small, clips):
    found = problems(
        clips, ModelConfig.from_json(small.to_json().replace('"points": 128', '"points": 64'))
    )
    assert "expected 64 vertices (the configuration's points), found 128" in found


def test_a_head_model_without_metadata_is_refused(small, clips):
    save_file({"template": np.zeros((4, 3), np.float32)}, clips / "head.safetensors")
    assert "expected a head model" in problems(clips, small)


def test_no_data_set(small, tmp_path):
    assert "dataset.json" in problems(tmp_path, small)
