"""The procedural head: one mesh as a function of identity and expression.

World axes: +X is the character's left, +Y up, +Z where the face looks; everything fits the cube
[-1, 1]^3. The skin is a deformed sphere. Its *chart* (x, y) is the undeformed front view, in which
eyes, lips and brows have fixed places whatever the identity: shapes are sculpted, expressions
placed and colours painted in chart coordinates.

`surface(shape, expression)` is not linear; the model is its linearisation (`bases`), which is what
every picture is rendered from and what the network's points follow.
"""

import functools
from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull

from .channels import EXPRESSIONS, SHAPES, SIDES

# Half axes and height of the undeformed skull.
A, B, C, CENTRE = 0.50, 0.62, 0.52, 0.08
EYE_X, EYE_Y, EYE_W, EYE_UP, EYE_LOW = 0.195, 0.055, 0.118, 0.080, 0.056
BALL, BALL_Z = 0.140, 0.304
LID = 0.024
MOUTH_Y, MOUTH_W, GAP = -0.275, 0.166, 0.020
UPPER_LIP, LOWER_LIP = 0.036, 0.046

SCALE, LIFT = 0.93, -0.035

SKIN, EYE, HAIR, MOUTH, TEETH, TONGUE, NECK, SHIRT, EAR = range(9)


