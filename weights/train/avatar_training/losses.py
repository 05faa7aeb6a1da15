"""Terms of the training loss. Pictures are (B, C, H, W), weights broadcast against them."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def region_map(regions: Tensor, size: int) -> Tensor:
    """1 within the ellipses (B, 3, 4) of eyes and mouth, falling to 0 around: (B, 1, size, size)."""
    centres = torch.arange(size, device=regions.device) + 0.5
    x = (centres[None, None, None] - regions[:, :, 0, None, None]) / regions[
        :, :, 2, None, None
    ].clamp(min=1e-3)
    y = (centres[None, None, :, None] - regions[:, :, 1, None, None]) / regions[
        :, :, 3, None, None
    ].clamp(min=1e-3)
    distance = x.square() + y.square()
    return torch.exp(-(distance / 1.5).square()).amax(1, keepdim=True)


def low_res_truth(picture: Tensor, size: int) -> Tensor:
    """The picture at the pixels of a volume rendering, whose outermost centres are the edges."""
    factor = max(1, picture.shape[-1] // size)
    if factor > 1:
        picture = F.avg_pool2d(picture, factor)
    steps = torch.linspace(-1, 1, size, device=picture.device)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    grid = torch.stack([x, y], -1)[None].expand(len(picture), -1, -1, -1)
    return F.grid_sample(picture, grid, "bilinear", "border", align_corners=False)


def weighted_l1(found: Tensor, expected: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference where `weight` (B, 1, H, W) is not zero."""
    return ((found - expected).abs() * weight).sum() / (weight.sum() * found.shape[1]).clamp(min=1)


def chroma(picture: Tensor) -> Tensor:
    """A picture's colours without their brightness: small parts such as irises keep their hue."""
    return picture - picture.mean(1, keepdim=True)


def gradients(found: Tensor, expected: Tensor, weight: Tensor, scales: int = 3) -> Tensor:
    """Mean absolute difference of both image gradients, over several scales."""
    total = found.new_zeros(())
    for _ in range(scales):
        for axis in (-1, -2):
            difference = (found.diff(dim=axis) - expected.diff(dim=axis)).abs()
            total = total + (difference * weight.narrow(axis, 1, weight.shape[axis] - 1)).mean()
        found, expected, weight = (F.avg_pool2d(x, 2) for x in (found, expected, weight))
    return total


def dissimilarity(found: Tensor, expected: Tensor, window: int = 7) -> Tensor:
    """1 - SSIM over uniform windows."""
    count = len(found)
    stack = torch.cat([found, expected, found * found, expected * expected, found * expected])
    mean = F.avg_pool2d(stack, window, 1).split(count)
    a, b = mean[0], mean[1]
    va, vb, covariance = mean[2] - a * a, mean[3] - b * b, mean[4] - a * b
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * a * b + c1) * (2 * covariance + c2)
    return 1 - (similarity / ((a * a + b * b + c1) * (va + vb + c2))).mean()


class GradientPerception(nn.Module):
    """Stands in for a perceptual loss without weights: image gradients at four scales."""

    def forward(self, found: Tensor, expected: Tensor) -> Tensor:
        return gradients(found, expected, torch.ones_like(found[:, :1]), scales=4)


class AlexNetPerception(nn.Module):
    """Perceptual loss on five AlexNet stages.

    Features are normalised over channels; squared differences are summed over channels and
    averaged over the picture.
    """

    STAGES = [
        (0, 3, 64, 11, 4, 2),
        (3, 64, 192, 5, 1, 2),
        (6, 192, 384, 3, 1, 1),
        (8, 384, 256, 3, 1, 1),
        (10, 256, 256, 3, 1, 1),
    ]

    def __init__(self, weights: str | Path):
        super().__init__()
        state = torch.load(weights, map_location="cpu", weights_only=True)
        self.stages = nn.ModuleList()
        for index, inputs, outputs, kernel, stride, padding in self.STAGES:
            conv = nn.Conv2d(inputs, outputs, kernel, stride, padding)
            for name in ("weight", "bias"):
                key = f"features.{index}.{name}"
                if key not in state or state[key].shape != getattr(conv, name).shape:
                    raise ValueError(
                        f"{weights}: expected torchvision's AlexNet with a tensor {key} of shape "
                        f"{tuple(getattr(conv, name).shape)}"
                    )
                getattr(conv, name).data.copy_(state[key])
            self.stages.append(conv)
        self.requires_grad_(False)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225])[:, None, None])

    def forward(self, found: Tensor, expected: Tensor) -> Tensor:
        x = (torch.cat([found, expected]) - self.mean) / self.deviation
        total = found.new_zeros(())
        for i, conv in enumerate(self.stages):
            if i in (1, 2) and min(x.shape[-2:]) >= 3:
                x = F.max_pool2d(x, 3, 2)
            x = F.relu(conv(x))
            a, b = F.normalize(x, dim=1, eps=1e-10).chunk(2)
            total = total + (a - b).square().sum(1).mean()
        return total


