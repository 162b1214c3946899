"""Frames out of video files. The only file that knows decord.

Frame i is the i-th frame that decoding the whole file in order gives, whatever the decoder and whatever was read
before. decord seeks by counting packets, which is wrong where packets and frames are not one to one (dropped or
packed frames of DivX/XviD files, edit lists, open groups of pictures). A file is therefore first scanned packet by
packet (1-10 ms, remembered in the process); one that is not plain is decoded in order with PyAV, whose speed per
decoded frame is the same.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import av
import decord
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from src.data.flow import open_flow
from src.data.frame_folder import FrameFolder
from src.errors import UnreadableVideoError, UserError

Frames = npt.NDArray[np.uint8]  # T, H, W, C
DECODERS = ("decord", "pyav")
DIRECT = ("avi", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2")  # where decord finds its way
PLACEHOLDER = 8  # bytes; MPEG-4 packets up to this size stand for a frame that is elsewhere or was dropped
TRUNCATED = 0.9  # a file with fewer than this part of the frames that its header promises has been cut off

os.environ.setdefault("DECORD_EOF_RETRY_MAX", "512")  # decord's 10240 means minutes on a broken file
decord.logging.set_level(decord.logging.FATAL)
av.logging.set_level(av.logging.PANIC)


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

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


def open_video(path: str, decoder: str = "decord", frames: int | None = None, modality: str = "rgb") -> Reader:
    """Open a video file, or a folder of numbered pictures, for reading frames by index.

    Args:
        decoder: decord or pyav; both give the same frames.
        frames: how many frames can be read, where an inventory knows; otherwise it is found out, and a file that
            has been cut off is refused.
        modality: rgb, or flow (2 channels, see src/data/flow.py).

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
    with _readable(path):
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):  # a decoder would wait for a pipe for ever
            raise UnreadableVideoError(path, "it is not a regular file")
        if not status.st_size:
            raise UnreadableVideoError(path, "it is empty (0 bytes)")
        scan = _scan(path, status.st_mtime_ns, status.st_size)
        if frames is None and scan.frames < TRUNCATED * scan.promised:
            raise UnreadableVideoError(
                path, f"truncated: {scan.frames} of the {scan.promised} frames that its header promises"
            )
        count = frames or scan.frames
        if not count:
            raise UnreadableVideoError(path, "it holds no frame")
        reader = DecordReader if decoder == "decord" and scan.plain else PyAVReader
        return reader(path, count, scan.size, scan.fps)


class Scan(NamedTuple):
    """What the packets tell."""

    frames: int
    promised: int  # frames by the header, 0 if it does not say
    plain: bool  # one packet a frame, and every keyframe is a clean point to start from
    size: tuple[int, int]  # width, height, upright
    fps: float


@lru_cache(maxsize=100_000)
def _scan(path: str, modified: int, bytes_: int) -> Scan:
    """Read a file's packets without decoding; count frames by decoding where packets do not tell."""
    with av.open(path) as container:
        stream = _video_stream(path, container)
        packets = [packet for packet in container.demux(stream) if packet.size]
        promised, codec = stream.frames, stream.codec_context
        direct = container.format.name in DIRECT and codec.name != "gif" and _plain(packets, codec.has_b_frames)
    with av.open(path) as container:
        stream = _video_stream(path, container)
        stream.thread_count = 1
        decoded = container.decode(stream)
        first = next(decoded, None)
        if first is None:
            return Scan(0, promised, False, (0, 0), 0.0)
        size: tuple[int, int] = (first.width, first.height)
        plain = direct and first.rotation == 0
        frames = len(packets) if plain else 1 + sum(1 for _ in decoded)
        size = size[::-1] if first.rotation % 180 else size
        return Scan(frames, promised, plain, size, float(stream.average_rate or 0))


def _plain(packets: list[Any], reordered: bool) -> bool:
    if reordered and all(a.pts is None or b.pts is None or a.pts < b.pts for a, b in pairwise(packets)):
        return False  # frames that refer to later ones, with times that say the order of decoding (H.264 in AVI)
    newest_key: int | None = None
    seen: set[int] = set()
    for packet in packets:
        if packet.pts is None or packet.pts in seen or packet.size < PLACEHOLDER or packet.is_discard:
            return False
        if packet.is_corrupt or (newest_key is not None and packet.pts < newest_key):  # shown before its keyframe
            return False
        seen.add(packet.pts)
        if packet.is_keyframe:
            newest_key = packet.pts
    return bool(packets) and bool(packets[0].is_keyframe)


