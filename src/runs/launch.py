"""Start a run's processes, one per device.

Lightning would start them by running the command line again. Under a sweep that would run the whole sweep in each
rank, and ranks could end up with different hyper-parameters; here every rank is handed the one resolved configuration.
Where torchrun or SLURM has started the ranks already, this process is one of them.

Processes are forked from a server that has imported everything (src/runs/process_server.py), so that the second job of
a sweep starts at once. None outlives the command.
"""

import importlib
import multiprocessing
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from src.build.devices import JOBS, SHARE, cores
from src.errors import UsageError, UserError
from src.runs import processes
from src.runs.folder import RunFolder
from src.runs.processes import Task
from src.runs.ranks import STARTED_HERE
from src.signals import SIGNALS, Stopped

WORKER = "src.training.worker"  # the module whose `main` is one rank; named, because training builds on this package
PARENT = os.getppid()
POLL_S = 0.05
STOP_GRACE_S = 3  # how long ranks may take to close their books once one has been asked to stop


class RankError(UserError):
    """A rank ended with an error; `log` is where it said why, `code` its exit code."""

    def __init__(self, message: str, log: Path, code: int) -> None:
        super().__init__(message)
        self.log = log
        self.code = code

    def __reduce__(self) -> tuple[type, tuple[str, Path, int]]:  # so that it survives the way back from a pool's worker
        return type(self), (str(self), self.log, self.code)


def local_ranks(cfg: DictConfig) -> int:
    """How many processes the run wants on this machine."""
    devices = cfg.trainer.devices
    if devices in ("auto", -1, "-1"):
        import torch  # heavy, and the sweep's own process does without

        return max(1, torch.cuda.device_count()) if cfg.trainer.accelerator in ("auto", "gpu", "cuda") else 1
    return int(devices)


def check_machines(cfg: DictConfig) -> None:
    """Refuse several machines, which this process cannot start.

    Raises:
        UsageError: says how they are started.
    """
    if cfg.trainer.num_nodes > 1:
        raise UsageError(
            f"trainer.num_nodes={cfg.trainer.num_nodes}: start the ranks with torchrun --nnodes "
            f"{cfg.trainer.num_nodes} --nproc-per-node {local_ranks(cfg)} … -m src.train, or with srun"
        )


def start_ranks(cfg: DictConfig, folder: RunFolder, checkpoint: Path | None, *, to_log: bool) -> None:
    """Run in one new process per device, and wait until all have ended.

    to_log: everything that rank 0 prints goes into its log, and is repeated on the terminal line by line with the
        name of the run; else rank 0 prints on the terminal.

    Raises:
        RankError: a rank failed.
        Stopped: a rank has been stopped by a signal.
        UsageError: several machines, which torchrun or SLURM must start.
    """
    check_machines(cfg)
    ranks = local_ranks(cfg)
    content = OmegaConf.to_container(cfg, resolve=True)
    environment = os.environ | sharing_cores(ranks)
    shared = {
        **environment,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(ranks),
        STARTED_HERE: "1",
    }
    position = _size(folder.log(0))  # behind what earlier attempts printed
    server = _server(environment)
    processes: list[Process] = []
    try:
        for number in range(ranks):
            own = shared | {"LOCAL_RANK": str(number), "RANK": str(number)}
            log = str(folder.log(number)) if to_log or number else None
            arguments = (content, str(folder), str(checkpoint) if checkpoint else None, log)
            processes.append(server.start(Task(arguments, own, str(Path.cwd()))))
        _wait(processes, folder, position if to_log else None)
    finally:
        _end(processes, server)


