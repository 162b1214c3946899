"""Hydra's own sweeper over lists of values (`-m seed=0,1`), which checks every run before the first one starts."""

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobStatus
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from omegaconf import open_dict


class ListSweeper(BasicSweeper):
    """One run for each combination of the values."""

    def sweep(self, arguments: list[str]) -> Any:
        from src.build.compose import check  # Hydra imports every plugin at each start: keep that light
        from src.command_line.hydra import explain

        assert self.hydra_context is not None
        loader = self.hydra_context.config_loader
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(arguments)
        (combinations,) = self.split_arguments(parsed, None)
        for overrides in combinations:
            try:
                cfg = loader.load_sweep_config(self.config, list(overrides))
            except HydraException as error:
                raise explain(error, overrides) from None
            with open_dict(cfg):
                del cfg["hydra"]
            check(cfg)
        assert self.launcher is not None
        self.launcher = _Summing(self.launcher)
        return super().sweep(arguments)


class _Summing:
    """A launcher that raises what its jobs have raised, before Hydra would print lines of its own about it."""

    def __init__(self, launcher: Launcher) -> None:
        self.launcher = launcher

    def launch(self, batch: Any, initial_job_idx: int) -> Any:
        from src.errors import UserError

        results = self.launcher.launch(batch, initial_job_idx=initial_job_idx)
        errors = [result._return_value for result in results if result.status == JobStatus.FAILED]
        if len(errors) > 1 and isinstance(errors[0], UserError):
            raise UserError(f"{len(errors)} of {len(results)} runs failed, the first: {errors[0]}")
        if errors:
            raise errors[0]
        return results
