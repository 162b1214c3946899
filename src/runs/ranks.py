"""Which of a run's processes this is. Imports nothing heavy."""

import os

from src.signals import end_with_parent as end_with_parent

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
