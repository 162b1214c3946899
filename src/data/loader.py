"""Batches out of worker processes: one loader for training, testing and prediction."""

import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import torch
from torch.utils.data import DataLoader

from src.batch import Batch
from src.data.handover import unpacked, worker_errors_named
from src.errors import UserError
from src.signals import serve_parent


class Loader(DataLoader[Any]):
    """A DataLoader that raises, in the main process and as they were, the errors that its workers pass on.

    Raises:
        UserError: also where a worker has died, or none can be started.
    """

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # PyTorch names its private iterator
        with worker_errors_named(*([OSError] if self.num_workers else [])):  # no semaphores, no more processes
            for batch in super().__iter__():
                if isinstance(batch, UserError):
                    raise batch
                yield unpacked(batch)


def worker_options(number: int, seed: int) -> dict[str, Any]:
    """Arguments of a loader with this many workers; 0 decodes in the main process."""
    common: dict[str, Any] = {
        "num_workers": number,
        "pin_memory": torch.cuda.is_available(),
        # Else a loader draws its workers' seed from the generator that dropout and masking use, and the number
        # of workers and of starts would change the training.
        "generator": torch.Generator().manual_seed(seed),
    }
    if number:
        common |= {"persistent_workers": True, "worker_init_fn": start_worker}
    return common


def start_worker(worker: int) -> None:
    """What a worker does first: obey its parent only, and decode on one thread."""
    serve_parent()
    sys.excepthook = _say_failure
    torch.set_num_threads(1)  # workers are the parallelism


def _say_failure(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print what a thread of a worker has failed of, but for a command that ends while a batch is handed over.

    Python's thread that passes shared memory on tells this hook of both.
    """
    cut_off = str(error) == "got end of file during message"  # an OSError without a number
    if not cut_off and not isinstance(error, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)
