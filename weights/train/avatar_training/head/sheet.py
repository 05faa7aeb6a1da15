"""Contact sheets of the procedural head, to look at before it is trained on."""

import numpy as np
from PIL import Image, ImageDraw

from ..camera import orbit
from .channels import EXPRESSIONS
from .generate import DISTANCE, Person, weights
from .identity import random_identity
from .rig import POSE


def _cell(person, channels, azimuth, elevation, size, label=""):
    picture = person.draw(channels, np.zeros(POSE), orbit(DISTANCE, elevation, azimuth), size, 2)[0]
    rgb = (picture[..., :3] * (picture[..., 3:] / 255.0)).astype(np.uint8)
    image = Image.fromarray(rgb)
    ImageDraw.Draw(image).text((3, 2), label, fill=(255, 255, 255))
    return np.asarray(image)


def _grid(cells, columns):
    cells = cells + [np.zeros_like(cells[0])] * (-len(cells) % columns)
    rows = [np.concatenate(cells[i : i + columns], 1) for i in range(0, len(cells), columns)]
    return Image.fromarray(np.concatenate(rows))


def channels_sheet(seed, number, points, size=220):
    """One person with each of the 52 channels at 1."""
    person = Person(random_identity(np.random.default_rng([seed, number])), points)
    cells = []
    for name in EXPRESSIONS:
        jaw = {"jawOpen": 0.5} if name in ("tongueOut", "mouthClose") else {}
        value = 0.5 if name == "mouthClose" else 1.0
        cells.append(_cell(person, weights(**{**jaw, name: value}), 12, 0, size, name))
    return _grid(cells, 9)


def people_sheet(seed, count, points, size=160):
    """Some people, each from several sides and with several expressions."""
    poses = [
        (weights(mouthSmile=0.35), 0, 0),
        (weights(jawOpen=0.9), 15, 0),
        (weights(jawOpen=0.5, mouthSmile=0.9, browInnerUp=0.6, browOuterUp=0.6), 35, 8),
        (weights(mouthFrown=1, browDown=1, eyeBlink=0.4), -35, 0),
        (weights(eyeBlink=1, mouthPucker=1), 0, -12),
        (weights(), 80, 5),
        (weights(), 165, 10),
    ]
    cells = []
    for i in range(count):
        person = Person(random_identity(np.random.default_rng([seed, i])), points)
        cells += [
            _cell(person, e, a, b, size, str(i) if k == 0 else "")
            for k, (e, a, b) in enumerate(poses)
        ]
    return _grid(cells, len(poses))
