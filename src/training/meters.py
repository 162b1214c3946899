"""Metrics of training that never make the process wait for the device (src/training/arriving.py says why)."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from src.batch import IGNORE


class Top1(Metric):
    """Share of the clips that can be read whose label has the highest logit; 0 where none can be read."""

    full_state_update = False
    right: Tensor
    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("right", "seen"):
            self.add_state(name, torch.tensor(0), dist_reduce_fx="sum")

    def update(self, logits: Tensor, label: Tensor) -> None:
        """Count N clips: logits (N, K), label (N)."""
        self.right += (logits.argmax(1) == label).sum()
        self.seen += (label != IGNORE).sum()

    def compute(self) -> Any:
        """Of all clips of all ranks since the last reset, in 0..1."""
        return self.right / self.seen.clamp(min=1)
