"""Names of classes beside a list that has numbers: a file that people have, and what its numbers mean in the list."""

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from src.data.list_text import numbered_lines, read_list_text
from src.data.listing import Listed
from src.errors import UserError
from src.text import first_line, listed, printable

NUMBER_FIRST = re.compile(r"(\d{1,9})(?:\s*[,;:\t]\s*|\s+)(\S.*)")
NUMBER_LAST = re.compile(r"(.*\S)\s*[,;\t]\s*(\d{1,9})")
HEADER = re.compile(r"(id|index|label|class_id|label_id)\s*[,;\t ]\s*(name|class|label|class_name)", re.IGNORECASE)
HOW = "write one class a line, in the order of the numbers, or `number name` with numbers from 0 or 1 without gaps"


class ClassNames(NamedTuple):
    """The names in the order of their numbers.

    first: the number of the first one where the file states numbers (0 or 1); None where lines count from 0.
    """

    names: list[str]
    first: int | None


def read_class_names(file: Path) -> ClassNames:
    """The classes of a file: `name` or `number name` (also `name,number`) a line, or JSON `{"name": number}`.

    Numbers count where all lines have one, from 0 or 1 without gaps; else they belong to the names.

    Raises:
        UserError: it cannot be read, names no class or one twice.
    """
    if file.suffix.lower() == ".json":
        return _ordered(file, list(_json(file).items()))
    lines = [line.strip() for _, line in numbered_lines(file)]
    if lines and HEADER.fullmatch(lines[0]):
        lines = lines[1:]
    for pattern, number_at in ((NUMBER_FIRST, 1), (NUMBER_LAST, 2)):
        matches = [match for line in lines if (match := pattern.fullmatch(line))]
        numbers = sorted(int(match[number_at]) for match in matches)
        if lines and len(matches) == len(lines) and _without_gaps(numbers):
            return _ordered(file, [(match[3 - number_at].strip(), int(match[number_at])) for match in matches])
    return ClassNames(_distinct(file, lines), None)


def _json(file: Path) -> Mapping[str, int]:
    try:
        content = json.loads(read_list_text(file))
        return {str(name): int(number) for name, number in content.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        what = f'{printable(file)} is not JSON of the form {{"name": number}} ({first_line(error)})'
        raise UserError(f"{what}; {HOW}") from error


def _ordered(file: Path, pairs: Sequence[tuple[str, int]]) -> ClassNames:
    numbers = sorted(number for _, number in pairs)
    if not _without_gaps(numbers):
        raise UserError(f"{printable(file)}: classes are not numbered from 0 or 1 without gaps; {HOW}")
    names = [name for name, _ in sorted(pairs, key=lambda pair: pair[1])]
    return ClassNames(_distinct(file, names), numbers[0])


def _without_gaps(numbers: Sequence[int]) -> bool:
    first = numbers[0] if numbers else -1
    return first in (0, 1) and list(numbers) == list(range(first, first + len(numbers)))


def _distinct(file: Path, names: list[str]) -> list[str]:
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice or not names:
        what = f"it names {listed(twice)} twice" if twice else "it names no classes"
        raise UserError(f"{printable(file)}: {what}; {HOW}")
    return names


def named(file: Path, entries: Sequence[tuple[Path, Listed]]) -> tuple[list[str], list[str]]:
    """The classes of a file of names, and the class of each entry (list, video), whose labels are numbers or names.

    Numbers are those that the file states; where labels begin with 0 they count from 0 whatever it states.

    Raises:
        UserError: a label is not among them; it names the line.
    """
    classes, first = read_class_names(file)
    labels = {entry.label for _, entry in entries}
    numeric = all(re.fullmatch(r"\d{1,9}", label) for label in labels)
    if not numeric:
        number = {unicodedata.normalize("NFC", name): name for name in classes}
    else:
        lowest = 0 if any(not int(label) for label in labels) else first or 0
        number = {str(place): name for place, name in enumerate(classes, lowest)}
    found = []
    for source, entry in entries:
        name = number.get(str(int(entry.label)) if numeric else unicodedata.normalize("NFC", entry.label))
        if name is None:
            raise UserError(
                f"{printable(source)} line {entry.line}: label {printable(entry.label)} is not among the "
                f"{len(classes)} classes of {printable(file)}{_hint(labels, classes, first, numeric)}"
            )
        found.append(name)
    return classes, found


def _hint(labels: set[str], classes: Sequence[str], first: int | None, numeric: bool) -> str:
    if numeric and first is None and max(map(int, labels)) == len(classes):
        return "; lines count from 0: where labels count from 1, write `1 name` in the file"
    return "; correct the line, or the file of data.class_names"
