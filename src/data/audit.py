"""What a run is about to learn from and be tested on, said before it starts: counts, lengths, and leaks."""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from src import files
from src.data.annotations import Lists, Video
from src.data.inventory import load
from src.data.video_files import file_key
from src.errors import UserError
from src.text import listed, printable

log = logging.getLogger(__name__)
Phases = Mapping[str, Sequence[Video]]
NAMED = 6  # clips that a message names
SHOWN_CLASSES = 12


def audit(
    lists: Lists,
    phases: Phases,
    folder: Path | None = None,
    console: Console | None = None,
    allow_overlap: bool = False,
) -> dict[str, Any]:
    """Print and return what the phases (train, val, test) hold and share; with `folder`, write it to audit.json.

    Two files are the same if they are one file on disk, or have the same size and content (by the inventory's
    hash where there is one; only files of equal size are read). Frame folders are not compared by content.

    Raises:
        UserError: a video of one phase is also in another, or, in lists of one's own, a source is. A source on both
            sides of published lists is a warning, as all of it is with `allow_overlap`. Validation on the test list
            itself (protocol=paper) is said, and no error.
    """
    entries = load(lists.root)
    content = _content(phases, {name: (e.bytes, e.sha256) for name, e in entries.items() if e.sha256})
    overlaps = {
        f"{first}-{second}": _overlap(phases[first], phases[second], content) for first, second in _pairs(phases)
    }
    report = {
        "data": lists.name,
        "split": lists.split,
        "official": lists.official,
        "validates_on_test": _same(phases.get("val", ()), phases.get("test", ())),
        "phases": {phase: _describe(videos) for phase, videos in phases.items()},
        "classes": _classes(lists.classes, phases),
        "overlap": overlaps,
        "left_out": list(lists.left_out),
    }
    if folder is not None:
        files.write_json(folder / "audit.json", report)
    if console is not None:
        _print(report, console)
    _judge(overlaps, lists.official, allow_overlap)
    return report


def _pairs(phases: Phases) -> list[tuple[str, str]]:
    pairs = [("train", "test")]
    if phases.get("val") and not _same(phases["val"], phases["test"]):
        pairs += [("train", "val"), ("val", "test")]
    return pairs


def _same(first: Sequence[Video], second: Sequence[Video]) -> bool:
    return {video.path for video in first} == {video.path for video in second}


def _describe(videos: Sequence[Video]) -> dict[str, Any]:
    """Numbers, and the shortest and longest video where an inventory (or list) knows their frames."""
    known = [(video.frames, video.name) for video in videos if video.frames]
    return {
        "videos": len(videos),
        "classes": len({label for video in videos for label in video.labels}),
        "sources": len({video.group for video in videos}),
        "frames_known": len(known),
        "shortest": min(known, default=None),
        "longest": max(known, default=None),
    }


def _classes(names: list[str], phases: Phases) -> dict[str, dict[str, int]]:
    counts = {phase: Counter(label for video in videos for label in video.labels) for phase, videos in phases.items()}
    return {name: {phase: count[i] for phase, count in counts.items()} for i, name in enumerate(names)}


# Overlap


def _content(phases: Phases, known: Mapping[str, tuple[int, str | None]]) -> Callable[[Video], str | None]:
    """A function from a video to the hash of its file, or None where no other video's file has its size."""
    sizes: dict[str, int] = {}
    paths = {video.path: video for videos in phases.values() for video in videos}
    for path, video in paths.items():
        try:
            status = Path(path).stat()
        except OSError:
            continue
        if Path(path).is_file():
            sizes[path] = known[video.name][0] if video.name in known else status.st_size
    shared = {size for size, number in Counter(sizes.values()).items() if number > 1 and size}
    hashes: dict[str, str | None] = {}

    def content(video: Video) -> str | None:
        if sizes.get(video.path) not in shared:
            return None
        if video.path not in hashes:
            stored = known.get(video.name)
            hashes[video.path] = stored[1] if stored else _sha256(video.path)
        return hashes[video.path]

    return content


