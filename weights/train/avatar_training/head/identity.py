"""Random people: their shape, colours and hair, and what their faces do."""

import colorsys
from dataclasses import dataclass

import numpy as np

from . import mesh as m
from .channels import SHAPES
from .mesh import REST_SHAPE, A, B, C, smooth

CAP, HANG, AROUND = 18, 9, 64
STYLES = (
    "none",
    "cropped",
    "sidePart",
    "bowl",
    "bob",
    "long",
    "curly",
    "afro",
    "bun",
    "ponytail",
    "quiff",
)


@dataclass
class Hair:
    """A hair style: lengths in world units, angles in degrees."""

    style: str = "cropped"
    volume: float = 0.07  # thickness on top of the head
    crown: float = 0.0  # extra height of the crown
    fringe: float = 45.0  # latitude of the hairline at the forehead
    part: float = 0.0  # -1 … 1: where the fringe parts
    length: float = 0.0  # how far it hangs below the nape
    side: float = 4.0  # latitude of its lower edge in front of the ears
    nape: float = -32.0
    bumps: float = 0.0
    tail: float = 0.0  # size of a bun or tail


@dataclass
class Identity:
    shape: np.ndarray  # (24,)
    colours: np.ndarray  # (8, 3)
    paint: np.ndarray  # (10,)
    hair: Hair


