"""Whether this machine has the devices that a configuration asks for, which one is taken, and what is fast on it."""

import ctypes
import os
import sys
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from src.errors import UserError

if TYPE_CHECKING:
    import torch

    from src.models.recognizer import Recognizer

GPUS = ("gpu", "cuda", "mps")
TRIM_THRESHOLD, MMAP_MAX = -1, -4  # parameters of glibc's mallopt
MOST_ON_CPU = max(8, os.cpu_count() or 1)  # ranks; each holds a network and its batches in memory
JOBS = "LATE_JOBS"  # variable: how many runs there are at a time on this machine
SHARE = "LATE_CORES"  # variable: how many cores a run among others, or a rank, has
CPU_WORKERS, GPU_WORKERS = 2, 8  # processes that decode for a network on a CPU and on a GPU, at most, unless told


def cores() -> int:
    """How many of the machine's cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def own_cores() -> int:
    """How many cores this run, or this rank of it, has for itself."""
    given = os.environ.get(SHARE, "")
    if given.isdecimal():
        return max(1, int(given))
    ranks = os.environ.get("LOCAL_WORLD_SIZE", "")  # torchrun's
    return max(1, cores() // max(1, int(ranks))) if ranks.isdecimal() else cores()


def decoding_workers(cfg: DictConfig) -> int:
    """How many processes decode for this run, or rank: data.workers, by default what its cores can bear.

    A GPU waits for clips unless several processes decode. A network on the CPU needs the cores itself: with a single
    one it decodes between its steps, because another process would only take turns with it.
    """
    if cfg.data.workers is not None:
        return int(cfg.data.workers)
    others = own_cores() - 1
    return min(max(1, others), GPU_WORKERS) if device_of(cfg).type == "cuda" else min(others, CPU_WORKERS)


def check_devices(cfg: DictConfig) -> None:
    """Refuse a GPU where there is none, and more GPUs than there are, or ranks than its cores can serve.

    Raises:
        UserError: names the option, and what the machine has.
    """
    wanted = cfg.trainer.accelerator
    too_many_for_cpu = isinstance(cfg.trainer.devices, int) and cfg.trainer.devices > MOST_ON_CPU
    if wanted not in GPUS and not too_many_for_cpu:
        return
    import torch  # slow, and not needed to refuse anything else

    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        raise UserError(f"trainer.devices={cfg.trainer.devices}: give at most {MOST_ON_CPU} on this machine's CPU")
    if wanted not in GPUS:
        return
    if wanted == "mps" or (wanted == "gpu" and torch.backends.mps.is_available()):
        there = int(torch.backends.mps.is_available())
    else:
        there = torch.cuda.device_count()
    if not there:
        raise UserError(f"trainer.accelerator={wanted}: this machine has none; give trainer.accelerator=cpu or auto")
    if isinstance(cfg.trainer.devices, int) and cfg.trainer.devices > there:
        raise UserError(f"trainer.devices={cfg.trainer.devices}: this machine has {there}; give at most as many")


def device_of(cfg: DictConfig) -> "torch.device":
    """The device that one process without a trainer works on."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() and cfg.trainer.accelerator != "cpu" else "cpu")


def lay_out(recognizer: "Recognizer", cfg: DictConfig, device: "torch.device") -> None:
    """Channels last where the configuration says so: always, or on this kind of device (model.channels_last)."""
    wanted = cfg.model.channels_last
    if wanted if isinstance(wanted, bool) else device.type in wanted:
        recognizer.channels_last()


def keep_memory(device: "torch.device") -> None:
    """Let a process that computes on the CPU keep the memory that it has had, instead of asking for it again and again.

    glibc gives a large block back to the system as soon as it is free. A 3D network makes feature maps of a hundred
    megabytes, layer after layer, and spends a sixth of its time on pages that are taken away and given back empty.
    With another C library nothing happens.
    """
    if device.type != "cpu" or not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MMAP_MAX, 0)
        mallopt(TRIM_THRESHOLD, -1)
