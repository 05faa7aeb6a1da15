"""Gradients shared by worker processes of one machine."""

from __future__ import annotations

import torch
from torch import Tensor


class Exchange:
    """Sums vectors of `length` over `workers` processes, in the same order everywhere.

    Made before the processes are started and handed to each of them.
    """

    def __init__(self, workers: int, length: int, context):
        self.buffers = torch.zeros(workers, length).share_memory_()
        self.barrier = context.Barrier(workers, timeout=1800)

    def sum(self, rank: int, vector: Tensor) -> Tensor:
        """The sum of all processes' vectors; every process must call."""
        self.buffers[rank].copy_(vector)
        self.barrier.wait()
        total = self.buffers.sum(0)
        # No process writes again before all have read.
        self.barrier.wait()
        return total

    def abort(self) -> None:
        """Lets the others fail instead of wait."""
        self.barrier.abort()
