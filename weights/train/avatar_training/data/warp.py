"""The warp of a tracked picture to the canonical view, as the Rust crate does it."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

SQUARE = np.array([[-1, 1, 0], [1, 1, 0], [1, -1, 0], [-1, -1, 0]], np.float64)


def corners(transform: np.ndarray, width: int, height: int, focal: float) -> np.ndarray:
    """Pixels (4, 2) at which the square (±1, ±1, 0) is seen by the camera [R|T] (3, 4)."""
    transform = np.asarray(transform, np.float64)
    camera = SQUARE @ transform[:, :3] + transform[:, 3]
    if not (camera[:, 2] > 0).all():
        raise ValueError(
            "source camera: expected the square (±1, ±1, 0) in front of it, found it behind"
        )
    normalised = focal * camera[:, :2] / camera[:, 2:]
    return np.array([width, height]) / 2 * (1 - normalised)


def homography(quadrilateral: np.ndarray, size: int) -> np.ndarray:
    """Matrix (3, 3) from (column + ½, row + ½, 1) of the view to the picture.

    Sends the view's (0, 0), (size - 1, 0), (size - 1, size - 1), (0, size - 1) to `quadrilateral`
    (4, 2) (Heckbert, "Fundamentals of Texture Mapping and Image Warping", 1989, section 2.2.3).
    """
    p0, p1, p2, p3 = quadrilateral
    along, up, rest = p1 - p2, p3 - p2, p0 - p1 + p2 - p3

    def cross(a, b):
        return a[0] * b[1] - a[1] * b[0]

    determinant = cross(along, up)
    if abs(determinant) < 1:
        raise ValueError(
            f"source camera: expected the square (±1, ±1, 0) to cover pixels, found {quadrilateral}"
        )
    g, h = cross(rest, up) / determinant, cross(along, rest) / determinant
    matrix = np.empty((3, 3))
    matrix[:2, 0], matrix[2, 0] = p1 - p0 + g * p1, g
    matrix[:2, 1], matrix[2, 1] = p3 - p0 + h * p3, h
    matrix[:2, 2], matrix[2, 2] = p0, 1
    return matrix @ np.diag([1 / (size - 1), 1 / (size - 1), 1])


@njit(parallel=True, cache=True)
def _resample(pictures, matrices, views):
    size, height, width = views.shape[2], pictures.shape[1], pictures.shape[2]
    for task in prange(views.shape[0] * size):
        n, row = task // size, task % size
        m = matrices[n]
        for column in range(size):
            u, v = column + 0.5, row + 0.5
            w = 1 / (m[2, 0] * u + m[2, 1] * v + m[2, 2])
            x = np.float32((m[0, 0] * u + m[0, 1] * v + m[0, 2]) * w - 0.5)
            y = np.float32((m[1, 0] * u + m[1, 1] * v + m[1, 2]) * w - 0.5)
            r, g, b, coverage = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            if -1 < x < width and -1 < y < height:
                left, top = int(np.floor(x)), int(np.floor(y))
                fx, fy = x - np.float32(left), y - np.float32(top)
                for i in range(4):
                    px, py = left + i % 2, top + i // 2
                    if 0 <= px < width and 0 <= py < height:
                        share = (fx if i % 2 else np.float32(1) - fx) * (
                            fy if i // 2 else np.float32(1) - fy
                        )
                        coverage += share
                        # Composited on black and rounded to 8 bits, as pictures are read.
                        alpha = np.int32(pictures[n, py, px, 3])
                        share *= np.float32(1 / 255)
                        r += share * np.float32((pictures[n, py, px, 0] * alpha + 127) // 255)
                        g += share * np.float32((pictures[n, py, px, 1] * alpha + 127) // 255)
                        b += share * np.float32((pictures[n, py, px, 2] * alpha + 127) // 255)
            views[n, 0, row, column] = r * coverage
            views[n, 1, row, column] = g * coverage
            views[n, 2, row, column] = b * coverage


def canonical_views(
    pictures: np.ndarray,
    transforms: np.ndarray,
    size: int,
    focal: float = 12.0,
    shift: np.ndarray | None = None,
) -> np.ndarray:
    """Canonical views (N, 3, size, size) f32 of pictures (N, H, W, 4) u8 with cameras (N, 3, 4).

    The square's corners are truncated to whole pixels, samples are bilinear, and partly covered
    border pixels are weighted by their coverage twice, as in the authors' data. `shift` (N, 4, 2)
    moves the corners by that many pixels: an error of the tracker.
    """
    height, width = pictures.shape[1:3]
    matrices = np.empty((len(pictures), 3, 3))
    for n, transform in enumerate(transforms):
        seen = corners(transform, width, height, focal)
        if shift is not None:
            seen = seen + shift[n]
        matrices[n] = homography(np.trunc(seen), size)
    views = np.empty((len(pictures), 3, size, size), np.float32)
    _resample(pictures, matrices, views)
    return views
