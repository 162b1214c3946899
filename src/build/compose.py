"""From overrides to a configuration: the project's own `conf/` and the user's own folder, nothing but data."""

from collections.abc import Iterable, Sequence
from typing import Any

import hydra
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from src import options
from src.config import CONF
from src.errors import UsageError

# Hydra 1.4 knows one behaviour only, and warns of the question.
VERSION_BASE: dict[str, Any] = {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}


def compose(overrides: Sequence[str], config_name: str = "train") -> DictConfig:
    """The configuration that `python -m src.train *overrides` would get."""
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        return hydra_compose(config_name, overrides=list(overrides))


def network_config(overrides: Sequence[str]) -> str:
    """The configuration that holds a network alone; the whole one where data are chosen, which may change its clips."""
    return "train" if any(word.startswith("data=") for word in overrides) else "network"


def check(cfg: DictConfig) -> None:
    """Refuse a configuration with a value that is missing, of the wrong type or out of range.

    Raises:
        UsageError: names the option, its value, the reason, and a value that works.
    """
    written: Any = OmegaConf.to_container(cfg, resolve=False)
    options.check(written)  # a wrong value is named where it stands, not where it is used
    for name in sorted(OmegaConf.missing_keys(cfg)):
        raise UsageError(f"{name} has no value; give {name}=…")
    content: Any = OmegaConf.to_container(cfg, resolve=True)
    options.check(content)


def merged(*groups: Iterable[str]) -> list[str]:
    """Overrides of several origins; where two set the same option the later one holds."""
    chosen: dict[str, str] = {}
    for group in groups:
        for word in group:
            key = word.partition("=")[0].lstrip("+~")
            chosen.pop(key, None)
            chosen[key] = word
    return list(chosen.values())
