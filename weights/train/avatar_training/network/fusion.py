"""Multi tri-planes attention: one tri-plane from those of several pictures."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _head(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(channels),
        nn.Linear(channels, channels),
        nn.GELU(),
        nn.Linear(channels, channels),
        nn.GELU(),
        nn.Linear(channels, channels),
    )


class Fusion(nn.Module):
    """Weights every texel of each source by how well its key fits the texel's learned query."""

    def __init__(self, channels: int, kind: str):
        super().__init__()
        self.scale = nn.Parameter(torch.full((1,), channels**-0.5))
        self.to_q_ = _head(channels)
        self.to_k_ = _head(channels)
        self.kind = kind

    def forward(self, query: Tensor, planes: Tensor, present: Tensor | None = None) -> Tensor:
        """Fuses planes (B, V, 3, C, P, P) to (B, 3, C, P, P) with the query (1, 1, 3, C, P, P).

        `present` (B, V) bool, softmax only: sources that are not present get no weight.
        """
        if planes.shape[1] == 1:
            return planes[:, 0]
        q = self.to_q_(query.permute(0, 1, 2, 4, 5, 3))
        values = planes.permute(0, 1, 2, 4, 5, 3)
        logits = (q * self.to_k_(values)).sum(-1)
        if self.kind == "softmax":
            logits = (logits * self.scale).float()
            if present is not None:
                logits = logits.masked_fill(~present[:, :, None, None, None], float("-inf"))
            weights = torch.softmax(logits, 1)
        else:
            if present is not None:
                logits = logits * present[:, :, None, None, None]
            total = logits.sum(1, keepdim=True)
            equal = (
                torch.ones_like(logits)
                if present is None
                else (present[:, :, None, None, None].to(logits.dtype).expand_as(logits))
            )
            equal = equal / equal.sum(1, keepdim=True)
            usable = total.abs() >= 1e-8
            weights = torch.where(usable, logits / torch.where(usable, total, 1.0), equal)
        return (weights[:, :, :, None] * planes).sum(1)