def sharing_cores(ranks: int) -> dict[str, str]:
    """Variables with which a run's ranks, and runs side by side, share the machine's cores and do not fight for them.

    Each computes on as many threads as it has cores, and threads that wait do not spin. What the user has set stays.
    The parallel launcher says how many jobs there are at a time; joblib has divided the cores by them already, in
    OMP_NUM_THREADS of each.
    """
    among_others = _works_for_a_pool()
    if ranks == 1 and not among_others:
        return {}
    given = os.environ.get("OMP_NUM_THREADS", "")
    mine = int(given) if given.isdecimal() and among_others else cores()
    threads = given if given and not among_others else str(max(1, mine // ranks))
    jobs = os.environ.get(JOBS, "1") if among_others else "1"
    return {
        "OMP_NUM_THREADS": threads,
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
        SHARE: str(max(1, cores() // (ranks * int(jobs)))),
    }


if TYPE_CHECKING or sys.platform.startswith("linux"):
    from src.runs.process_server import Process, Server
else:  # macOS and Windows: a process with PyTorch in it cannot be forked
    Process, Server = processes.Process, processes.Server

_servers: list[Server] = []  # the one of this process, once it has been needed


def _server(environment: dict[str, str]) -> Server:
    """The server that forks this process's ranks."""
    if not _servers or not _servers[0].is_usable(environment):
        for old in _servers:
            old.close()
        _servers[:] = [Server(WORKER, environment)]
    return _servers[0]


def _wait(processes: list[Process], folder: RunFolder, echo: int | None) -> None:
    """Until every rank has ended; one that fails ends the others, which would wait for it for ever.

    echo: from where on rank 0's log is repeated on the terminal; None: it is not.
    """
    running = True
    while running:
        _end_as_an_orphan()
        codes = [process.exitcode for process in processes if process.wait(0)]
        running = len(codes) < len(processes) and not any(codes)
        if echo is not None:
            echo = _echo(folder.log(0), echo, to_the_end=not running)
        if running:
            next(process for process in processes if process.exitcode is None).wait(POLL_S)
    for number, process in enumerate(processes):
        for stop in SIGNALS:
            if process.exitcode in (128 + stop, -stop):
                raise Stopped(stop)
        if process.exitcode:
            log = folder.log(number)
            reason = _reason(process.exitcode, log, number, len(processes), echo is not None)
            raise RankError(reason, log, process.exitcode)


def _end_as_an_orphan() -> None:
    """End this process, and its ranks with it, if it works for a command that has gone (jobs of a parallel sweep)."""
    if _works_for_a_pool() and os.getppid() != PARENT:
        os._exit(1)


def _works_for_a_pool() -> bool:
    """Whether this process runs jobs of a parallel sweep."""
    return multiprocessing.parent_process() is not None


def _end(processes: list[Process], server: Server) -> None:
    """End what is still running: asked first, so that books are closed, then killed."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + STOP_GRACE_S
    for process in processes:
        patience = deadline - time.monotonic() if process.pid else 0.0  # without a number the server is starting
        if not process.wait(max(0.0, patience)):
            server.close()


def _reason(code: int, log: Path, number: int, ranks: int, to_log: bool) -> str:
    who = f"rank {number} of {ranks}" if ranks > 1 else "the run"
    if code < 0:
        return f"{who} was ended by signal {-code} ({signal.Signals(-code).name})"
    if number == 0 and not to_log:
        return f"{who} failed; its message is above"
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] if log.is_file() else []
    last = lines[-1].removeprefix("error: ") if lines else f"it ended with exit code {code}"
    return f"{last} ({who}; {log})"


def _echo(log: Path, position: int, to_the_end: bool) -> int:
    """Repeat on the terminal the whole lines that the log has from `position` on; returns where they end.

    Each line begins with the run's name: a sweep may run several jobs at a time.
    """
    if not log.is_file():
        return position
    with log.open("rb") as file:
        file.seek(position)
        text = file.read()
    if not to_the_end:
        text = text[: text.rfind(b"\n") + 1]
    for line in text.decode(errors="replace").splitlines():
        sys.stdout.write(f"{log.parent.name} │ {line}\n")
    sys.stdout.flush()
    return position + len(text)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def run_rank(cfg: DictConfig, folder: RunFolder, checkpoint: Path | None) -> None:
    """Run in this process: the only one, or a rank that torchrun or SLURM has started."""
    worker = importlib.import_module(WORKER)
    worker.run(cfg, folder, checkpoint)
