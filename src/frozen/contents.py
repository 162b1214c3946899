"""What is in a video file, as a hash: features of a file that has changed are never used."""

import hashlib
import json
import os
from pathlib import Path

from src import files
from src.data import inventory
from src.data.annotations import Video
from src.errors import UnreadableVideoError
from src.text import first_line

FILE = "contents.jsonl"  # in the folder of features: file, size and time → hash


class Contents:
    """SHA-256 of videos; a file that is as it was is not read again.

    folder: where hashes are remembered.
    root: of the data; its inventory knows the hashes of its videos.
    """

    def __init__(self, folder: Path, root: str) -> None:
        self.memory = folder / FILE
        self.inventory = inventory.load(root)
        self.known = _remembered(self.memory)

    def sha256(self, video: Video) -> str:
        """Of the file, or of all pictures in a frame folder.

        Raises:
            UnreadableVideoError: it cannot be read.
        """
        path = Path(video.path)
        try:
            state = _state(path)
            entry = self.inventory.get(video.name)
            if entry is not None and entry.sha256 and path.is_file() and entry.describes(path.stat()):
                return entry.sha256
            if state not in self.known:
                self.known[state] = _hash(path)
                self._remember(state)
        except OSError as error:
            raise UnreadableVideoError(video.path, first_line(error)) from error
        return self.known[state]

    def _remember(self, state: str) -> None:
        line = json.dumps([state, self.known[state]]) + "\n"
        self.memory.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.memory, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            os.write(handle, line.encode())  # one call: lines of several processes do not mix
        finally:
            os.close(handle)


def _remembered(path: Path) -> dict[str, str]:
    known = {}
    for line in files.read_text(path).splitlines() if path.is_file() else []:
        try:
            state, digest = json.loads(line)
        except (ValueError, TypeError):  # a line that a kill cut off
            continue
        if isinstance(state, str) and isinstance(digest, str):
            known[state] = digest
    return known


def _state(path: Path) -> str:
    """A file, or the pictures of a folder, as it is now: size and time say whether it has changed."""
    parts = []
    for file in _files(path):
        status = file.stat()
        parts.append(f"{file.name} {status.st_size} {status.st_mtime_ns} {status.st_ino}")
    return f"{path.absolute()} {hashlib.sha256(os.fsencode(chr(10).join(parts))).hexdigest()}"


def _hash(path: Path) -> str:
    return files.sha256(*_files(path))


def _files(path: Path) -> list[Path]:
    return sorted(path.iterdir()) if path.is_dir() else [path]
