"""CPU kernels of the radiance field: nearest points, point features, plane sampling.

Each makes one pass over the samples where PyTorch makes a dozen passes over memory. They are
compiled by numba when first called, for the sizes at hand.
"""

from __future__ import annotations

from functools import lru_cache

import numba
import numpy as np
from numba import njit, prange

LEAF = 16
HARMONICS = 27
# Samples of one task; consecutive samples are near each other, which the search relies on.
CHUNK = 512
FAR = np.float32(1e30)


def leaf_order(points: np.ndarray) -> np.ndarray:
    """Order of points (P, 3) in which every 16 successive ones lie close together."""
    order = np.arange(len(points))

    def split(first: int, last: int) -> None:
        leaves = -(-(last - first) // LEAF)
        if leaves <= 1:
            return
        part = order[first:last]
        extent = np.ptp(points[part], axis=0)
        order[first:last] = part[np.argsort(points[part, np.argmax(extent)], kind="stable")]
        middle = first + leaves // 2 * LEAF
        split(first, middle)
        split(middle, last)

    split(0, len(points))
    return order.astype(np.int32)


@njit(fastmath=True)
def _leaves(points, order, leaf_points, boxes):
    """Coordinates of the points in leaf order (L, 3, 16) and bounding boxes (L, 6)."""
    for leaf in range(leaf_points.shape[0]):
        for axis in range(3):
            low, high = FAR, -FAR
            for i in range(LEAF):
                slot = leaf * LEAF + i
                if slot < order.shape[0]:
                    value = points[order[slot], axis]
                    low, high = min(low, value), max(high, value)
                    leaf_points[leaf, axis, i] = value
                else:
                    leaf_points[leaf, axis, i] = np.float32(1e12)
            boxes[axis, leaf], boxes[3 + axis, leaf] = low, high


@lru_cache(maxsize=None)
def _nearest(neighbours: int):
    K = neighbours

    @njit(fastmath=True, parallel=True, cache=True)
    def search(x, points, order, index, distance):
        batch, samples = x.shape[0], x.shape[1]
        leaves = (order.shape[0] + LEAF - 1) // LEAF
        leaf_points = np.empty((batch, leaves, 3, LEAF), np.float32)
        boxes = np.empty((batch, 6, leaves), np.float32)
        for b in prange(batch):
            _leaves(points[b], order, leaf_points[b], boxes[b])
        chunks = (samples + CHUNK - 1) // CHUNK
        for task in prange(batch * chunks):
            b, first = task // chunks, task % chunks * CHUNK
            last = min(samples, first + CHUNK)
            bound = np.empty(leaves, np.float32)
            d = np.empty(LEAF, np.float32)
            best = np.empty(K, np.float32)
            slots = np.zeros(K, np.int32)
            lp, box = leaf_points[b], boxes[b]
            # A length known at compile time would unroll the loops before they are vectorised.
            width = lp.shape[2]
            for s in range(first, last):
                px, py, pz = x[b, s, 0], x[b, s, 1], x[b, s, 2]
                cut = FAR
                if s > first:
                    # The previous sample's neighbours bound how far this one's can be.
                    cut = np.float32(0)
                    for k in range(K):
                        leaf, i = slots[k] // LEAF, slots[k] % LEAF
                        ax, ay, az = px - lp[leaf, 0, i], py - lp[leaf, 1, i], pz - lp[leaf, 2, i]
                        cut = max(cut, ax * ax + ay * ay + az * az)
                    cut = cut * np.float32(1.00001) + np.float32(1e-12)
                for leaf in range(leaves):
                    ax = max(box[0, leaf] - px, px - box[3, leaf])
                    ay = max(box[1, leaf] - py, py - box[4, leaf])
                    az = max(box[2, leaf] - pz, pz - box[5, leaf])
                    ax, ay, az = (
                        max(ax, np.float32(0)),
                        max(ay, np.float32(0)),
                        max(az, np.float32(0)),
                    )
                    bound[leaf] = ax * ax + ay * ay + az * az
                found = 0
                for leaf in range(leaves):
                    if bound[leaf] > cut:
                        continue
                    for i in range(width):
                        ax, ay, az = px - lp[leaf, 0, i], py - lp[leaf, 1, i], pz - lp[leaf, 2, i]
                        d[i] = ax * ax + ay * ay + az * az
                    for i in range(width):
                        if d[i] < cut:
                            j = min(found, K - 1)
                            while j > 0 and best[j - 1] > d[i]:
                                best[j] = best[j - 1]
                                slots[j] = slots[j - 1]
                                j -= 1
                            best[j] = d[i]
                            slots[j] = leaf * LEAF + i
                            found = min(found + 1, K)
                            if found == K:
                                cut = min(cut, best[K - 1])
                for k in range(K):
                    index[b, s, k] = order[slots[k]]
                    distance[b, s, k] = best[k]

    return search


def nearest(x: np.ndarray, points: np.ndarray, neighbours: int, order: np.ndarray):
    """Nearest points of samples x (B, N, 3) among points (B, P, 3), nearest first.

    `order` (P) is a `leaf_order`, of these points or of similar ones. Returns indices
    (B, N, neighbours) i32 and squared distances likewise f32.
    """
    shape = (*x.shape[:2], neighbours)
    index, distance = np.empty(shape, np.int32), np.empty(shape, np.float32)
    _nearest(neighbours)(x, points, order, index, distance)
    return index, distance


@njit(fastmath=True, inline="always")
def _harmonics(x, y, z, g):
    """Sine and cosine of four octaves of a vector of length at most 1, and the vector."""
    for axis in range(3):
        v = x if axis == 0 else (y if axis == 1 else z)
        q = v * v
        s = np.float32(1 / 39916800)
        s = np.float32(1 / 362880) - q * s
        s = np.float32(1 / 5040) - q * s
        s = np.float32(1 / 120) - q * s
        s = np.float32(1 / 6) - q * s
        s = v * (np.float32(1) - q * s)
        c = np.float32(1 / 479001600)
        c = np.float32(1 / 3628800) - q * c
        c = np.float32(1 / 40320) - q * c
        c = np.float32(1 / 720) - q * c
        c = np.float32(1 / 24) - q * c
        c = np.float32(1 / 2) - q * c
        c = np.float32(1) - q * c
        for octave in range(4):
            g[axis * 4 + octave] = s
            g[12 + axis * 4 + octave] = c
            s, c = np.float32(2) * s * c, np.float32(1) - np.float32(2) * s * s
        g[24 + axis] = v


@lru_cache(maxsize=None)
def _point_features(neighbours: int):
    K = neighbours

    @njit(fastmath=True, inline="always")
    def layer(x, points, index, table, weight, b, s, g, h):
        H = table.shape[1]
        for k in range(K):
            p = index[b, s, k]
            rx, ry, rz = (
                x[b, s, 0] - points[b, p, 0],
                x[b, s, 1] - points[b, p, 1],
                x[b, s, 2] - points[b, p, 2],
            )
            inverse = np.float32(1) / max(np.sqrt(rx * rx + ry * ry + rz * rz), np.float32(1e-12))
            _harmonics(rx * inverse, ry * inverse, rz * inverse, g[k])
            for j in range(H):
                h[k, j] = table[p, j]
        for c in range(HARMONICS):
            for k in range(K):
                v = g[k, c]
                for j in range(H):
                    h[k, j] += v * weight[c, j]

    @njit(fastmath=True, parallel=True, cache=True)
    def forward(x, points, index, share, table, weight, out):
        batch, samples = x.shape[0], x.shape[1]
        H = table.shape[1]
        chunks = (samples + CHUNK - 1) // CHUNK
        for task in prange(batch * chunks):
            b, first = task // chunks, task % chunks * CHUNK
            g = np.empty((K, HARMONICS), np.float32)
            h = np.empty((K, H), np.float32)
            for s in range(first, min(samples, first + CHUNK)):
                layer(x, points, index, table, weight, b, s, g, h)
                for j in range(H):
                    out[b, s, j] = np.float32(0)
                for k in range(K):
                    a = share[b, s, k]
                    for j in range(H):
                        out[b, s, j] += a * max(h[k, j], np.float32(0))

    @njit(fastmath=True, parallel=True, cache=True)
    def backward(x, points, index, share, table, weight, gradient, table_gradient, weight_gradient):
        batch, samples = x.shape[0], x.shape[1]
        workers = table_gradient.shape[0]
        H = table.shape[1]
        chunks = (samples + CHUNK - 1) // CHUNK
        tasks = batch * chunks
        for worker in prange(workers):
            g = np.empty((K, HARMONICS), np.float32)
            h = np.empty((K, H), np.float32)
            dw = np.zeros((HARMONICS, H), np.float32)
            dt = table_gradient[worker]
            for task in range(worker * tasks // workers, (worker + 1) * tasks // workers):
                b, first = task // chunks, task % chunks * CHUNK
                for s in range(first, min(samples, first + CHUNK)):
                    layer(x, points, index, table, weight, b, s, g, h)
                    for k in range(K):
                        a = share[b, s, k]
                        p = index[b, s, k]
                        for j in range(H):
                            d = a * gradient[b, s, j]
                            d = d if h[k, j] > np.float32(0) else np.float32(0)
                            h[k, j] = d
                            dt[p, j] += d
                    for c in range(HARMONICS):
                        for k in range(K):
                            v = g[k, c]
                            for j in range(H):
                                dw[c, j] += v * h[k, j]
            weight_gradient[worker] = dw

    return forward, backward


def point_features(x, points, index, share, table, weight):
    """Sum over a sample's points of share * relu(table[point] + harmonics(direction) @ weight).

    x (B, N, 3), points (B, P, 3), index and share (B, N, K), table (P, H), weight (27, H);
    returns (B, N, H).
    """
    out = np.empty((*x.shape[:2], table.shape[1]), np.float32)
    _point_features(index.shape[2])[0](x, points, index, share, table, weight, out)
    return out


def point_features_backward(x, points, index, share, table, weight, gradient):
    """Gradients of `table` and `weight` of `point_features`."""
    workers = numba.get_num_threads()
    tables = np.zeros((workers, *table.shape), np.float32)
    weights = np.empty((workers, *weight.shape), np.float32)
    kernel = _point_features(index.shape[2])[1]
    kernel(x, points, index, share, table, weight, gradient, tables, weights)
    return tables.sum(0), weights.sum(0)


@lru_cache(maxsize=None)
def _sample_planes():

    @njit(fastmath=True, inline="always")
    def corner(x, b, s, plane, size):
        u = x[b, s, 2] if plane == 2 else x[b, s, 0]
        v = x[b, s, 2] if plane == 1 else x[b, s, 1]
        half = np.float32(0.5)
        u = (u + np.float32(1)) * (half * size) - half
        v = (v + np.float32(1)) * (half * size) - half
        # Keeps the conversion to integers defined; beyond a texel off the border all is zero.
        u = min(max(u, np.float32(-2)), np.float32(size + 1))
        v = min(max(v, np.float32(-2)), np.float32(size + 1))
        left, top = np.floor(u), np.floor(v)
        return int(left), int(top), u - left, v - top

    @njit(fastmath=True, parallel=True, cache=True)
    def forward(planes, x, out):
        batch, samples, size = x.shape[0], x.shape[1], planes.shape[2]
        chunks = (samples + CHUNK - 1) // CHUNK
        third = np.float32(1 / 3)
        C = out.shape[-1]
        for task in prange(batch * chunks):
            b, first = task // chunks, task % chunks * CHUNK
            for s in range(first, min(samples, first + CHUNK)):
                for j in range(C):
                    out[b, s, j] = np.float32(0)
                for plane in range(3):
                    left, top, fu, fv = corner(x, b, s, plane, size)
                    for i in range(4):
                        column, row = left + i % 2, top + i // 2
                        if 0 <= column < size and 0 <= row < size:
                            w = (fu if i % 2 else np.float32(1) - fu) * (
                                fv if i // 2 else np.float32(1) - fv
                            )
                            w = w * third
                            for j in range(C):
                                out[b, s, j] += w * planes[b, plane, row, column, j]

    @njit(fastmath=True, parallel=True, cache=True)
    def backward(x, gradient, out):
        batch, samples, size = x.shape[0], x.shape[1], out.shape[2]
        third = np.float32(1 / 3)
        C = out.shape[-1]
        for task in prange(batch * 3):
            b, plane = task // 3, task % 3
            for s in range(samples):
                left, top, fu, fv = corner(x, b, s, plane, size)
                for i in range(4):
                    column, row = left + i % 2, top + i // 2
                    if 0 <= column < size and 0 <= row < size:
                        w = (fu if i % 2 else np.float32(1) - fu) * (
                            fv if i // 2 else np.float32(1) - fv
                        )
                        w = w * third
                        for j in range(C):
                            out[b, plane, row, column, j] += w * gradient[b, s, j]

    return forward, backward


def sample_planes(planes, x):
    """Mean of bilinear samples of planes (B, 3, P, P, C) at x (B, N, 3): (B, N, C)."""
    out = np.empty((*x.shape[:2], planes.shape[-1]), np.float32)
    _sample_planes()[0](planes, x, out)
    return out


def sample_planes_backward(shape, x, gradient):
    """Gradient of the planes of `sample_planes`."""
    out = np.zeros(shape, np.float32)
    _sample_planes()[1](x, gradient, out)
    return out
