"""Diving48 as published, with the cleaned labels (V2): `rgb/<name>.mp4`, lists and vocabulary in JSON."""

from pathlib import Path
from typing import Any

from src.data.annotations import Lists
from src.data.published import check_count, check_once, first_of, read_json, videos_by_side
from src.errors import UserError

PUBLISHED = {"train": 15_027, "test": 1_970}  # videos
CLASSES = 48
LISTS = (".", "annotations", "labels")
VIDEOS = ("rgb", "videos", ".")
ENDINGS = (".mp4", ".avi", "")  # as published; converted; folders of pictures


def diving48(root: str, check_counts: bool = True, name: str = "diving48") -> Lists:
    """Diving48 V2, classes in the order of its vocabulary. Clips of one competition video are one source.

    Args:
        root: folder with the videos (in `rgb/`, `videos/`, or directly) and `Diving48_V2_train.json`,
            `Diving48_V2_test.json` and `Diving48_vocab.json` (also in `annotations/` or `labels/`).
        check_counts: require 48 classes and the published number of videos; false reads what is listed.
        name: name of the data set in results.

    Raises:
        UserError: lists or videos are missing (it names them), or a list is not as published.
    """
    file = first_of(root, ["Diving48_vocab.json"], LISTS)
    classes = _classes(file)
    files = {side: first_of(root, [f"Diving48_V2_{side}.json"], LISTS) for side in PUBLISHED}
    rows = {side: _rows(listed, len(classes)) for side, listed in files.items()}
    if check_counts:
        check_count(str(file), len(classes), CLASSES, "classes")
        for side, published in PUBLISHED.items():
            check_count(str(files[side]), len(rows[side]), published, "videos")
    base, videos = videos_by_side(root, rows, VIDEOS, ENDINGS, "Diving48", _competition)
    return Lists(classes, videos["train"], None, videos["test"], str(base), None, name, official=True)


def _competition(video: str) -> str:
    """Which recording a dive is of: names are `<recording>_<number>`."""
    return video.rpartition("_")[0] or video


def _classes(file: Path) -> list[str]:
    """A dive is its take-off, somersaults, twists and position: `Back 15som 05Twis FREE`."""
    content = read_json(file)
    entries = content if isinstance(content, list) else []
    if not entries or not all(isinstance(e, list) and e and all(isinstance(part, str) for part in e) for e in entries):
        raise UserError(f"{file}: it is not a list of dives, each a list of its parts; download it again")
    classes = [" ".join(entry) for entry in entries]
    if len(set(classes)) < len(classes):
        raise UserError(f"{file}: it names a dive twice; download it again")
    return classes


def _rows(file: Path, classes: int) -> list[tuple[str, int]]:
    content: Any = read_json(file)
    rows = []
    for place, entry in enumerate(content if isinstance(content, list) else [None], 1):
        known = entry if isinstance(entry, dict) else {}
        video, label = known.get("vid_name"), known.get("label")
        if not _is_name(video) or type(label) is not int or not 0 <= label < classes:
            raise UserError(
                f'{file}: entry {place} is not {{"vid_name": …, "label": …}} with a label from 0 to {classes - 1}; '
                "download the lists again"
            )
        rows.append((str(video), label))
    check_once(file, ((video, place) for place, (video, _) in enumerate(rows, 1)), "entries")
    return rows


def _is_name(video: Any) -> bool:
    return isinstance(video, str) and video != "" and "/" not in video and "\0" not in video
