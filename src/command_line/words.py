"""The words of a Hydra command line as a person types them: paths and patterns are taken as they stand."""

import os
import re
from collections.abc import Sequence

from src.config import CONF
from src.options import PATH, declared, optional

PATTERNS = ("data.group_pattern",)
OF_PREPARE = ("archives",)
LISTS = ("logger",)  # groups of which several may be chosen


def normalise(words: Sequence[str]) -> list[str]:
    """Words that Hydra understands: paths and patterns quoted, `~` expanded, `experiment=NAME` as a choice."""
    multirun = "-m" in words or "--multirun" in words
    return [_normalise(word, multirun) for word in words]


def _normalise(word: str, multirun: bool) -> str:
    key, sign, value = word.partition("=")
    if not sign or word.startswith("-"):
        return word
    if key == "experiment" and re.fullmatch(r"\w+", value):
        return f"experiments={value}"
    if key in LISTS and re.fullmatch(r"[\w-]+", value) and value != "null" and not (CONF / key / value).is_dir():
        return f"{key}=[{value}]"
    if is_verbatim(key) and value not in ("null", "") and not is_quoted(value) and not (multirun and "," in value):
        return f"{key}={quote(os.path.expanduser(value))}"  # noqa: PTH111 - keeps `./` and the like as typed
    return word


def is_verbatim(key: str) -> bool:
    """Whether the option takes a path or a pattern."""
    option = declared(key.lstrip("+"))
    of_a_path = option is not None and option.values.what in (PATH.what, optional(PATH).what)
    return of_a_path or key in PATTERNS or key in OF_PREPARE


def is_quoted(value: str) -> bool:
    """Whether somebody has quoted the value for Hydra already."""
    return len(value) > 1 and value[0] == value[-1] and value[0] in "'\""


def quote(text: str) -> str:
    """A text as Hydra's grammar takes it, whatever characters it has."""
    escaped = re.sub(r"(\\*)'", lambda match: match[1] * 2 + "\\'", text)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return "'" + escaped + "\\" * trailing + "'"


def unquote(value: str) -> str:
    """What `quote` was given; other values as they are."""
    if not is_quoted(value):
        return value
    inner = re.sub(r"(\\*)'", lambda match: match[1][: len(match[1]) // 2] + "'", value[1:-1])
    trailing = len(inner) - len(inner.rstrip("\\"))
    return inner[: len(inner) - trailing // 2] if trailing else inner
