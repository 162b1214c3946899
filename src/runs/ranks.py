"""Which of a run's processes this is. Imports nothing heavy."""

import ctypes
import os
import signal
import sys

STARTED_HERE = "LATE_RANK"  # set for the ranks that src.runs.launch starts


def is_rank() -> bool:
    """Whether torchrun, SLURM or src.runs.launch has started this process as one of several."""
    environment = os.environ
    if "LOCAL_RANK" in environment:
        return True
    interactive = environment.get("SLURM_JOB_NAME") in ("bash", "interactive")
    return int(environment.get("SLURM_NTASKS", 1)) > 1 and "SLURM_STEP_ID" in environment and not interactive


def started_here() -> bool:
    """Whether src.runs.launch has started this process as a rank."""
    return STARTED_HERE in os.environ


def rank() -> int:
    """This process's place among all ranks of the run; 0 where it is alone."""
    if not is_rank():
        return 0
    for key in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        if key in os.environ:
            return int(os.environ[key])
    return 0


def end_with_parent() -> None:
    """Have the kernel kill this process when the one that started it dies: two attempts never write at once.

    Linux only; elsewhere nothing happens.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
