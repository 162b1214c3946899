"""Frames out of video files. The only file that knows decord.

Frame i is the i-th frame that decoding the file's best video stream in order gives, in RGB and at the size of the
first frame, whatever the decoder and whatever was read before. Both decoders seek, which is right in plain files;
whatever src/data/scan.py does not find plain is decoded in order with PyAV. Clips are cut by src/data/picture.py: with
PyAV on the decoder's own planes; decord gives whole frames in RGB, which takes three times as long.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from src.data.container import truncation
from src.data.decord_apart import decord
from src.data.flow import open_flow
from src.data.frame_folder import FrameFolder
from src.data.picture import RGB, Scaler
from src.data.pixels import Box, Frames, Size
from src.data.scan import DECODER_ERRORS, Keyframes, Progress, Scan, decoded, decoded_from, scan
from src.errors import ShortageError, UnreadableVideoError, UserError, is_shortage
from src.text import first_line

DECODERS = ("pyav", "decord")
DECORD_ERRORS = (  # the last: a name that is not UTF-8
    *(decord.DECORDError, decord.DECORDLimitReachedError, OSError, RuntimeError, AssertionError, UnicodeEncodeError),
)
WORTH_SEEKING = 30  # frames that are decoded in the time in which a file is opened again
PORTION = 32  # frames that decord gives at a time
NO_REPLACEMENT = 1e-9  # part of the frames that decord may replace by neighbours before it raises: none

os.environ.setdefault("DECORD_EOF_RETRY_MAX", "512")  # decord's 10240 means minutes on a broken file
decord.logging.set_level(decord.logging.FATAL)


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
    reader = DecordReader if decoder == "decord" else PyAVReader
    return reader(path, frames or known.frames, known)


def without_seeking(known: Scan) -> Scan:
    """The same of a file in which decoding begins at the first frame only."""
    return known._replace(keyframes=Keyframes((), ()))


def examine(path: str) -> Scan:
    """What the packets of a video file tell, remembered in this process.

    Raises:
        UnreadableVideoError: it cannot be opened as video.
    """
    with _readable(path):
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):  # a decoder would wait for a pipe for ever
            raise UnreadableVideoError(path, "it is not a regular file")
        if not status.st_size:
            raise UnreadableVideoError(path, "it is empty (0 bytes)")
        return scan(path, status.st_mtime_ns, status.st_size)


@contextmanager
def _readable(path: str) -> Iterator[None]:
    """Everything that PyAV can say about a file becomes the one error with the file's name."""
    try:
        yield
    except UserError:
        raise
    except DECODER_ERRORS as error:
        if is_shortage(error):
            raise ShortageError(path) from error
        raise UnreadableVideoError(path, truncation(path) or first_line(error)) from error


class DecordReader:
    """Random access with decord, at native size, on one thread (workers are the parallelism).

    What decord refuses, or sees otherwise than the scan, is read in order instead.
    """

    def __init__(self, path: str, count: int, known: Scan) -> None:
        self._path, self._count, self._known = path, count, known
        self.size, self.fps = known.size, known.fps
        self._video: Any = None
        self._position = 0  # behind the last frame that was read
        self._scaler = Scaler(known.size)
        self._in_order: PyAVReader | None = None

    def __len__(self) -> int:
        return self._count

    def frames(self, indices: Sequence[int]) -> Frames:
        _check(self._path, indices, self._count)
        wanted, places = np.unique(indices, return_inverse=True)
        if self._in_order is None:
            try:
                return _arranged(self._batch(wanted), places)
            except DECORD_ERRORS:
                self._give_up()
        assert self._in_order is not None
        return self._in_order.frames(indices)

    def cut(self, indices: Sequence[int], box: Box, size: Size) -> Frames:
        """As PyAV gives it, up to rounding: the planes are found again from the colours that they have become."""
        _check(self._path, indices, self._count)
        wanted, places = np.unique(indices, return_inverse=True)
        found = np.empty((3, len(wanted), size[1], size[0]), np.uint8)
        for start in range(0, len(wanted), PORTION):
            frames = self.frames(wanted[start : start + PORTION].tolist())
            if self._in_order is not None:
                return self._in_order.cut(indices, box, size)
            for place, pixels in enumerate(frames, start):
                brighter = np.minimum(pixels, 254) + np.uint8(1)  # FFmpeg's tables of colours round down
                frame = VideoFrame.from_ndarray(brighter, format="rgb24").reformat(format="yuv420p", threads=1)
                self._scaler(frame, box, found[:, place])
        return _arranged(found, places, axis=1)

    def keyframes(self) -> list[int]:
        """The frames that decord seeks to; none where it is of no use."""
        try:
            if self._video is None and self._in_order is None:
                self._open()
            return [] if self._video is None else list(self._video.get_key_indices())
        except DECORD_ERRORS:
            self._give_up()
            return []

    @property
    def gave_up(self) -> bool:
        """Frames come from a decode in order by now."""
        return self._in_order is not None

    def _open(self) -> None:
        self._video = decord.VideoReader(str(Path(self._path).absolute()), num_threads=1, fault_tol=NO_REPLACEMENT)
        seen = len(self._video), list(self._video.get_key_indices())
        if seen != (self._known.frames, list(self._known.keyframes.places)):
            raise decord.DECORDError("other frames or keyframes than the packets tell")

    def _batch(self, wanted: npt.NDArray[np.intp]) -> Frames:
        if self._video is None or wanted[0] < self._position:  # decord misses frames when it goes back
            self._open()
        frames: Frames = self._video.get_batch(wanted).asnumpy()
        self._position = int(wanted[-1]) + 1
        return frames

    def _give_up(self) -> None:
        self._video = None
        self._in_order = PyAVReader(self._path, self._count, without_seeking(self._known))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._video = None
        if self._in_order is not None:
            self._in_order.__exit__()


