"""What readers of published data sets share: finding their lists, and naming what is not as it was published."""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from src.errors import UserError
from src.text import listed, printable

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


def check_once(file: Path, named: Iterable[tuple[str, int]]) -> None:
    """Raise UserError where two lines of a list name one video; `named` gives name and line of each."""
    first: dict[str, int] = {}
    for name, line in named:
        other = first.setdefault(name, line)
        if other != line:
            raise UserError(
                f"{file}: lines {other} and {line} name the same video: {printable(name)}; keep one of the lines"
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
