"""Your own videos: sorted into folders, or named in a list."""

import logging
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from src.data.annotations import UCF_GROUP, Lists, Video, group_holdout
from src.data.class_folders import scan
from src.data.class_names import named
from src.data.csv_lists import list_file, read_list
from src.data.listing import Listed, check_distinct, check_labels, sorted_labels
from src.data.video_files import is_outside, name_of
from src.errors import UserError
from src.text import first_line, listed, printable

log = logging.getLogger(__name__)
SEPARATORS = re.compile("[;|]")  # of a video's classes


def folder(
    root: str,
    csv: str | None = None,
    train_list: str | None = None,
    val_list: str | None = None,
    test_list: str | None = None,
    columns: Sequence[str] | None = None,
    class_names: str | None = None,
    group_pattern: str | None = None,
    test_fraction: float = 0.25,
    split_seed: int = 0,
    name: str = "folder",
    modality: str = "rgb",
    training: bool = True,
    multilabel: bool = False,
) -> Lists:
    """Your own videos: a folder per class under `root`, a CSV `path,label[,group][,split]`, or a list for each side.

    Args:
        root: folder that the paths are relative to. Its folders are the classes; where they are called train, val
            and test, the classes are the folders in them.
        csv: list file, absolute or relative to `root`; see src/data/csv_lists.py for what it may look like.
        train_list, val_list, test_list: such files in its place, one for each side; the validation list may be left
            out, and may be the test list.
        columns: of lists that do not name theirs and can be read in two ways.
        class_names: file with the classes, in the order of the lists' numbers; see src/data/class_names.py.
        group_pattern: regular expression searched in a file's name without its ending; what its first group
            matches (the whole match if it has none) is the clip's source. By default UCF101's
            `v_Diving_g01_c03` has the source `v_Diving_g01` and every other file is its own source.
        test_fraction: where no split is named, this fraction of every class is held out by source for testing.
        split_seed: seed of that choice; the choice depends on nothing else.
        name: name of the data set in results.
        modality: rgb or flow; how many pictures a list gives a folder is of rgb.
        training: there must be videos to train on; false where only the test videos count.
        multilabel: a label of the list names several classes, separated by semicolons or bars.

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
    side_lists = {"train": train_list, "val": val_list, "test": test_list}
    if multilabel and not csv and not any(side_lists.values()):
        raise UserError("data.multilabel=true needs a list, data.csv=FILE: a folder has one class")
    entries = _entries(base, csv, side_lists, columns, training)
    sources = dict.fromkeys(source for source, _ in entries)
    if len(entries) == 1 and training:
        raise UserError(f"{_shown(sources)} names one video only; training needs videos of two classes or more")
    by_class = [_by_class(source, entry, multilabel) for source, entry in entries]
    single = [(source, one) for (source, _), own in zip(entries, by_class, strict=True) for one in own]
    for source in sources:
        once = {entry.line or entry.path: entry for other, entry in entries if other == source}  # it may be two sides
        check_distinct(source, base, once.values())
        check_labels(source, [one for other, one in single if other == source])
    labels = [unicodedata.normalize("NFC", one.label) for _, one in single]
    classes = sorted_labels(set(labels))
    if class_names is not None:
        classes, labels = named(list_file(base, class_names), single)
    number = {label: i for i, label in enumerate(classes)}
    sides: dict[str, list[Video]] = {"": [], "train": [], "val": [], "test": []}
    remaining = iter(labels)
    for (_, entry), own in zip(entries, by_class, strict=True):
        video_name = name_of(base, entry.path)
        group = entry.group or _group(video_name, group_pattern)
        frames = entry.frames if modality == "rgb" else None
        first, *others = sorted(number[label] for label in islice(remaining, len(own)))
        sides[entry.split].append(Video(str(base / video_name), first, group, video_name, frames, also=tuple(others)))
    _warn_of_outside(_shown(sources), [video.name for videos in sides.values() for video in videos])
    if sides[""]:
        sides["train"], sides["test"] = _split_by_group(sides[""], test_fraction, split_seed)
    _check_sides(sides, classes, _shown(sources), training)
    return Lists(classes, sides["train"], sides["val"] or None, sides["test"], str(base), None, name, official=False)


def _shown(sources: Iterable[Path]) -> str:
    return " and ".join(printable(source) for source in sources)


def _entries(
    base: Path, csv: str | None, side_lists: Mapping[str, str | None], columns: Sequence[str] | None, training: bool
) -> list[tuple[Path, Listed]]:
    """(list or folder, video) of all videos.

    Raises:
        UserError: one list and several, or a side without a list.
    """
    given = {side: list_file(base, name) for side, name in side_lists.items() if name is not None}
    if not given:
        source = list_file(base, csv) if csv else base
        entries = read_list(base, source, columns) if csv else scan(base, training)
        return [(source, entry) for entry in entries]
    if csv:
        raise UserError("data.csv and data.train_list, val_list, test_list: give the one list, or one for each side")
    for side in ("train", "test") if training else ("test",):
        if side not in given:
            raise UserError(
                f"data.{side}_list is missing beside {listed([f'data.{other}_list' for other in given])}; give it "
                "(the validation list may stand in for the test list: data.test_list and data.val_list are then one)"
            )
    found = []
    for side, source in given.items():
        for entry in read_list(base, source, columns):
            if entry.split not in ("", side):
                raise UserError(
                    f"{printable(source)} line {entry.line}: split {entry.split} in data.{side}_list; give the list "
                    "as data.csv, or leave its column split out"
                )
            found.append((source, entry._replace(split=side)))
    return found


def _by_class(source: Path, entry: Listed, multilabel: bool) -> list[Listed]:
    """An entry for each of the classes that it names.

    Raises:
        UserError: a class without a name, or twice.
    """
    if not multilabel:
        return [entry]
    labels = [part.strip() for part in SEPARATORS.split(unicodedata.normalize("NFC", entry.label))]
    if not all(labels) or len(set(labels)) < len(labels):
        raise UserError(
            f"{printable(source)} line {entry.line}: {printable(entry.label)} holds an empty class, or one twice; "
            "separate the classes of a video by single semicolons"
        )
    return [entry._replace(label=label) for label in labels]


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


def _warn_of_outside(source: str, names: list[str]) -> None:
    outside = [name for name in names if is_outside(name)]
    if outside:
        log.warning("%s: %d videos are outside of data.root: %s", source, len(outside), listed(outside))


def _split_by_group(videos: list[Video], fraction: float, seed: int) -> tuple[list[Video], list[Video]]:
    groups = defaultdict(set)
    for video in videos:
        for label in video.labels:
            groups[label].add(video.group)
    counts = Counter(label for video in videos for label in video.labels)
    if all(len(found) == 1 for found in groups.values()) and max(counts.values()) > 1:
        log.warning(
            "every class has videos of one source only: files are held out one by one, so that clips of one "
            "source are on both sides of the split and test results are too good"
        )
        videos = [replace(video, group=video.name) for video in videos]
    return group_holdout(videos, fraction, seed)


def _check_sides(sides: dict[str, list[Video]], classes: list[str], source: str, training: bool) -> None:
    for side in ("train", "test") if training else ("test",):
        if not sides[side]:
            needed = "training needs both train and test videos" if training else "testing needs test videos"
            raise UserError(f"{source}: no video has the split {side}; {needed}")
    if not training:
        return
    trained = {label for video in sides["train"] for label in video.labels}
    for side in ("val", "test"):
        for video in sides[side]:
            for label in video.labels:
                if label not in trained:
                    raise UserError(
                        f"{source}: no training video has the label {printable(classes[label])} of "
                        f"{printable(video.name)} ({side}); correct the label, or add training videos"
                    )
