"""A video of any length, or a stream, as overlapping clips: frames are cut to the network's size as they come."""

import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from src.config import ClipSpec
from src.data import transforms
from src.data.stream import TimedFrame
from src.errors import UserError

Value = TypeVar("Value")


class Window(NamedTuple):
    """One clip of a video: V, C, T, H, W uint8, in V crops, from `start` to `end` in seconds.

    arrived: when its last frame was decoded (time.monotonic).
    """

    start: float
    end: float
    clip: Tensor
    arrived: float


def span(clip: ClipSpec) -> int:
    """Frames from a clip's first to its last, both included."""
    return (clip.frames - 1) * clip.stride + 1


def check_windows(clip: ClipSpec) -> None:
    """Refuse clips that are no windows of neighbouring frames.

    Raises:
        UserError: clips are spread over whole videos, or taken at a frame rate of their own.
    """
    if clip.sampling != "dense":
        raise UserError(
            "windows=true: this network looks at frames from a whole video (sampling=segments); cut the video into "
            "shorter ones, or give sampling=dense"
        )
    if clip.fps is not None:
        raise UserError(
            f"windows=true: this network takes clips at {clip.fps:g} frames a second; bring the video to that rate and "
            "give model.clip.fps=null"
        )


def windows(name: str, frames: Iterable[TimedFrame], clip: ClipSpec, step: int, crops: int = 1) -> Iterator[Window]:
    """A window every `step` frames, and one that ends with the last frame; memory holds one window.

    A video that is shorter than a window gives one that starts over at its end, as in testing.

    Raises:
        UserError: the frames are too small to crop.
    """
    held: deque[tuple[float, Tensor]] = deque(maxlen=span(clip))
    arrived, given = 0.0, True
    cutting: transforms.Cutting | None = None
    for number, (seconds, picture, arrived) in enumerate(frames, 1):
        if cutting is None:
            transforms.check_size(name, picture.size, clip)
            size = transforms.virtual_size(picture.size, clip)
            cutting = transforms.cutting(transforms.crops_for_testing(size, clip.crop, crops), picture.size, clip)
        views = cutting.views(picture.cut(cutting.box, cutting.size))
        held.append((seconds, views))  # V C 1 H W
        given = number >= span(clip) and (number - span(clip)) % step == 0
        if given:
            yield _window(held, clip, arrived)
    if not given:
        yield _window(held, clip, arrived)


def _window(held: deque[tuple[float, Tensor]], clip: ClipSpec, arrived: float) -> Window:
    frames = list(held)
    chosen = [frames[clip.stride * i % len(frames)][1] for i in range(clip.frames)]
    start, last = frames[0][0], frames[-1][0]
    period = (last - start) / (len(frames) - 1) if len(frames) > 1 else 0.0
    return Window(start, last + period, torch.cat(chosen, dim=2), arrived)  # V C 1 H W → V C T H W


class Prefetched(Generic[Value]):
    """What an iterable gives, fetched by a thread while the main one computes; at most `size` wait.

    latest: rather than letting the source wait, forget the oldest; `forgotten` counts them.
    """

    END = object()

    def __init__(self, source: Iterable[Value], size: int, latest: bool = False) -> None:
        self.forgotten = 0
        self._waiting: queue.Queue[object] = queue.Queue(size)
        self._latest = latest
        self._closed = threading.Event()
        self._source = source
        self._thread = threading.Thread(target=self._fetch, daemon=True)

    def __iter__(self) -> Iterator[Value]:
        self._thread.start()
        try:
            while True:
                value = self._waiting.get()
                if value is self.END:
                    return
                if isinstance(value, BaseException):
                    raise value
                yield value  # type: ignore[misc]
        finally:
            self._closed.set()

    def ready(self) -> bool:
        """Whether a value is waiting."""
        return not self._waiting.empty()

    def _fetch(self) -> None:
        try:
            for value in self._source:
                if not self._put(value, self._latest):
                    return
            self._put(self.END)
        except BaseException as error:
            self._put(error)

    def _put(self, value: object, latest: bool = False) -> bool:
        while not self._closed.is_set():
            try:
                self._waiting.put(value, timeout=0 if latest else 0.1)
                return True
            except queue.Full:
                if latest:
                    self._forget()
        return False

    def _forget(self) -> None:
        try:
            self._waiting.get_nowait()
            self.forgotten += 1
        except queue.Empty:
            return


def batches(source: Prefetched[Window], size: int, wait: bool) -> Iterator[list[Window]]:
    """Windows in batches of `size`; without `wait` also of fewer, rather than waiting for the next."""
    several: list[Window] = []
    for window in source:
        several.append(window)
        if len(several) == size or not (wait or source.ready()):
            yield several
            several = []
    if several:
        yield several