def _video_stream(path: str, container: Any) -> Any:
    if not container.streams.video:
        raise UnreadableVideoError(path, "it has no video stream")
    return container.streams.video[0]


@contextmanager
def _readable(path: str) -> Iterator[None]:
    """Everything that a decoder can say about a file becomes the one error with the file's name."""
    try:
        yield
    except UserError:
        raise
    except (OSError, IndexError, RuntimeError, ValueError, StopIteration, av.FFmpegError, decord.DECORDError) as e:
        reason = str(getattr(e, "strerror", None) or e).strip().splitlines()
        last = reason[-1] if reason else type(e).__name__
        raise UnreadableVideoError(path, last[-160:]) from e


class DecordReader:
    """Random access with decord, at native size, on one thread (workers are the parallelism)."""

    def __init__(self, path: str, count: int, size: tuple[int, int], fps: float) -> None:
        self._path, self._count, self.size, self.fps = path, count, size, fps
        self._video: Any = None
        self._position = 0  # behind the last frame that was read

    def __len__(self) -> int:
        return self._count

    def frames(self, indices: Sequence[int]) -> Frames:
        _check(self._path, indices, self._count)
        wanted, back = np.unique(indices, return_inverse=True)
        with _readable(self._path):
            if self._video is None or wanted[0] < self._position:  # decord misses frames when it goes back
                self._video = decord.VideoReader(self._path, num_threads=1)
            found: Frames = self._video.get_batch(wanted).asnumpy()
            self._position = int(wanted[-1]) + 1
        return found if len(wanted) == len(indices) and (np.diff(back) > 0).all() else found[back]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._video = None


class PyAVReader:
    """Decoding in order with PyAV, turned upright; going back starts over at the first frame."""

    def __init__(self, path: str, count: int, size: tuple[int, int], fps: float) -> None:
        self._path, self._count, self.size, self.fps = path, count, size, fps
        self._reformatter = VideoReformatter()
        self._container: Any = None
        self._decoded: Any = None
        self._position = 0  # of the next frame

    def __len__(self) -> int:
        return self._count

    def frames(self, indices: Sequence[int]) -> Frames:
        _check(self._path, indices, self._count)
        wanted, back = np.unique(indices, return_inverse=True)
        found = np.empty((len(wanted), self.size[1], self.size[0], 3), np.uint8)
        with _readable(self._path):
            if self._container is None or wanted[0] < self._position:
                self._rewind()
            for place, index in enumerate(wanted):
                while self._position < index:
                    self._next()
                found[place] = self._pixels(self._next())
        return found if len(wanted) == len(indices) and (np.diff(back) > 0).all() else found[back]

    def _rewind(self) -> None:
        self._close()
        self._container = av.open(self._path)
        stream = _video_stream(self._path, self._container)
        stream.thread_count = 1
        self._decoded = self._container.decode(stream)
        self._position = 0

    def _next(self) -> Any:
        frame = next(self._decoded, None)
        if frame is None:
            raise UnreadableVideoError(self._path, f"it ends after {self._position} of {self._count} frames")
        self._position += 1
        return frame

    def _pixels(self, frame: Any) -> Frames:
        """H, W, 3 of the size that the video began with."""
        turns = frame.rotation // 90
        width, height = self.size if turns % 2 == 0 else self.size[::-1]
        plane = self._reformatter.reformat(frame, width, height, "rgb24", threads=1).planes[0]
        rows: Frames = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)
        return np.rot90(rows[:, : 3 * width].reshape(height, width, 3), turns)

    def _close(self) -> None:
        if self._container is not None:
            self._decoded = None
            self._container.close()
            self._container = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._close()


def _check(path: str, indices: Sequence[int], count: int) -> None:
    outside = [index for index in indices if not 0 <= index < count]
    if outside:
        raise UnreadableVideoError(path, f"frame {outside[0]} of {count}")
