"""Camera rays, samples along them and compositing. All depths are distances from the camera."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def camera_rays(transform: Tensor, size: int, focal: float) -> tuple[Tensor, Tensor]:
    """Rays of the pixels of a `size` x `size` picture, row by row from the top.

    `transform` (B, 3, 4) is [R|T] with x_camera = x_world R + T. Returns the camera's position
    (B, 3) and unit directions (B, size * size, 3).
    """
    rotation, translation = transform[:, :, :3], transform[:, :, 3]
    steps = torch.linspace(1, -1, size, device=transform.device)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    pixels = torch.stack([x / focal, y / focal, torch.ones_like(x)], -1).reshape(1, -1, 3)
    directions = F.normalize(pixels @ rotation.transpose(1, 2), dim=-1)
    origin = -(rotation @ translation[:, :, None])[..., 0]
    return origin, directions


def cube_range(origin: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Depths (R, 1) at which rays enter and leave the cube [-1, 1]^3; -1 and -1 for a miss."""
    enter, leave = (-1 - origin) / directions, (1 - origin) / directions
    near = torch.minimum(enter, leave).amax(-1, keepdim=True)
    far = torch.maximum(enter, leave).amin(-1, keepdim=True)
    hit = (far >= near) & (far > 0)
    return torch.where(hit, near, -1.0), torch.where(hit, far, -1.0)


def coarse_depths(near: Tensor, far: Tensor, samples: int, jitter: bool) -> Tensor:
    """One depth (R, samples) in each of `samples` equal steps: its middle, or anywhere in it."""
    i = torch.arange(samples, device=near.device)
    if not jitter:
        edges = near + torch.arange(samples + 1, device=near.device) / samples * (far - near)
        return (edges[:, :-1] + edges[:, 1:]) / 2
    # Off the edges, so that neighbouring samples do not coincide.
    offset = torch.rand((len(near), samples), device=near.device) * 0.9 + 0.05
    return near + (i + offset) / samples * (far - near)


def fine_depths(depths: Tensor, weights: Tensor, samples: int, jitter: bool) -> Tensor:
    """Importance samples (R, samples) by the weights (R, N) of coarse depths (R, N).

    The coarse depths are the edges of N - 1 intervals and the inclusive cumulative sum of the
    weights is their distribution.
    """
    weights = weights + 1e-5
    cdf = torch.cumsum(weights / weights.sum(1, keepdim=True), 1)
    offset = 0.5
    if jitter:
        offset = torch.rand((len(depths), samples), device=depths.device)
    strata = torch.arange(samples, device=depths.device) + offset
    u = cdf[:, :1] + strata * ((cdf[:, -1:] - cdf[:, :1]) / samples)
    p = torch.searchsorted(cdf[:, :-1].contiguous(), u, right=True)
    a, b = (p - 1).clamp(min=0), p.clamp(max=depths.shape[1] - 1)
    ca, cb, ta, tb = cdf.gather(1, a), cdf.gather(1, b), depths.gather(1, a), depths.gather(1, b)
    step = cb - ca
    t = torch.where(step < 1e-10, (ta + tb) / 2, (u - ca) * ((tb - ta) / step) + ta)
    middle = (t[:, 1:] + t[:, :-1]) / 2
    first = torch.maximum(t[:, :1] - (t[:, 1:2] - t[:, :1]) / 2, depths[:, :1])
    last = torch.minimum(t[:, -1:] + (t[:, -1:] - t[:, -2:-1]) / 2, depths[:, -1:])
    edges = torch.cat([first, middle, last], 1)
    return (edges[:, :-1] + edges[:, 1:]) / 2


def sample_weights(opacity: Tensor) -> Tensor:
    """How much each sample of a ray contributes, front to back: opacity times transmittance."""
    through = torch.cat([torch.ones_like(opacity[:, :1]), 1 - opacity[:, :-1]], 1)
    return opacity * torch.cumprod(through, 1)
