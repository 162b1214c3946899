"""What readers of published data sets share: finding their lists, and naming what is not as it was published."""

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from src.data.annotations import Video
from src.data.list_text import read_list_text
from src.errors import UserError
from src.text import first_line, listed, printable

NAMED = 10  # missing files that one message names


def existing(root: str, name: str, places: Sequence[str]) -> Path:
    """The first of the folders `places` under `root` (may hold wildcards) that holds `name`; `name` itself may too.

    Raises:
        UserError: `root` does not exist, or no place holds such a file.
    """
    base = Path(root)
    if not base.is_dir():
        raise UserError(f"data folder {root} does not exist; set data.root to the folder of the data set")
    for place in places:
        for folder in sorted(base.glob(place)) if place != "." else [base]:
            if folder.is_dir() and next(folder.glob(name), None) is not None:
                return folder
    looked = ", ".join(str(base if place == "." else base / place) for place in places)
    raise UserError(f"{name} is missing: looked in {looked}; unpack the published lists into one of them")


def video_root(root: str, classes: Sequence[str], places: Sequence[str]) -> Path:
    """The folder among `places` under `root` that holds class folders; `root` where none does."""
    for place in places:
        folder = Path(root) / place
        if any((folder / name).is_dir() for name in classes):
            return folder
    return Path(root)


def first_of(root: str, names: Sequence[str], places: Sequence[str]) -> Path:
    """The first file that one of the folders `places` under `root` holds under one of the names.

    Raises:
        UserError: `root` does not exist, or there is no such file.
    """
    for name in names[1:]:
        for place in places:
            if (Path(root) / place / name).is_file() and not (Path(root) / place / names[0]).is_file():
                return Path(root) / place / name
    return existing(root, names[0], places) / names[0]


def videos_by_side(
    root: str,
    rows: Mapping[str, Sequence[tuple[str, int]]],
    places: Sequence[str],
    endings: Sequence[str],
    what: str,
    group: Callable[[str], str] = str,
) -> tuple[Path, dict[str, list[Video]]]:
    """The folder of a data set's videos, and the videos of each side of its split.

    Args:
        rows: side → name without ending, and label, of each video.
        places: folders under `root` that may hold the videos; all lie in the one that holds the first.
        endings: that the files may have; all have that of the first.
        what: the data set's name, in messages.
        group: name → what videos of one source have in common; by default every video is its own.

    Raises:
        UserError: videos are missing (it names them).
    """
    first = next((name for side in rows.values() for name, _ in side), "")
    base, ending = _holding(root, first, places, endings)
    videos = {
        side: [Video(str(base / f"{name}{ending}"), label, group(name), f"{name}{ending}") for name, label in listed]
        for side, listed in rows.items()
    }
    check_present(base, (video.name for side in videos.values() for video in side), what)
    return base, videos


def _holding(root: str, stem: str, places: Sequence[str], endings: Sequence[str]) -> tuple[Path, str]:
    """The folder among `places` under `root` that holds `stem` with one of the endings, and which; else the first."""
    for place in places:
        for ending in endings:
            if (Path(root) / place / f"{stem}{ending}").exists():
                return Path(root) / place, ending
    return Path(root) / places[0], endings[0]


def read_json(file: Path) -> Any:
    """What a published JSON file holds.

    Raises:
        UserError: it cannot be read, or is not JSON.
    """
    try:
        return json.loads(read_list_text(file))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: not valid JSON ({first_line(error)}); download it again") from error


def check_once(file: Path, named: Iterable[tuple[str, int]], what: str = "lines") -> None:
    """Raise UserError where two lines of a list name one video; `named` gives name and line of each."""
    first: dict[str, int] = {}
    for name, line in named:
        other = first.setdefault(name, line)
        if other != line:
            raise UserError(
                f"{file}: {what} {other} and {line} name the same video: {printable(name)}; keep one of the {what}"
            )


def check_present(base: Path, names: Iterable[str], what: str) -> None:
    """Raise UserError that names the files which are not under `base`: whole folders as one, others one by one."""
    wanted: dict[str, list[str]] = defaultdict(list)
    for name in names:
        folder, _, file = name.rpartition("/")
        wanted[folder].append(file)
    folders, files = [], []
    for folder, expected in sorted(wanted.items()):
        present = _listing(base / folder)
        absent = [file for file in expected if file not in present]
        if len(absent) == len(expected) and folder:
            folders.append(f"{folder}/ (all {len(expected)})")
        else:
            files += [f"{folder}/{file}" if folder else file for file in absent]
    if not folders and not files:
        return
    shown = folders + files
    raise UserError(
        f"{what}: missing under {base}: {listed(shown, NAMED)}; unpack the archives again, or correct data.root"
    )


def check_count(file: str, found: int, published: int, what: str) -> None:
    """Raise UserError where a list does not name as many videos as the published one."""
    if found != published:
        raise UserError(
            f"{file} names {found} {what}, the published list {published}; download it again, "
            "or read a part of the data set with data.check_counts=false"
        )


def _listing(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries}
    except OSError:
        return set()
