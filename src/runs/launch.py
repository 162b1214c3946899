"""Start a run's processes, one per device.

Lightning would start them by running the command line again. Under a sweep that would run the whole sweep in each
rank, and ranks could end up with different hyper-parameters; here every rank is handed the one resolved configuration.
Where torchrun or SLURM has started the ranks already, this process is one of them.

Processes are forked from a server that has imported everything and has touched no device, so that the second job of a
sweep starts at once. Each gets the environment of the command as it is now, and none outlives the command.
"""

import importlib
import multiprocessing
import os
import signal
import socket
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.config import ROOT
from src.errors import UsageError, UserError
from src.files import process_exists
from src.runs.folder import RunFolder
from src.runs.ranks import STARTED_HERE, end_with_parent
from src.signals import SIGNALS, Stopped

WORKER = "src.training.worker"  # the module whose `main` is one rank; named, because training builds on this package
STOP_GRACE_S = 4  # how long ranks may take to close their books once one has been asked to stop


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


def start_ranks(cfg: DictConfig, folder: RunFolder, checkpoint: Path | None, *, to_log: bool) -> None:
    """Run in one new process per device, and wait until all have ended.

    to_log: everything that rank 0 prints goes into its log, and is repeated on the terminal line by line with the
        name of the run; else rank 0 prints on the terminal.

    Raises:
        RankError: a rank failed.
        Stopped: a rank has been stopped by a signal.
        UsageError: several machines, which torchrun or SLURM must start.
    """
    ranks = local_ranks(cfg)
    if cfg.trainer.num_nodes > 1:
        raise UsageError(
            f"trainer.num_nodes={cfg.trainer.num_nodes}: start the ranks with torchrun --nnodes "
            f"{cfg.trainer.num_nodes} --nproc-per-node {ranks} … -m src.train, or with srun"
        )
    content = OmegaConf.to_container(cfg, resolve=True)
    shared = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(ranks),
        STARTED_HERE: "1",
    }
    context = _server()
    position = _size(folder.log(0))  # behind what earlier attempts printed
    processes: list[BaseProcess] = []
    try:
        for number in range(ranks):
            environment = shared | {"LOCAL_RANK": str(number), "RANK": str(number)}
            log = folder.log(number) if to_log or number else None
            arguments = (content, str(folder), str(checkpoint) if checkpoint else None, environment, log)
            process = context.Process(target=_rank, args=(os.getpid(), *arguments))
            process.start()
            processes.append(process)
        _wait(processes, folder, position if to_log else None)
    finally:
        _end(processes)


def _server() -> Any:
    """The context whose processes are forked from one that has imported the training code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([WORKER])
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if str(ROOT) not in paths:  # the server has no other way to find this project from another folder
        os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, paths)])
    return context


def _rank(
    starter: int, content: Any, folder: str, checkpoint: str | None, environment: dict[str, str], log: Path | None
) -> None:
    """One rank, in its own process."""
    os.environ.clear()
    os.environ.update(environment)
    end_with_parent()
    if not process_exists(starter):  # it died before the line above
        os._exit(1)
    if log is not None:
        with log.open("a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    importlib.import_module(WORKER).main(content, folder, checkpoint)


def _wait(processes: list[BaseProcess], folder: RunFolder, echo: int | None) -> None:
    """Until every rank has ended; one that fails ends the others, which would wait for it for ever.

    echo: from where on rank 0's log is repeated on the terminal; None: it is not.
    """
    running = True
    while running:
        codes = [process.exitcode for process in processes]
        running = None in codes and not any(codes)
        if echo is not None:
            echo = _echo(folder.log(0), echo, to_the_end=not running)
        time.sleep(0.05 if running else 0)
    for number, process in enumerate(processes):
        for stop in SIGNALS:
            if process.exitcode in (128 + stop, -stop):
                raise Stopped(stop)
        if process.exitcode:
            log = folder.log(number)
            reason = _reason(process.exitcode, log, number, len(processes), echo is not None)
            raise RankError(reason, log, process.exitcode)


def _end(processes: list[BaseProcess]) -> None:
    """End what is still running: asked first, so that books are closed, then killed."""
    for process in processes:
        if process.is_alive():
            process.terminate()
    deadline = time.monotonic() + STOP_GRACE_S
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()


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
