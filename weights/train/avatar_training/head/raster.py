"""A small software rasteriser with the head's painted materials. Pictures are RGBA in [0, 1]."""

import math

import numpy as np
from numba import njit

from ..camera import project
from .mesh import (
    EAR,
    EYE,
    EYE_LOW,
    EYE_UP,
    EYE_W,
    EYE_X,
    EYE_Y,
    GAP,
    HAIR,
    LOWER_LIP,
    MOUTH,
    MOUTH_W,
    MOUTH_Y,
    NECK,
    SKIN,
    TEETH,
    TONGUE,
    UPPER_LIP,
)

# Rows of `colours`: linear order of an identity's colours.
(
    SKIN_COLOUR,
    HAIR_COLOUR,
    EYE_COLOUR,
    LIP_COLOUR,
    SHIRT_COLOUR,
    BROW_COLOUR,
    COLLAR_COLOUR,
    LID_COLOUR,
) = range(8)
# Entries of `paint`.
BROW_WIDTH, BEARD, MOUSTACHE, BLUSH, LASHES, FRECKLES, STREAKS, CURLS, STUBBLE, BROW_ARCH = range(
    10
)


@njit(cache=True, fastmath=True)
def _normals(vertices, faces):
    n = np.zeros_like(vertices)
    for i in range(faces.shape[0]):
        a, b, c = faces[i]
        ux, uy, uz = (
            vertices[b, 0] - vertices[a, 0],
            vertices[b, 1] - vertices[a, 1],
            vertices[b, 2] - vertices[a, 2],
        )
        vx, vy, vz = (
            vertices[c, 0] - vertices[a, 0],
            vertices[c, 1] - vertices[a, 1],
            vertices[c, 2] - vertices[a, 2],
        )
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for k in (a, b, c):
            n[k, 0] += nx
            n[k, 1] += ny
            n[k, 2] += nz
    for i in range(vertices.shape[0]):
        length = math.sqrt(n[i, 0] ** 2 + n[i, 1] ** 2 + n[i, 2] ** 2) + 1e-12
        n[i] /= length
    return n


