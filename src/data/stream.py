"""Frames one after the other with their times: of a file of any length, a camera or an address. Constant memory."""

import os
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import av

from src.data.address import ADDRESS, is_stream, without_password
from src.data.decode import open_video
from src.data.picture import RGB, Decoded, Scaler
from src.data.pixels import Frames, Picture, Pixels, Size
from src.data.scan import DECODER_ERRORS, open_stream, upright
from src.errors import UnreadableVideoError
from src.text import first_line

PROTOCOLS = "http,https,httpproxy,tcp,tls,crypto,rtsp,rtsps,rtp,srtp,rtmp,rtmps,udp,srt"  # never a file of this machine
SILENCE_S = 30.0  # without a byte, after which a stream is given up
RATE = 25.0  # frames a second, where nothing says it
PORTION = 32  # fields of flow, or pictures of a folder, read at a time


class TimedFrame(NamedTuple):
    """seconds: from the first frame. arrived: when it was decoded, on this machine's clock."""

    seconds: float
    picture: Picture
    arrived: float

    @property
    def pixels(self) -> Frames:
        """H, W, C uint8."""
        return self.picture.pixels


def duration(path: str) -> float | None:
    """Seconds that a file says it has; None for what does not say, or is no video."""
    try:
        with av.open("file:" + path) as container:
            return container.duration / av.time_base if container.duration else None
    except DECODER_ERRORS:
        return None


def frames_in_order(source: str, modality: str = "rgb") -> Generator[TimedFrame, None, None]:
    """Every frame of a file, a folder of pictures, a camera or an address.

    Times are the file's own where they ascend, and go on at its frame rate where they do not.

    Raises:
        UnreadableVideoError: it cannot be opened, or not be read to its end; what came before has been given.
    """
    if modality == "flow" or os.path.isdir(source):  # noqa: PTH112
        yield from _by_index(source, modality)
        return
    number = 0
    try:
        with _opened(source) as (container, stream):
            clock = Clock(float(stream.average_rate or 0))
            size: Size | None = None  # of the first frame, as of all that follow
            for frame in container.decode(stream):
                arrived = time.monotonic()
                if size is None:
                    size = upright(frame)
                    rgb, scaler = RGB(size), Scaler(size)
                yield TimedFrame(clock(frame.time), Decoded(frame, size, rgb, scaler), arrived)
                number += 1
    except DECODER_ERRORS as error:
        end = f"it ends after {number} frames: " if number else ""
        silent = isinstance(error, av.error.ExitError)  # what FFmpeg calls a time-out
        reason = f"nothing came for {SILENCE_S:g} s" if silent else first_line(error)
        raise _unreadable(source, end + reason) from error
    if not number:
        raise _unreadable(source, "it holds no frame")


def _unreadable(source: str, reason: str) -> UnreadableVideoError:
    if not is_stream(source):
        return UnreadableVideoError(source, reason)
    remedy = "check the address, or save the video and give the file" if ADDRESS.match(source) else "check the camera"
    return UnreadableVideoError(without_password(source), reason, remedy=remedy)


def _by_index(source: str, modality: str) -> Iterator[TimedFrame]:
    with open_video(source, modality=modality) as reader:
        rate = reader.fps or RATE
        for start in range(0, len(reader), PORTION):
            indices = range(start, min(start + PORTION, len(reader)))
            for index, pixels in zip(indices, reader.frames(indices), strict=True):
                yield TimedFrame(index / rate, Pixels(pixels), time.monotonic())


@contextmanager
def _opened(source: str) -> Iterator[tuple[Any, Any]]:
    if not is_stream(source):
        with open_stream(source) as pair:
            yield pair
        return
    camera = not ADDRESS.match(source)
    options = {} if camera else {"protocol_whitelist": PROTOCOLS, "rtsp_transport": "tcp"}
    with av.open(source, format="v4l2" if camera else None, options=options, timeout=SILENCE_S) as container:
        if not container.streams.video:
            raise _unreadable(source, "it has no video stream")
        stream = container.streams.video[0]
        stream.thread_count = 1
        yield container, stream


class Clock:
    """Times that ascend, from 0, out of what frames say of themselves."""

    def __init__(self, rate: float) -> None:
        self.period = 1 / rate if rate > 0 else 1 / RATE
        self._first: float | None = None
        self._last = -self.period

    def __call__(self, stated: float | None) -> float:
        if stated is not None and self._first is None:
            self._first = stated - (self._last + self.period)
        seconds = None if stated is None or self._first is None else stated - self._first
        if seconds is None or seconds <= self._last:
            seconds = self._last + self.period
        self._last = seconds
        return seconds
