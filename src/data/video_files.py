"""Which files are videos, where they are, and whether two names mean the same one."""

import logging
import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from src import files
from src.data.frame_folder import naming
from src.text import first_line, printable

log = logging.getLogger(__name__)

# fmt: off
VIDEO_ENDINGS = (  # that FFmpeg reads and that mean nothing else
    ".264", ".265", ".266", ".3g2", ".3gp", ".3gpp", ".amv", ".asf", ".avc", ".avi", ".avs2", ".avs3", ".cavs",
    ".dav", ".dif", ".divx", ".dv", ".evo", ".f4v", ".flv", ".gif", ".gxf", ".h261", ".h263", ".h264", ".h265",
    ".h266", ".hevc", ".insv", ".ismv", ".ivf", ".m1v", ".m2p", ".m2t", ".m2ts", ".m2v", ".m4v", ".mj2", ".mjpeg",
    ".mjpg", ".mk3d", ".mkv", ".mod", ".mov", ".mp4", ".mp4v", ".mpe", ".mpeg", ".mpg", ".mpg4", ".mpv", ".mts",
    ".mxf", ".nsv", ".nut", ".obu", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".tod", ".tp", ".trp", ".ts",
    ".vc1", ".viv", ".vob", ".vro", ".vvc", ".webm", ".wmv", ".wtv", ".xvid", ".y4m",
)
# fmt: on
DRIVE = re.compile(r"[A-Za-z]:[\\/]")  # C:\videos


def is_video(name: str) -> bool:
    """The name ends like a video file's, in upper or lower case."""
    return name.lower().endswith(VIDEO_ENDINGS)


def files_below(root: Path) -> Iterator[str]:
    """Paths relative to `root` of all files below it, sorted within a folder; links followed, each folder once.

    Hidden files and folders are passed over. A folder that cannot be read is named in a warning.
    """

    def warn(error: OSError) -> None:
        log.warning("folder %s cannot be read (%s): left out", printable(error.filename), first_line(error))

    seen: set[tuple[int, int]] = set()
    for folder, below, names in os.walk(root, followlinks=True, onerror=warn):
        status = Path(folder).stat()
        here = (status.st_dev, status.st_ino)
        if here in seen:
            below.clear()
            continue
        seen.add(here)
        below[:] = sorted(name for name in below if not name.startswith("."))
        place = Path(folder).relative_to(root).as_posix()
        for name in sorted(names):
            if not name.startswith("."):
                yield name if place == "." else f"{place}/{name}"


def file_key(path: str | Path) -> object:
    """A key that two paths share if they lead to the same file, whatever their spelling, through links or not."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):  # it cannot be opened either: its reader names it
        return os.path.realpath(path)
    if not status.st_ino:  # a file system without such numbers
        return os.path.realpath(path)
    return status.st_dev, status.st_ino, status.st_size


def name_of(base: Path, path: str) -> str:
    """The one name of a video: its path relative to `base` without "." and doubled "/".

    A file outside of `base` keeps its absolute or "../" path. Links stay: a link's name is the link's own.
    """
    if "//" not in path and "/." not in path and path[0] not in "./" and not path.endswith("/"):
        return path  # as nearly all are
    plain = PurePosixPath(path)
    if not plain.is_absolute() and ".." not in plain.parts:
        return plain.as_posix()
    written = Path(_absolute(base / path))
    real = Path(os.path.realpath((base / path).parent), plain.name)
    if os.path.realpath(written) == os.path.realpath(base / path) and written.is_relative_to(_absolute(base)):
        return written.relative_to(_absolute(base)).as_posix()  # else "link/.." is not where it seems to be
    if real.is_relative_to(os.path.realpath(base)):
        return real.relative_to(os.path.realpath(base)).as_posix()
    return plain.as_posix()


def _absolute(path: Path) -> str:
    return os.path.normpath(path.absolute())


def is_outside(name: str) -> bool:
    """Whether what `name_of` gave leads out of its base."""
    return name.startswith("/") or ".." in PurePosixPath(name).parts


class Finder:
    """Finds what a list names, in the spellings that people use."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self._stems: dict[str, dict[str, list[str]]] = {}  # folder → file name without ending → file names

    def exists(self, path: str) -> bool:
        """Whether there is such a file or folder."""
        return bool(path) and os.path.exists(self.base / path)  # noqa: PTH110  # Path.exists raises on long names

    def is_video(self, written: str) -> bool:
        """Whether `written` means a file, or a folder of numbered pictures."""
        return any((self.base / path).is_file() for path in self.find(written)) or self.is_frame_folder(written)

    def is_frame_folder(self, written: str) -> bool:
        """Whether `written` means a folder of numbered pictures."""
        folders = (self.base / path for path in self.find(written) if (self.base / path).is_dir())
        return any(naming(folder) is not None for folder in folders)

    def find(self, written: str) -> list[str]:
        """The paths (relative to the base, or absolute) that `written` can mean: one, if all is well.

        It is tried as it stands, with the backslashes of Windows, in both Unicode forms of accented letters, and
        last without its ending. Empty: there is no such file.
        """
        if self.exists(written):
            return [written]
        spellings = dict.fromkeys(_spellings(written))  # each once
        for spelling in spellings:
            if self.exists(spelling):
                return [spelling]
        for spelling in spellings:
            if found := self._without_ending(spelling):
                return found
        return []

    def _without_ending(self, path: str) -> list[str]:
        place, stem = os.path.split(path)
        if place not in self._stems:
            self._stems[place] = self._list(place)
        return [os.path.join(place, name) for name in self._stems[place].get(stem, ())]  # noqa: PTH118

    def _list(self, folder: str) -> dict[str, list[str]]:
        stems: dict[str, list[str]] = {}
        try:
            names = sorted(entry.name for entry in os.scandir(self.base / folder))
        except (OSError, ValueError):
            return {}
        for name in names:
            if is_video(name):
                stems.setdefault(Path(name).stem, []).append(name)
        return stems


def _spellings(written: str) -> Iterator[str]:
    for text in (written.strip(), written):
        for path in (text, str(files.home_expanded(text)), text if DRIVE.match(text) else text.replace("\\", "/")):
            yield path
            yield unicodedata.normalize("NFC", path)
            yield unicodedata.normalize("NFD", path)
