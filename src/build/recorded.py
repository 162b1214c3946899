"""The configuration of a recorded run, composed again from the project's own `conf/`.

A record is data that somebody else may have written. It chooses among the files of `conf/` and sets plain values;
whatever could bring in other code, other files or another place to write is refused, unless the user types it.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from src import plugins
from src.build.compose import compose, merged
from src.errors import UserError
from src.text import printable

KEY = re.compile(r"[A-Za-z]\w*(\.[A-Za-z0-9]\w*)*", re.ASCII)  # no part is one that `instantiate` obeys (`_target_`)
CHOICE = re.compile(r"[\w-]+", re.ASCII)
LONGEST = 20_000  # characters of an override; Hydra's parser is slow
PLAIN = (str, int, float, bool, type(None))
# Where a data set is on one machine.
PLACES = tuple(
    f"data.{name}" for name in ("root", "csv", "list_folder", "train_list", "val_list", "test_list", "class_names")
)
MADE_ON_USE = "src.data.ordered_motions.lists"  # the reader that writes its videos to data.root


def compose_recorded(recorded: Sequence[str], own: Sequence[str] = (), *, needs_data: bool = True) -> DictConfig:
    """The configuration of a recorded run, with overrides of this command line on top.

    Args:
        recorded: overrides of the record.
        own: of this command line, which may do all that Hydra can; they replace recorded ones of the same option.
        needs_data: the data set is read; else it does not matter where the record says that it is, or whether it does.

    Raises:
        UserError: a recorded override is not a choice among the files of `conf/` or a plain value.
        HydraException, OmegaConfBaseException: there is no such option or value.
    """
    typed = {option_of(word) for word in own}
    used = []
    for word in recorded:
        if option_of(word) in typed:
            continue
        reason = _refusal(word)
        if reason is None:
            used.append(word)
        elif needs_data or option_of(word) not in PLACES:
            raise UserError(
                f"the run's recorded override {printable(word)[:200]} is refused: {reason}; "
                "if you trust it, give it on this command line"
            )
    cfg = compose(merged(used, own))
    reader = cfg.data.lists
    if isinstance(reader, DictConfig) and reader.get("_target_") == MADE_ON_USE and "data.root" not in typed:
        OmegaConf.update(cfg, "data.root", None)  # a record does not say where files are written
    if "features.root" not in typed:
        OmegaConf.update(cfg, "features.root", None)
    if not needs_data:
        forget_places(cfg)
    return cfg


def forget_places(cfg: DictConfig) -> None:
    """For those who read no data set: what says where one is may be missing."""
    for name in PLACES:
        if OmegaConf.is_missing(cfg.data, name.removeprefix("data.")):
            OmegaConf.update(cfg, name, None)


def option_of(word: str) -> str:
    """What an override sets."""
    return word.partition("=")[0].lstrip("+~")


def _refusal(word: str) -> str | None:
    """Why a recorded override is not taken; None where it is."""
    if len(word) > LONGEST:
        return "it is too long"
    if "${" in word:
        return "it takes its value from somewhere else"
    try:
        override = OverridesParser.create().parse_override(word)
    except (HydraException, RecursionError):
        return "it is not of the form option=value"
    key = override.key_or_group
    if key.partition(".")[0] == "hydra" or key.startswith("hydra/"):
        return "it is an option of the command line"
    if override.type == OverrideType.DEL or override.package is not None or not KEY.fullmatch(key):
        return "it is not of the form option=value, or it names code"
    if override.is_sweep_override():
        return "it has several values"
    if _is_group(key):
        return None if _are_choices(key, override) else f"it does not choose among the files of {key}/"
    return None if _is_plain(override.value()) else "it is not a plain value, or it names code"


def _is_group(key: str) -> bool:
    return plugins.is_group(key)


def _are_choices(group: str, override: Override) -> bool:
    """Whether an override of a group names files of `conf/`, or of the user's own folder, only; null chooses none."""
    value: Any = override.value()
    names: Iterable[Any] = value if isinstance(value, list) else [] if value is None else [value]
    return all(
        isinstance(name, str) and CHOICE.fullmatch(name) and plugins.choice(group, name) is not None for name in names
    )


def _is_plain(value: Any) -> bool:
    """Text, numbers, flags and null, in lists and mappings without names that `instantiate` obeys."""
    if isinstance(value, list):
        return all(_is_plain(element) for element in value)
    if isinstance(value, dict):
        return all(not str(key).startswith("_") and _is_plain(element) for key, element in value.items())
    return isinstance(value, PLAIN)
