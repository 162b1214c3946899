"""Jester (20BN) as published: folders of pictures `<id>/00001.jpg`, and lists `<id>;<class>`."""

from pathlib import Path

from src.data.annotations import Lists
from src.data.list_text import numbered_lines
from src.data.published import check_count, check_once, first_of, videos_by_side
from src.errors import UserError
from src.text import printable

PUBLISHED = {"train": 118_562, "validation": 14_787}  # videos; the test list has no labels
CLASSES = 27
PREFIXES = ("jester-v1-", "")
LISTS = (".", "labels", "annotations", "csv")
VIDEOS = ("20bn-jester-v1", "videos", "frames", ".")
ENDINGS = ("", ".mp4", ".webm", ".avi")  # folders of pictures as published; videos as people make of them


def jester(root: str, check_counts: bool = True, name: str = "jester") -> Lists:
    """Jester, trained on its training list and tested on its validation list, classes in the order of its labels.

    Args:
        root: folder with the folders of pictures (in `20bn-jester-v1/`, or directly) and the lists
            `jester-v1-labels.csv`, `jester-v1-train.csv` and `jester-v1-validation.csv` (also in `labels/`,
            `annotations/` or `csv/`).
        check_counts: require 27 classes and the published number of videos; false reads what is listed.
        name: name of the data set in results.

    Raises:
        UserError: lists or videos are missing (it names them), or a list is not as published.
    """
    file = _list(root, "labels")
    classes = [line.strip() for _, line in numbered_lines(file)]
    if len(set(classes)) < len(classes):
        raise UserError(f"{file}: it names a class twice; download it again")
    rows = {side: _rows(_list(root, side), classes) for side in PUBLISHED}
    if check_counts:
        check_count(str(file), len(classes), CLASSES, "classes")
        for side, published in PUBLISHED.items():
            check_count(str(_list(root, side)), len(rows[side]), published, "videos")
    base, videos = videos_by_side(root, rows, VIDEOS, ENDINGS, "Jester")
    return Lists(classes, videos["train"], None, videos["validation"], str(base), None, name, official=True)


def _list(root: str, stem: str) -> Path:
    return first_of(root, [f"{prefix}{stem}.csv" for prefix in PREFIXES], LISTS)


def _rows(file: Path, classes: list[str]) -> list[tuple[str, int]]:
    number = {label: place for place, label in enumerate(classes)}
    rows, places = [], []
    for line, text in numbered_lines(file):
        video, _, label = (part.strip() for part in text.partition(";"))
        if not (video.isdecimal() and video.isascii()) or label not in number:
            raise UserError(
                f"{file} line {line}: {printable(text)} is not `<id>;<class>` with a class of the labels; download "
                "the lists again"
            )
        rows.append((video, number[label]))
        places.append((video, line))
    check_once(file, places)
    return rows
