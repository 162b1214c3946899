"""Hydra's door to src/sweeps. Hydra finds sweepers in the package `hydra_plugins` only."""

from collections.abc import Sequence
from typing import Any

from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict


class TableSweeper(Sweeper):
    """Every row of `cfg.experiment`, at every point of its grid, with every seed, through the chosen launcher."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        from src.command_line.hydra import explain  # Hydra imports every plugin at each start: keep that light
        from src.sweeps.plan import run_all

        def compose(overrides: Sequence[str]) -> DictConfig:
            try:
                cfg = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
            except HydraException as error:
                raise explain(error, overrides) from None  # which options exist depends on this job's words
            with open_dict(cfg):
                del cfg["hydra"]
            return cfg

        def launch(batch: Sequence[Sequence[str]]) -> Any:
            return self.launcher.launch(batch, initial_job_idx=0)

        run_all(self.config.experiment, arguments, compose, launch)
