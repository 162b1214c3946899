"""UCF101 as published: `<Class>/v_<Class>_gXX_cYY.avi`, classInd.txt, trainlist0N.txt and testlist0N.txt."""

import re
from pathlib import Path

from src.data.annotations import UCF_GROUP, Lists, Video
from src.data.list_text import numbered_lines
from src.data.published import check_count, check_once, check_present, existing, video_root
from src.errors import UserError
from src.text import printable

PUBLISHED = {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}  # split → training and test videos
LISTS = ("ucfTrainTestlist", "UCF101TrainTestSplits-RecognitionTask/ucfTrainTestlist", "splits", ".")
VIDEOS = (".", "UCF-101", "videos")


def ucf101(root: str, split: int, check_counts: bool = True, name: str = "ucf101") -> Lists:
    """One split of UCF101, classes in the order of classInd.txt (which counts from 1).

    Args:
        root: folder with the class folders (also in `UCF-101/` or `videos/`) and the lists (in
            `ucfTrainTestlist/`, `splits/`, or directly).
        split: 1, 2 or 3.
        check_counts: require 101 classes and the published number of videos; false reads what is listed.
        name: name of the data set in results.

    Raises:
        UserError: lists or videos are missing (it names them), or a list is not as published.
    """
    if split not in PUBLISHED:
        raise UserError(f"data.split={split}: UCF101 has the splits 1, 2 and 3")
    folder = existing(root, "classInd.txt", LISTS)
    files = [folder / f"trainlist0{split}.txt", folder / f"testlist0{split}.txt"]
    check_present(folder, (file.name for file in files), f"UCF101's lists of split {split}")
    classes = _classes(folder / "classInd.txt")
    base = video_root(root, classes, VIDEOS)
    train, test = (_read(file, classes, base) for file in files)
    if check_counts:
        check_count(str(folder / "classInd.txt"), len(classes), 101, "classes")
        for file, videos, published in zip(files, (train, test), PUBLISHED[split], strict=True):
            check_count(str(file), len(videos), published, "videos")
    check_present(base, (video.name for video in train + test), f"UCF101 split {split}")
    return Lists(classes, train, None, test, str(base), split, name, official=True)


def _classes(file: Path) -> list[str]:
    """Names by their number in the file."""
    numbered = {}
    for _, line in numbered_lines(file):
        number, _, class_name = line.strip().partition(" ")
        numbered[number] = class_name.strip()
    if set(numbered) != {str(i + 1) for i in range(len(numbered))} or not all(numbered.values()):
        raise UserError(f"{file}: classes are not numbered from 1 without gaps; download the lists again")
    return [numbered[str(i + 1)] for i in range(len(numbered))]


def _read(file: Path, classes: list[str], base: Path) -> list[Video]:
    """The listed videos; a class number behind the path must agree with the folder's name."""
    number = {class_name: i for i, class_name in enumerate(classes)}
    videos, places = [], []
    for line_number, line in numbered_lines(file):
        match = re.fullmatch(r"\s*(([^/]+)/(.+\.avi))(?:\s+(\d{1,9}))?", line)
        if match is None or match[2] not in number:
            raise UserError(
                f"{file} line {line_number}: {printable(line)} is not `<Class>/<video>.avi [number]` with a "
                "class of classInd.txt; download the list again"
            )
        path, class_name, video, stated = match.groups()
        label = number[class_name]
        if stated is not None and int(stated) != label + 1:
            raise UserError(
                f"{file} line {line_number}: {printable(line)}, but classInd.txt gives {printable(class_name)} the "
                f"number {label + 1}; download the lists again"
            )
        source = re.sub(UCF_GROUP, r"\1", Path(video).stem)
        videos.append(Video(str(base / path), label, source, path))
        places.append((path, line_number))
    check_once(file, places)
    return videos