def _strand_grid():
    rows = CAP + HANG
    lo = (np.arange(AROUND) - AROUND // 2) / AROUND * 2 * np.pi
    return rows, lo


def hair_mesh(hair, shape):
    """Vertices, faces and canonical coordinates (angle, distance from the crown, occlusion)."""
    p = {
        **REST_SHAPE,
        **{
            n: v
            for n, v in zip(SHAPES, shape)
            if n in ("headWidth", "headHeight", "headDepth", "foreheadSlope", "jawWidth")
        },
    }
    rows, lo = _strand_grid()
    degrees = np.degrees(np.abs(lo))
    # Latitude of the hairline: forehead, temples, in front of the ears, nape.
    fore = (
        hair.fringe
        + 7 * hair.part * np.sin(lo * 2)
        - 3.0 * hair.part**2
        + 2.5 * np.cos(lo * 11) * (hair.fringe < 40)
    )
    if hair.part:
        fore = fore + 9 * np.exp(-(((np.degrees(lo) - 22 * np.sign(hair.part)) / 11) ** 2))
    line = fore * (1 - smooth(40, 66, degrees)) + hair.side * smooth(40, 66, degrees)
    line = line * (1 - smooth(92, 128, degrees)) + hair.nape * smooth(92, 128, degrees)
    t = np.concatenate([np.linspace(0, 1, CAP), np.ones(HANG)])
    hang = np.concatenate([np.zeros(CAP), np.linspace(0, 1, HANG + 1)[1:]])
    t2, lo2 = np.meshgrid(t, lo, indexing="ij")
    line2 = np.broadcast_to(line, t2.shape)
    la = np.radians(90 - t2 * (90 - line2)).ravel()
    lo2, t2 = lo2.ravel(), t2.ravel()
    hang2 = np.repeat(hang, AROUND)
    ux, uy, uz = np.sin(lo2) * np.cos(la), np.sin(la), np.cos(lo2) * np.cos(la)
    bare = {**p, "noseLength": -2.2, "browRidge": -1.0, "chinForward": 0.0}
    x, y, z, *_ = m.skull(ux, uy, np.where(np.abs(uz) < 1e-3, 1e-3, uz), bare)
    hanging = hair.length > 0
    back = smooth(60, 76, np.degrees(np.abs(lo2)))
    if hanging:
        # Long hair falls straight from the widest part of the head instead of following the nape.
        wide = np.maximum(la, np.radians(4))
        wx, _, wz, *_ = m.skull(
            np.sin(lo2) * np.cos(wide), np.sin(wide), np.cos(lo2) * np.cos(wide), bare
        )
        x, z = x + (wx - x) * back, z + (wz - z) * back
    normal = np.stack([ux / A, uy / B, uz / C], 1)
    if hanging:
        normal[:, 1] *= np.where(la < np.radians(4), 1 - back, 1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    v = np.stack([x, y, z], 1)
    edge = np.sqrt(np.clip(1 - np.clip((t2 - 0.80) / 0.20, 0, 1) ** 3, 0, 1))
    body = edge * (1 - back) + back if hanging else edge
    thick = hair.volume * body + 0.006
    thick = thick + hair.crown * smooth(25, 75, np.degrees(la)) * smooth(1.0, 0.3, t2)
    if hair.style == "quiff":
        thick = (
            thick
            + 0.10
            * np.exp(-(((np.degrees(la) - 56) / 14) ** 2))
            * smooth(70, 20, np.degrees(np.abs(lo2)))
            * edge
        )
    if hair.bumps:
        wave = np.sin(lo2 * 9 + 2 * np.sin(t2 * 9)) * np.sin(t2 * 17 + 2 * np.sin(lo2 * 5))
        thick = thick * (1 + hair.bumps * wave * edge)
    tuck = (hang2 > 0) & ~(hanging & (back > 0.02))
    v = v + normal * np.where(tuck, -0.03 * hang2, thick)[:, None]
    occlusion = 0.74 + 0.26 * smooth(1.0, 0.72, t2)
    if hanging:
        drop = hair.length * hang2 * back
        start = v.copy()
        v[:, 1] -= drop
        # The tips turn inwards.
        v[:, 0] = start[:, 0] * (1 + 0.05 * np.sin(np.pi * hang2) * back - 0.14 * hang2**4 * back)
        v[:, 2] = start[:, 2] * (1 - 0.10 * hang2**4 * back)
        occlusion = np.where(back > 0.3, 1 - 0.22 * hang2, 0.74 + 0.26 * smooth(1.0, 0.72, t2))
    canonical = np.stack(
        [lo2, np.where(hang2 > 0, 1 + hang2 * max(hair.length, 0.0) * 2, t2), occlusion], 1
    )
    faces = m._grid(rows, AROUND, True)
    tails = []
    if hair.style == "bun":
        tails = [(np.array([0, 0.66, -0.30]), np.array([1, 1, 1.0]) * hair.tail)]
    elif hair.style == "ponytail":
        tails = [
            (np.array([0, 0.36, -0.72]), np.array([0.8, 0.8, 0.8]) * hair.tail * 0.55),
            (np.array([0, 0.02, -0.78]), np.array([0.55, 1.75, 0.5]) * hair.tail),
        ]
    blobs = [v]
    all_faces, all_canonical, start = [faces], [canonical], len(v)
    if hair.style == "none":
        blobs, all_faces, all_canonical, start = [], [], [], 0
    for centre, radii in tails:
        ball, f = m._ball(12, 20, "y")
        w = ball * radii + centre * (1 + 0.05 * np.array([shape[0], shape[1], shape[2]]))
        blobs.append(w)
        all_faces.append(f + start)
        angle = np.arctan2(ball[:, 0], ball[:, 2])
        all_canonical.append(np.stack([angle, ball[:, 1] * 0.5 + 0.5, 0.85 + 0.15 * ball[:, 1]], 1))
        start += len(w)
    if not blobs:
        return (
            np.zeros((0, 3), np.float32),
            np.zeros((0, 3), np.int32),
            np.zeros((0, 3), np.float32),
        )
    v = np.concatenate(blobs)
    return (
        m.proportioned(v, p, 1.0, m.along_neck(v)).astype(np.float32),
        np.concatenate(all_faces).astype(np.int32),
        np.concatenate(all_canonical).astype(np.float32),
    )


def _hsv(h, s, v):
    return np.array(colorsys.hsv_to_rgb(h % 1.0, min(max(s, 0), 1), min(max(v, 0), 1)))


_SKINS = np.array(
    [
        [0.99, 0.87, 0.79],
        [0.97, 0.79, 0.67],
        [0.91, 0.69, 0.54],
        [0.80, 0.57, 0.42],
        [0.68, 0.46, 0.33],
        [0.54, 0.35, 0.25],
        [0.42, 0.27, 0.20],
    ]
)
_HAIRS = np.array(
    [
        [0.13, 0.11, 0.11],
        [0.26, 0.16, 0.11],
        [0.43, 0.26, 0.14],
        [0.64, 0.42, 0.20],
        [0.90, 0.72, 0.40],
        [0.70, 0.28, 0.12],
        [0.66, 0.66, 0.68],
        [0.90, 0.89, 0.86],
    ]
)


def _hair(rng):
    style = rng.choice(STYLES, p=[0.05, 0.14, 0.13, 0.09, 0.12, 0.13, 0.08, 0.07, 0.06, 0.06, 0.07])
    u = rng.uniform
    h = Hair(
        style=str(style),
        volume=u(0.05, 0.10),
        crown=u(0, 0.04),
        fringe=u(46, 56),
        part=rng.choice([-1, 1]) * u(0.3, 1) * (rng.random() < 0.5),
    )
    if style == "cropped":
        h.volume, h.side, h.nape, h.part, h.fringe = (
            u(0.020, 0.055),
            u(4, 12),
            u(-28, -16),
            0.0,
            u(46, 58),
        )
    elif style in ("sidePart", "quiff"):
        h.volume, h.part, h.fringe, h.nape = (
            u(0.05, 0.08),
            rng.choice([-1, 1]) * u(0.6, 1.2),
            u(42, 50),
            u(-32, -22),
        )
    elif style == "bowl":
        h.fringe, h.part, h.side, h.nape, h.volume = (
            u(27, 36),
            0.0,
            u(-6, 4),
            u(-36, -26),
            u(0.07, 0.10),
        )
    elif style == "bob":
        h.length, h.fringe, h.side = u(0.08, 0.26), rng.choice([u(28, 36), u(44, 52)]), u(-8, 2)
    elif style == "long":
        h.length, h.fringe, h.side = (
            u(0.30, 0.58),
            rng.choice([u(28, 36), u(44, 54), u(44, 54)]),
            u(-8, 2),
        )
    elif style == "curly":
        h.bumps, h.volume, h.side, h.fringe, h.part = (
            u(0.22, 0.40),
            u(0.10, 0.14),
            u(-4, 6),
            u(38, 48),
            0.0,
        )
    elif style == "afro":
        h.bumps, h.volume, h.side, h.fringe, h.part = (
            u(0.06, 0.14),
            u(0.17, 0.25),
            u(-2, 8),
            u(44, 52),
            0.0,
        )
    elif style in ("bun", "ponytail"):
        h.volume, h.tail, h.part, h.fringe, h.crown = (
            u(0.035, 0.06),
            u(0.14, 0.19),
            0.0,
            u(48, 56),
            0.0,
        )
    return h


def random_identity(rng):
    """A person drawn from `rng`. Colours cover all hues, not just the usual ones."""
    shape = np.clip(rng.normal(0, 0.62, len(SHAPES)), -1.3, 1.3).astype(np.float32)
    k, w = rng.uniform(0, len(_SKINS) - 1), rng.normal(0, 0.015, 3)
    skin = _SKINS[int(k)] * (1 - k % 1) + _SKINS[min(int(k) + 1, len(_SKINS) - 1)] * (k % 1) + w
    if rng.random() < 0.68:
        a, b = rng.integers(len(_HAIRS), size=2)
        t = rng.uniform(0, 0.45)
        hair = (_HAIRS[a] * (1 - t) + _HAIRS[b] * t) * rng.uniform(0.85, 1.15)
    else:
        hair = _hsv(rng.random(), rng.uniform(0.35, 0.9), rng.uniform(0.3, 0.95))
    eyes = (
        _hsv(rng.random(), rng.uniform(0.35, 0.85), rng.uniform(0.30, 0.80))
        if rng.random() < 0.5
        else np.array(
            [
                [0.22, 0.45, 0.78],
                [0.25, 0.52, 0.32],
                [0.42, 0.25, 0.12],
                [0.25, 0.15, 0.10],
                [0.42, 0.50, 0.56],
                [0.58, 0.40, 0.15],
            ]
        )[rng.integers(6)]
        * rng.uniform(0.85, 1.2)
    )
    lips = skin * np.array([0.90, 0.60, 0.60]) + np.array([0.04, 0, 0.01])
    if rng.random() < 0.35:
        lips = _hsv(rng.uniform(-0.10, 0.05), rng.uniform(0.55, 0.8), rng.uniform(0.5, 0.85))
    shirt = _hsv(rng.random(), rng.uniform(0.0, 0.9), rng.uniform(0.25, 0.98))
    collar = (
        shirt * rng.uniform(0.6, 1.1)
        if rng.random() < 0.6
        else _hsv(rng.random(), rng.uniform(0, 0.8), rng.uniform(0.3, 1))
    )
    brows = hair * (0.62 if hair.sum() > 0.6 else 0.85)
    lid = (
        skin * np.array([0.90, 0.76, 0.74])
        if rng.random() < 0.75
        else 0.55 * skin + 0.45 * _hsv(rng.random(), 0.6, 0.7)
    )
    style = _hair(rng)
    colours = np.clip(np.stack([skin, hair, eyes, lips, shirt, brows, collar, lid]), 0.01, 1.0)
    bearded = (
        style.style in ("none", "cropped", "sidePart", "quiff", "curly", "afro", "bun")
        and rng.random() < 0.40
    )
    beard, moustache, stubble = 0.0, 0.0, 0.0
    if bearded:
        kind = rng.integers(4)
        beard, moustache, stubble = [
            (0.95, 0.95, 0.0),
            (0.0, 0.95, 0.0),
            (0.0, 0.0, rng.uniform(0.3, 0.7)),
            (0.95, 0.0, 0.0),
        ][kind]
    curls = 1.0 if style.style in ("curly", "afro") else 0.0
    paint = np.array(
        [
            rng.uniform(0.7, 1.5),
            beard,
            moustache,
            rng.uniform(0.1, 1.0),
            rng.uniform(0.8, 1.6),
            rng.uniform(0.5, 1) if rng.random() < 0.2 else 0.0,
            (1 - curls) * rng.uniform(0.4, 1.2),
            curls,
            stubble,
            rng.uniform(-0.5, 1.0),
        ]
    )
    return Identity(shape, colours, paint, style)