def _sha256(path: str) -> str | None:
    try:
        return files.sha256(Path(path))
    except OSError:
        return None


def _overlap(
    first: Sequence[Video], second: Sequence[Video], content: Callable[[Video], str | None]
) -> dict[str, list[list[str]]]:
    """By path, hash and group: what the two have in common, as lists of the names that share it."""

    keys: dict[str, Callable[[Video], object]] = {
        "path": lambda video: file_key(video.path),
        "hash": content,
        "group": lambda video: video.group,
    }
    return {kind: _shared(first, second, key) for kind, key in keys.items()}


def _shared(first: Sequence[Video], second: Sequence[Video], key: Callable[[Video], object]) -> list[list[str]]:
    sides: list[dict[object, list[str]]] = []
    for videos in (first, second):
        found: dict[object, list[str]] = defaultdict(list)
        for video in videos:
            value = key(video)
            if value is not None:
                found[value].append(video.name)
        sides.append(found)
    return [names + sides[1][value] for value, names in sides[0].items() if value in sides[1]]  # in list order


def _judge(overlaps: dict[str, dict[str, list[list[str]]]], official: bool, allowed: bool) -> None:
    same = "; results would be too good: take one out of its list"
    mends = {
        "path": same,
        "hash": same,
        "group": "; results would be too good: put every source on one side, or correct the groups",
    }
    what = {
        "path": "the same file is",
        "hash": "files with the same content are",
        "group": "clips of one source are",
    }
    for pair, found in overlaps.items():
        first, second = pair.split("-")
        for kind, shared in found.items():
            if not shared:
                continue
            message = f"{what[kind]} in {first} and {second}: {_some(shared)}"
            if not allowed and not (kind == "group" and official):
                raise UserError(f"{message}{mends[kind]}, or go on knowingly with data.allow_overlap=true")
            log.warning("%s", message)


def _some(shared: list[list[str]]) -> str:
    return listed([" = ".join(names) for names in shared], NAMED, separator="; ")


# Printing


def _print(report: dict[str, Any], console: Console) -> None:
    split = f" split {report['split']}" if report["split"] else ""
    table = Table(title=Text(printable(f"{report['data']}{split}")), title_justify="left")
    for column in ("", "videos", "classes", "sources", "shortest", "longest"):
        table.add_column(column, justify="left" if not column else "right")
    for phase, row in report["phases"].items():
        ends = [f"{row[end][0]} frames" if row[end] else "unknown" for end in ("shortest", "longest")]
        note = " (= test)" if phase == "val" and report["validates_on_test"] else ""
        table.add_row(phase + note, *(str(row[key]) for key in ("videos", "classes", "sources")), *ends)
    console.print(table)
    console.print(Text(_class_line(report["classes"], [*report["phases"]])))
    for message in report["left_out"]:
        console.print(Text(f"left out: {printable(message)}"))


def _class_line(classes: dict[str, dict[str, int]], phases: list[str]) -> str:
    """Videos per class: one figure where all have the same, every class where they are few, else the ends."""
    figures = {name: "/".join(str(counts[phase]) for phase in phases) for name, counts in classes.items()}
    head = f"videos a class ({'/'.join(phases)}): "
    if len(set(figures.values())) == 1:
        return head + f"{next(iter(figures.values()))} each"
    order = sorted(classes, key=lambda name: tuple(classes[name].values()))
    if len(order) > SHOWN_CLASSES:
        half = SHOWN_CLASSES // 2
        ends = (order[:half], order[-half:])
        return head + ", …, ".join(_figures(figures, names) for names in ends)
    return head + _figures(figures, list(classes))


def _figures(figures: dict[str, str], names: list[str]) -> str:
    return ", ".join(f"{printable(name)} {figures[name]}" for name in names)
