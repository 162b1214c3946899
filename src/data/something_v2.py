"""Something-Something V2 as published: `<id>.webm`, and labels, train, validation and test lists in JSON."""

import csv
import io
from pathlib import Path
from typing import Any

from src.data.annotations import Lists
from src.data.list_text import read_list_text
from src.data.published import check_count, check_once, first_of, read_json, videos_by_side
from src.errors import UserError
from src.text import printable

PUBLISHED = {"train": 168_913, "validation": 24_777, "test": 27_157}
CLASSES = 174
PREFIXES = ("", "something-something-v2-")  # of the lists: the present release, and the first one
LISTS = ("labels", "annotations", "something-something-v2-annotations", ".")
ANSWERS = "test-answers.csv"  # in which the labels of the test list were published at last
VIDEOS = ("20bn-something-something-v2", "videos", ".")
ENDINGS = (".webm", ".mp4", ".avi", "")  # as published; as people convert them; folders of pictures


def ssv2(root: str, test_on: str = "validation", check_counts: bool = True, name: str = "ssv2") -> Lists:
    """Something-Something V2, classes by their published numbers.

    Args:
        root: folder with the videos (in `20bn-something-something-v2/`, `videos/`, or directly) and the lists (in
            `labels/`, `annotations/`, or directly): `labels.json`, `train.json`, `validation.json`, also with
            `something-something-v2-` before it.
        test_on: validation, as most do; or test, with `test-answers.csv` (the validation list then validates).
        check_counts: require 174 classes and the published number of videos; false reads what is listed.
        name: name of the data set in results.

    Raises:
        UserError: lists or videos are missing (it names them), or a list is not as published.
    """
    classes = _classes(root)
    sides = {"train": "train", "val" if test_on == "test" else "test": "validation"}
    rows = {side: _rows(root, listed, classes) for side, listed in sides.items()}
    if test_on == "test":
        rows["test"] = _test_rows(root, classes)
        sides["test"] = "test"
    if check_counts:
        check_count(f"{root}: labels.json", len(classes), CLASSES, "classes")
        for side, listed in sides.items():
            check_count(f"{root}: {listed}.json", len(rows[side]), PUBLISHED[listed], "videos")
    base, videos = videos_by_side(root, rows, VIDEOS, ENDINGS, "Something-Something V2")
    return Lists(classes, videos["train"], videos.get("val"), videos["test"], str(base), None, name, official=True)


def _list(root: str, stem: str) -> Path:
    return first_of(root, [f"{prefix}{stem}.json" for prefix in PREFIXES], LISTS)


def _classes(root: str) -> list[str]:
    file = _list(root, "labels")
    content = read_json(file)
    numbers = {}
    if isinstance(content, dict):
        numbers = {str(name): str(number) for name, number in content.items()}
    if not numbers or sorted(numbers.values()) != sorted(str(i) for i in range(len(numbers))):
        raise UserError(f"{file}: it does not number classes from 0 without gaps; download it again")
    return sorted(numbers, key=lambda label: int(numbers[label]))


def _rows(root: str, side: str, classes: list[str]) -> list[tuple[str, int]]:
    """Id and class of each listed video; the class is its template without the brackets."""
    file = _list(root, side)
    number = {_plain(label): place for place, label in enumerate(classes)}
    content = read_json(file)
    rows = []
    for place, entry in enumerate(content if isinstance(content, list) else [None], 1):
        known = entry if isinstance(entry, dict) else {}
        label = number.get(_plain(known.get("template")))
        if not _is_id(known.get("id")) or label is None:
            raise UserError(
                f'{file}: entry {place} is not {{"id": …, "template": …}} with a template of labels.json; '
                "download the lists again"
            )
        rows.append((known["id"], label))
    check_once(file, ((video, place) for place, (video, _) in enumerate(rows, 1)), "entries")
    return rows


def _test_rows(root: str, classes: list[str]) -> list[tuple[str, int]]:
    """Id and class of each test video: `id;label` of the answers, for the ids that the test list names."""
    file = first_of(root, [f"{prefix}{ANSWERS}" for prefix in PREFIXES], LISTS)
    number = {_plain(label): place for place, label in enumerate(classes)}
    answers = {}
    for place, cells in enumerate(csv.reader(io.StringIO(read_list_text(file), newline=""), delimiter=";"), 1):
        label = number.get(_plain(cells[1])) if len(cells) == 2 else None
        if label is None or not _is_id(cells[0].strip()):
            shown = printable(";".join(cells))
            raise UserError(f"{file} line {place}: {shown} is not `id;class` of labels.json; download it again")
        answers[cells[0].strip()] = label
    file = _list(root, "test")
    content = read_json(file)
    ids = [str(entry.get("id")) if isinstance(entry, dict) else "" for entry in content or [None]]
    for place, video in enumerate(ids, 1):
        if video not in answers:
            raise UserError(f"{file}: entry {place} has no answer in {ANSWERS}; download the lists again")
    check_once(file, ((video, place) for place, video in enumerate(ids, 1)), "entries")
    return [(video, answers[video]) for video in ids]


def _plain(template: Any) -> str:
    """`Putting [something] on a surface` as labels.json has it; a wrong entry is no class."""
    return template.replace("[", "").replace("]", "").strip() if isinstance(template, str) else ""


def _is_id(text: Any) -> bool:
    return isinstance(text, str) and text.isdecimal() and text.isascii()
