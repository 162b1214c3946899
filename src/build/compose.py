"""From overrides to a configuration: the project's own `conf/`, nothing but data."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from src import files, options
from src.config import CONF, EXPERIMENTS
from src.errors import UsageError


def compose(overrides: Sequence[str], config_name: str = "train") -> DictConfig:
    """The configuration that `python -m src.train *overrides` would get."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
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


def config_folders(words: Sequence[str]) -> list[Path]:
    """Where groups are found: the folder that `--config-dir` names, then `conf/`, then the one of `experiments/`."""
    folders = []
    for i, word in enumerate(words):
        if word.startswith("--config-dir="):
            folders.append(word.partition("=")[2])
        elif word in ("--config-dir", "-cd") and i + 1 < len(words):
            folders.append(words[i + 1])
    return [*(files.home_expanded(folder) for folder in folders), CONF, EXPERIMENTS.parent]
