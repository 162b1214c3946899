"""Two rows against each other on the same videos: how many only one of them gets right, and whether that is chance.

Results are paired by split and seed, and in each pair by the videos' names. The p-value and the interval speak of
these trained networks on other videos; what another training would change, the deviation over seeds tells.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from src.errors import UserError
from src.reports.lines import Line, key_label
from src.statistics import Key, bootstrap, holm, sign_test


@dataclass(frozen=True)
class Comparison:
    """The second row against the first. `note` alone is filled where they cannot be compared."""

    first: str
    second: str
    pairs: int = 0  # of results with one split and seed
    videos: int = 0  # different ones
    only_first: int = 0  # judgements right in the first row alone, over all pairs
    only_second: int = 0
    difference: float = 0.0  # points of top-1, second minus first
    low: float = 0.0  # of its 95 % bootstrap interval
    high: float = 0.0
    p: float = 1.0  # McNemar's exact test, videos judged several times flipping together
    p_mid: float = 1.0
    p_holm: float = 1.0  # `p` corrected for the number of comparisons in the table
    note: str = ""

    @property
    def made(self) -> bool:
        """There was something to compare."""
        return self.pairs > 0


def compare(first: Line, second: Line) -> Comparison:
    """Paired test and bootstrap interval; where they are impossible, a comparison that says why."""
    said = Comparison(first.title, second.title)
    if first.condition is None or second.condition is None:
        return replace(said, note="no results yet")
    if first.condition != second.condition:
        return replace(said, note=f"not comparable: {first.condition} and {second.condition}")
    differences: dict[Key, dict[str, int]] = {}
    only_first = only_second = 0
    notes = []
    for key in [key for key in first.results if key in second.results]:
        try:
            names, change = paired(first, second, key)
        except UserError as error:
            notes.append(f"{key_label(key)}: {error}")
            continue
        differences[key] = dict(zip(names, change.tolist(), strict=True))
        only_first += int((change < 0).sum())
        only_second += int((change > 0).sum())
    if not differences:
        return replace(said, note="; ".join(notes) or "no split and seed in common")
    videos = sorted({name for one in differences.values() for name in one})
    per_video = np.array([sum(one.get(name, 0) for one in differences.values()) for name in videos], dtype=np.int64)
    values, present = _by_split(differences, videos)
    low, high = bootstrap(100 * values, present)
    test = sign_test(per_video)
    return replace(
        said,
        pairs=len(differences),
        videos=len(videos),
        only_first=only_first,
        only_second=only_second,
        difference=float(np.mean([100 * v[p].mean() for v, p in zip(values, present, strict=True)])),
        low=low,
        high=high,
        p=test.exact,
        p_mid=test.mid,
        p_holm=test.exact,
        note="; ".join(notes),
    )


def paired(first: Line, second: Line, key: Key) -> tuple[list[str], NDArray[np.int64]]:
    """Names of the videos that both results judged, and for each 1 (only the second is right), -1 or 0.

    Raises:
        UserError: score files that are missing, of other lists, or that disagree on classes or labels.
    """
    if first.results[key].runs[0].lists != second.results[key].runs[0].lists:
        raise UserError("different lists of videos")
    a, b = first.results[key].scores, second.results[key].scores
    if a is None or b is None:
        raise UserError("no readable scores")
    if a.classes != b.classes:
        raise UserError("the score files have different classes")
    place = {name: i for i, name in enumerate(b.videos)}
    rows = [i for i, name in enumerate(a.videos) if name in place]
    order = [place[a.videos[i]] for i in rows]
    if not rows:
        raise UserError("no video in common")
    if not a.same_classes(b, rows, order):
        raise UserError("the score files disagree on the videos' labels")
    change = b.correct()[order].astype(np.int64) - a.correct()[rows].astype(np.int64)
    return [a.videos[i] for i in rows], change


def _by_split(
    differences: dict[Key, dict[str, int]], videos: list[str]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Mean over seeds of each video's difference, and whether the split has the video: both (splits, videos)."""
    splits = list(dict.fromkeys(split for split, _ in differences))
    values, present = np.zeros((len(splits), len(videos))), np.zeros((len(splits), len(videos)), dtype=bool)
    for row, split in enumerate(splits):
        seeds = [one for key, one in differences.items() if key[0] == split]
        for column, name in enumerate(videos):
            found = [one[name] for one in seeds if name in one]
            present[row, column] = bool(found)
            values[row, column] = sum(found) / len(found) if found else 0.0
    return values, present


def against_first(lines: Sequence[Line]) -> list[Comparison]:
    """Every line against the first one under the same condition, with Holm's correction over all of them."""
    pairs = []
    for i, line in enumerate(lines):
        base = next((other for other in lines[:i] if line.condition and other.condition == line.condition), None)
        if base is not None:
            pairs.append((base, line))
    return apply_holm([compare(a, b) for a, b in pairs])


def apply_holm(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Fill in the corrected p-values."""
    corrected = iter(holm([c.p for c in comparisons if c.made]))
    return [replace(c, p_holm=next(corrected)) if c.made else c for c in comparisons]


def pick(lines: Sequence[Line], wanted: str) -> list[tuple[Line, Line]]:
    """The pairs of lines that `compare=A,B` means; A and B are names of rows or their numbers from 1.

    A row that has lines under several conditions is compared condition by condition.

    Raises:
        UserError: not two rows, or no such row.
    """
    names = list(dict.fromkeys(line.name for line in lines))
    words = _two(wanted, names)
    chosen = []
    for word in words:
        if word.isdigit() and 0 < int(word) <= len(names) and word not in names:
            word = names[int(word) - 1]
        if word not in names:
            numbered = ", ".join(f"{i} {name}" for i, name in enumerate(names, 1))
            raise UserError(f"compare={wanted}: there is no row {word}; rows: {numbered}")
        chosen.append([line for line in lines if line.name == word])
    same = [(a, b) for a in chosen[0] for b in chosen[1] if a.condition == b.condition]
    return same or [(chosen[0][0], chosen[1][0])]


def _two(wanted: str, names: list[str]) -> tuple[str, str]:
    """The two names around the comma; names may have commas of their own."""
    parts = wanted.split(",")
    ways = [(",".join(parts[:i]).strip(), ",".join(parts[i:]).strip()) for i in range(1, len(parts))]
    known = [way for way in ways if way[0] in names and way[1] in names]
    if not ways or not (known or len(ways) == 1):
        raise UserError(f"compare={wanted}: give two rows, compare=A,B, by name or by number")
    return (known or ways)[0]
