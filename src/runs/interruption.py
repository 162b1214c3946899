"""What a run does when a signal stops it: say how to go on, and ask SLURM to queue its job again."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from omegaconf import DictConfig

from src.runs import ranks
from src.runs.folder import RunFolder
from src.signals import CONTINUES, advised
from src.text import first_line, printable

PATIENCE_S = 2  # that scontrol is given


@contextmanager
def explained(cfg: DictConfig, folder: RunFolder, *, resumes: bool = False) -> Iterator[None]:
    """Within the block the run in `folder` goes on; a stop says how it continues, after requeue=true's request.

    resumes: the same command finds the folder by itself.
    """

    def last_words(number: signal.Signals) -> str:
        if cfg.requeue and number == signal.SIGTERM and ranks.rank() == 0:
            requeue()
        return _advice(folder, resumes or cfg.run_dir is not None)

    with advised(last_words):
        yield


def _advice(folder: RunFolder, resumes: bool) -> str:
    if resumes:
        return CONTINUES
    if folder.results.is_file():
        return f"the run has finished: {printable(folder)}"
    if not folder.last.is_file():
        return "no epoch was finished: the same command starts again"
    word = shlex.quote(f"ckpt_path={folder}")
    return f"to continue from its last checkpoint, add {printable(word)} to the same command"


def job_number() -> str | None:
    """What SLURM calls the job that this process is part of; None outside of SLURM."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


def was_requeued() -> bool:
    """Whether SLURM has started this job before."""
    return os.environ.get("SLURM_RESTART_COUNT", "0") not in ("", "0")


def requeue() -> None:
    """Ask SLURM to queue this job again; where it refuses, a warning says so."""
    job = job_number()
    if job is None:
        return
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, timeout=PATIENCE_S, capture_output=True)
        print(f"SLURM job {job} is queued again", file=sys.stderr)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"SLURM job {job} could not be queued again ({printable(first_line(error))})", file=sys.stderr)
