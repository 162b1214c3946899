"""From files on disk to lists of videos: which there are, of which class, source and side of the split.

A reader is a function that returns `Lists`; adding a data set is one such function and one file in conf/data.
"""

import csv as csv_module
import hashlib
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from src.errors import UserError

log = logging.getLogger(__name__)

VIDEO_ENDINGS = (
    *(".3gp", ".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov"),
    *(".mp4", ".mpeg", ".mpg", ".ogv", ".ts", ".webm", ".wmv"),
)
UCF_GROUP = r"^(.+_g\d+)_c\d+$"  # v_Diving_g01_c03 → v_Diving_g01


@dataclass(frozen=True)
class Video:
    """One video file (or frame folder): where it is, what it shows, and which source it was cut from."""

    path: str
    label: int  # position in Lists.classes
    group: str  # clips of one source share it and never stand on both sides of a hold-out
    name: str  # path relative to the data root, with "/": the key in score files
    frames: int | None = None  # readable frames from an inventory; None: ask the decoder
    in_order: bool = False  # an inventory says that only a decode in order gives the right frames


@dataclass(frozen=True)
class Lists:
    """A data set as lists of videos. `val` is None where the data set itself names no validation videos."""

    classes: list[str]
    train: list[Video]
    val: list[Video] | None
    test: list[Video]
    root: str
    split: int | None
    name: str
    official: bool  # lists as published (True), or one's own
    left_out: tuple[str, ...] = ()  # videos that an inventory calls bad, with the reason (data.on_error=skip)


def identity(videos: Iterable[Video]) -> dict[str, int | str]:
    """Number of videos and SHA-256 of their sorted names and labels: two runs saw the same list or didn't."""
    lines = sorted(f"{video.name}\t{video.label}\n" for video in videos)
    return {"videos": len(lines), "sha256": hashlib.sha256("".join(lines).encode()).hexdigest()}


def group_holdout(train: Sequence[Video], fraction: float, seed: int) -> tuple[list[Video], list[Video]]:
    """Hold `fraction` of each class out by source group: (kept for training, held out), both in list order.

    No group stands on both sides, and every class keeps training videos: a class that cannot spare a group is
    kept whole, with a warning. The same videos, fraction and seed give the same answer whatever their order.

    Raises:
        UserError: the fraction is not between 0 and 1, or no group can be held out at all.
    """
    if not 0 < fraction < 1:
        raise UserError(f"held-out fraction {fraction} is not between 0 and 1; 0.1 is every tenth video")
    total = Counter(video.label for video in train)
    sizes: dict[str, Counter[int]] = defaultdict(Counter)
    for video in train:
        sizes[video.group][video.label] += 1
    target = {label: max(1, round(fraction * count)) for label, count in total.items()}
    held: Counter[int] = Counter()
    chosen: set[str] = set()

    def take(group: str) -> None:
        chosen.add(group)
        held.update(sizes[group])

    def spares(group: str) -> bool:
        """Every class of the group keeps training videos without it."""
        return all(held[label] + n < total[label] for label, n in sizes[group].items())

    names = sorted(sizes)
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    for group in order:
        gain = sum(min(n, max(0, target[label] - held[label])) for label, n in sizes[group].items())
        if spares(group) and 2 * gain > sizes[group].total():  # brings the classes nearer to their targets
            take(group)
    for label in sorted(total):  # a class of few large groups: its smallest is better than none
        if held[label] == 0:
            rest = [group for group in order if group not in chosen and sizes[group][label] and spares(group)]
            if rest:
                take(min(rest, key=lambda group: sizes[group].total()))
    if not chosen:
        raise UserError(
            f"{len(train)} training videos in {len(sizes)} source groups: none can be held out without "
            "emptying a class; give groups that are smaller, or a list with the split you want"
        )
    missing = [label for label in sorted(total) if held[label] == 0]
    if missing:
        log.warning(
            "%d of %d classes cannot spare a source: none of their videos is held out",
            len(missing),
            len(total),
        )
    kept = [video for video in train if video.group not in chosen]
    return kept, [video for video in train if video.group in chosen]


def folder(
    root: str,
    csv: str | None = None,
    group_pattern: str | None = None,
    test_fraction: float = 0.25,
    split_seed: int = 0,
    name: str = "folder",
) -> Lists:
    """Your own videos: a folder per class under `root`, or a CSV `path,label[,group][,split]`.

    Args:
        root: folder that the paths are relative to.
        csv: list file, absolute or relative to `root`; its paths are relative to `root`, and its split is
            train, val or test.
        group_pattern: regular expression searched in a file's name without its ending; what its first group
            matches (the whole match if it has none) is the clip's source. By default UCF101's
            `v_Diving_g01_c03` has the source `v_Diving_g01` and every other file is its own source.
        test_fraction: without a split column, this fraction of every class is held out by source for testing.
        split_seed: seed of that choice; the choice depends on nothing else.
        name: name of the data set in results.

    Where every class has videos of one source only, nothing can be held out by source: then every file counts
    as its own source, with a warning, because clips of one source stand on both sides of the split.

    Raises:
        UserError: folder, list or listed file missing; class with no video; column missing; label unknown.
    """
    base = Path(root)
    if not base.is_dir():
        raise UserError(f"data folder {root} does not exist; set data.root to the folder of the videos")
    rows = _read_csv(base, csv) if csv else _scan(base)
    classes = _sorted_labels({row["label"] for row in rows})
    number = {label: i for i, label in enumerate(classes)}
    sides: dict[str, list[Video]] = {"": [], "train": [], "val": [], "test": []}
    for row in rows:
        group = row["group"] or _group(row["path"], group_pattern)
        path = base / row["path"]  # an absolute path stays as it is
        sides[row["split"]].append(Video(str(path), number[row["label"]], group, _name(base, path)))
    if sides[""]:
        sides["train"], sides["test"] = _split_by_group(sides[""], test_fraction, split_seed)
    _check_sides(sides, classes, csv or root)
    return Lists(
        classes, sides["train"], sides["val"] or None, sides["test"], str(base), None, name, official=False
    )


