"""Hydra's own sweeper over lists of values (`-m seed=0,1`), which checks every run before the first one starts."""

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
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
        return super().sweep(arguments)
