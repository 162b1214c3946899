"""Frames of a video file with decord, whose FFmpeg is kept apart from PyAV's. The only file that knows it.

decord loads its library with all symbols global. PyAV, imported later, would then call decord's FFmpeg and encoders in
place of those that it was built for: nearly the same versions, and memory goes wrong where their structures differ.
"""

import ctypes
import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from src.data.picture import Scaler
from src.data.pixels import Box, Frames, Size
from src.data.pyav_reader import PyAVReader, arranged, check_inside, without_seeking
from src.data.scan import Scan


def _imported() -> Any:
    before = ctypes.RTLD_GLOBAL
    ctypes.RTLD_GLOBAL = ctypes.RTLD_LOCAL  # type: ignore[misc]
    try:
        return importlib.import_module("decord")
    finally:
        ctypes.RTLD_GLOBAL = before  # type: ignore[misc]


decord = _imported()

DECORD_ERRORS = (  # the last: a name that is not UTF-8
    *(decord.DECORDError, decord.DECORDLimitReachedError, OSError, RuntimeError, AssertionError, UnicodeEncodeError),
)
PORTION = 32  # frames that decord gives at a time
NO_REPLACEMENT = 1e-9  # part of the frames that decord may replace by neighbours before it raises: none

os.environ.setdefault("DECORD_EOF_RETRY_MAX", "512")  # decord's 10240 means minutes on a broken file
decord.logging.set_level(decord.logging.FATAL)


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
        check_inside(self._path, indices, self._count)
        wanted, places = np.unique(indices, return_inverse=True)
        if self._in_order is None:
            try:
                return arranged(self._batch(wanted), places)
            except DECORD_ERRORS:
                self._give_up()
        assert self._in_order is not None
        return self._in_order.frames(indices)

    def cut(self, indices: Sequence[int], box: Box, size: Size) -> Frames:
        """As PyAV gives it, up to rounding: the planes are found again from the colours that they have become."""
        check_inside(self._path, indices, self._count)
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
        return arranged(found, places, axis=1)

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
