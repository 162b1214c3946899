"""A run in the folder that its configuration names: skipped when finished, resumed when cut off, failures recorded.

Jobs of sweeps run like this, and ranks that torchrun or SLURM has started: nothing but the configuration is needed
to find the folder, so all of them find the same one.

.lock        held while the run goes on; the kernel lets go of it when the process dies, however it dies
error.json   why the last attempt failed; the next one removes it
"""

import fcntl
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig

from src import files, launch, run
from src.errors import UserError


class State(NamedTuple):
    """Where a run stands: finished, running, crashed, interrupted or missing, and a word on it."""

    kind: str
    detail: str = ""


class BusyError(UserError):
    """Another process is at this run."""


def folder_of(cfg: DictConfig) -> Path:
    """`run_dir`, or the folder that follows from what defines the run."""
    return Path(cfg.run_dir) if cfg.run_dir else run.OUTPUTS / "runs" / f"{run.title(cfg)}_{run.identity(cfg)}"


def results(folder: Path) -> dict[str, Any]:
    """What a finished run has written last; empty where it has not finished."""
    return run.read_json(folder / "results.json")


def start(cfg: DictConfig, overrides: list[str]) -> dict[str, Any]:
    """Bring the run to its end, from wherever it stands, in fresh processes; returns its results.

    Raises:
        BusyError: another process is at it.
        UserError: it failed; error.json says why.
    """
    folder = folder_of(cfg)
    if launch.rank() != 0:  # rank 0 of this run keeps the books
        if not results(folder):
            launch.launch(cfg, folder, _last(folder))
        return {}
    with locked(folder):
        if done := results(folder):
            print(f"{folder}: finished already", flush=True)
            return done
        (folder / "error.json").unlink(missing_ok=True)
        checkpoint = _last(folder)
        try:
            run.write_head(cfg, folder, overrides)
            launch.launch(cfg, folder, checkpoint, fresh=True)
        except Exception as error:
            record(folder, error)
            raise
    return results(folder)


def _last(folder: Path) -> Path | None:
    path = folder / "checkpoints" / "last.ckpt"
    return path if path.is_file() else None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run's lock. The ranks do not inherit it: they end with this process instead."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"{folder}: another process is at this run; start again when it is over") from None
        yield


def is_locked(folder: Path) -> bool:
    """Whether a process is at the run now."""
    try:
        handle = os.open(folder / ".lock", os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def record(folder: Path, error: Exception) -> None:
    """Leave error.json: the message, and the end of the log or the traceback."""
    log = folder / "rank_0.log" if not isinstance(error, launch.RankError) else error.log
    tail = log.read_text(errors="replace").splitlines()[-40:] if log.is_file() else []
    message = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    about = {
        "message": message,
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
        "log": tail,
        "traceback": None if isinstance(error, UserError) else traceback.format_exc().splitlines(),
    }
    files.write_json(folder / "error.json", about)


def state(folder: Path) -> State:
    """Where the run in `folder` stands."""
    if done := results(folder):
        metrics = done.get("metrics", {})
        return State("finished", f"top-1 {metrics['top1']:.2f} %" if "top1" in metrics else "")
    running = is_locked(folder)
    if not running and (error := run.read_json(folder / "error.json")):
        return State("crashed", error["message"])
    checkpoint = _last(folder)
    if checkpoint is None and not running and not folder.is_dir():
        return State("missing")
    return State("running" if running else "interrupted", f"{_epochs(checkpoint)} epochs done")


def _epochs(checkpoint: Path | None) -> int:
    if checkpoint is None:
        return 0
    import torch  # heavy, and seldom needed

    # mmap: only the few bytes that are asked for are read
    content = torch.load(checkpoint, map_location="cpu", mmap=True, weights_only=True)
    return int(content["epoch"]) + 1
