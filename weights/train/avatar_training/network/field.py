"""The radiance field: opacity and colour of points in space."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import HARMONICS, ModelConfig
from .points import PointField, harmonic, sample_planes


def widened_sigmoid(x: Tensor) -> Tensor:
    """Sigmoid that reaches 0 and 1."""
    return torch.sigmoid(x) * 1.002 - 0.001


class RadianceField(nn.Module):
    """Opacity and colour from a tri-plane and the head's points."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        hidden, colour = config.feature_hidden, config.rgb_hidden
        self.hidden = hidden
        self.points_querier = PointField(
            config.points,
            config.point_feature,
            config.point_hidden,
            config.point_output,
            config.neighbours,
            config.point_weighting,
        )
        self.feature_layers = nn.Sequential(
            nn.Linear(config.plane_channels + config.point_output, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
        )
        self.density_layers = nn.Sequential(nn.Linear(hidden, 1))
        nn.init.constant_(self.density_layers[0].bias, 0.1)
        self.rgb_layers = nn.Sequential(
            nn.Linear(hidden + HARMONICS, colour),
            nn.ReLU(),
            nn.Linear(colour, config.low_res_channels),
        )

    def direction_half(self, directions: Tensor) -> Tensor:
        """Part of the colour head's first layer (..., rgb_hidden) for unit directions (..., 3)."""
        first = self.rgb_layers[0]
        return F.linear(harmonic(directions), first.weight[:, self.hidden :], first.bias)

    def forward(self, x: Tensor, planes: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Density (B, N) and the colour head's first layer (B, N, rgb_hidden), without directions.

        x (B, N, 3) in the world, planes (B, 3, P, P, C), points (B, points, 3).
        """
        textures = sample_planes(planes, x)
        features = self.points_querier(x, points)
        first, second, third = (self.feature_layers[i] for i in (0, 2, 4))
        h = torch.cat([textures.to(features.dtype), features], -1)
        h = F.relu(second(F.relu(first(h))))
        # The third layer has no activation: it is folded into the two heads that follow it.
        heads = torch.cat(
            [self.density_layers[0].weight, self.rgb_layers[0].weight[:, : self.hidden]]
        )
        with torch.autocast(x.device.type, enabled=False):
            folded = heads @ third.weight
            bias = heads @ third.bias
        bias = bias + F.pad(self.density_layers[0].bias, (0, len(heads) - 1))
        y = F.linear(h, folded, bias)
        density, colour = y[..., 0].float(), y[..., 1:]
        inside = ((x > -1) & (x < 1)).all(-1)
        return F.softplus(density, beta=10.0) * inside, colour

    def colour(self, first: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """RGB and the other channels, from the first layer and the direction's contribution."""
        values = self.rgb_layers[2](F.relu(first + directions)).float()
        return widened_sigmoid(values[..., :3]), values[..., 3:]