def _scan(base: Path) -> list[dict[str, str]]:
    """One row for each video file in each folder under `base`."""
    rows = []
    for directory in sorted(base.iterdir()):
        if not directory.is_dir() or directory.name[0] in "._":
            continue
        files = sorted(f for f in directory.iterdir() if f.suffix.lower() in VIDEO_ENDINGS)
        files = [f for f in files if f.name[0] != "." and not f.is_dir()]  # a broken link is told when it is read
        if not files:
            raise UserError(
                f"class folder {directory} holds no video; remove it, or fill it with files ending in "
                + " ".join(VIDEO_ENDINGS)
            )
        rows += [_row(f"{directory.name}/{f.name}", directory.name) for f in files]
    if not rows:
        raise UserError(f"data folder {base} holds no class folders; make one per class, or give data.csv")
    return rows


def _row(path: str, label: str, group: str = "", split: str = "") -> dict[str, str]:
    return {"path": path, "label": label, "group": group, "split": split}


def _read_csv(base: Path, csv: str) -> list[dict[str, str]]:
    file = base / csv
    if not file.is_file() and Path(csv).is_file():
        file = Path(csv)
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv_module.DictReader(stream, restval="", skipinitialspace=True)
            columns = list(reader.fieldnames or [])
            lines = [(reader.line_num, line) for line in reader]
    except (OSError, UnicodeDecodeError, csv_module.Error) as error:
        raise UserError(f"list {file} cannot be read ({error}); data.csv is a CSV file in UTF-8") from error
    missing = [column for column in ("path", "label") if column not in columns]
    if missing:
        raise UserError(
            f"list {file} has no column {' and no column '.join(missing)} "
            f"(its first line is {','.join(columns)!r}); it needs path,label and may have group,split"
        )
    rows = []
    for number, line in lines:
        row = _row(*((line.get(column) or "").strip() for column in ("path", "label", "group", "split")))
        if not row["path"] or not row["label"]:
            raise UserError(f"{file} line {number}: path or label is empty; every line needs both")
        if row["split"] not in (("train", "val", "test") if "split" in columns else ("",)):
            raise UserError(f"{file} line {number}: split {row['split']!r} is none of train, val, test")
        rows.append(row)
    _check_rows(rows, base, file)
    return rows


def _check_rows(rows: list[dict[str, str]], base: Path, file: Path) -> None:
    if not rows:
        raise UserError(f"list {file} names no video; every line after the first is one")
    twice = [path for path, n in Counter(row["path"] for row in rows).items() if n > 1]
    if twice:
        raise UserError(f"{file}: {twice[0]} is listed more than once; every video stands in one line")
    absent = [row["path"] for row in rows if not (base / row["path"]).exists()]
    if absent:
        raise UserError(
            f"{file}: {len(absent)} of {len(rows)} videos are not under {base}, the first is {absent[0]}; "
            "set data.root to the folder that the paths are relative to"
        )


def _sorted_labels(labels: set[str]) -> list[str]:
    """Alphabetical, or by value where all labels are numbers."""
    if all(label.isdecimal() for label in labels):
        return sorted(labels, key=int)
    return sorted(labels)


def _name(base: Path, path: Path) -> str:
    try:
        return path.relative_to(base).as_posix()
    except ValueError:  # listed with an absolute path elsewhere
        return path.as_posix()


def _group(path: str, pattern: str | None) -> str:
    """Source of a clip from its file name; a file that the pattern does not fit is its own source."""
    try:
        match = re.search(pattern or UCF_GROUP, Path(path).stem)
    except re.error as error:
        raise UserError(f"group_pattern {pattern!r} is not a regular expression ({error})") from error
    if match is None:
        return Path(path).with_suffix("").as_posix()
    return match.group(1) if match.re.groups else match.group(0)


def _split_by_group(videos: list[Video], fraction: float, seed: int) -> tuple[list[Video], list[Video]]:
    groups = defaultdict(set)
    for video in videos:
        groups[video.label].add(video.group)
    counts = Counter(video.label for video in videos)
    if all(len(found) == 1 for found in groups.values()) and max(counts.values()) > 1:
        log.warning(
            "every class has videos of one source only: files are held out one by one, so that clips of one "
            "source stand on both sides and test results are too good"
        )
        videos = [replace(video, group=video.name) for video in videos]
    return group_holdout(videos, fraction, seed)


def _check_sides(sides: dict[str, list[Video]], classes: list[str], source: str) -> None:
    for side in ("train", "test"):
        if not sides[side]:
            raise UserError(f"{source}: no video has split {side}; training needs both train and test videos")
    trained = {video.label for video in sides["train"]}
    for side in ("val", "test"):
        for video in sides[side]:
            if video.label not in trained:
                raise UserError(
                    f"{source}: label {classes[video.label]!r} of {video.name} ({side}) is not a class: "
                    "no training video has it; correct the label or add training videos"
                )
