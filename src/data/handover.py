"""How a loader's workers hand batches over: in shared memory, or through a pipe where there is too little of it.

PyTorch moves a batch to shared memory in a thread of the worker. Where that fails (Docker gives /dev/shm 64 MB) the
thread drops the batch, and the loader waits for it for ever. Here the worker itself moves it, and can do without.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from src.errors import UserError
from src.text import first_line, printable


def packed(batch: Any) -> Any:
    """In a worker: the batch with its tensors in shared memory, or as arrays, which go through a pipe."""
    if get_worker_info() is None or not isinstance(batch, dict):
        return batch
    tensors = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
    try:
        for tensor in tensors.values():
            tensor.share_memory_()  # type: ignore[no-untyped-call]
    except (OSError, RuntimeError):  # /dev/shm is full or read-only, or too many files are open
        return batch | {name: tensor.numpy() for name, tensor in tensors.items()}
    return batch


def unpacked(batch: Any) -> Any:
    """In the main process: the batch with tensors in either case."""
    if not isinstance(batch, dict):
        return batch
    return {
        name: value if isinstance(value, Tensor | list) else torch.from_numpy(value) for name, value in batch.items()
    }


class Packing:
    """What a collate function gives, packed."""

    def __init__(self, collate: Callable[[Sequence[Any]], Any]) -> None:
        self.collate = collate

    def __call__(self, items: Sequence[Any]) -> Any:
        return packed(self.collate(items))


@contextmanager
def worker_errors_named(*others: type[Exception]) -> Iterator[None]:
    """Within the block, the death of a loader's worker, which PyTorch reports wherever the program is, has a name.

    others: errors that can have no other cause there.

    Raises:
        UserError: a worker has been lost.
    """
    try:
        yield
    except Exception as error:
        lost = isinstance(error, RuntimeError) and "DataLoader worker" in str(error)
        if not lost and not isinstance(error, others):
            raise
        raise UserError(
            f"data.workers: a process that reads videos was lost ({printable(first_line(error))}); it may have needed "
            "more memory than there is: give fewer workers, data.workers=0 does without"
        ) from error
