"""Entry points: Hydra around a task, and the user's mistakes told in one line instead of a traceback."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.config import CONF, register
from src.errors import UserError
from src.signals import Stopped, stop_on_signals

MISTAKES = (UserError, HydraException, OmegaConfBaseException, yaml.YAMLError)


def main(task: Callable[[DictConfig], Any], config_name: str = "train") -> None:
    """Run `task` with the configuration of the command line; exit 1 with one line on the user's mistakes.

    HYDRA_FULL_ERROR=1 asks for the traceback.
    """
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR", "0") not in {"", "0"}
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra lets exceptions through, and they are told here
    register()
    mistakes: list[UserError] = []

    def job(cfg: DictConfig) -> Any:
        try:
            return task(cfg)
        except UserError as error:
            if HydraConfig.get().mode == RunMode.MULTIRUN:  # the sweep goes on and tells at its end
                raise
            mistakes.append(error)  # raised below: Hydra would print lines of its own on its way
            return None

    try:
        with stop_on_signals():
            hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(job)()
        for error in mistakes:
            raise error
    except MISTAKES as error:
        if wants_traceback:
            raise
        sys.exit(f"error: {explain(error, config_name, getattr(error, 'words', sys.argv[1:]))}")
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(stopped.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def plain(task: Callable[[list[str]], int | None]) -> None:
    """Run a task that reads its own `key=value` arguments and exit with what it returns; mistakes as in `main`."""
    try:
        with stop_on_signals():
            sys.exit(task(sys.argv[1:]))
    except MISTAKES as error:
        if os.environ.get("HYDRA_FULL_ERROR", "0") not in {"", "0"}:
            raise
        sys.exit(f"error: {explain(error)}")
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(stopped.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def options(arguments: list[str], known: dict[str, str | None]) -> tuple[dict[str, str | None], list[str]]:
    """`key=value` arguments whose key is known, over their defaults, and the rest in order."""
    values, rest = dict(known), []
    for argument in arguments:
        key, sign, value = argument.partition("=")
        if sign and key in known:
            values[key] = value
        else:
            rest.append(argument)
    return values, rest


def explain(error: Exception, config_name: str = "train", words: Sequence[str] = ()) -> str:
    """One line for an error that the user can mend, with the list of what exists in that configuration.

    words: the command line; what exists depends on the groups that it chooses.
    """
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, choice = (error.missing_cfg_file or "").rpartition("/")
        return f"{group}={choice} does not exist; {group} can be: {', '.join(error.options)}"
    text = " ".join(str(error).split())
    if isinstance(error, ConfigCompositionException):
        if match := re.match(r"Could not override '([^'@]+)'\. No match in the defaults list", text):
            return _unknown(match[1], config_name, words)
        if match := re.match(r"Could not override '([^']+)'", text):
            cause = error.__cause__
            if isinstance(cause, OmegaConfBaseException) and "not in" not in str(cause):
                return f"{match[1]}: {' '.join(str(cause).split(chr(10))[0].split())}"
            return _unknown(match[1], config_name, words)
    return f"{text} (HYDRA_FULL_ERROR=1 shows where)"


def _unknown(key: str, config_name: str, words: Sequence[str]) -> str:
    """Tell that `key` is no option, and which ones stand beside it."""
    from src.build import compose

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
        node, _ = below, parents.pop(0)
    if parents:  # a parent is unknown already
        leaf = parents[0]
    where = key.rpartition(leaf)[0].rstrip(".") or "the configuration"
    return f"{key}: there is no option {leaf} in {where}; there are: {', '.join(sorted(map(str, node)))}"