@njit(cache=True, fastmath=True)
def _smooth(a, b, x):
    t = min(max((x - a) / (b - a), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@njit(cache=True, fastmath=True)
def _mix(a, b, t):
    return (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t)


@njit(cache=True, fastmath=True)
def _hash(i, j):
    h = math.sin(i * 127.1 + j * 311.7) * 43758.5453
    return h - math.floor(h)


@njit(cache=True, fastmath=True)
def _skin_colour(q, colours, paint):
    """Colour, ambient occlusion and gloss of the skin at chart coordinates q."""
    base = (colours[SKIN_COLOUR, 0], colours[SKIN_COLOUR, 1], colours[SKIN_COLOUR, 2])
    dark = (base[0] * 0.60, base[1] * 0.44, base[2] * 0.42)
    rosy = (min(1.0, base[0] * 1.02), base[1] * 0.66, base[2] * 0.64)
    c, ao, gloss = base, 1.0, 0.10
    x, y, front = q[0], q[1], q[2]
    ax = abs(x)
    if front > 0.0:
        c = _mix(
            c,
            rosy,
            0.70
            * paint[BLUSH]
            * math.exp(-(((ax - 0.275) / 0.10) ** 2) - ((y + 0.135) / 0.075) ** 2),
        )
        c = _mix(
            c, rosy, 0.40 * paint[BLUSH] * math.exp(-((x / 0.06) ** 2) - ((y + 0.10) / 0.05) ** 2)
        )
        if paint[FRECKLES] > 0 and ax < 0.40 and -0.25 < y < 0.02:
            i, j = math.floor(x / 0.026), math.floor(y / 0.026)
            fx, fy = (
                x / 0.026 - i - 0.3 - 0.4 * _hash(i, j),
                y / 0.026 - j - 0.3 - 0.4 * _hash(j, i + 9),
            )
            spot = 1 - _smooth(0.10, 0.26, math.sqrt(fx * fx + fy * fy))
            fade = _smooth(0.40, 0.28, ax) * math.exp(-(((y + 0.11) / 0.075) ** 2))
            if _hash(i + 5, j - 3) < 0.6:
                c = _mix(c, dark, spot * 0.55 * paint[FRECKLES] * fade)
        # Nostrils and the shade under the nose.
        c = _mix(
            c,
            dark,
            min(
                1.0,
                1.05
                * math.exp(-(((ax - 0.030) / 0.015) ** 2) - ((y - EYE_Y + 0.190) / 0.009) ** 2),
            ),
        )
        ao *= 1 - 0.16 * math.exp(-((x / 0.075) ** 2) - ((y - EYE_Y + 0.205) / 0.014) ** 2)
        # Brow.
        u = (ax - 0.198) / 0.128
        arch = EYE_Y + 0.148 + (0.018 + 0.022 * paint[BROW_ARCH]) * (1 - u * u) - 0.004 * u
        thick = (
            0.019
            * paint[BROW_WIDTH]
            * (1.0 - 0.5 * _smooth(0.0, 1.0, u))
            * _smooth(-1.15, -0.85, u)
        )
        if abs(u) < 1.08 and thick > 0:
            w = (1 - _smooth(thick * 0.7, thick * 1.3, abs(y - arch))) * (
                1 - _smooth(0.86, 1.06, u)
            )
            c = _mix(
                c,
                (colours[BROW_COLOUR, 0], colours[BROW_COLOUR, 1], colours[BROW_COLOUR, 2]),
                w * 0.95,
            )
        # Lids: a tint, the crease and the lash line.
        e, d = (ax - EYE_X) / EYE_W, y - EYE_Y
        if abs(e) < 1.35:
            k = max(0.0, 1 - e * e)
            if d > 0:
                off = d - EYE_UP * k**0.55
                c = _mix(
                    c,
                    (colours[LID_COLOUR, 0], colours[LID_COLOUR, 1], colours[LID_COLOUR, 2]),
                    0.65 * math.exp(-(((off - 0.014) / 0.022) ** 2)) * _smooth(1.25, 0.8, abs(e)),
                )
                ao *= 1 - 0.22 * math.exp(-(((off - 0.041) / 0.010) ** 2)) * _smooth(
                    1.3, 0.8, abs(e)
                )
                w = (1 - _smooth(0.008 * paint[LASHES], 0.015 * paint[LASHES], off)) * _smooth(
                    1.10, 1.0, abs(e)
                )
                c = _mix(c, (0.085, 0.055, 0.05), w)
            else:
                off = -d - EYE_LOW * k**0.7
                w = (1 - _smooth(0.003, 0.008, off)) * _smooth(1.08, 0.95, abs(e))
                c = _mix(c, _mix(dark, (0.12, 0.07, 0.06), 0.45), 0.8 * w)
                ao *= 1 - 0.10 * math.exp(-(((off - 0.030) / 0.012) ** 2)) * _smooth(
                    1.2, 0.6, abs(e)
                )
        # Beard, moustache, stubble.
        k = max(0.0, 1 - (x / MOUTH_W) ** 2) ** 0.6
        d = y - MOUTH_Y
        lips = 1 - _smooth(0.8, 1.2, (abs(x) / (MOUTH_W * 1.12)) ** 4 + (d / 0.062) ** 4)
        low = (
            _smooth(-0.17, -0.29, y - 0.20 * _smooth(0.20, 0.42, ax))
            * (1 - lips)
            * _smooth(0.0, 0.30, front)
        )
        lip_top = math.exp(-((x / (MOUTH_W * 1.05)) ** 4) - ((d - 0.078) / 0.024) ** 2)
        hairy = max(low * paint[BEARD], lip_top * paint[MOUSTACHE])
        stubble = max(low, lip_top) * paint[STUBBLE]
        c = _mix(
            c,
            _mix(
                base,
                (colours[HAIR_COLOUR, 0], colours[HAIR_COLOUR, 1], colours[HAIR_COLOUR, 2]),
                0.45,
            ),
            stubble,
        )
        c = _mix(
            c,
            (colours[HAIR_COLOUR, 0], colours[HAIR_COLOUR, 1], colours[HAIR_COLOUR, 2]),
            min(1.0, hairy),
        )
        gloss *= 1 - 0.7 * min(1.0, hairy + stubble)
        # Lips, with a darker line where they meet.
        if abs(x) < MOUTH_W * 1.06:
            side = max(0.0, 1 - (x / (MOUTH_W * 1.02)) ** 2)
            bow = (
                1
                - 0.22 * math.exp(-((x / 0.020) ** 2))
                + 0.10 * math.exp(-(((ax - 0.034) / 0.022) ** 2))
            )
            height = (UPPER_LIP * bow if d > 0 else LOWER_LIP) * side**0.62
            beyond = abs(d) - GAP * k
            w = 1 - _smooth(height * 0.84, height * 1.10 + 1e-4, beyond)
            c = _mix(
                c,
                (colours[LIP_COLOUR, 0], colours[LIP_COLOUR, 1], colours[LIP_COLOUR, 2]),
                0.94 * w,
            )
            gloss += (0.16 if d < 0 else 0.05) * w
            ao *= 1 - 0.55 * (1 - _smooth(0.0, 0.012, beyond)) * _smooth(
                1.06, 0.95, abs(x) / MOUTH_W
            )
        ao *= 1 - 0.16 * math.exp(-((x / 0.10) ** 2) - ((d + 0.098) / 0.022) ** 2)
    ao *= 0.72 + 0.28 * _smooth(-0.54, -0.44, y)
    return c, ao, gloss


@njit(cache=True, fastmath=True)
def _shade(material, q, n, p, colours, paint):
    ao, gloss, wrap, power = 1.0, 0.0, 0.5, 18.0
    if material == SKIN:
        c, ao, gloss = _skin_colour(q, colours, paint)
    elif material == NECK:
        c = (
            colours[SKIN_COLOUR, 0] * 0.97,
            colours[SKIN_COLOUR, 1] * 0.93,
            colours[SKIN_COLOUR, 2] * 0.92,
        )
        ao = 0.60 + 0.40 * _smooth(-0.50, -0.70, p[1])
        gloss = 0.06
    elif material == EAR:
        inside = _smooth(0.75, 0.25, math.sqrt((q[1] / 0.9) ** 2 + ((q[2] - 0.05) / 0.8) ** 2))
        c = _mix(
            (
                colours[SKIN_COLOUR, 0],
                colours[SKIN_COLOUR, 1] * 0.92,
                colours[SKIN_COLOUR, 2] * 0.90,
            ),
            (
                colours[SKIN_COLOUR, 0] * 0.72,
                colours[SKIN_COLOUR, 1] * 0.50,
                colours[SKIN_COLOUR, 2] * 0.47,
            ),
            0.85 * inside,
        )
        gloss = 0.08
    elif material == EYE:
        r = math.sqrt(q[0] ** 2 + q[1] ** 2) if q[2] > 0 else 9.0
        c, wrap = (0.96, 0.955, 0.95), 0.85
        iris = 0.50
        if r < iris * 1.06:
            e = (colours[EYE_COLOUR, 0], colours[EYE_COLOUR, 1], colours[EYE_COLOUR, 2])
            light = (
                min(1.0, e[0] * 1.35 + 0.06),
                min(1.0, e[1] * 1.35 + 0.06),
                min(1.0, e[2] * 1.35 + 0.06),
            )
            inner = _mix(e, light, _smooth(0.45, -0.55, q[1] / iris))
            rim = (e[0] * 0.32, e[1] * 0.32, e[2] * 0.32)
            i = _mix(inner, rim, _smooth(iris * 0.70, iris * 0.98, r))
            i = _mix(i, (0.018, 0.018, 0.022), 1 - _smooth(iris * 0.42, iris * 0.52, r))
            c = _mix(i, c, _smooth(iris * 0.97, iris * 1.06, r))
        ao = 0.62 + 0.38 * _smooth(0.62, 0.12, n[1])
        # A window's reflection and a small one opposite, fixed to the light.
        h = 1 - _smooth(0.085, 0.125, math.sqrt((n[0] - 0.17) ** 2 + (n[1] - 0.21) ** 2))
        h = max(
            h,
            0.55 * (1 - _smooth(0.035, 0.065, math.sqrt((n[0] + 0.15) ** 2 + (n[1] + 0.17) ** 2))),
        )
        c = _mix(c, (1.3, 1.3, 1.3), h)
    elif material == HAIR:
        c = (colours[HAIR_COLOUR, 0], colours[HAIR_COLOUR, 1], colours[HAIR_COLOUR, 2])
        s = math.sin(q[0] * 30 + 2.2 * math.sin(q[1] * 5)) * 0.55 + math.sin(q[0] * 67 + 1.3) * 0.28
        s *= paint[STREAKS]
        curl = (
            math.sin(q[0] * 17 + 3 * math.sin(q[1] * 13))
            * math.sin(q[1] * 21 + 2 * math.sin(q[0] * 11))
            * paint[CURLS]
        )
        k = 1 + 0.16 * s + 0.26 * curl
        c = (c[0] * k, c[1] * k, c[2] * k)
        ao = q[2]
        gloss = 0.20 * (1 + 0.6 * s) * (1 - 0.7 * paint[CURLS])
        power = 10.0
    elif material == MOUTH:
        c, wrap = _mix((0.42, 0.12, 0.12), (0.06, 0.012, 0.015), _smooth(0.05, 0.75, q[2])), 1.0
    elif material == TEETH:
        c, wrap = (0.97, 0.955, 0.92), 0.9
        gap = abs(math.sin(q[0] * 13.0))
        ao = (0.94 - 0.34 * q[0] * q[0]) * (0.88 + 0.12 * _smooth(0.0, 0.25, gap))
        gum = _smooth(0.55, 0.95, q[1] * q[2])
        c = _mix(c, (0.80, 0.42, 0.42), gum)
        gloss = 0.10
    elif material == TONGUE:
        c, wrap, ao, gloss = (0.82, 0.36, 0.38), 0.8, 0.55 + 0.45 * _smooth(0.20, 0.40, p[2]), 0.08
    else:
        r = math.sqrt(p[0] ** 2 + ((p[2] + 0.08) / 0.6) ** 2)
        c = (colours[SHIRT_COLOUR, 0], colours[SHIRT_COLOUR, 1], colours[SHIRT_COLOUR, 2])
        c = _mix(
            (colours[COLLAR_COLOUR, 0], colours[COLLAR_COLOUR, 1], colours[COLLAR_COLOUR, 2]),
            c,
            _smooth(-0.672, -0.690, p[1]),
        )
        ao = 0.72 + 0.28 * _smooth(0.24, 0.36, r)
    # A warm key from the upper left of the picture's right, a cool fill, sky and a rim from behind.
    key = max(0.0, (n[0] * 0.38 + n[1] * 0.50 + n[2] * 0.778) * (1 - wrap * 0.5) + wrap * 0.5)
    fill = max(0.0, -0.75 * n[0] + 0.10 * n[1] + 0.65 * n[2])
    sky = 0.5 + 0.5 * n[1]
    shine = gloss * max(0.0, n[0] * 0.25 + n[1] * 0.42 + n[2] * 0.872) ** power
    rim = 0.16 * max(0.0, -0.80 * n[0] + 0.35 * n[1] - 0.45 * n[2])
    sky += 0.30 * max(0.0, -n[2])
    r = c[0] * ao * (0.80 * key + 0.15 * fill + 0.36 * sky) + shine + rim * 0.5
    g = c[1] * ao * (0.77 * key + 0.17 * fill + 0.37 * sky) + shine + rim * 0.55
    b = c[2] * ao * (0.73 * key + 0.20 * fill + 0.41 * sky) + shine * 0.95 + rim * 0.65
    return r, g, b


@njit(cache=True, fastmath=True)
def _raster(vertices, faces, material, canonical, normals, screen, size, view, colours, paint):
    depth = np.full((size, size), 1e9, np.float32)
    hit = np.full((size, size), -1, np.int32)
    bary = np.zeros((size, size, 2), np.float32)
    for i in range(faces.shape[0]):
        a, b, c = faces[i]
        x0, y0, x1, y1, x2, y2 = (
            screen[a, 0],
            screen[a, 1],
            screen[b, 0],
            screen[b, 1],
            screen[c, 0],
            screen[c, 1],
        )
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-7:
            continue
        left, right = (
            max(0, int(math.ceil(min(x0, x1, x2) - 0.5))),
            min(size - 1, int(math.floor(max(x0, x1, x2) - 0.5))),
        )
        top, bottom = (
            max(0, int(math.ceil(min(y0, y1, y2) - 0.5))),
            min(size - 1, int(math.floor(max(y0, y1, y2) - 0.5))),
        )
        inv = 1 / area
        for r in range(top, bottom + 1):
            for s in range(left, right + 1):
                px, py = s + 0.5, r + 0.5
                w1 = ((px - x0) * (y2 - y0) - (x2 - x0) * (py - y0)) * inv
                w2 = ((x1 - x0) * (py - y0) - (px - x0) * (y1 - y0)) * inv
                w0 = 1 - w1 - w2
                if w0 >= -1e-5 and w1 >= -1e-5 and w2 >= -1e-5:
                    z = w0 * screen[a, 2] + w1 * screen[b, 2] + w2 * screen[c, 2]
                    if z < depth[r, s]:
                        depth[r, s] = z
                        hit[r, s] = i
                        bary[r, s, 0], bary[r, s, 1] = w1, w2
    out = np.zeros((size, size, 4), np.float32)
    place = np.zeros((size, size, 3), np.float32)
    q, n, p = np.zeros(3), np.zeros(3), np.zeros(3)
    for r in range(size):
        for s in range(size):
            i = hit[r, s]
            if i < 0:
                continue
            a, b, c = faces[i]
            w1, w2 = bary[r, s]
            w0 = 1 - w1 - w2
            for k in range(3):
                q[k] = w0 * canonical[a, k] + w1 * canonical[b, k] + w2 * canonical[c, k]
                n[k] = w0 * normals[a, k] + w1 * normals[b, k] + w2 * normals[c, k]
                p[k] = w0 * vertices[a, k] + w1 * vertices[b, k] + w2 * vertices[c, k]
            n /= math.sqrt(n[0] ** 2 + n[1] ** 2 + n[2] ** 2) + 1e-9
            m = material[a]
            if n[0] * view[0] + n[1] * view[1] + n[2] * view[2] < 0 and m != SKIN:
                n *= -1
            red, green, blue = _shade(m, q, n, p, colours, paint)
            out[r, s, 0], out[r, s, 1], out[r, s, 2] = (
                min(max(red, 0.0), 1.0),
                min(max(green, 0.0), 1.0),
                min(max(blue, 0.0), 1.0),
            )
            out[r, s, 3] = 1
            place[r, s] = p
    return out, place


def render(vertices, faces, material, canonical, transform, colours, paint, size, supersample=2):
    """A picture (size, size, 4), premultiplied RGBA on black, and the world positions of the
    surface at the supersampled pixels (size·supersample, size·supersample, 3), zero where empty."""
    fine = size * supersample
    vertices = np.ascontiguousarray(vertices, np.float32)
    screen = project(vertices, transform, fine)
    view = -transform[:, 2].astype(np.float64)
    picture, place = _raster(
        vertices,
        faces,
        material,
        canonical,
        _normals(vertices, faces),
        screen,
        fine,
        view,
        np.asarray(colours, np.float64),
        np.asarray(paint, np.float64),
    )
    pooled = picture.reshape(size, supersample, size, supersample, 4).mean((1, 3))
    return pooled, place, picture
