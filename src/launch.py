"""Start a run's ranks.

Lightning would start them by running the command line again. Under a sweep that runs the whole sweep in each rank,
and ranks may end up with different hyper-parameters; here each rank reads one resolved configuration from the run's
folder. Where torchrun or SLURM has started the ranks already, this process is one of them.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from omegaconf import DictConfig

from src.config import ROOT
from src.errors import UserError

PARENT = "LATE_PARENT"  # the process that a rank must not outlive


class RankError(UserError):
    """A rank ended with an error; `log` is where it said why."""

    def __init__(self, message: str, log: Path) -> None:
        super().__init__(message)
        self.log = log


def is_rank() -> bool:
    """Whether torchrun, SLURM or src.launch has started this process as one of several."""
    environment = os.environ
    if "LOCAL_RANK" in environment:
        return True
    interactive = environment.get("SLURM_JOB_NAME") in ("bash", "interactive")
    return int(environment.get("SLURM_NTASKS", 1)) > 1 and "SLURM_STEP_ID" in environment and not interactive


def rank() -> int:
    """This process's place among all ranks of the run; 0 where it is alone."""
    if not is_rank():
        return 0
    for key in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        if key in os.environ:
            return int(os.environ[key])
    return 0


def launch(cfg: DictConfig, folder: Path, checkpoint: Path | None, *, fresh: bool = False) -> None:
    """Run in this process, or in one new process per device.

    fresh: a new process also for a single device, and everything it says into rank_0.log as well.

    Raises:
        RankError: a rank failed.
        UserError: several machines, which torchrun or SLURM must start.
    """
    ranks = local_ranks(cfg)
    if is_rank() or (ranks == 1 and not fresh):
        from src import job  # heavy: only where it runs

        job.run(cfg, folder, checkpoint)
        return
    if cfg.trainer.num_nodes > 1:
        raise UserError(
            f"trainer.num_nodes={cfg.trainer.num_nodes}: start the ranks with torchrun --nnodes "
            f"{cfg.trainer.num_nodes} --nproc-per-node {ranks} … -m src.train, or with srun"
        )
    command = [sys.executable, "-m", "src.job", str(folder), *([str(checkpoint)] if checkpoint else [])]
    paths = [str(ROOT), os.environ.get("PYTHONPATH")]
    shared = os.environ | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(ranks),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        PARENT: str(os.getpid()),
    }
    processes: list[subprocess.Popen[bytes]] = []
    said = _size(folder / "rank_0.log")  # in earlier attempts
    try:
        for number in range(ranks):
            own = shared | {"LOCAL_RANK": str(number), "RANK": str(number)}
            with (folder / f"rank_{number}.log").open("a") as log:
                output = log if fresh or number else None  # rank 0 of a single run speaks on the terminal
                processes.append(subprocess.Popen(command, env=own, stdout=output, stderr=output))
        _wait(processes, folder, said if fresh else None)
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
    if not fresh:
        (folder / "rank_0.log").unlink(missing_ok=True)


def local_ranks(cfg: DictConfig) -> int:
    """How many processes the run wants on this machine."""
    devices = cfg.trainer.devices
    if devices in ("auto", -1, "-1"):
        import torch  # heavy, and the sweep's own process does without

        return max(1, torch.cuda.device_count()) if cfg.trainer.accelerator in ("auto", "gpu", "cuda") else 1
    if isinstance(devices, int) or str(devices).isdecimal():
        return int(devices)
    raise UserError(f"trainer.devices={devices}: give the number of devices, or auto")


def end_with_parent() -> None:
    """Have the kernel kill this rank when the process that started it dies: two attempts never write at once.

    Linux only; elsewhere nothing happens.
    """
    parent = os.environ.get(PARENT)
    if parent is None or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != int(parent):  # it died before the line above
        os._exit(1)


def _wait(processes: list["subprocess.Popen[bytes]"], folder: Path, echo: int | None) -> None:
    """Until every rank has ended; one that fails ends the others, which would wait for it for ever.

    echo: from where on rank_0.log is repeated on the terminal; None: it is not.
    """
    running = True
    while running:
        codes = [process.poll() for process in processes]
        running = None in codes and not any(codes)
        if echo is not None:
            echo = _echo(folder / "rank_0.log", echo, to_the_end=not running)
        time.sleep(0.1 if running else 0)
    for number, process in enumerate(processes):
        if process.returncode:
            log = folder / f"rank_{number}.log"
            raise RankError(_reason(process.returncode, log, number, len(processes), echo is not None), log)


def _reason(code: int, log: Path, number: int, ranks: int, fresh: bool) -> str:
    who = f"rank {number} of {ranks}" if ranks > 1 else "the run"
    if code < 0:
        return f"{who} was ended by signal {-code} ({signal.Signals(-code).name})"
    if number == 0 and not fresh:
        return f"{who} failed; its message stands above"
    said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    last = said[-1].removeprefix("error: ") if said else f"it ended with {code}"
    return f"{last} ({who}; {log})"


def _echo(log: Path, position: int, to_the_end: bool) -> int:
    """Repeat on the terminal the whole lines that the log has from `position` on; returns where they end.

    Each line says whose it is: a sweep may run several jobs at a time.
    """
    with log.open("rb") as file:
        file.seek(position)
        text = file.read()
    if not to_the_end:
        text = text[: text.rfind(b"\n") + 1]
    sys.stdout.write(
        "".join(f"{log.parent.name} │ {line}\n" for line in text.decode(errors="replace").splitlines())
    )
    sys.stdout.flush()
    return position + len(text)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
