"""How long a video file should be by its own account: what tells one that was cut off from one that is whole."""

from pathlib import Path
from typing import BinaryIO

EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # Matroska's element names
MOV_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"styp", b"sidx", b"mfra", b"uuid")
TRUNCATED = 0.9  # a file of which less than this part is there has been cut off
MAX_PARTS = 100_000  # boxes or chunks looked at; a fragment takes two


def truncation(path: str) -> str | None:
    """What to say of a file that has been cut off; None for one that is whole, or nearly."""
    try:
        missing = missing_share(path)
    except OSError:  # said by whoever opens it
        return None
    return f"truncated: {missing:.0%} of the file is missing" if missing > 1 - TRUNCATED else None


def missing_share(path: str) -> float:
    """Part of the file, 0 to 1, that its container promises and that is not there.

    0 for containers that promise nothing (MPEG-TS, a recording that was never closed).

    Raises:
        OSError: the file cannot be read.
    """
    size = Path(path).stat().st_size
    with Path(path).open("rb") as file:
        start = file.read(8)
        if start[:4] == b"RIFF":
            promised = _riff_end(file, size)
        elif start[4:] in MOV_BOXES:
            promised = _mov_end(file, size)
        elif start[:4] == EBML:
            promised = _matroska_end(file)
        else:
            promised = 0
    return 1 - size / promised if promised > size else 0.0


def _riff_end(file: BinaryIO, size: int) -> int:
    """AVI: one chunk, several above 1 GB; its length is 0 where the writer was stopped."""
    place = 0
    for _ in range(MAX_PARTS):
        file.seek(place)
        head = file.read(8)
        if place >= size or head[:4] != b"RIFF":
            break
        place += 8 + int.from_bytes(head[4:], "little")
    return place


def _mov_end(file: BinaryIO, size: int) -> int:
    """mp4 and QuickTime: boxes, whose length 1 announces a longer number and 0 means the rest of the file."""
    place = 0
    for _ in range(MAX_PARTS):
        file.seek(place)
        head = file.read(16)
        if place >= size or head[4:8] not in MOV_BOXES:
            break
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        if length < 8:
            break
        place += length
    return place


def _matroska_end(file: BinaryIO) -> int:
    """Matroska and WebM: a header, then one segment, whose length may be unknown (a live recording)."""
    file.seek(len(EBML))
    header = _matroska_number(file)
    file.seek(file.tell() + (header or 0))
    if header is None or file.read(len(SEGMENT)) != SEGMENT:
        return 0
    length = _matroska_number(file)
    return 0 if length is None else file.tell() + length


def _matroska_number(file: BinaryIO) -> int | None:
    """A number whose first byte tells its own length by its leading zeros; all ones mean unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    number = int.from_bytes(first + file.read(more), "big")
    unknown = (1 << 7 * (more + 1)) - 1
    value = number & unknown
    return None if value == unknown else value
