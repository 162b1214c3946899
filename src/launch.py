"""Start a run's ranks.

Lightning would start them by running the command line again. Under a sweep that runs the whole sweep in each rank,
and ranks may end up with different hyper-parameters; here each rank reads one resolved configuration from the run's
folder.
"""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import torch
from omegaconf import DictConfig

from src.config import ROOT
from src.errors import UserError


def launch(cfg: DictConfig, folder: Path, checkpoint: Path | None) -> None:
    """Run in this process, or in one fresh process per device.

    Raises:
        UserError: a rank failed; its own message stands on the terminal or in rank_N.log.
    """
    ranks = local_ranks(cfg)
    if ranks == 1 or "LOCAL_RANK" in os.environ:
        from src import job  # heavy: only where it runs

        job.run(cfg, folder, checkpoint)
        return
    command = [sys.executable, "-m", "src.job", str(folder), *([str(checkpoint)] if checkpoint else [])]
    shared = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(ranks),
    }
    shared["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    processes = []
    try:
        for rank in range(ranks):
            own = {**shared, "LOCAL_RANK": str(rank), "RANK": str(rank)}
            with (folder / f"rank_{rank}.log").open("w") as log:
                output = None if rank == 0 else log  # rank 0 speaks on the terminal
                processes.append(subprocess.Popen(command, env=own, stdout=output, stderr=output and log))
        _wait(processes, folder)
    finally:
        for process in processes:
            process.kill()
    (folder / "rank_0.log").unlink(missing_ok=True)


def local_ranks(cfg: DictConfig) -> int:
    """How many processes the run wants on this machine."""
    devices = cfg.trainer.devices
    if devices in ("auto", -1, "-1"):
        return max(1, torch.cuda.device_count()) if cfg.trainer.accelerator in ("auto", "gpu", "cuda") else 1
    if isinstance(devices, int) or str(devices).isdecimal():
        return int(devices)
    raise UserError(f"trainer.devices={devices}: give the number of devices, or auto")


def _wait(processes: list["subprocess.Popen[bytes]"], folder: Path) -> None:
    """Until every rank has ended; one that fails ends the others, which would wait for it for ever."""
    while any(process.poll() is None for process in processes):
        time.sleep(0.2)
        if any(process.returncode for process in processes):
            break
    for rank, process in enumerate(processes):
        if process.returncode:
            where = "above" if rank == 0 else f"in {folder}/rank_{rank}.log"
            raise UserError(f"rank {rank} of {len(processes)} failed; its message stands {where}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
