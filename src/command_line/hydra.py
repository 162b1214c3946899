"""Commands whose options are a Hydra configuration: Hydra around a task, and mistakes in one line."""

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import hydra
import yaml
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src import plugins
from src.build.compose import VERSION_BASE, check, compose
from src.command_line.completion import completion_script
from src.command_line.options import finish, refuse, wants_traceback
from src.command_line.words import LISTS, normalise, shown_word
from src.config import CONF
from src.errors import UsageError, UserError
from src.options import declared
from src.text import first_line, printable

FULL_ERROR = "HYDRA_FULL_ERROR"
MISTAKES = (HydraException, OmegaConfBaseException, yaml.YAMLError)


def run_hydra(task: Callable[[DictConfig], Any], words: list[str], config_name: str = "train") -> None:
    """Run `task` with the configuration that the words give, and exit; exit codes as in src.command_line.options."""
    traceback = wants_traceback()
    mistakes: list[UserError | OSError] = []

    def job(cfg: DictConfig) -> Any:
        try:
            return task(cfg)
        except (UserError, OSError, *MISTAKES) as error:  # a full disk is for `finish` to say
            mistake = explain(error, words, config_name) if isinstance(error, MISTAKES) else error
            if HydraConfig.get().mode == RunMode.MULTIRUN:  # the sweep goes on, and sums up at its end
                raise mistake from error.__cause__
            mistakes.append(mistake)  # raised below: Hydra would print lines of its own on the way
            return None

    def run() -> None:
        sys.argv[1:] = _flags_last(words)
        script = completion_script(words)
        if script is not None:
            print(script)
            return
        try:
            with _exceptions_let_through():
                hydra.main(**VERSION_BASE, config_path=str(CONF), config_name=config_name)(job)()
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


def _flags_last(words: Sequence[str]) -> list[str]:
    """The words as Hydra reads them: it takes no options behind a flag that has some before it.

    Raises:
        UsageError: for flags that Hydra does not have; it would print its usage.
    """
    parser = get_args_parser()

    def refuse_flag(message: str) -> NoReturn:
        raise UsageError(f"{printable(message)}; --help lists the options, --hydra-help Hydra's flags")

    parser.error = refuse_flag  # type: ignore[method-assign]
    parsed, rest = parser.parse_known_intermixed_args(list(words))
    unknown = [word for word in rest if word.startswith("-")]
    if unknown:
        refuse_flag(f"unrecognized arguments: {' '.join(unknown)}")
    options = [*parsed.overrides, *rest]
    flags = list(words)
    for option in options:
        flags.remove(option)
    return [*options, *flags]


@contextmanager
def _exceptions_let_through() -> Iterator[None]:
    """Hydra raises what goes wrong, to be explained here, and prints nothing about it."""
    before = os.environ.get(FULL_ERROR)
    os.environ[FULL_ERROR] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[FULL_ERROR]
        else:
            os.environ[FULL_ERROR] = before


def composed(words: Sequence[str], config_name: str = "train") -> DictConfig:
    """The checked configuration that words of a command line give.

    Raises:
        UsageError: an option does not exist or has a wrong value.
    """
    normal = normalise(words)
    try:
        cfg = compose(normal, config_name)
        check(cfg)
    except MISTAKES as error:
        raise explain(error, normal, config_name) from None
    return cfg


def explain(error: Exception, words: Sequence[str], config_name: str = "train") -> UserError:
    """One line for a mistake in a configuration, with the choices that exist.

    words: the command line; which options exist depends on the groups that it chooses.
    """
    if isinstance(error, MissingConfigException):
        return _missing(error)
    text = " ".join(str(error).split()).partition(" full_key: ")[0]
    if isinstance(error, OverrideParseException):
        word = str(error.override)
        typed = shown_word(word) if "=" in word else "option=value"
        return UsageError(f"{printable(word)}: cannot be read as option=value; type {printable(typed)}")
    if isinstance(error, ConfigCompositionException):
        cause = error.__cause__
        if text.startswith("Ambiguous value"):
            word = next((word for word in words if f"'{word}'" in text), "option=a,b")
            return UsageError(f"{printable(word)}: several values; add -m for a run each{_as_one_value(word)}")
        if text.startswith("Could not override ''"):
            word = next((word for word in words if word.startswith("=")), "=")
            return UsageError(f"{printable(word)}: cannot be read as option=value; type option=value")
        if match := re.match(r"Could not override '([^'@]+)'\. No match in the defaults list", text):
            return _unknown(match[1], words, config_name)
        if match := re.match(r"Could not override '([^']+)'", text):
            if isinstance(cause, OmegaConfBaseException) and "not in" not in str(cause):
                return UsageError(f"{match[1]}: {first_line(cause)}")
            return _unknown(match[1], words, config_name)
    where = f"{error.full_key}: " if isinstance(error, OmegaConfBaseException) and error.full_key else ""
    return UsageError(f"{where}{text} (LATE_FULL_ERROR=1 shows where)")


def _as_one_value(word: str) -> str:
    """How a word with commas is typed as one value, where its option takes such a value."""
    key, _, value = word.partition("=")
    option = declared(key.lstrip("+"))
    if plugins.is_group(key) and key not in LISTS:
        return ""
    if option is not None and option.values.accepts(value):
        return f", or type {shown_word(word)}"
    try:
        several = yaml.safe_load(f"[{value}]")
    except yaml.YAMLError:
        return ""
    return f", or type {key}=[{value}]" if option is None or option.values.accepts(several) else ""


def _missing(error: MissingConfigException) -> UserError:
    group, _, choice = (error.missing_cfg_file or "").rpartition("/")
    if not group:
        return UsageError(f"{CONF} has no {printable(choice)}.yaml; leave --config-name out")
    known = error.options or plugins.choices(group)
    return UsageError(f"{group}={printable(choice)} does not exist; {group} can be: {', '.join(known)}")


def _unknown(key: str, words: Sequence[str], config_name: str) -> UserError:
    """Say that `key` is not an option, and which ones are beside it."""
    option = declared(key)
    if option is not None and not option.values.accepts(option.values.example):
        return UsageError(f"{key} takes {option.values.what}; leave it out")
    *parents, leaf = key.lstrip("+~").split(".")
    chosen = [word for word in words if plugins.is_group(word.partition("=")[0])]
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
    known = ", ".join(sorted(str(name) for name in node if not str(name).startswith("_")))
    return UsageError(f"{printable(key)}: there is no option {leaf} in {where}; there are: {known}")
