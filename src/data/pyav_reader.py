"""Frames of a video file with PyAV: decoded from the nearest keyframe in which decoding may begin."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from src.data.container import truncation
from src.data.picture import RGB, Scaler
from src.data.pixels import Box, Frames, Size
from src.data.scan import DECODER_ERRORS, Keyframes, Progress, Scan, decoded, decoded_from
from src.errors import ShortageError, UnreadableVideoError, UserError, is_shortage
from src.text import first_line

WORTH_SEEKING = 30  # frames that are decoded in the time in which a file is opened again


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
        with readable(self._path):
            for place, frame in enumerate(self._read(indices, wanted)):
                found[place] = self._rgb(frame)
        return arranged(found, places)

    def cut(self, indices: Sequence[int], box: Box, size: Size) -> Frames:
        wanted, places = np.unique(indices, return_inverse=True)
        found = np.empty((3, len(wanted), size[1], size[0]), np.uint8)
        with readable(self._path):
            for place, frame in enumerate(self._read(indices, wanted)):
                self._scaler(frame, box, found[:, place])
        return arranged(found, places, axis=1)

    def _read(self, indices: Sequence[int], wanted: npt.NDArray[np.intp]) -> Iterator[Any]:
        """The frames that are wanted, ascending."""
        check_inside(self._path, indices, self._count)
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


def without_seeking(known: Scan) -> Scan:
    """The same of a file in which decoding begins at the first frame only."""
    return known._replace(keyframes=Keyframes((), ()))


@contextmanager
def readable(path: str) -> Iterator[None]:
    """Everything that PyAV can say about a file becomes the one error with the file's name."""
    try:
        yield
    except UserError:
        raise
    except DECODER_ERRORS as error:
        if is_shortage(error):
            raise ShortageError(path) from error
        raise UnreadableVideoError(path, truncation(path) or first_line(error)) from error


def arranged(frames: Frames, places: npt.NDArray[np.intp], axis: int = 0) -> Frames:
    """The frames at these places of an axis, without a copy where nothing moves."""
    return frames if np.array_equal(places, np.arange(frames.shape[axis])) else frames.take(places, axis)


def check_inside(path: str, indices: Sequence[int], count: int) -> None:
    """Refuse frames that the video does not have."""
    outside = [index for index in indices if not 0 <= index < count]
    if outside:
        raise UnreadableVideoError(path, f"frame {outside[0]} of {count}")
