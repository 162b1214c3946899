"""Numbers of a training step, read without waiting for the device: it computes steps that this process has yet to see.

`item()`, an `if` on a tensor, or a mask as an index makes the process wait until the device has caught up, and then
the device until the process has sent it more work.
"""

from typing import Any

import torch
from torch import Tensor


class Arriving:
    """A number on its way from the device to the host's memory."""

    def __init__(self, value: Tensor) -> None:
        self.value = value.detach().to("cpu", non_blocking=True)  # from a GPU into pinned memory
        self.there: Any = torch.cuda.Event() if value.is_cuda else None  # type: ignore[no-untyped-call]
        if self.there is not None:
            self.there.record()

    def get(self) -> float:
        """The number; waits for what the device did before it was asked to send it, and for nothing after that."""
        if self.there is not None:
            self.there.synchronize()
        return float(self.value)
