"""What a clip shows in the mirror: left and right change places, and with them the classes that name them.

map = mirror(classes, "auto")          # "Swiping Left" ↔ "Swiping Right", other classes stay what they are
logits = seen_directly(logits, mirrored, map)   # of mirrored views: each class has the logit of its counterpart
"""

import csv
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from src.data.list_text import numbered_lines
from src.errors import UserError
from src.text import listed, printable

Mirror = tuple[int, ...]  # class → the class that its mirrored clips show; NEVER: they show none, and are not made
NEVER = -1
NONE, AUTO = "none", "auto"
COUNTERPARTS = {
    one: other
    for pair in (
        *(("left", "right"), ("lefts", "rights"), ("leftward", "rightward"), ("leftwards", "rightwards")),
        *(("lefthand", "righthand"), ("lefthanded", "righthanded"), ("clockwise", "counterclockwise")),
    )
    for one, other in (pair, pair[::-1])
}


def mirror(classes: Sequence[str], how: str, file: Path | None = None) -> Mirror | None:
    """The class that a mirrored clip of each class shows; None where labels stay as they are.

    Args:
        how: none; auto: as the names tell, where a class that names a side without a counterpart is never mirrored;
            else as `file` says.
        file: a line for each pair of classes, separated by a comma, semicolon or tab; a class alone is never mirrored,
            one that is not there is its own mirror image.

    Raises:
        UserError: the file cannot be read, or names other classes or one of them twice.
    """
    if how == NONE:
        return None
    if how == AUTO:
        return _by_names(classes)
    assert file is not None
    return _by_file(classes, file)


def names_sides(classes: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of classes that are each other's mirror images by their names."""
    found = _by_names(classes)
    return [(classes[one], classes[other]) for one, other in enumerate(found) if one < other]


def check_mirrored_views(classes: Sequence[str], found: Mirror | None, crops: int) -> None:
    """Refuse mirrored views of testing where there are classes that they cannot show.

    Raises:
        UserError: names such classes.
    """
    pairs = zip(classes, found or (), strict=found is not None)
    alone = [name for name, other in pairs if other == NEVER]
    if alone and crops == 10:
        raise UserError(
            f"test.crops=10 also looks at mirrored clips, and {listed(alone)} have no mirror image among the classes; "
            "give test.crops=1 or test.crops=3"
        )


def _by_names(classes: Sequence[str]) -> Mirror:
    words = [_words(name) for name in classes]
    places: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, key in enumerate(words):
        places[key].append(place)
    found = []
    for place, key in enumerate(words):
        swapped = tuple(COUNTERPARTS.get(word, word) for word in key)
        others = [place] if swapped == key else places.get(swapped, [])
        alone = len(others) == 1 and (swapped == key or len(places[key]) == 1)  # else nobody knows which it is
        found.append(others[0] if alone else NEVER)
    return tuple(found)


def _words(name: str) -> tuple[str, ...]:
    """Words of a name in lower case: of `SwipeLeft`, `swipe_left` and `Swipe left` the same."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFC", name))
    plain = re.sub(r"\b(counter|anti)[\W_]*clockwise", "counterclockwise", spaced.lower().replace("_", " "))
    return tuple(re.findall(r"[^\W_]+", plain))


def _by_file(classes: Sequence[str], file: Path) -> Mirror:
    number = {unicodedata.normalize("NFC", name): place for place, name in enumerate(classes)}
    found = list(range(len(classes)))
    lines: dict[int, int] = {}
    for line, text in numbered_lines(file):
        named = next((cells for cells in _cells(text) if all(cell in number for cell in cells)), None)
        if named is None:
            raise UserError(
                f"{printable(file)} line {line}: {printable(text)} is not `class,class` with classes of the data; "
                "correct the line (names that hold the separator stand in double quotes)"
            )
        for name in dict.fromkeys(named):
            if number[name] in lines:
                raise UserError(
                    f"{printable(file)}: lines {lines[number[name]]} and {line} name {printable(name)}; keep one"
                )
            lines[number[name]] = line
            found[number[name]] = number[named[1] if name == named[0] else named[0]] if len(named) == 2 else NEVER
    return tuple(found)


def _cells(text: str) -> Iterator[list[str]]:
    """A line as one name, and as two by each separator."""
    plain = unicodedata.normalize("NFC", text.strip())
    yield [plain]
    for separator in "\t;,":
        try:
            cells = [cell.strip() for cell in next(csv.reader([plain], delimiter=separator, skipinitialspace=True))]
        except csv.Error:
            continue
        if len(cells) <= 2:
            yield cells


def seen_directly(logits: Tensor, mirrored: Tensor | None, found: Mirror | None) -> Tensor:
    """Logits (N, V, …, K) with the classes of mirrored views (N, V bool) exchanged, so that views can be averaged.

    A mirrored view of class k looks like class `found[k]`: that logit speaks for k.
    """
    if mirrored is None or found is None:
        return logits
    exchanged = logits[..., torch.tensor(found, device=logits.device)]
    wanted = mirrored.to(logits.device).view(*mirrored.shape, *[1] * (logits.ndim - 2))  # N V → N V 1 …
    return torch.where(wanted, exchanged, logits)