class PyAVReader:
    """Decoding with PyAV from the nearest keyframe that the scan knows; from the first frame where it knows none."""

    def __init__(self, path: str, count: int, known: Scan) -> None:
        self._path, self._count, self._keyframes = path, count, known.keyframes
        self.size, self.fps = known.size, known.fps
        self._rgb, self._scaler = RGB(known.size), Scaler(known.size)
        self._progress = Progress()
        self._decoded: Any = None

    def __len__(self) -> int:
        return self._count

    def frames(self, indices: Sequence[int]) -> Frames:
        wanted, places = np.unique(indices, return_inverse=True)
        found = np.empty((len(wanted), self.size[1], self.size[0], 3), np.uint8)
        with _readable(self._path):
            for place, frame in enumerate(self._read(indices, wanted)):
                found[place] = self._rgb(frame)
        return _arranged(found, places)

    def cut(self, indices: Sequence[int], box: Box, size: Size) -> Frames:
        wanted, places = np.unique(indices, return_inverse=True)
        found = np.empty((3, len(wanted), size[1], size[0]), np.uint8)
        with _readable(self._path):
            for place, frame in enumerate(self._read(indices, wanted)):
                self._scaler(frame, box, found[:, place])
        return _arranged(found, places, axis=1)

    def _read(self, indices: Sequence[int], wanted: npt.NDArray[np.intp]) -> Iterator[Any]:
        """The frames that are wanted, ascending."""
        _check(self._path, indices, self._count)
        for index in wanted.tolist():
            self._approach(index)
            frame = self._next()  # which may be an earlier one than sought
            while self._progress.frames <= index:
                frame = self._next()
            yield frame

    def _approach(self, index: int) -> None:
        """Be somewhere before a frame: go on from here, or from a keyframe where that is sooner there."""
        nearest = self._keyframes.before(index)
        place = self._keyframes.places[nearest] if nearest >= 0 else 0
        here = self._progress.frames
        if self._decoded is not None and here <= index and place - here <= WORTH_SEEKING:
            return
        self._close()
        self._progress = Progress()
        if place:
            self._decoded = decoded_from(self._path, place, self._keyframes.times[nearest], self._progress)
        else:
            self._decoded = decoded(self._path, self._progress)

    def _next(self) -> Any:
        frame = next(self._decoded, None)
        if frame is None:
            end = f": {self._progress.error}" if self._progress.error else ""
            raise UnreadableVideoError(
                self._path, f"it ends after {self._progress.frames} of {self._count} frames{end}"
            )
        return frame

    def _close(self) -> None:
        if self._decoded is not None:
            self._decoded.close()
            self._decoded = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._close()


def _arranged(frames: Frames, places: npt.NDArray[np.intp], axis: int = 0) -> Frames:
    """The frames at these places of an axis, without a copy where nothing moves."""
    return frames if np.array_equal(places, np.arange(frames.shape[axis])) else frames.take(places, axis)


def _check(path: str, indices: Sequence[int], count: int) -> None:
    outside = [index for index in indices if not 0 <= index < count]
    if outside:
        raise UnreadableVideoError(path, f"frame {outside[0]} of {count}")
