"""What `video=` means: files, folders, patterns and a list on standard input, as videos to look at.

An input that is not there is a Problem, not the end: the others are looked at, and problems are listed at the end.
"""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from src.data.address import is_stream
from src.data.flow import flow_beside, flow_in, is_flow_video
from src.data.frame_folder import STEMS, naming
from src.data.video_files import files_below, is_video
from src.text import printable

STANDARD_INPUT = "-"
PATTERN = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Input:
    """One video: the name that it goes by, and where it is. `name` is relative to `base`, if that is a folder."""

    path: str
    base: Path | None = None

    @property
    def inner(self) -> str:
        """Its path below the folder that was named; its file name if it was named itself."""
        return Path(self.path).relative_to(self.base).as_posix() if self.base else Path(self.path).name


@dataclass(frozen=True)
class Problem:
    """An input that has no prediction, or only one of its beginning, and why."""

    name: str
    reason: str

    def __str__(self) -> str:
        return printable(self.reason if self.name in self.reason else f"{self.name}: {self.reason}")


def collect(words: Sequence[str], lines: Iterable[str]) -> tuple[list[Input], list[Problem]]:
    """The videos that words name, in their order and each once, and the words that name none.

    lines: standard input, read where a word is "-": a path a line.
    """
    found: dict[str, Input] = {}
    problems = []
    for word in _spelt_out(words, lines):
        inputs = list(_expand(word))
        if not inputs:
            problems.append(Problem(word, _nothing(word)))
        for one in inputs:
            found.setdefault(one.path, one)
    return list(found.values()), problems


def _spelt_out(words: Sequence[str], lines: Iterable[str]) -> Iterator[str]:
    for word in words:
        if word != STANDARD_INPUT:
            yield word
            continue
        listed = [line.rstrip("\r\n") for line in lines]
        listed = [line for line in listed if line.strip()]
        if not listed:
            yield STANDARD_INPUT
        yield from listed


def _expand(word: str) -> Iterator[Input]:
    """The videos that one word names."""
    path = os.path.expanduser(word)  # noqa: PTH111 - keeps `./` and the like as typed
    if is_stream(word) or _is_pictures(path) or os.path.isfile(path):  # noqa: PTH113 - Path raises on long names
        yield Input(path)
    elif os.path.isdir(path):  # noqa: PTH112
        yield from _below(Path(path))
    elif os.path.lexists(path):  # a pipe, a device, a dangling link: its reader says what is wrong with it
        yield Input(path)
    elif PATTERN.search(path):
        for match in sorted(glob.glob(path, recursive=True)):  # noqa: PTH207 - Path.glob takes no absolute patterns
            if _is_pictures(match):
                yield Input(match)
            elif os.path.isdir(match):  # noqa: PTH112
                yield from _below(Path(match))
            else:
                yield Input(match)


def _below(folder: Path) -> Iterator[Input]:
    """Videos and folders of pictures below a folder."""
    seen: set[str] = set()
    for name in files_below(folder):
        inside = (folder / name).parent
        if is_video(name):
            yield Input(str(folder / name), folder)
        elif str(inside) not in seen and _is_pictures(str(inside)):
            seen.add(str(inside))
            yield Input(str(inside), folder)


def _is_pictures(path: str) -> bool:
    """A folder of numbered pictures, as src.data.frame_folder reads it."""
    return any(naming(path, modality) is not None for modality in STEMS)


def _nothing(word: str) -> str:
    if word == STANDARD_INPUT:
        return "the list on standard input is empty; give a path a line"
    if os.path.isdir(os.path.expanduser(word)):  # noqa: PTH111, PTH112
        return "the folder holds no videos"
    if PATTERN.search(word):
        return "the pattern matches no file"
    return "there is no such file or folder"


def source_of(one: Input, modality: str, method: str, flow: Path | None) -> str:
    """What a network of this modality reads of an input.

    Args:
        method: which flow beside the videos, as made by src.prepare.
        flow: where flow is instead: a file or pictures, for one video, or a folder of flow for a folder of videos.

    Returns:
        A path; the video's own where no flow is found, whose reader then says that it is none.
    """
    if modality != "flow":
        return one.path
    if flow is not None:
        if flow.is_file() or _is_pictures(str(flow)):
            return str(flow)
        return str(flow_in(flow, one.inner) or flow / one.inner)
    if os.path.isdir(one.path) or is_flow_video(one.path):  # noqa: PTH112
        return one.path
    return str(flow_beside(one.path, method) or one.path)
