"""TV-L1 flow of a video on a device of PyTorch's, in batches: the other method of src/data/make_flow.py."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from src.data.tvl1 import How, settings_of, tvl1
from src.errors import MachineError, UserError

PIXELS = 128 * 340 * 256  # of a batch on a GPU: some 100 bytes of its memory for each
ON_GPU = How(look=10)
Flow = npt.NDArray[np.float32]  # H, W, 2


def torch_flow(
    device: str, settings: dict[str, Any], batch: int | None = None
) -> Callable[[Sequence[npt.NDArray[np.uint8]]], Iterator[Flow]]:
    """The function that computes flow from each of several gray frames H, W to the next.

    batch: pairs that are computed together; None: one on a CPU, whose caches hold it, and as many as fill a GPU.

    Raises:
        MachineError: the device is not there.
        UserError: a setting is unknown or out of range.
    """
    check_device(device)
    try:
        chosen = settings_of(settings)
    except ValueError as error:
        raise UserError(f"flow.settings {settings}: {error}") from error

    how = How() if device == "cpu" else ON_GPU

    def between(frames: Sequence[npt.NDArray[np.uint8]]) -> Iterator[Flow]:
        if len(frames) < 2:
            return
        count = batch or (1 if device == "cpu" else max(1, PIXELS // frames[0].size))
        for start in range(0, len(frames) - 1, count):
            stack = torch.from_numpy(np.stack(frames[start : start + count + 1]))  # T,H,W
            try:
                on_device = stack.to(device)
                flow = tvl1(on_device[:-1], on_device[1:], chosen, how)
                yield from flow.permute(0, 2, 3, 1).cpu().numpy()  # N,2,H,W → N,H,W,2
            except torch.OutOfMemoryError as error:
                raise MachineError(
                    f"flow.device={device}: out of memory; give fewer workers=N, which share it, or flow.device=cpu"
                ) from error

    return between


def check_device(device: str) -> None:
    """Refuse a device that this machine does not have.

    Raises:
        MachineError: says what to choose.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise MachineError(
            "flow.device=cuda: this machine has no GPU that PyTorch can use; give flow.device=cpu, or null"
        )
