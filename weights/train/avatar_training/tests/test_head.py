"""The procedural head: its channels do what their names say, whoever the person is."""

import json

import numpy as np
import pytest

from avatar_training.camera import orbit
from avatar_training.head import generate
from avatar_training.head import mesh as m
from avatar_training.head.channels import EXPRESSIONS, SHAPES
from avatar_training.head.identity import random_identity
from avatar_training.head.rig import POSE, head_model, rig
from avatar_training.head_model import rodrigues

POINTS = 512
STILL = np.zeros(POSE, np.float32)


@pytest.fixture(params=range(4))
def person(request):
    return generate.Person(random_identity(np.random.default_rng([5, request.param])), POINTS)


def margins(person, channels):
    """Vertices on the upper and lower edge of the mouth's middle."""
    skin = person.mesh.ranges["skin"].start
    ring = skin + m._skin().rim + m.MOUTH_COUNT
    chart = person.mesh.canonical[ring]
    middle = np.abs(chart[:, 0]) < 0.03
    v = person.posed(channels, STILL)[ring]
    return v[middle & (chart[:, 1] > m.MOUTH_Y)], v[middle & (chart[:, 1] < m.MOUTH_Y)]


def test_arkit_channels():
    assert len(EXPRESSIONS) == 52 and len(set(EXPRESSIONS)) == 52
    assert len(SHAPES) >= 24
    moved = np.abs(m.mesh().expression_basis).max((1, 2))
    assert (moved > 0.005).all(), [n for n, v in zip(EXPRESSIONS, moved) if v <= 0.005]


def test_lips_part_and_close(person):
    upper, lower = margins(person, generate.weights())
    assert abs(upper[:, 1].mean() - lower[:, 1].mean()) < 0.01
    upper, lower = margins(person, generate.weights(jawOpen=1))
    assert upper[:, 1].mean() - lower[:, 1].mean() > 0.12
    upper, lower = margins(person, generate.weights(jawOpen=0.5, mouthClose=0.5))
    assert upper[:, 1].mean() - lower[:, 1].mean() < 0.02


def iris_pixels(person, channels):
    """Pixels of the pictures whose colour the iris alone has."""
    person.identity.colours[2] = (0.0, 1.0, 0.0)
    picture = person.draw(channels, STILL, orbit(generate.DISTANCE, 0, 0), 192, 1)[0].astype(int)
    return (picture[..., 1] > picture[..., 0] + 90) & (picture[..., 1] > picture[..., 2] + 90)


def test_blink_covers_the_iris(person):
    person.identity.colours[[1, 4, 5, 6, 7]] = 0.5
    seen = iris_pixels(person, generate.weights()).sum()
    assert seen > 20
    assert iris_pixels(person, generate.weights(eyeBlink=1)).sum() < 0.05 * seen


def test_eyes_look_where_told(person):
    person.identity.colours[[1, 4, 5, 6, 7]] = 0.5
    centre = lambda e: np.argwhere(iris_pixels(person, e)).mean(0)
    row, column = centre(generate.weights())
    _, left = centre(generate.weights(eyeLookOutLeft=0.6, eyeLookInRight=0.6))
    up, _ = centre(generate.weights(eyeLookUp=0.6))
    # The character's left is the right of a picture from the front.
    assert left > column + 1 and up < row - 1


def test_open_mouth_shows_a_dark_cavity_and_teeth(person):
    e = generate.weights(jawOpen=1)
    camera = orbit(generate.DISTANCE, 0, 0)
    picture = person.draw(e, STILL, camera, 192, 2)[0][..., :3].astype(int)
    x, y, rx, ry = person.regions(person.posed(e, STILL), camera, 192)[2]
    mouth = picture[int(y - ry / 2) : int(y + ry / 2), int(x - rx / 3) : int(x + rx / 3)]
    assert (mouth.max(-1) < 60).sum() > 15
    assert (mouth.min(-1) > 150).sum() > 10


def test_stays_in_the_cube(person):
    for channels in (generate.weights(), generate.weights(jawOpen=1, mouthPucker=1, tongueOut=1)):
        v = person.posed(channels, STILL)
        assert np.abs(v).max() < 1


def test_head_model_moves_like_the_mesh(person):
    """Blend shapes and skinning of the exported model give the mesh's vertices."""
    rng = np.random.default_rng(1)
    e, pose = generate.random_expression(rng), np.array([0.1, -0.05, 0.08, 0.12, 0, 0], np.float32)
    t, metadata = head_model(POINTS)
    header = json.loads(metadata["head_model"])
    shaped = (
        t["template"]
        + np.tensordot(person.identity.shape, t["shape_basis"], 1)
        + np.tensordot(e, t["expression_basis"], 1)
    )
    joints = t["joint_regressor"] @ shaped

    motion = [np.eye(4) for _ in header["parents"]]
    for j, parent in enumerate(header["parents"]):
        local = np.eye(4)
        if j in header["pose_joints"]:
            k = header["pose_joints"].index(j)
            local[:3, :3] = rodrigues(pose[None, 3 * k : 3 * k + 3])[0]
        local[:3, 3] = joints[j] - (joints[parent] if parent >= 0 else 0)
        motion[j] = motion[parent] @ local if parent >= 0 else local
    posed = np.zeros_like(shaped)
    for j, g in enumerate(motion):
        posed += t["skinning_weights"][:, j : j + 1] * (
            (shaped - joints[j]) @ g[:3, :3].T + g[:3, 3]
        )
    want = person.posed(e, pose)[rig(POINTS).points]
    np.testing.assert_allclose(posed, want, atol=2e-6)


def test_a_seed_is_a_person():
    a, b, c = (random_identity(np.random.default_rng([s, 3])) for s in (1, 1, 2))
    assert (
        np.array_equal(a.shape, b.shape)
        and a.hair == b.hair
        and np.array_equal(a.colours, b.colours)
    )
    assert not np.array_equal(a.shape, c.shape)


def test_folders_are_reproducible(tmp_path):
    for name in "ab":
        generate.training_data(
            tmp_path / name, 2, 11, POINTS, views=2, image_size=32, source_size=64, workers=1
        )
    for file in ("sources.npy", "targets.npy", "surface_points.npy"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
