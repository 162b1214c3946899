"""Commands whose options are a Hydra configuration: Hydra around a task, and mistakes in one line."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.build.compose import compose
from src.command_line.options import finish, refuse, wants_traceback
from src.command_line.words import quote
from src.config import CONF
from src.errors import UsageError, UserError
from src.text import printable

MISTAKES = (HydraException, OmegaConfBaseException, yaml.YAMLError)


def run_hydra(task: Callable[[DictConfig], Any], words: list[str], config_name: str = "train") -> None:
    """Run `task` with the configuration that the words give, and exit; exit codes as in src.command_line.options."""
    traceback = wants_traceback()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra lets exceptions through, and they are explained here
    sys.argv[1:] = words
    mistakes: list[UserError] = []

    def job(cfg: DictConfig) -> Any:
        try:
            return task(cfg)
        except UserError as error:
            if HydraConfig.get().mode == RunMode.MULTIRUN:  # the sweep goes on, and sums up at its end
                raise
            mistakes.append(error)  # raised below: Hydra would print lines of its own on the way
            return None

    def run() -> None:
        try:
            hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(job)()
        except MISTAKES as error:
            if traceback:
                raise
            raise explain(error, words, config_name) from None
        for mistake in mistakes:
            raise mistake

    if not traceback:
        finish(run)
    try:
        run()
    except UserError as error:
        refuse(error)


def explain(error: Exception, words: Sequence[str], config_name: str = "train") -> UserError:
    """One line for a mistake in a configuration, with the choices that exist.

    words: the command line; which options exist depends on the groups that it chooses.
    """
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, choice = (error.missing_cfg_file or "").rpartition("/")
        return UsageError(f"{group}={printable(choice)} does not exist; {group} can be: {', '.join(error.options)}")
    text = " ".join(str(error).split())
    if isinstance(error, OverrideParseException):
        key, sign, value = error.override.partition("=")
        typed = f'"{key}={quote(value)}"' if sign else "option=value"
        return UsageError(f"{printable(error.override)}: cannot be read as option=value; type {typed}")
    if isinstance(error, ConfigCompositionException):
        if match := re.match(r"Could not override '([^'@]+)'\. No match in the defaults list", text):
            return _unknown(match[1], words, config_name)
        if match := re.match(r"Could not override '([^']+)'", text):
            cause = error.__cause__
            if isinstance(cause, OmegaConfBaseException) and "not in" not in str(cause):
                return UsageError(f"{match[1]}: {' '.join(str(cause).split(chr(10))[0].split())}")
            return _unknown(match[1], words, config_name)
    return UsageError(f"{text} (HYDRA_FULL_ERROR=1 shows where)")


def _unknown(key: str, words: Sequence[str], config_name: str) -> UserError:
    """Say that `key` is not an option, and which ones are beside it."""
    *parents, leaf = key.lstrip("+~").split(".")
    chosen = [word for word in words if (CONF / word.partition("=")[0]).is_dir()]
    try:
        node = compose(chosen, config_name)
    except MISTAKES:  # a choice that only another configuration folder has
        node = compose([], config_name)
    while parents:
        below = OmegaConf.select(node, parents[0])
        if not isinstance(below, DictConfig):
            break
        node = below
        parents.pop(0)
    if parents:  # a parent is unknown already
        leaf = parents[0]
    where = key.rpartition(leaf)[0].rstrip(".") or "the configuration"
    known = ", ".join(sorted(str(name) for name in node))
    return UsageError(f"{printable(key)}: there is no option {leaf} in {where}; there are: {known}")
