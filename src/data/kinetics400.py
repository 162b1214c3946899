"""Kinetics-400: CSV lists as published, and videos cut to `<youtube id>_<start:06d>_<end:06d>.mp4`."""

import csv
import io
import logging
from functools import cache
from pathlib import Path

from src.data.annotations import Lists, Video
from src.data.list_text import read_list_text
from src.data.published import check_count, check_once, existing
from src.errors import UserError
from src.text import first_line, listed

log = logging.getLogger(__name__)

SIDES = {"train": ("train",), "test": ("val", "validate")}  # the public test list has no labels: val is tested on
LISTS = (".", "annotations", "lists", "kinetics400")
COLUMNS = ("label", "youtube_id", "time_start", "time_end")
NAMED = 10


def kinetics400(root: str, check_counts: bool = True, allow_missing: bool = False, name: str = "kinetics400") -> Lists:
    """Training on the published training list, testing on the published validation list, classes alphabetical.

    A video is looked for as `[<side>/][<label>/]<file>`, the side being train or val, the label with spaces or
    underscores. Clips of one YouTube video are one source.

    Args:
        root: folder of the videos, with `train.csv` and `val.csv` (or `validate.csv`) in it or in `annotations/`.
        check_counts: require 400 classes.
        allow_missing: leave listed videos that are not on disk out, with a warning; some are gone for ever.
        name: name of the data set in results.

    Raises:
        UserError: a list or (without `allow_missing`) a video is missing, or a list is not as published.
    """
    rows = {side: _read(root, side) for side in SIDES}
    classes = sorted({row["label"] for side in rows.values() for row in side})
    if check_counts:
        check_count(f"{root}: the lists", len(classes), 400, "classes")
    number = {label: i for i, label in enumerate(classes)}
    videos: dict[str, list[Video]] = {side: [] for side in SIDES}
    missing = []
    for side, side_rows in rows.items():
        for row in side_rows:
            file = _file_name(row)
            path = _find(root, side, row["label"], file)
            if path is None:
                missing.append(f"{file} ({side}, {row['label']})")
            else:
                videos[side].append(Video(f"{root}/{path}", number[row["label"]], row["youtube_id"], path))
    _report(missing, root, allow_missing)
    return Lists(classes, videos["train"], None, videos["test"], root, None, name, official=True)


def _read(root: str, side: str) -> list[dict[str, str]]:
    names = [f"{stem}.csv" for stem in SIDES[side]]
    names += [f"{prefix}{name}" for name in names for prefix in ("kinetics_", "kinetics-400_", "kinetics_400_")]
    found = [Path(root) / place / name for place in LISTS for name in names]
    file = next((file for file in found if file.is_file()), None)
    if file is None:
        existing(root, names[0], LISTS)  # raises, and says where it looked
    assert file is not None
    reader = csv.DictReader(io.StringIO(read_list_text(file), newline=""), restval="")
    rows, places = [], []
    try:
        for row in reader:
            if not all(row.get(column) for column in COLUMNS) or not _whole(row["time_start"], row["time_end"]):
                raise UserError(
                    f"{file} line {reader.line_num}: {','.join(COLUMNS)} are needed; download the list again"
                )
            rows.append(row)
            places.append((_file_name(row), reader.line_num))
    except csv.Error as error:
        raise UserError(f"{file} line {reader.line_num}: {first_line(error)}; download the list again") from error
    check_once(file, places)
    return rows


def _whole(*values: str) -> bool:
    return all(value.isdecimal() and len(value) < 10 for value in values)


def _file_name(row: dict[str, str]) -> str:
    return f"{row['youtube_id']}_{int(row['time_start']):06d}_{int(row['time_end']):06d}.mp4"


def _find(root: str, side: str, label: str, file: str) -> str | None:
    """The video's path relative to `root`."""
    for folder in (*SIDES[side], side, "videos", ""):
        for sub in (label, label.replace(" ", "_"), ""):
            path = "/".join(part for part in (folder, sub) if part)
            if file in _listing(f"{root}/{path}"):
                return f"{path}/{file}" if path else file
    return None


@cache
def _listing(folder: str) -> frozenset[str]:
    try:
        return frozenset(path.name for path in Path(folder).iterdir())
    except OSError:
        return frozenset()


def _report(missing: list[str], root: str, allowed: bool) -> None:
    if not missing:
        return
    text = f"Kinetics-400: missing under {root}: {listed(missing, NAMED)}"
    if not allowed:
        raise UserError(f"{text}; download them, or train without them with data.allow_missing=true")
    log.warning("%s; left out", text)