def smooth(a, b, x):
    """Smoothstep from `a` to `b`; falls if `a > b`."""
    t = np.clip((x - a) / (b - a), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def bump(x, y, cx, cy, sx, sy=None):
    """Gaussian bell of height 1 around (cx, cy)."""
    return np.exp(-(((x - cx) / sx) ** 2) - ((y - cy) / (sx if sy is None else sy)) ** 2)


def eye_margin(u):
    """Opening of the lids at `u` = offset / EYE_W: heights of the upper and lower margin."""
    k = np.clip(1.0 - u * u, 0.0, 1.0)
    return EYE_UP * k**0.55, EYE_LOW * k**0.7


def mouth_opening(x):
    """1 at the middle of the mouth, 0 at its corners."""
    return np.clip(1.0 - (x / MOUTH_W) ** 2, 0.0, 1.0) ** 0.6


def _direction(x, y):
    """Point of the unit sphere whose chart coordinates are (x, y), on the front."""
    sy = np.clip((y - CENTRE) / B, -1, 1)
    sx = np.clip(x / A, -1, 1)
    return np.stack([sx, sy, np.sqrt(np.clip(1 - sx * sx - sy * sy, 1e-6, None))], -1)


def _fibonacci(n):
    i = np.arange(n) + 0.5
    y = 1 - 2 * i / n
    a = np.pi * (1 + 5**0.5) * i
    r = np.sqrt(1 - y * y)
    return np.stack([np.cos(a) * r, y, np.sin(a) * r], -1)


def _grid(rows, columns, closed):
    """Triangles of a grid of vertices; `closed` joins the last column to the first."""
    faces = []
    for r in range(rows - 1):
        for c in range(columns if closed else columns - 1):
            d = (c + 1) % columns
            a, b, e, f = (
                r * columns + c,
                r * columns + d,
                (r + 1) * columns + c,
                (r + 1) * columns + d,
            )
            faces += [(a, e, b), (b, e, f)]
    return np.array(faces, np.int32)


def _ball(rows, columns, axis):
    la, lo = np.meshgrid(
        np.linspace(np.pi / 2, -np.pi / 2, rows),
        np.arange(columns) / columns * 2 * np.pi,
        indexing="ij",
    )
    la, lo = la.ravel(), lo.ravel()
    v = np.stack([np.sin(lo) * np.cos(la), np.sin(la), np.cos(lo) * np.cos(la)], 1)
    if axis == "z":
        v = np.stack([v[:, 0], -v[:, 2], v[:, 1]], 1)
    return v, _grid(rows, columns, True)


@dataclass
class _Skin:
    chart: np.ndarray  # (n, 2)
    front: np.ndarray  # (n,) z of the undeformed sphere
    wall: np.ndarray  # (n,) 1 on the inner wall of a lid or lip, which turns inwards
    faces: np.ndarray
    rim: np.ndarray  # vertices of the lips' inner wall, in order around the mouth


EYE_RINGS = (0.86, 1.0, 1.07, 1.17, 1.30, 1.48, 1.72)
MOUTH_RINGS = (0.80, 1.0, 1.08, 1.18, 1.31, 1.47, 1.68, 1.95)
EYE_COUNT, MOUTH_COUNT = 36, 44


@functools.cache
def _skin():
    """Vertices in rings around the eyes and the mouth, even ones elsewhere, joined by their hull."""
    points, wall = [], []
    holes = []
    for s in (1, -1):
        a = np.arange(EYE_COUNT) / EYE_COUNT * 2 * np.pi
        for ring in EYE_RINGS:
            out = ring - 1.0
            c, n = np.cos(a), np.sin(a)
            up, low = eye_margin(c * min(ring, 1.0))
            h = np.where(n >= 0, up, -low) * min(ring, 1.0)
            x = s * (EYE_X + EYE_W * ring * c)
            y = EYE_Y + h + max(out, 0) * 0.115 * n
            points.append(_direction(x, y))
            wall.append(np.full(EYE_COUNT, float(ring < 1)))
        holes.append(sum(map(len, points)) - len(EYE_RINGS) * EYE_COUNT)
    a = (np.arange(MOUTH_COUNT) + 0.5) / MOUTH_COUNT * 2 * np.pi
    for ring in MOUTH_RINGS:
        out = ring - 1.0
        c, n = np.cos(a), np.sin(a)
        # Sines bunch the vertices at the corners, where the lips bend most.
        x = MOUTH_W * (1 + 0.55 * max(out, 0)) * c * (1.0 if ring >= 1 else 0.985)
        y = MOUTH_Y + np.sign(n) * GAP * mouth_opening(MOUTH_W * c) * ring + max(out, 0) * 0.125 * n
        points.append(_direction(x, y))
        wall.append(np.full(MOUTH_COUNT, float(ring < 1)))
    rim = sum(map(len, points)) - len(MOUTH_RINGS) * MOUTH_COUNT + np.arange(MOUTH_COUNT)
    rings = np.concatenate(points)
    even = _fibonacci(2900)
    x, y, z = even[:, 0] * A, CENTRE + even[:, 1] * B, even[:, 2]
    keep = np.ones(len(even), bool)
    # The face gets all the even vertices, the back of the head every second one.
    keep &= (z > 0.05) | (np.arange(len(even)) % 2 == 0)
    for s in (1, -1):
        keep &= (((x - s * EYE_X) / (EYE_W * 1.78)) ** 2 + ((y - EYE_Y) / 0.172) ** 2 > 1) | (z < 0)
    keep &= ((x / (MOUTH_W * 1.58)) ** 2 + ((y - MOUTH_Y) / 0.150) ** 2 > 1) | (z < 0)
    unit = np.concatenate([rings, even[keep]])
    wall = np.concatenate([*wall, np.zeros(keep.sum())])
    faces = ConvexHull(unit).simplices.astype(np.int32)
    normal = np.cross(unit[faces[:, 1]] - unit[faces[:, 0]], unit[faces[:, 2]] - unit[faces[:, 0]])
    flip = (normal * unit[faces].mean(1)).sum(1) < 0
    faces[flip] = faces[flip][:, ::-1]
    for first, count in ((holes[0], EYE_COUNT), (holes[1], EYE_COUNT), (rim[0], MOUTH_COUNT)):
        inside = (faces >= first) & (faces < first + count)
        faces = faces[~inside.all(1)]
    chart = np.stack([unit[:, 0] * A, CENTRE + unit[:, 1] * B], 1)
    return _Skin(chart, unit[:, 2], wall, faces, rim)


def skull(unit_x, unit_y, unit_z, p):
    """The head without eyes, mouth and hair at points of the unit sphere: world positions (n, 3)."""
    cx, cy = A * unit_x, CENTRE + B * unit_y
    front = smooth(-0.1, 0.5, unit_z)
    x, y = cx.copy(), cy.copy()
    z = C * np.where(unit_z > 0, np.abs(unit_z) ** 0.86 * 0.93, -np.abs(unit_z) * 1.12)
    # Jaw: narrower downwards.
    lower = smooth(0.10, -0.56, cy)
    x *= 1 - (0.27 - 0.12 * p["jawWidth"]) * lower**1.5
    z *= 1 - 0.06 * lower * (z > 0)
    z -= 0.05 * p["foreheadSlope"] * smooth(0.15, 0.65, cy) * front
    temple = (
        smooth(0.08, 0.30, cy) * (1 - smooth(0.35, 0.6, cy)) * smooth(0.55, 0.9, np.abs(cx) / A)
    )
    x *= 1 - 0.03 * temple
    for s in (1, -1):
        cheek = bump(cx, cy, s * 0.27, -0.135, 0.15, 0.13) * front
        x += s * (0.022 + 0.040 * p["cheekFull"]) * cheek
        z += (0.034 + 0.030 * p["cheekFull"]) * cheek
        jowl = bump(cx, cy, s * 0.26, -0.34, 0.13, 0.12) * front
        x += s * 0.025 * p["cheekFull"] * jowl
        # Sockets and brow ridge.
        z -= (0.030 + 0.018 * p["eyeDepth"]) * bump(cx, cy, s * EYE_X, EYE_Y, 0.13, 0.10) * front
        z += (
            (0.020 + 0.022 * p["browRidge"])
            * bump(cx, cy, s * 0.17, EYE_Y + 0.155, 0.13, 0.05)
            * front
        )
    chin = bump(cx, cy, 0, -0.50, 0.15, 0.095) * front
    z += (0.050 + 0.050 * p["chinForward"]) * chin
    y -= 0.085 * p["chinLength"] * smooth(-0.24, -0.56, cy) * smooth(-0.5, 0.3, unit_z)
    # The muzzle carries the lips; below it the chin fold.
    z += 0.030 * bump(cx, cy, 0, MOUTH_Y + 0.01, 0.19, 0.11) * front
    z -= 0.020 * bump(cx, cy, 0, MOUTH_Y - 0.105, 0.12, 0.035) * front
    # Nose: a ridge that rises towards the tip, a ball tip and two wings.
    along = np.clip((EYE_Y + 0.05 - cy) / 0.20, 0, 1.7)
    ridge = np.where(
        along <= 1,
        0.16 * along**0.6 * (1 + 0.5 * p["noseBridge"]) * (1 - along) + along**1.7,
        np.exp(-(((along - 1) / 0.22) ** 2)),
    )
    width = 0.034 + 0.020 * np.clip(along, 0, 1) + 0.012 * p["noseWidth"] * np.clip(along, 0, 1)
    z += (0.070 + 0.032 * p["noseLength"]) * ridge * np.exp(-((np.abs(cx) / width) ** 2.2)) * front
    tip = bump(cx, cy, 0, EYE_Y - 0.155, 0.052, 0.048) * front
    z += 0.030 * tip
    y += 0.032 * p["noseTip"] * bump(cx, cy, 0, EYE_Y - 0.16, 0.07, 0.06) * front
    for s in (1, -1):
        wing = (
            bump(cx, cy, s * (0.056 + 0.010 * p["noseWidth"]), EYE_Y - 0.172, 0.030, 0.030) * front
        )
        z += 0.030 * wing
        x += s * (0.006 + 0.016 * p["noseWidth"]) * wing
    return x, y, z, cx, cy, front


def ball_centre(p, s):
    return np.array(
        [
            s * (EYE_X + 0.028 * p["eyeDistance"]),
            EYE_Y + 0.025 * p["eyeHeight"],
            BALL_Z - 0.018 * p["eyeDepth"],
        ]
    )


def ball_radius(p):
    return BALL * (1 + 0.07 * p["eyeSize"])


def _skin_surface(p, e):
    skin = _skin()
    ux, uy, uz = skin.chart[:, 0] / A, (skin.chart[:, 1] - CENTRE) / B, skin.front
    x, y, z, cx, cy, front = skull(ux, uy, uz, p)
    face = (uz > 0.0).astype(float)

    # --- lips at rest: the chart's opening is closed, the lips get their profile
    k = mouth_opening(cx)
    upper, lower = (cy >= MOUTH_Y).astype(float), (cy < MOUTH_Y).astype(float)
    beyond = np.maximum(np.abs(cy - MOUTH_Y) - GAP * k, 0.0)  # distance from the margin
    lip = np.where(upper > 0, UPPER_LIP, LOWER_LIP) * np.clip(k, 0.05, 1) ** 0.8
    a = beyond / lip
    soft = smooth(1.12, 0.86, np.abs(cx) / MOUTH_W) * face
    y += (lower - upper) * GAP * k * np.exp(-((beyond / 0.055) ** 2)) * face
    full = 1 + 0.40 * p["lipFull"]
    z += soft * full * np.where(upper > 0, 0.026, 0.032) * np.exp(-(((a - 0.45) / 0.50) ** 2))
    z -= soft * 0.010 * np.exp(-((a / 0.22) ** 2))
    y += soft * 0.010 * p["lipFull"] * (upper - lower) * np.exp(-((a - 0.9) ** 2) / 0.4) * k
    z -= 0.014 * soft * upper * bump(cx, cy, 0, MOUTH_Y + 0.085, 0.016, 0.05)  # philtrum
    corner = bump(cx, cy, MOUTH_W * 1.06, MOUTH_Y, 0.03) + bump(
        cx, cy, -MOUTH_W * 1.06, MOUTH_Y, 0.03
    )
    z -= 0.012 * corner * face
    # The corners of a friendly mouth point up a little.
    y += (
        0.011
        * (bump(cx, cy, MOUTH_W, MOUTH_Y, 0.06) + bump(cx, cy, -MOUTH_W, MOUTH_Y, 0.06))
        * face
    )
    around = bump(cx, cy, 0, MOUTH_Y, 0.20, 0.09) * face
    x += 0.20 * p["mouthWidth"] * cx * around
    y += 0.032 * p["mouthHeight"] * bump(cx, cy, 0, MOUTH_Y, 0.26, 0.13) * face

    # --- eyes and their surroundings
    for s, side in zip((1, -1), SIDES):
        d = cx - s * EYE_X
        region = np.exp(-(np.abs(d / 0.17) ** 4) - np.abs((cy - EYE_Y) / 0.16) ** 4) * face
        x += s * 0.028 * p["eyeDistance"] * region
        y += 0.025 * p["eyeHeight"] * region + 0.16 * p["eyeTilt"] * s * d * region
        y += 0.028 * p["browHeight"] * bump(cx, cy, s * 0.19, EYE_Y + 0.17, 0.17, 0.06) * face

        inner = bump(cx, cy, s * 0.085, EYE_Y + 0.165, 0.085, 0.075) * face
        outer = bump(cx, cy, s * 0.27, EYE_Y + 0.15, 0.10, 0.08) * face
        y += 0.065 * (e["browInnerUp"] * inner + e["browOuterUp" + side] * outer)
        down = e["browDown" + side]
        y -= down * (0.062 * inner + 0.030 * outer)
        x -= s * down * 0.028 * inner
        z += down * 0.012 * inner

        # Lids: margins move in the chart, then the skin is laid on the eyeball.
        u = d / EYE_W
        up, low = eye_margin(np.clip(u, -1, 1))
        blink, wide = e["eyeBlink" + side], e["eyeWide" + side]
        squint = e["eyeSquint" + side] + 0.7 * e["cheekSquint" + side]
        look = e["eyeLookUp" + side] - e["eyeLookDown" + side]
        top = cy >= EYE_Y
        off = np.where(top, cy - EYE_Y - up, EYE_Y - cy - low)  # beyond the margin, outwards
        near = face * (np.abs(u) < 1.0)
        fall = np.exp(-((np.maximum(off, 0) / 0.050) ** 2)) * near
        lid_up = up * (
            0.10 * p["eyeSize"] + 0.22 * wide + 0.13 * look - 0.22 * squint
        ) - blink * 1.06 * (up + 0.62 * low)
        lid_low = low * (
            0.10 * p["eyeSize"] + 0.12 * wide - 0.12 * look - 0.40 * squint - 0.30 * blink
        )
        y += fall * np.where(top, lid_up, -lid_low)
        x += 0.06 * p["eyeSize"] * d * region
        centre, radius = ball_centre(p, s), ball_radius(p)
        r = radius + np.where(top, LID, LID * 0.72)
        flat = (x - centre[0]) ** 2 + (y - centre[1]) ** 2
        on_ball = centre[2] + np.sqrt(np.clip(r * r - flat, 0, None))
        t = np.where(off <= 0, 0.0, off / 0.062) + np.maximum(np.abs(u) - 1.0, 0) / 0.30
        laid = face * np.exp(-(t**2.4)) * (np.abs(d) < EYE_W * 1.75) * (np.abs(cy - EYE_Y) < 0.25)
        z += np.where(flat < r * r, laid * (on_ball - z), 0)
        # The crease above the lid and the soft fold below.
        z -= (
            0.012
            * near
            * np.where(top, np.exp(-(((off - 0.040) / 0.014) ** 2)), 0)
            * (1 - 0.8 * blink)
        )
        inward = skin.wall * (np.abs(d) < EYE_W * 1.05) * (np.abs(cy - EYE_Y) < 0.12) * face
        ball_z = centre[2] + np.sqrt(np.clip((radius + 0.001) ** 2 - flat, 0, None))
        z = np.where(inward > 0, np.minimum(z, np.where(flat < radius**2, ball_z, z - LID)), z)

        # --- one-sided mouth channels
        c1 = bump(cx, cy, s * MOUTH_W, MOUTH_Y, 0.080, 0.075) * face
        c2 = bump(cx, cy, s * MOUTH_W * 0.72, MOUTH_Y, 0.12, 0.11) * face
        apple = bump(cx, cy, s * 0.26, EYE_Y - 0.19, 0.12, 0.10) * face
        smile, frown = e["mouthSmile" + side], e["mouthFrown" + side]
        y += smile * (0.058 * c1 + 0.022 * c2 + 0.030 * apple)
        x += s * smile * (0.052 * c1 + 0.012 * apple)
        z += smile * (0.034 * apple - 0.022 * c1)
        y -= frown * (0.060 * c1 + 0.014 * c2)
        x += s * frown * 0.012 * c1
        stretch, dimple = e["mouthStretch" + side], e["mouthDimple" + side]
        x += s * (0.058 * stretch + 0.030 * dimple) * c1
        y -= stretch * 0.030 * c1
        z -= (0.012 * stretch + 0.028 * dimple) * c1
        y += e["cheekSquint" + side] * 0.038 * apple
        z += e["cheekSquint" + side] * 0.026 * apple
        puff = bump(cx, cy, s * 0.27, MOUTH_Y + 0.04, 0.14, 0.13) * face
        x += s * e["cheekPuff"] * 0.070 * puff
        z += e["cheekPuff"] * 0.055 * puff
        sneer = e["noseSneer" + side]
        alar = bump(cx, cy, s * 0.055, EYE_Y - 0.16, 0.055, 0.065) * face
        y += sneer * (
            0.034 * alar
            + 0.022 * upper * bump(cx, cy, s * 0.08, MOUTH_Y + 0.05, 0.055, 0.06) * face
        )
        z += sneer * 0.010 * alar
        half = smooth(-0.05, 0.05, s * cx) * face
        lift = (
            np.exp(-((beyond / 0.085) ** 2))
            * half
            * np.clip(1 - (cx / (MOUTH_W * 1.05)) ** 2, 0, 1) ** 0.5
        )
        y += e["mouthUpperUp" + side] * 0.046 * lift * upper
        y -= e["mouthLowerDown" + side] * 0.052 * lift * lower
        press = e["mouthPress" + side]
        flatten = np.exp(-((beyond / 0.05) ** 2)) * half * soft
        y -= press * (upper - lower) * 0.35 * np.minimum(beyond, 0.05) * flatten
        z -= press * 0.020 * flatten

    # --- jaw
    # The lips part in an oval, the cheeks follow gradually.
    reach = 0.004 + 0.17 * smooth(0.25 * MOUTH_W, 1.75 * MOUTH_W, np.abs(cx))
    jaw = smooth(reach, -reach, cy - MOUTH_Y) * smooth(-0.30, 0.35, uz)
    jaw = np.where(face > 0, jaw, jaw * smooth(0.0, -0.3, cy))
    jaw *= 1 - 0.30 * bump(np.abs(cx), cy, MOUTH_W, MOUTH_Y, 0.05, 0.06) * face
    opened = e["jawOpen"]
    y -= opened * 0.170 * jaw
    z -= opened * 0.055 * jaw
    y += opened * 0.012 * upper * soft * k * np.exp(-((beyond / 0.06) ** 2))
    x -= (
        opened
        * 0.10
        * cx
        * np.exp(-(((cy - MOUTH_Y) / 0.07) ** 2))
        * smooth(1.7, 0.8, np.abs(cx) / MOUTH_W)
        * face
    )
    x += 0.055 * (e["jawLeft"] - e["jawRight"]) * jaw
    z += 0.050 * e["jawForward"] * jaw
    # --- both-sided mouth channels
    ring = np.exp(-((cx / 0.21) ** 4) - (np.abs(cy - MOUTH_Y) / 0.11) ** 4) * face
    pucker, funnel = e["mouthPucker"], e["mouthFunnel"]
    x -= (0.44 * pucker + 0.34 * funnel) * cx * ring
    z += (0.055 * pucker + 0.050 * funnel) * ring * np.exp(-((cx / 0.13) ** 2))
    edge = np.exp(-((beyond / 0.07) ** 2)) * k * face
    y += funnel * (0.036 * upper - 0.044 * lower) * edge
    y += (
        pucker
        * (upper - lower)
        * 0.012
        * ring
        * np.exp(-((beyond / 0.06) ** 2))
        * smooth(0.0, 0.02, beyond)
    )
    x += 0.065 * (e["mouthLeft"] - e["mouthRight"]) * ring
    y += (
        e["mouthClose"]
        * 0.160
        * lower
        * np.exp(-((beyond / 0.090) ** 2))
        * np.clip(k, 0, 1) ** 0.5
        * face
    )
    for name, mask, sign in (("mouthRollLower", lower, 1), ("mouthRollUpper", upper, -1)):
        roll = np.exp(-((beyond / 0.045) ** 2)) * mask * soft * e[name]
        z -= 0.040 * roll
        y += sign * 0.012 * roll
    shrug = e["mouthShrugLower"] * (
        np.exp(-((beyond / 0.07) ** 2)) * soft * lower + bump(cx, cy, 0, -0.47, 0.15, 0.09) * face
    )
    y += (
        0.028 * shrug
        + 0.012 * e["mouthShrugUpper"] * np.exp(-((beyond / 0.06) ** 2)) * soft * upper
    )
    z += 0.020 * shrug

    # Inner wall of the lips: turned inwards, so that lips have a thickness.
    wall = (
        (skin.wall > 0) & (np.abs(cy - MOUTH_Y) < 0.05) & (np.abs(cx) < MOUTH_W * 1.05) & (face > 0)
    )
    z = np.where(wall, z - 0.035, z)
    return np.stack([x, y, z], 1)


EYE_BALL, EYE_FACES = _ball(13, 22, "z")
EAR_ROWS, EAR_COLUMNS = 9, 14
EAR_BALL, EAR_FACES = _ball(EAR_ROWS, EAR_COLUMNS, "y")
TONGUE_BALL, TONGUE_FACES = _ball(8, 14, "y")
BAG_DEPTHS = (0.05, 0.12, 0.20)
TEETH_ROWS, TEETH_COLUMNS = 4, 17
NECK_ROWS, NECK_COLUMNS = 9, 28
SHIRT_ROWS, SHIRT_COLUMNS = 9, 36


def _teeth_grid():
    """Coordinates of a row's vertices: -1 to 1 along it, 1 to -1 down it."""
    v, u = np.meshgrid(
        np.linspace(1, -1, TEETH_ROWS), np.linspace(-1, 1, TEETH_COLUMNS), indexing="ij"
    )
    return u.ravel(), v.ravel()


def _teeth(p, e, lower, lips):
    """A row of teeth behind lips whose margin lies at z = `lips` in the middle."""
    u, v = _teeth_grid()
    narrow = 1 - 0.30 * e["mouthPucker"] - 0.2 * e["mouthFunnel"]
    x = 0.118 * np.sin(1.25 * u) / np.sin(1.25) * narrow
    z = lips - 0.052 - 0.085 * u * u - 0.010 * v * v
    if lower:
        y = MOUTH_Y - 0.044 + 0.022 * v - 0.155 * e["jawOpen"]
        z = z - 0.014 - 0.085 * e["jawOpen"] + 0.045 * e["jawForward"]
        x = 0.94 * x + 0.05 * (e["jawLeft"] - e["jawRight"])
    else:
        y = MOUTH_Y + 0.016 + 0.028 * v
    return np.stack([x * (1 + 0.10 * p["mouthWidth"]), y + 0.032 * p["mouthHeight"], z], 1)


@functools.lru_cache(8)
def _lip_margin(shape):
    """z of the lower lip's margin in the middle of the resting mouth."""
    margin = _skin().rim + MOUTH_COUNT
    v = _skin_surface(dict(shape), REST)[margin]
    return v[np.argmin(np.abs(v[:, 0]) + (_skin().chart[margin, 1] > MOUTH_Y)), 2]


def parts(p, e):
    """All parts but the hair: a list of (name, vertices) for one identity and expression."""
    head = _skin_surface(p, e)
    skin = _skin()
    out = [("skin", head)]
    for s, side in zip((1, -1), SIDES):
        yaw = s * (e["eyeLookOut" + side] - e["eyeLookIn" + side]) * 0.46
        pitch = (e["eyeLookUp" + side] - e["eyeLookDown" + side]) * 0.36
        d = EYE_BALL
        x = d[:, 0] * np.cos(yaw) + d[:, 2] * np.sin(yaw)
        z = -d[:, 0] * np.sin(yaw) + d[:, 2] * np.cos(yaw)
        y = d[:, 1] * np.cos(pitch) + z * np.sin(pitch)
        z = -d[:, 1] * np.sin(pitch) + z * np.cos(pitch)
        out.append(("eye" + side, ball_centre(p, s) + ball_radius(p) * np.stack([x, y, z], 1)))
    for s, side in zip((1, -1), SIDES):
        size = 1 + 0.24 * p["earSize"]
        v = EAR_BALL * np.array([0.040, 0.120, 0.075]) * size
        v[:, 0] += 0.55 * np.clip(-v[:, 2], -0.02, None)  # stands off towards the back
        v[:, 1] += 0.25 * -v[:, 2]
        v *= np.array([s, 1, 1])
        out.append(("ear" + side, v + np.array([s * 0.487, 0.000, -0.02])))
    rim = head[skin.rim]
    bag = [rim + np.array([0, 0, 0.004])]
    for depth in BAG_DEPTHS:
        bag.append(
            np.stack(
                [
                    rim[:, 0] * (1 - 0.5 * depth),
                    rim[:, 1] + np.sign(rim[:, 1] - rim[:, 1].mean()) * 0.02,
                    rim[:, 2].min() * 0.3 + rim[:, 2] * 0.7 - depth,
                ],
                1,
            )
        )
    bag.append(bag[-1].mean(0, keepdims=True))
    out.append(("mouth", np.concatenate(bag)))
    lips = _lip_margin(tuple(p.items()))
    out.append(("upperTeeth", _teeth(p, e, False, lips)))
    out.append(("lowerTeeth", _teeth(p, e, True, lips)))
    tongue = TONGUE_BALL * np.array([0.078, 0.026, 0.105])
    tip = smooth(-0.02, 0.105, tongue[:, 2])
    tongue = tongue + np.array([0, MOUTH_Y - 0.050, lips - 0.200])
    tongue[:, 1] += (
        0.032 * p["mouthHeight"]
        - 0.145 * e["jawOpen"]
        + 0.020 * e["tongueOut"]
        - 0.03 * tip * e["tongueOut"]
    )
    tongue[:, 2] += 0.210 * tip * e["tongueOut"] - 0.035 * e["jawOpen"]
    out.append(("tongue", tongue))
    h, a = np.meshgrid(
        np.linspace(-0.36, -0.97, NECK_ROWS),
        np.arange(NECK_COLUMNS) / NECK_COLUMNS * 2 * np.pi,
        indexing="ij",
    )
    h, a = h.ravel(), a.ravel()
    r = (0.218 + 0.030 * p["neckWidth"]) * (1 + 0.28 * smooth(-0.58, -0.97, h))
    out.append(("neck", np.stack([r * np.sin(a), h, r * np.cos(a) * 0.95 - 0.08], 1)))
    t, a = np.meshgrid(
        np.linspace(0, 1, SHIRT_ROWS),
        np.arange(SHIRT_COLUMNS) / SHIRT_COLUMNS * 2 * np.pi,
        indexing="ij",
    )
    t, a = t.ravel(), a.ravel()
    collar = smooth(0.0, 0.10, t)
    r = 0.252 + 0.030 * p["neckWidth"] + 0.020 * collar + 0.50 * t**0.70
    y = -0.705 + 0.020 * (1 - collar) - 0.27 * t**1.7 - 0.035 * np.cos(a) * (1 - t)
    shirt = np.stack([r * np.sin(a), y, r * np.cos(a) * 0.50 - 0.08], 1)
    # A last row closes the bust from below.
    out.append(("shirt", np.concatenate([shirt, shirt[-SHIRT_COLUMNS:] * [0.02, 1, 0.02]])))
    # Proportions of the whole head, fading out along the neck.
    result = []
    for name, v in out:
        w = along_neck(v) if name in ("neck", "shirt") else 1.0
        result.append((name, proportioned(v, p, w, w)))
    return result


def along_neck(v):
    """How much vertices (n, 3) take part in the head's proportions: less and less downwards."""
    return smooth(-0.78, -0.42, v[:, 1])


def proportioned(v, p, across, upwards):
    """Vertices (n, 3) with the proportions of a head, by these shares of its width and depth and of
    its height, and fitted into the cube together with the highest hair."""
    v = v.copy()
    v[:, 0] *= 1 + 0.085 * p["headWidth"] * across
    v[:, 1] += 0.075 * p["headHeight"] * (v[:, 1] - EYE_Y) * upwards
    v[:, 2] *= 1 + 0.065 * p["headDepth"] * across
    return v * SCALE + np.array([0.0, LIFT, 0.0])


MATERIALS = {
    "skin": SKIN,
    "eyeLeft": EYE,
    "eyeRight": EYE,
    "earLeft": EAR,
    "earRight": EAR,
    "mouth": MOUTH,
    "upperTeeth": TEETH,
    "lowerTeeth": TEETH,
    "tongue": TONGUE,
    "neck": NECK,
    "shirt": SHIRT,
    "hair": HAIR,
}
REST_SHAPE = dict.fromkeys(SHAPES, 0.0)
REST = dict.fromkeys(EXPRESSIONS, 0.0)


@dataclass
class Mesh:
    """The linear head without hair, V vertices and F triangles."""

    template: np.ndarray  # (V, 3) f32
    shape_basis: np.ndarray  # (24, V, 3) f32
    expression_basis: np.ndarray  # (52, V, 3) f32
    faces: np.ndarray  # (F, 3) i32
    material: np.ndarray  # (V,) i32
    canonical: np.ndarray  # (V, 3) f32: coordinates that colours are painted in, by material
    ranges: dict  # part name -> slice of vertices
    jaw: np.ndarray  # (V,) how much the jaw joint carries a vertex

    def vertices(self, shape, expression):
        """Positions (V, 3) for weights of the identity (24,) and expression directions (52,)."""
        v = self.template + np.tensordot(shape, self.shape_basis, 1)
        return (v + np.tensordot(expression, self.expression_basis, 1)).astype(np.float32)


@functools.cache
def mesh():
    """Builds the mesh and linearises it: identity by central differences, expression at 1."""

    def all_vertices(p, e):
        return np.concatenate([v for _, v in parts(p, e)])

    rest = parts(REST_SHAPE, REST)
    template = np.concatenate([v for _, v in rest])
    shape = [
        (all_vertices({**REST_SHAPE, n: 1.0}, REST) - all_vertices({**REST_SHAPE, n: -1.0}, REST))
        / 2
        for n in SHAPES
    ]
    expr = [all_vertices(REST_SHAPE, {**REST, n: 1.0}) - template for n in EXPRESSIONS]
    skin = _skin()
    bag = [_grid(len(BAG_DEPTHS) + 1, MOUTH_COUNT, True)]
    last, tip = len(BAG_DEPTHS) * MOUTH_COUNT, (len(BAG_DEPTHS) + 1) * MOUTH_COUNT
    bag.append(
        np.array(
            [(last + i, tip, last + (i + 1) % MOUTH_COUNT) for i in range(MOUTH_COUNT)], np.int32
        )
    )
    faces = {
        "skin": skin.faces,
        "eyeLeft": EYE_FACES,
        "eyeRight": EYE_FACES,
        "earLeft": EAR_FACES,
        "earRight": EAR_FACES,
        "mouth": np.concatenate(bag),
        "upperTeeth": _grid(TEETH_ROWS, TEETH_COLUMNS, False),
        "lowerTeeth": _grid(TEETH_ROWS, TEETH_COLUMNS, False),
        "tongue": TONGUE_FACES,
        "neck": _grid(NECK_ROWS, NECK_COLUMNS, True),
        "shirt": _grid(SHIRT_ROWS + 1, SHIRT_COLUMNS, True),
    }
    ranges, start, all_faces, material = {}, 0, [], []
    for name, v in rest:
        ranges[name] = slice(start, start + len(v))
        all_faces.append(faces[name] + start)
        material.append(np.full(len(v), MATERIALS[name], np.int32))
        start += len(v)
    canonical = template.copy()
    canonical[ranges["skin"], :2] = skin.chart
    canonical[ranges["skin"], 2] = skin.front
    canonical[ranges["eyeLeft"]] = canonical[ranges["eyeRight"]] = EYE_BALL
    canonical[ranges["earLeft"]] = canonical[ranges["earRight"]] = EAR_BALL
    for name, rows in (("upperTeeth", 1.0), ("lowerTeeth", -1.0)):
        u, v = _teeth_grid()
        canonical[ranges[name]] = np.stack([u, v, np.full(u.size, rows)], 1)
    depth = np.concatenate([np.repeat([0.0, 0.35, 0.7, 1.0], MOUTH_COUNT), [1.0]])
    canonical[ranges["mouth"], 2] = depth
    jaw = np.zeros(start)
    opened = EXPRESSIONS.index("jawOpen")
    drop = -np.asarray(expr[opened])[:, 1] / (0.170 * SCALE)
    jaw[ranges["skin"]] = np.clip(drop[ranges["skin"]], 0, 1)
    jaw[ranges["mouth"]] = np.clip(drop[ranges["mouth"]], 0, 1)
    jaw[ranges["lowerTeeth"]] = 0.95
    jaw[ranges["tongue"]] = 0.8
    return Mesh(
        template.astype(np.float32),
        np.stack(shape).astype(np.float32),
        np.stack(expr).astype(np.float32),
        np.concatenate(all_faces).astype(np.int32),
        np.concatenate(material),
        canonical.astype(np.float32),
        ranges,
        jaw,
    )
