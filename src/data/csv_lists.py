"""Lists of videos as people write and export them: read where they have one meaning, refused by line elsewhere.

    path,label,group,split
    run/clip0.mp4,run,session 1,train

Columns may be separated by commas, semicolons, tabs, bars or (where that leaves one reading) spaces, have other
usual names, stand in any order, or have no names. Lines that begin with # are comments.

Lists without names of columns, as other suites write them, are understood where the first line tells:

    run/clip0.mp4 3             path label                  PySlowFast, mmaction2, VideoMAE, InternVideo
    run/clip0 163 3             folder frames label         frame folders of mmaction2, VideoMAE, TSN
    run/clip0 1 163 3           folder start frames label   the same with the first picture's number (0 or 1)
    run/clip0.mp4,run,train     path label split, or path label group split

A path may hold spaces. Numbers behind a video file might be labels or frames: they are refused until data.columns says
what they are. The number of frames of a video file is passed over: it is found out.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from src.data.csv_table import beginnings, read_table
from src.data.frame_folder import naming
from src.data.list_text import read_list_text
from src.data.listing import SPLITS, Listed
from src.data.video_files import DRIVE, Finder
from src.errors import UserError
from src.text import listed, printable


def list_file(base: Path, name: str) -> Path:
    """The list that `data.csv` means: below the data root, else as seen from the current folder."""
    below = base / name
    return Path(name) if not below.is_file() and Path(name).is_file() else below


def read_list(base: Path, file: Path, columns: Sequence[str] | None = None) -> list[Listed]:
    """The videos of a list, in its order; all of them exist.

    Args:
        base: folder that paths are relative to. A path may also be absolute, have backslashes, or lack its ending.
        columns: what the columns of a list without names are: those of `csv_table.NAMES`, frames, start, or "-" for
            any other; None: as its first line tells.

    Raises:
        UserError: the list cannot be read, a line is not of the form, can be read in two ways, or names no file.
    """
    finder = Finder(base)
    shown = printable(file)
    table = read_table(shown, _legible(read_list_text(file), finder), finder, columns)
    meant = [finder.find(values["path"]) for _, values in table]
    _check_found(shown, base, table, meant)
    entries = []
    for (line, values), (path, *_) in zip(table, meant, strict=True):
        split = _split(shown, line, values["split"]) if "split" in values else ""
        frames = _frames(shown, line, values) if "start" in values or "frames" in values else None
        if frames is not None and not (base / path).is_dir():
            frames = None  # of a file it is found out
        entries.append(Listed(path, values["label"].strip(), values.get("group", "").strip(), split, line, frames))
    return entries


def _legible(text: str, finder: Finder) -> str:
    """Bytes that are not UTF-8 are letters of Windows (CP1252), unless files on disk are called by such bytes."""
    stray = [line for line in text.splitlines() if _has_stray_bytes(line)]
    for line in stray:
        if any(_has_stray_bytes(name) and finder.exists(name.strip('"')) for name in beginnings(line)):
            return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("cp1252") if stray else text
    except UnicodeDecodeError:  # not CP1252 either: kept as bytes
        return text


def _has_stray_bytes(text: str) -> bool:
    return any("\udc80" <= letter <= "\udcff" for letter in text)


def _check_found(file: str, base: Path, table: list[tuple[int, dict[str, str]]], meant: list[list[str]]) -> None:
    """Every path means one file."""
    missing = [row for row, paths in zip(table, meant, strict=True) if not paths]
    if missing:
        line, values = missing[0]
        path = values["path"].strip()
        what = f"{file} line {line}: {printable(path)}"
        if DRIVE.match(path):
            raise UserError(f"{what} is on a Windows drive; write it relative to data.root ({printable(base)})")
        raise UserError(
            f"{what} does not exist ({len(missing)} of {len(table)} videos are not there); correct the line, or "
            f"set data.root (now {printable(base)}) to the folder that the paths are relative to"
        )
    for (line, values), paths in zip(table, meant, strict=True):
        written = printable(values["path"].strip())
        if (base / paths[0]).is_dir() and naming(base / paths[0]) is None:
            raise UserError(
                f"{file} line {line}: {written} is a folder; name a video in each line, or a folder of pictures "
                "img_00001.jpg, img_00002.jpg, …"
            )
        if len(paths) > 1:
            raise UserError(f"{file} line {line}: {written} may be {listed(paths)}; add the ending")


def _frames(file: str, line: int, values: dict[str, str]) -> int | None:
    """How many frames a line states, if it does.

    Raises:
        UserError: no such number, or the clip is only a part of the video.
    """
    start, frames = values.get("start", "0").strip(), values.get("frames", "1").strip()
    if start not in ("0", "1"):
        raise UserError(
            f"{file} line {line}: the clip begins at frame {printable(start) or '(empty)'}; give each clip a file or "
            "a folder of its own"
        )
    if not re.fullmatch(r"0*[1-9]\d{0,8}", frames):
        raise UserError(f"{file} line {line}: {printable(frames) or '(empty)'} is not a number of frames")
    return int(frames) if "frames" in values else None


def _split(file: str, line: int, written: str) -> str:
    split = SPLITS.get(written.strip().lower())
    if split is None:
        raise UserError(
            f"{file} line {line}: split {printable(written.strip()) or '(empty)'} is not train, val or test"
        )
    return split
