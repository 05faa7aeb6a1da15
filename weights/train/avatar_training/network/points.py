"""The point-based expression field and plane sampling, with CPU kernels and in plain PyTorch."""

from __future__ import annotations

import numba
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import HARMONICS
from . import kernels


def harmonic(v: Tensor) -> Tensor:
    """Harmonic embedding (..., 27) of vectors (..., 3): sines, cosines of 4 octaves, the vector."""
    octaves = torch.tensor([1.0, 2.0, 4.0, 8.0], device=v.device)
    angles = (v[..., None] * octaves).flatten(-2)
    return torch.cat([angles.sin(), angles.cos(), v], -1)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


class _PointFeatures(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, points, index, share, table, weight):
        arrays = [_array(t) for t in (x, points, index, share, table, weight)]
        ctx.arrays = arrays
        return torch.from_numpy(kernels.point_features(*arrays))

    @staticmethod
    def backward(ctx, gradient):
        gradient = _array(gradient.float())
        table, weight = kernels.point_features_backward(*ctx.arrays, gradient)
        return None, None, None, None, torch.from_numpy(table), torch.from_numpy(weight)


class _SamplePlanes(torch.autograd.Function):
    @staticmethod
    def forward(ctx, planes, x):
        ctx.shape, ctx.x = tuple(planes.shape), _array(x)
        return torch.from_numpy(kernels.sample_planes(_array(planes), ctx.x))

    @staticmethod
    def backward(ctx, gradient):
        gradient = _array(gradient.float())
        planes = kernels.sample_planes_backward(ctx.shape, ctx.x, gradient)
        return torch.from_numpy(planes), None


def set_threads(threads: int) -> None:
    """Lets the kernels use as many threads as PyTorch does."""
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))


def sample_planes(planes: Tensor, x: Tensor) -> Tensor:
    """Samples planes (B, 3, P, P, C) at x (B, N, 3): the mean of three, zero outside: (B, N, C).

    u, v of the planes are (x, y), (x, z) and (z, y); u runs along the width.
    """
    if not x.is_cuda:
        return _SamplePlanes.apply(planes.float(), x)
    batch, _, size, _, channels = planes.shape
    uv = torch.stack([x[..., [0, 1]], x[..., [0, 2]], x[..., [2, 1]]], 1).flatten(0, 1)[:, None]
    flat = planes.reshape(batch * 3, size, size, channels).permute(0, 3, 1, 2)
    options = {"mode": "bilinear", "padding_mode": "zeros", "align_corners": False}
    samples = F.grid_sample(flat.float(), uv, **options)
    return samples.reshape(batch, 3, channels, -1).mean(1).transpose(1, 2)


class Search:
    """Finds the nearest points; remembers how they lie in space between calls."""

    def __init__(self):
        self.order: np.ndarray | None = None

    def __call__(self, x: Tensor, points: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
        """Indices and squared distances (B, N, neighbours) of the points (B, P, 3) nearest to x."""
        if x.is_cuda:
            return self._by_distances(x, points, neighbours)
        points = _array(points)
        if self.order is None or len(self.order) != points.shape[1]:
            self.order = kernels.leaf_order(points[0])
        index, distance = kernels.nearest(_array(x), points, neighbours, self.order)
        return torch.from_numpy(index), torch.from_numpy(distance)

    @staticmethod
    def _by_distances(x: Tensor, points: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
        pieces = []
        # Bounds the table of all distances to a quarter of a gibibyte.
        chunk = max(1, (1 << 26) // points.shape[1])
        for b in range(len(x)):
            for part in x[b].split(chunk):
                distances = torch.cdist(
                    part, points[b], compute_mode="donot_use_mm_for_euclid_dist"
                )
                pieces.append(distances.topk(neighbours, largest=False, sorted=True)[1])
        index = torch.cat(pieces).reshape(len(x), -1, neighbours)
        batch = torch.arange(len(x), device=x.device)[:, None, None]
        difference = x[:, :, None] - points[batch, index]
        return index, difference.square().sum(-1)


class PointField(nn.Module):
    """Features that follow the head's points, gathered from the nearest of them."""

    def __init__(
        self, points: int, feature: int, hidden: int, output: int, neighbours: int, weighting: str
    ):
        super().__init__()
        self.points_feature = nn.Embedding(points, feature)
        nn.init.normal_(self.points_feature.weight, 0, 0.5)
        self.point_layers = nn.Sequential(
            nn.Linear(feature + HARMONICS, hidden), nn.ReLU(), nn.Linear(hidden, output)
        )
        self.feature, self.neighbours, self.weighting = feature, neighbours, weighting
        self.search = Search()

    def forward(self, x: Tensor, points: Tensor) -> Tensor:
        """Features (B, N, output) at x (B, N, 3) of points (B, P, 3).

        With the released weighting every b is a pass of its own, over all of whose samples the
        weights are normalised.
        """
        first, last = self.point_layers[0], self.point_layers[2]
        with torch.no_grad():
            index, distance = self.search(x, points, self.neighbours)
            distance = distance.clamp(min=1e-12)
            if self.weighting == "released":
                # In double precision: the sum is over a hundred thousand terms of any size.
                share = 1 / distance.double()
                share = (share / share.sum(1, keepdim=True)).float()
            else:
                share = distance.rsqrt()
                share = share / share.sum(2, keepdim=True)
        # The first layer's half of the point is the same for all samples.
        table = F.linear(self.points_feature.weight, first.weight[:, : self.feature], first.bias)
        weight = first.weight[:, self.feature :].T
        if x.is_cuda:
            batch = torch.arange(len(x), device=x.device)[:, None, None]
            direction = F.normalize(x[:, :, None] - points[batch, index], dim=-1, eps=1e-12)
            h = F.relu(F.embedding(index, table) + harmonic(direction) @ weight)
            h = (h * share[..., None]).sum(2)
        else:
            h = _PointFeatures.apply(x, points, index, share, table.float(), weight.float())
        # The second layer commutes with the sum, but for its bias.
        y = F.linear(h, last.weight)
        if self.weighting == "released":
            return y + share.sum(2, keepdim=True) * last.bias
        return y + last.bias
