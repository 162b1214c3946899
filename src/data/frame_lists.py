"""Folders of numbered pictures with the authors' lists: lines `<folder> <frames> <class>`, classes from 0."""

import re
from collections import defaultdict
from itertools import islice
from pathlib import Path, PurePosixPath

from src.data.annotations import UCF_GROUP, Lists, Video
from src.data.class_names import read_class_names
from src.data.hmdb51 import CLASSES, group
from src.data.list_text import numbered_lines
from src.data.listing import Listed, check_distinct
from src.data.published import check_present, existing
from src.data.video_files import name_of
from src.errors import UserError
from src.text import first_line, printable

LISTS = (".", "settings", "splits", "lists")
PUBLISHED = r"(train|val)_(rgb|flow)_split[123]\.txt"
UCF_NAME = re.compile(r"v_(\w+)_g\d+_c\d+")
HMDB_NAME = re.compile(r"(.+)_[a-z]+_[a-z]+_np\d+_[a-z]+_[a-z]+_\d+")  # source_class_body_camera_people_view_quality_n


def frames(
    root: str,
    split: int,
    modality: str,
    list_folder: str | None = None,
    train_list: str | None = None,
    test_list: str | None = None,
    class_names: str | None = None,
    group_pattern: str | None = None,
    name: str = "frames",
) -> Lists:
    """Frame folders under `root`, read as the authors' lists say; the number of frames is the list's.

    Args:
        root: folder of the frame folders.
        split: which of the lists.
        modality: rgb or flow; its own list is preferred, the other one's is taken where there is none (and frames
            are then counted on disk).
        list_folder: folder of the lists; null looks in `root` and in its `settings/`, `splits/` and `lists/`.
        train_list: file of training videos; null: `train_<modality>_split<split>.txt`.
        test_list: file of test videos; null: `val_<modality>_split<split>.txt` (the authors' val is the official
            test list).
        class_names: file with one class a line (numbers give their order only); null: as the folders' names
            tell (HMDB51, UCF101), else the numbers.
        group_pattern: regular expression searched in the folder's name; what its first group matches is the source.
            Null: as HMDB51 and UCF101 name their clips; any other folder is its own source.
        name: name of the data set in results.

    Raises:
        UserError: list or folder missing (it names them), or a line that is not of the form.
    """
    files, counted = _files(root, split, modality, list_folder, train_list, test_list)
    rows = {side: _read(root, file, counted) for side, file in files.items()}
    classes = _classes(rows, class_names, files["train"])
    check_present(Path(root), (row[0] for side in rows.values() for row in side), f"frame folders of {files['train']}")
    videos: dict[str, list[Video]] = {side: [] for side in rows}
    for side, listed in rows.items():
        for folder, count, label in listed:
            group = _group(folder, classes[label], group_pattern)
            videos[side].append(Video(str(Path(root) / folder), label, group, folder, count))
    official = all(re.fullmatch(PUBLISHED, file.name) for file in files.values())
    return Lists(classes, videos["train"], None, videos["test"], root, split, name, official)


def _files(
    root: str, split: int, modality: str, list_folder: str | None, train_list: str | None, test_list: str | None
) -> tuple[dict[str, Path], bool]:
    """Training and test list, and whether their frame counts are those of this modality."""
    if train_list and test_list:
        folder, other = Path(list_folder or root), "_rgb_" if modality == "flow" else "_flow_"
        return {"train": folder / train_list, "test": folder / test_list}, other not in train_list
    if train_list or test_list:
        raise UserError("data.train_list and data.test_list go together; give both or neither")
    places = ["."] if list_folder else LISTS
    for kind in (modality, "flow" if modality == "rgb" else "rgb"):
        try:
            folder = existing(list_folder or root, f"train_{kind}_split{split}.txt", places)
        except UserError:
            continue
        check_present(folder, [f"val_{kind}_split{split}.txt"], f"the lists of split {split}")
        files = {
            side: folder / f"{file}_{kind}_split{split}.txt" for side, file in (("train", "train"), ("test", "val"))
        }
        return files, kind == modality
    existing(list_folder or root, f"train_{modality}_split{split}.txt", places)
    raise AssertionError("existing() has raised")


def _read(root: str, file: Path, counted: bool) -> list[tuple[str, int | None, int]]:
    """Folder, frames and class of each line; a folder's name may hold spaces."""
    rows: list[tuple[str, int | None, int]] = []
    entries = []
    for number, line in numbered_lines(file):
        match = re.fullmatch(r"\s*(\S.*?)/*\s+(\d{1,9})\s+(\d{1,9})", line)
        if match is None or not int(match[2]):
            raise UserError(f"{file} line {number}: {printable(line)} is not `<folder> <frames> <class>`; correct it")
        folder = name_of(Path(root), match[1])
        rows.append((folder, int(match[2]) if counted else None, int(match[3])))
        entries.append(Listed(folder, match[3], line=number))
    if not rows:
        raise UserError(f"list {file} names no folder; every line names one")
    check_distinct(file, Path(root), entries)
    return rows


def _classes(rows: dict[str, list[tuple[str, int | None, int]]], class_names: str | None, file: Path) -> list[str]:
    trained = {label for _, _, label in rows["train"]}
    names = read_class_names(Path(class_names)).names if class_names else []
    number = len(names) or 1 + max(label for side in rows.values() for _, _, label in side)
    gaps = islice((label for label in range(number) if label not in trained), NAMED)
    wrong = sorted([*gaps, *(label for label in trained if label >= number)])
    if wrong:
        raise UserError(
            f"{file}: of the classes 0 to {number - 1}, {wrong[:NAMED]} have no training video or no name; "
            "classes are numbered from 0 without gaps"
        )
    stray = [folder for folder, _, label in rows["test"] if label not in trained]
    if stray:
        raise UserError(
            f"{file}: the class of the test video {printable(stray[0])} has no training video; correct the lists"
        )
    return names or _told_classes(rows, number)


NAMED = 10  # classes that a message names


def _told_classes(rows: dict[str, list[tuple[str, int | None, int]]], number: int) -> list[str]:
    """Class names out of the folders' names where all folders of a class agree, else the numbers."""
    told: dict[int, set[str | None]] = defaultdict(set)
    for side in rows.values():
        for folder, _, label in side:
            told[label].add(_class_of(PurePosixPath(folder).name))
    names = [next(iter(told[label])) for label in range(number) if len(told[label]) == 1]
    found = [name for name in names if name is not None]
    return found if len(set(found)) == number else [str(label) for label in range(number)]


def _class_of(folder: str) -> str | None:
    if match := UCF_NAME.fullmatch(folder):
        return match[1]
    if match := HMDB_NAME.fullmatch(folder):
        return max((c for c in CLASSES if match[1].endswith(f"_{c}")), key=len, default=None)
    return None


def _group(folder: str, label: str, pattern: str | None) -> str:
    clip = PurePosixPath(folder).name
    if pattern is not None:
        try:
            match = re.search(pattern, clip)
        except re.error as error:
            raise UserError(
                f"data.group_pattern={printable(pattern)} is not a valid regular expression ({first_line(error)})"
            ) from error
        found = match and match[1 if match.re.groups else 0]
        return found or folder
    if HMDB_NAME.fullmatch(clip) and f"_{label}_" in clip:
        return group(clip, label)
    return re.sub(UCF_GROUP, r"\1", clip)
