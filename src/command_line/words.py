"""The words of a Hydra command line as a person types them: paths and patterns are taken as they stand."""

import os
import re
import shlex
from collections.abc import Sequence

from src import plugins
from src.options import NONE_AUTO_OR_PATH, PATH, PATTERN, declared, optional

VERBATIM = [values.what for values in (PATH, optional(PATH), NONE_AUTO_OR_PATH, PATTERN, optional(PATTERN))]
NO_NAME = re.compile(r"[\d.]+|true|false|null", re.IGNORECASE)  # what Hydra does not read as a text
LISTS = ("logger",)  # groups of which several may be chosen


def normalise(words: Sequence[str]) -> list[str]:
    """Words that Hydra understands: paths and patterns quoted, `~` expanded, `experiment=NAME` as a choice."""
    multirun = "-m" in words or "--multirun" in words
    return [_normalise(word, multirun) for word in words]


def _normalise(word: str, multirun: bool) -> str:
    key, sign, value = word.partition("=")
    if not sign or word.startswith("-"):
        return word
    if key == "experiment" and re.fullmatch(r"[\w-]+", value):
        return f"experiments={value}"
    if key in LISTS and re.fullmatch(r"[\w-]+" if multirun else r"[\w,-]+", value) and value:
        return f"{key}=[{'csv' if value == 'null' else value}]"  # the CSV file is always written
    if NO_NAME.fullmatch(value) and plugins.is_group(key):  # so that it is refused by its name
        return f"{key}={quote(value)}"
    if is_verbatim(key) and value not in ("null", "") and not is_quoted(value) and not (multirun and "," in value):
        return f"{key}={quote(os.path.expanduser(value))}"  # noqa: PTH111 - keeps `./` and the like as typed
    return word


def is_verbatim(key: str) -> bool:
    """Whether the option takes a path or a pattern."""
    option = declared(key.lstrip("+"))
    return option is not None and option.values.what in VERBATIM


def is_quoted(value: str) -> bool:
    """Whether somebody has quoted the value for Hydra already."""
    return len(value) > 1 and value[0] == value[-1] and value[0] in "'\""


def quote(text: str) -> str:
    """A text as Hydra's grammar takes it, whatever characters it has."""
    escaped = re.sub(r"(\\*)'", lambda match: match[1] * 2 + "\\'", text)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return "'" + escaped + "\\" * trailing + "'"


def shown_word(word: str) -> str:
    """A word as it can be typed in a shell so that its value is one text: `"data.root='a (b)'"`."""
    key, _, value = word.partition("=")
    text = f"{key}={quote(value)}"
    return shlex.quote(text) if re.search(r'["$`\\!]', text) else f'"{text}"'


def unquote(value: str) -> str:
    """What `quote` was given; other values as they are."""
    if not is_quoted(value):
        return value
    inner = re.sub(r"(\\*)'", lambda match: match[1][: len(match[1]) // 2] + "'", value[1:-1])
    trailing = len(inner) - len(inner.rstrip("\\"))
    return inner[: len(inner) - trailing // 2] if trailing else inner
