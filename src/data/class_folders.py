"""Videos by the folders that they are in: `<class>/…`, or `train/<class>/…` beside `test/<class>/…`."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from src.config import OUTPUTS
from src.data.listing import SPLITS, Listed
from src.data.video_files import files_below, is_video
from src.errors import UserError
from src.text import first_line, listed, printable

log = logging.getLogger(__name__)
SYSTEM = ("Thumbs.db", "desktop.ini", "lost+found", "__MACOSX", "$RECYCLE.BIN", "System Volume Information")
PICTURES = (".jpg", ".jpeg", ".png")


def scan(base: Path, training: bool = True) -> list[Listed]:
    """One entry for each video at any depth below each class folder, in alphabetical order.

    Where the folders below `base` are called train, val, test (or another word for them), the class folders are
    one level deeper, and the videos have those splits. Other files are left out and named in a warning.
    training: the sides train and test must both be there, else only test.

    Raises:
        UserError: no class folders, a class folder without videos, or folders that can be read in two ways.
    """
    folders = _class_names(base)
    if not folders:
        raise UserError(
            f"data folder {printable(base)} holds no class folders; make one for each class, or give data.csv"
        )
    splits = _splits(base, folders, training)
    entries: list[Listed] = []
    left_out = _outside_class_folders(base, "")
    for name in folders:
        if not splits:
            _add(base, name, name, "", entries, left_out)
            continue
        left_out += _outside_class_folders(base / name, f"{name}/")
        for label in _class_names(base / name):
            _add(base, f"{name}/{label}", label, splits[name], entries, left_out)
    if left_out:
        log.warning(
            "%s: %d files and folders are left out (the name does not end like a video's, a folder begins with _, "
            "or a video is in no class folder): %s; name them in data.csv to use them",
            printable(base),
            len(left_out),
            listed(left_out),
        )
    return entries


def _add(base: Path, folder: str, label: str, split: str, entries: list[Listed], left_out: list[str]) -> None:
    """Sort the files below a class folder into videos and others."""
    _check_no_splits(base / folder)
    before = len(entries)
    others = []
    for file in files_below(base / folder):
        path = f"{folder}/{file}"
        if is_video(path):
            entries.append(Listed(path, label, split=split))
        elif Path(path).name not in SYSTEM:
            others.append(path)
    if len(entries) == before:
        pictures = any(Path(path).suffix.lower() in PICTURES for path in others)
        mend = "remove it, or put videos in it (.mp4, .avi, .mkv and the like)"
        raise UserError(
            f"class folder {printable(base / folder)} holds no video; "
            + ("read folders of numbered pictures with data=frames" if pictures else mend)
        )
    left_out += others


def _class_names(folder: Path) -> list[str]:
    """Folders whose names may be classes; where runs are written is none, though they hold videos of mistakes."""
    names = [name for name in _visible(folder) if (folder / name).is_dir() and not name.startswith("_")]
    return [name for name in names if (folder / name).resolve() != OUTPUTS.resolve()]


def _outside_class_folders(folder: Path, prefix: str) -> list[str]:
    """What is in no class folder though it may be meant: videos, and folders whose names begin with "_"."""
    names = []
    for name in _visible(folder):
        if (folder / name).is_dir():
            names += [f"{prefix}{name}/"] if name.startswith("_") else []
        elif is_video(name):
            names.append(prefix + name)
    return names


def _visible(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
    except OSError as error:
        raise UserError(
            f"folder {printable(folder)} cannot be read ({first_line(error)}); get the right to read it"
        ) from error
    return sorted(name for name in names if name[0] != "." and name not in SYSTEM)


def _splits(base: Path, folders: Sequence[str], training: bool) -> dict[str, str]:
    """Folder → split where the folders are the sides of a split; empty where they are classes.

    Raises:
        UserError: some are sides and some are not, two are the same side, or one is missing.
    """
    named = {name: SPLITS[name.lower()] for name in folders if name.lower() in SPLITS}
    holding = [name for name in named if _class_names(base / name)]
    shown = " and ".join(f"{printable(name)}/" for name in named)
    if len(named) < len(folders):
        if len({named[name] for name in holding}) < 2:
            return {}  # a class may well be called "train"
        others = listed([f"{name}/" for name in folders if name not in named])
        raise UserError(
            f"{printable(base)} holds the split folders {shown} and others ({others}); move the others elsewhere, "
            "or name the videos in data.csv"
        )
    if not holding:
        raise UserError(
            f"{printable(base)}: there are no class folders in {shown}; sort the videos into folders like "
            "train/<class>/, or name them in data.csv"
        )
    if len(set(named.values())) < len(named):
        raise UserError(f"{printable(base)}: two of {shown} are the same split; merge them")
    for split in ("train", "test") if training else ("test",):
        if split not in named.values():
            raise UserError(
                f"{printable(base)} holds {shown} but no {split}/; call one of them {split}, or set data.root to a "
                "single folder of class folders, of which a part is then held out for testing"
            )
    return named


def _check_no_splits(folder: Path) -> None:
    names = [name for name in _visible(folder) if name.lower() in SPLITS]
    sides = {SPLITS[name.lower()] for name in names if (folder / name).is_dir()}
    if len(sides) > 1:
        raise UserError(
            f"class folder {printable(folder)} holds split folders; they belong above the class folders, as in "
            f"train/{printable(folder.name)}/, or name the videos in data.csv"
        )
