"""From overrides to a configuration: the project's own `conf/`, nothing but data."""

import os
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from src import options
from src.config import CONF
from src.errors import UsageError, UserError
from src.text import printable

SPECIAL = ("_target_", "_args_", "_partial_", "_convert_", "_recursive_")  # keys that `instantiate` obeys
INTERPOLATION = re.compile(r"\$\{")


def compose(overrides: Sequence[str], config_name: str = "train") -> DictConfig:
    """The configuration that `python -m src.train *overrides` would get."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra_compose(config_name, overrides=list(overrides))


def check(cfg: DictConfig) -> None:
    """Refuse a configuration with a value that is missing, of the wrong type or out of range.

    Raises:
        UsageError: names the option, its value, the reason, and a value that works.
    """
    for name in sorted(OmegaConf.missing_keys(cfg)):
        raise UsageError(f"{name} has no value; give {name}=…")
    content: Any = OmegaConf.to_container(cfg, resolve=True)
    options.check(content)


def compose_recorded(overrides: Sequence[str], own: Sequence[str] = ()) -> DictConfig:
    """The configuration of a recorded run, with overrides of this command line on top.

    A record is data that somebody else may have written: it chooses among the options of `conf/` and sets plain
    values, and can't bring in other code.

    Args:
        overrides: of the record.
        own: of this command line, which may do all that Hydra can.

    Raises:
        UserError: a recorded override names or changes a class, or is no plain choice or value.
    """
    for word in overrides:
        _refuse_code(word)
    known = [word for word in overrides if word.partition("=")[0] != "data.root" or not _is_made(overrides)]
    cfg = compose(merged(known, own))
    _refuse_other_targets(compose(known))
    return cfg


def _is_made(overrides: Sequence[str]) -> bool:
    """Whether the run's data are made on first use: a record must not say where to write them."""
    chosen = [word.partition("=")[2] for word in overrides if word.partition("=")[0] == "data"]
    return not chosen or chosen[-1] == "ordered_motions"


def _refuse_code(word: str) -> None:
    key, sign, value = word.partition("=")
    reason = None
    if any(special in word for special in SPECIAL):
        reason = "it names or changes code"
    elif not sign or not re.fullmatch(r"\+{0,2}[\w./@-]+", key) or ".." in key or key.startswith("/"):
        reason = "it is not of the form option=value"
    elif key.lstrip("+").startswith(("hydra.", "hydra/")) or key.lstrip("+") in ("hydra", "experiments"):
        reason = "it is an option of the command line"
    elif INTERPOLATION.search(value):
        reason = "it takes its value from somewhere else"
    elif (CONF / key.lstrip("+")).is_dir() and not re.fullmatch(r"\[?[\w, -]+\]?", value):
        reason = f"it is not a choice of conf/{key.lstrip('+')}"
    if reason:
        raise UserError(
            f"the run's recorded override {printable(word)} is refused: {reason}; "
            "if you trust it, give it on this command line"
        )


@cache
def _own_targets() -> frozenset[str]:
    """Every class that a file of `conf/` names."""
    found: set[str] = set()
    for path in sorted([*CONF.rglob("*.yaml"), *(CONF.parent / "experiments").glob("*.yaml")]):
        found.update(_targets(yaml.safe_load(path.read_text(encoding="utf-8"))))
    return frozenset(found)


def _targets(node: Any) -> Iterable[str]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield str(node["_target_"])
        node = list(node.values())
    if isinstance(node, list):
        for element in node:
            yield from _targets(element)


def _refuse_other_targets(cfg: DictConfig) -> None:
    for target in _targets(OmegaConf.to_container(cfg, resolve=False)):
        if target not in _own_targets():
            raise UserError(f"the run's record names the class {printable(target)}, which no file of conf/ names")


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
    """`conf/`, preceded by the folder that `--config-dir` names."""
    folders = []
    for i, word in enumerate(words):
        if word.startswith("--config-dir="):
            folders.append(word.partition("=")[2])
        elif word in ("--config-dir", "-cd") and i + 1 < len(words):
            folders.append(words[i + 1])
    return [*(Path(os.path.expanduser(folder)) for folder in folders), CONF]  # noqa: PTH111
