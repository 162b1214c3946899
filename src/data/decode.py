"""Frames out of video files.

Frame i is the i-th frame that decoding the file's best video stream in order gives, in RGB and at the size of the
first frame, whatever the decoder and whatever was read before. Both decoders seek, which is right in plain files;
whatever src/data/scan.py does not find plain is decoded in order with PyAV. Clips are cut by src/data/picture.py: with
PyAV on the decoder's own planes; decord gives whole frames in RGB, which takes three times as long.
"""

import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self

from src.data.flow import open_flow
from src.data.frame_folder import FrameFolder
from src.data.pixels import Box, Frames, Size
from src.data.pyav_reader import PyAVReader, readable, without_seeking
from src.data.scan import Scan, scan
from src.errors import UnreadableVideoError, UserError

DECODERS = ("pyav", "decord")


class Reader(Protocol):
    """An open video. Made and closed within one process: decoders do not survive a fork."""

    size: tuple[int, int]  # width, height in pixels
    fps: float

    def __len__(self) -> int:
        """Frames that can be read."""

    def frames(self, indices: Sequence[int]) -> Frames:
        """Frames T, H, W, C (uint8) in the order asked for; ascending order is cheapest.

        Raises:
            UnreadableVideoError: a frame cannot be given.
        """

    def cut(self, indices: Sequence[int], box: Box, size: Size) -> Frames:
        """A box of each of these frames at another size: C, T, H, W (uint8).

        Raises:
            UnreadableVideoError: a frame cannot be given.
        """

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


def open_video(
    path: str,
    decoder: str = DECODERS[0],
    frames: int | None = None,
    modality: str = "rgb",
    in_order: bool = False,
) -> Reader:
    """Open a video file, or a folder of numbered pictures, for reading frames by index.

    Args:
        decoder: pyav, or decord (where it can be trusted); both give the same frames.
        frames: how many frames can be read, where an inventory knows; otherwise it is found out, and a file that
            has been cut off is refused.
        modality: rgb, or flow (2 channels, see src/data/flow.py).
        in_order: decode from the first frame on, with PyAV; an inventory knows where seeking does not give the same.

    Raises:
        UserError: unknown decoder.
        UnreadableVideoError: no frame can be read.
    """
    if decoder not in DECODERS:
        raise UserError(f"decoder {decoder!r} is unknown; choose from {', '.join(DECODERS)}")
    if Path(path).is_dir():
        return FrameFolder(path, frames, modality)
    if modality != "rgb":
        flow: Reader = open_flow(path, frames)
        return flow
    known = examine(path)
    if known.bad and (frames is None or not known.frames):
        raise UnreadableVideoError(path, known.bad)
    if in_order or not known.plain:
        return PyAVReader(path, frames or known.frames, without_seeking(known))
    if decoder == "decord":
        from src.data.decord_reader import DecordReader  # its FFmpeg is loaded only where it is asked for

        return DecordReader(path, frames or known.frames, known)
    return PyAVReader(path, frames or known.frames, known)


def examine(path: str) -> Scan:
    """What the packets of a video file tell, remembered in this process.

    Raises:
        UnreadableVideoError: it cannot be opened as video.
    """
    with readable(path):
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):  # a decoder would wait for a pipe for ever
            raise UnreadableVideoError(path, "it is not a regular file")
        if not status.st_size:
            raise UnreadableVideoError(path, "it is empty (0 bytes)")
        return scan(path, status.st_mtime_ns, status.st_size)
