"""Videos as a folder or a list names them, before classes are numbered: checked for what nobody can mean."""

import logging
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from src.data.video_files import file_key
from src.errors import UserError
from src.text import folded, printable

log = logging.getLogger(__name__)
# fmt: off
SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "validate": "val", "dev": "val",
    "test": "test", "testing": "test",
}
# fmt: on
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")


class Listed(NamedTuple):
    """One video of a folder or a list."""

    path: str  # relative to the data root, or absolute
    label: str
    group: str = ""  # empty: as the file's name tells
    split: str = ""  # train, val, test; empty: none is named
    line: int = 0  # of the list; 0 in a folder
    frames: int | None = None  # of a folder of pictures, where the list says how many


def check_distinct(source: Path, base: Path, entries: Iterable[Listed]) -> None:
    """Refuse a video that is listed twice, in whatever spelling and through whatever links.

    Raises:
        UserError: two entries lead to one file; it names both.
    """
    first: dict[object, Listed] = {}
    for entry in entries:
        other = first.setdefault(file_key(base / entry.path), entry)
        if other is entry:
            continue
        names = other.path if other.path == entry.path else f"{other.path} and {entry.path}"
        where = f"lines {other.line} and {entry.line} name the same video: {names}"
        labels = "" if other.label == entry.label else f" (labels {other.label} and {entry.label})"
        if entry.line:
            raise UserError(f"{printable(source)}: {printable(where + labels)}; keep one of the lines")
        raise UserError(f"{printable(source)}: {printable(names)} are the same file; remove one of the links")


def sorted_labels(labels: Iterable[str]) -> list[str]:
    """Alphabetical, or by value where all labels are numbers; the same order in every process."""
    plain = sorted(labels)
    if all(NUMBER.fullmatch(label) for label in plain):
        return sorted(plain, key=Decimal)  # keeps the order of texts with the same value
    return plain


def check_labels(source: Path, entries: Sequence[Listed]) -> None:
    """Say where labels look alike: texts of one number are refused in a list, other pairs are a warning.

    Raises:
        UserError: two labels of a list are one number (1 and 01), so that they may be one class or two.
    """
    first: dict[str, Listed] = {}
    for entry in entries:
        first.setdefault(entry.label, entry)
    alike: dict[object, Listed] = {}
    for label in sorted(first):
        number = NUMBER.fullmatch(label)
        entry, other = first[label], alike.setdefault(Decimal(label) if number else folded(label), first[label])
        if other is entry:
            continue
        pair = f"{_shown(other.label)} and {_shown(label)}"
        if number and entry.line:
            lines = sorted((other.line, entry.line))
            raise UserError(
                f"{printable(source)}: the labels {pair} (lines {lines[0]} and {lines[1]}) are the same number; "
                "write each class in one way"
            )
        log.warning("%s: %s are taken as two classes", printable(source), pair)


def _shown(label: str) -> str:
    """In quotes where it holds blanks that would not be seen."""
    return printable(label) if label == " ".join(label.split()) else ascii(label)
