"""Your own videos: sorted into folders, or named in a list."""

import logging
import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

from src.data.annotations import UCF_GROUP, Lists, Video, group_holdout
from src.data.class_folders import scan
from src.data.csv_lists import list_file, read_list
from src.data.listing import check_distinct, check_labels, sorted_labels
from src.data.video_files import is_outside, name_of
from src.errors import UserError
from src.text import first_line, listed, printable

log = logging.getLogger(__name__)


def folder(
    root: str,
    csv: str | None = None,
    group_pattern: str | None = None,
    test_fraction: float = 0.25,
    split_seed: int = 0,
    name: str = "folder",
    training: bool = True,
) -> Lists:
    """Your own videos: a folder per class under `root`, or a CSV `path,label[,group][,split]`.

    Args:
        root: folder that the paths are relative to. Its folders are the classes; where they are called train, val
            and test, the classes are the folders in them.
        csv: list file, absolute or relative to `root`; see `csv_lists.read_list` for what it may look like.
        group_pattern: regular expression searched in a file's name without its ending; what its first group
            matches (the whole match if it has none) is the clip's source. By default UCF101's
            `v_Diving_g01_c03` has the source `v_Diving_g01` and every other file is its own source.
        test_fraction: where no split is named, this fraction of every class is held out by source for testing.
        split_seed: seed of that choice; the choice depends on nothing else.
        name: name of the data set in results.
        training: there must be videos to train on; false where only the test videos count.

    Where every class has videos of one source only, nothing can be held out by source: then every file counts
    as its own source, with a warning, because clips of one source are then on both sides of the split.

    Raises:
        UserError: folder, list or listed file missing; a class with no video; a list that cannot be read or can be
            read in two ways; a video named twice; a test label without training videos.
    """
    base = Path(root)
    if not base.is_dir():
        what = "is a file" if base.is_file() else "does not exist"
        raise UserError(f"data folder {printable(root)} {what}; set data.root to the folder of the videos")
    source = list_file(base, csv) if csv else base
    entries = read_list(base, source) if csv else scan(base, training)
    if len(entries) == 1 and training:
        raise UserError(f"{printable(source)} names one video only; training needs videos of two classes or more")
    check_distinct(source, base, entries)
    check_labels(source, entries)
    labels = [unicodedata.normalize("NFC", entry.label) for entry in entries]
    classes = sorted_labels(set(labels))
    number = {label: i for i, label in enumerate(classes)}
    sides: dict[str, list[Video]] = {"": [], "train": [], "val": [], "test": []}
    for entry, label in zip(entries, labels, strict=True):
        video_name = name_of(base, entry.path)
        group = entry.group or _group(video_name, group_pattern)
        sides[entry.split].append(Video(str(base / video_name), number[label], group, video_name))
    _warn_of_outside(source, [video.name for videos in sides.values() for video in videos])
    if sides[""]:
        sides["train"], sides["test"] = _split_by_group(sides[""], test_fraction, split_seed)
    _check_sides(sides, classes, source, training)
    return Lists(classes, sides["train"], sides["val"] or None, sides["test"], str(base), None, name, official=False)


def _group(path: str, pattern: str | None) -> str:
    """Source of a clip from its file name; a file that the pattern does not fit is its own source."""
    try:
        match = re.search(pattern or UCF_GROUP, Path(path).stem)
    except re.error as error:
        raise UserError(
            f"data.group_pattern={printable(pattern)} is not a valid regular expression ({first_line(error)})"
        ) from error
    found = match and match[1 if match.re.groups else 0]
    return found or Path(path).with_suffix("").as_posix()


def _warn_of_outside(source: Path, names: list[str]) -> None:
    outside = [name for name in names if is_outside(name)]
    if outside:
        log.warning("%s: %d videos are outside of data.root: %s", printable(source), len(outside), listed(outside))


def _split_by_group(videos: list[Video], fraction: float, seed: int) -> tuple[list[Video], list[Video]]:
    groups = defaultdict(set)
    for video in videos:
        groups[video.label].add(video.group)
    counts = Counter(video.label for video in videos)
    if all(len(found) == 1 for found in groups.values()) and max(counts.values()) > 1:
        log.warning(
            "every class has videos of one source only: files are held out one by one, so that clips of one "
            "source are on both sides of the split and test results are too good"
        )
        videos = [replace(video, group=video.name) for video in videos]
    return group_holdout(videos, fraction, seed)


def _check_sides(sides: dict[str, list[Video]], classes: list[str], source: Path, training: bool) -> None:
    for side in ("train", "test") if training else ("test",):
        if not sides[side]:
            needed = "training needs both train and test videos" if training else "testing needs test videos"
            raise UserError(f"{printable(source)}: no video has the split {side}; {needed}")
    if not training:
        return
    trained = {video.label for video in sides["train"]}
    for side in ("val", "test"):
        for video in sides[side]:
            if video.label not in trained:
                raise UserError(
                    f"{printable(source)}: no training video has the label {printable(classes[video.label])} of "
                    f"{printable(video.name)} ({side}); correct the label, or add training videos"
                )