def crops(picture: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Boxes (B, 4) of pixels x0, y0, x1, y1 cut out and resized to `size`."""
    width = picture.shape[-1]
    boxes = boxes.float() / width * 2 - 1
    steps = (torch.arange(size, device=picture.device) + 0.5) / size
    x = boxes[:, 0, None] + steps * (boxes[:, 2] - boxes[:, 0])[:, None]
    y = boxes[:, 1, None] + steps * (boxes[:, 3] - boxes[:, 1])[:, None]
    shape = (-1, size, size)
    grid = torch.stack([x[:, None].expand(shape), y[:, :, None].expand(shape)], -1)
    return F.grid_sample(picture, grid, "bilinear", "border", align_corners=False)


class ReadOuts(nn.Module):
    """Linear read-outs of a tri-plane: what it must hold about the identity.

    The xy plane must show the canonical source, and the planes' means the identity's colours.
    """

    def __init__(self, channels: int, colours: int):
        super().__init__()
        self.picture = nn.Conv2d(channels, 3, 1)
        self.colours = nn.Linear(3 * channels, colours)

    def forward(self, planes: Tensor, source: Tensor, colours: Tensor | None) -> Tensor:
        """planes (B, 3, C, P, P), canonical source (B, 3, S, S), colours (B, N) if known."""
        truth = F.interpolate(source.flip(-2), size=planes.shape[-2:], mode="area")
        loss = (self.picture(planes[:, 0]) - truth).abs().mean()
        if colours is not None:
            loss = (
                loss + 0.5 * (self.colours(planes.mean((3, 4)).flatten(1)) - colours).abs().mean()
            )
        return loss


class SurfaceSamples:
    """Positions at which the field's colour or opacity is known, from points seen in the target.

    On the surface the colour is known, just behind it the field is opaque, between it and the
    camera it is empty; where the target shows background it is empty all along the ray.
    """

    def __init__(self, surface: Tensor, alpha: Tensor, transform: Tensor, focal: float, empty: int):
        batch, count = surface.shape[:2]
        device = surface.device
        self.count = count
        position, self.rgb = surface[..., :3], surface[..., 3:]
        rotation, translation = transform[:, :, :3], transform[:, :, 3]
        origin = -(rotation @ translation[:, :, None]).transpose(1, 2)
        direction = F.normalize(position - origin, dim=-1)
        on = torch.randn(batch, count, 1, device=device) * 0.006
        behind = 0.012 + 0.05 * torch.rand(batch, count, 1, device=device)
        before = -(0.03 + 0.6 * torch.rand(batch, count, 1, device=device).square())
        x = [position + offset * direction for offset in (on, behind, before)]
        directions = [direction] * 3
        if empty:
            size = alpha.shape[-1]
            # Background by preference; the weight keeps pictures without any from failing.
            background = (F.max_pool2d(alpha, 5, 1, 2).flatten(1) <= 0).float()
            pixels = torch.multinomial(background + 1e-9, empty, replacement=True)
            self.background = background.gather(1, pixels)
            u = (1 - 2 * (pixels % size + 0.5) / size) / focal
            v = (1 - 2 * (pixels // size + 0.5) / size) / focal
            rays = torch.stack([u, v, torch.ones_like(u)], -1) @ rotation.transpose(1, 2)
            rays = F.normalize(rays, dim=-1)
            distance = origin.norm(dim=-1, keepdim=True) + (
                torch.rand(batch, empty, 1, device=device) * 2 - 1
            )
            x.append(origin + distance * rays)
            directions.append(rays)
        self.x, self.directions = torch.cat(x, 1), torch.cat(directions, 1)

    def losses(self, alpha: Tensor, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """Colour and opacity terms, from the field's answers at `x`."""
        n = self.count
        colour = (rgb[:, : 2 * n] - self.rgb.repeat(1, 2, 1)).abs().mean()
        # The offset bounds the gradient where the field is sure of the contrary.
        opaque = -torch.log(alpha[:, n : 2 * n] + 1e-2).mean()
        empty = -torch.log(1 - alpha[:, 2 * n : 3 * n] + 1e-2).mean()
        if alpha.shape[1] > 3 * n:
            outside = -torch.log(1 - alpha[:, 3 * n :] + 1e-2) * self.background
            empty = empty + outside.sum() / self.background.sum().clamp(min=1)
        return colour, opaque + empty
