"""Joblib's launcher, whose workers end with the command."""

import contextlib
import os
from collections.abc import Sequence
from typing import Any

from hydra.plugins.launcher import Launcher
from src import extras

Base: Any = Launcher
with contextlib.suppress(ModuleNotFoundError):  # an extra
    from hydra_plugins.hydra_joblib_launcher.joblib_launcher import JoblibLauncher as Base


class ParallelLauncher(Base):
    """Several runs at a time on this machine. Options: those of joblib.Parallel."""

    def __init__(self, **options: Any) -> None:
        extras.require("hydra/launcher=parallel", "parallel", "hydra_plugins.hydra_joblib_launcher")
        from src.signals import serve_parent  # here: Hydra 1.4 takes no functions from a configuration

        super().__init__(**options, initializer=serve_parent)
        self.at_a_time = options["n_jobs"]

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Any:
        """Run the jobs; each is told how many there are at a time, to share the cores with them.

        Joblib, which divides the threads by `n_jobs`, hears of no more jobs than there are.
        """
        from joblib import effective_n_jobs
        from src.build.devices import JOBS

        jobs = max(1, min(effective_n_jobs(self.at_a_time), len(job_overrides)))
        self.joblib = {**self.joblib, "n_jobs": jobs}
        os.environ[JOBS] = str(jobs)
        try:
            return super().launch(job_overrides, initial_job_idx)
        finally:
            del os.environ[JOBS]
