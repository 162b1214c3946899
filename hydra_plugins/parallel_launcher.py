"""Joblib's launcher, whose workers end with the command."""

import contextlib
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
