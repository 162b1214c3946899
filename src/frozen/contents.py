"""What is in a video file, as a hash: features of a file that has changed are never used.

A file counts as unchanged while its size, its times and its number on the disk are what they were when it was read. One
of these times nobody can set: it moves with every change, also where another program puts the rest back. A file that
was only touched or moved is read again and found to be the same.
"""

import contextlib
import hashlib
import json
import os
import stat
from pathlib import Path

from src import files
from src.data import inventory
from src.data.annotations import Video
from src.errors import UnreadableVideoError
from src.text import first_line

FILE = "contents.jsonl"  # in the folder of features: file, its state, hash


class Contents:
    """SHA-256 of videos; a file that is as it was is not read again.

    folder: where hashes are remembered, if it can be written.
    root: of the data; its inventory knows the hashes of its videos, which holds for files that are new here.
    """

    def __init__(self, folder: Path, root: str) -> None:
        self.memory = folder / FILE
        self.root = Path(root)
        self.inventory = inventory.load(root)
        self.known = _remembered(self.memory)  # file → state, hash

    def sha256(self, video: Video) -> str:
        """Of the file, or of all files in a folder of pictures with their names.

        Raises:
            UnreadableVideoError: it cannot be read.
        """
        path = Path(video.path)
        place = str(path.absolute())
        try:
            state = _state(path)
            known = self.known.get(place)
            if known is None or known[0] != state:
                digest = self._of_inventory(video) if known is None else None
                self.known[place] = state, digest or _hash(path)
                self._remember(place)
        except OSError as error:
            raise UnreadableVideoError(video.path, first_line(error)) from error
        return self.known[place][1]

    def _of_inventory(self, video: Video) -> str | None:
        entry, path = self.inventory.get(video.name), self.root / video.name
        if entry is None or path != Path(video.path) or not path.is_file():  # the flow of a video is another file
            return None
        return entry.sha256 if entry.describes(path.stat()) else None

    def _remember(self, place: str) -> None:
        line = json.dumps([place, *self.known[place]]) + "\n"
        with contextlib.suppress(OSError):  # full or read-only: the file is read again another time
            self.memory.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.memory, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                os.write(handle, line.encode())  # one call: lines of several processes do not mix
            finally:
                os.close(handle)


def _remembered(path: Path) -> dict[str, tuple[str, str]]:
    known = {}
    for line in files.read_text(path).splitlines() if path.is_file() else []:
        try:
            place, state, digest = json.loads(line)
        except (ValueError, TypeError, RecursionError):  # damaged, or cut off by a kill
            continue
        if all(isinstance(value, str) for value in (place, state, digest)):
            known[place] = state, digest
    return known


def _state(path: Path) -> str:
    """A file, or those of a folder, as they are now."""
    parts = []
    for file, status in _files(path):
        times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
        parts.append(f"{file.name} {status.st_size} {times} {status.st_ino}\n")
    return hashlib.sha256(os.fsencode("".join(parts))).hexdigest()


def _hash(path: Path) -> str:
    if not path.is_dir():
        return files.sha256(path)
    digest = hashlib.sha256()
    for file, _ in _files(path):
        digest.update(os.fsencode(f"{files.sha256(file)} {file.name}\n"))
    return digest.hexdigest()


def _files(path: Path) -> list[tuple[Path, os.stat_result]]:
    """The file, or those in the folder, sorted by name.

    Raises:
        OSError: it is a pipe or a device, which would be read for ever.
    """
    if path.is_dir():
        with os.scandir(path) as entries:
            return sorted((Path(entry.path), entry.stat()) for entry in entries if entry.is_file())
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError("it is not a regular file")
    return [(path, status)]
