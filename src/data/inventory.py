"""What a data folder really holds: one line a video, written by `python -m src.prepare`, read by training.

The file `inventory.jsonl` is a journal while prepare runs: finished videos are appended one line each, so that a
run that is cut off loses at most the line it was writing. At the end it is rewritten in order, whole or not at all.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from src import files
from src.errors import UserError

FILE = "inventory.jsonl"


@dataclass(frozen=True)
class Entry:
    """One video as it was when it was decoded to its end."""

    name: str  # path relative to the data root, with "/"
    frames: int  # that can really be read; 0 for a bad file
    size: tuple[int, int] | None  # width, height in pixels, upright
    fps: float | None
    codec: str | None
    bytes: int
    mtime: int  # nanoseconds, as os.stat gives it
    sha256: str | None  # of the whole file; None where it could not be read
    bad: str | None  # why no clip should be taken from it, or None
    in_order: bool | None = None  # only a decode in order gives the right frames; None: older than this question

    def describes(self, status: os.stat_result) -> bool:
        """The file has not changed since."""
        return (self.bytes, self.mtime) == (status.st_size, status.st_mtime_ns)


def load(root: str | Path) -> dict[str, Entry]:
    """Name → entry of the inventory in folder `root`; empty where there is none. A torn last line is left out.

    Raises:
        UserError: a line is not an entry.
    """
    path = Path(root) / FILE
    if not path.is_file():
        return {}
    *lines, _torn = path.read_bytes().split(b"\n")  # every whole line ends in a line break
    entries: dict[str, Entry] = {}
    for number, line in enumerate(lines, 1):
        try:
            entry = _entry(json.loads(line))
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"{path} line {number} is not an inventory entry ({error}); remove the file and run prepare again"
            ) from error
        entries[entry.name] = entry  # a later line replaces an earlier one
    return entries


def _entry(values: Any) -> Entry:
    if not isinstance(values, dict):
        raise TypeError("not an object")
    size = values.pop("size")
    return Entry(**values, size=None if size is None else (int(size[0]), int(size[1])))


def _line(entry: Entry) -> str:
    return json.dumps(asdict(entry), ensure_ascii=True) + "\n"


def write(root: str | Path, entries: dict[str, Entry]) -> None:
    """Write the inventory in folder `root`, sorted by name, whole or not at all."""
    text = "".join(_line(entries[name]) for name in sorted(entries))
    files.write_text(Path(root) / FILE, text)


class Journal:
    """An inventory that is being written: `add` is on disk when it returns."""

    def __init__(self, root: str | Path, entries: dict[str, Entry], file: int) -> None:
        self.entries = entries
        self._root, self._file = Path(root), file

    def add(self, entry: Entry) -> None:
        """Append an entry.

        Raises:
            OSError: the disk is full; what was there before stays readable.
        """
        line = _line(entry).encode()
        start = os.lseek(self._file, 0, os.SEEK_END)
        try:
            written = 0
            while written < len(line):
                written += os.write(self._file, line[written:])
        except OSError:
            os.ftruncate(self._file, start)
            raise
        self.entries[entry.name] = entry


@contextmanager
def journal(root: str | Path) -> Iterator[Journal]:
    """Open the inventory in folder `root` to go on writing it; when the block ends well it is sorted and rewritten.

    Raises:
        UserError: what is there is not an inventory.
    """
    entries = load(root)
    path = Path(root) / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        content = path.read_bytes()
        os.ftruncate(file, content.rfind(b"\n") + 1)  # cut a torn line off
        open_journal = Journal(root, entries, file)
        yield open_journal
    finally:
        os.close(file)
    write(root, open_journal.entries)
