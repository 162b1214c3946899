"""When something happens: a probability over time becomes segments, by two thresholds and a shortest length."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Shares = NDArray[np.float32]  # K


class Slot(NamedTuple):
    """The part of a video that one window speaks for: half-way to the centres of its neighbours.

    Slots follow one another without gaps, from the video's first frame to its last.
    """

    start: float
    end: float
    shares: Shares


def slots(answers: Iterable[tuple[float, float, Shares]]) -> Iterator[Slot]:
    """Slots of windows (start, end, probabilities), which come in order; each is given once the next is known."""
    begin, last_end = None, 0.0
    waiting: tuple[float, Shares] | None = None  # centre, probabilities
    for start, end, shares in answers:
        centre, last_end = (start + end) / 2, end
        if waiting is None:
            begin = start
        else:
            assert begin is not None
            border = (waiting[0] + centre) / 2
            yield Slot(begin, border, waiting[1])
            begin = border
        waiting = centre, shares
    if waiting is not None:
        assert begin is not None
        yield Slot(begin, max(last_end, begin), waiting[1])


@dataclass
class Segment:
    """A stretch of time in which a class is probable. label: its number; peak, mean: of its probability."""

    label: int
    start: float
    end: float
    peak: float
    mean: float


class Segments:
    """Collects the segments of slots that come one after the other.

    threshold: a segment begins where a class's probability reaches it.
    release: and ends where it falls below this, which is not higher.
    shortest: seconds below which a segment is forgotten.
    """

    def __init__(self, threshold: float, release: float, shortest: float) -> None:
        if not release <= threshold:
            raise ValueError(f"release={release:g} is above threshold={threshold:g}")
        self.threshold, self.release, self.shortest = threshold, release, shortest
        self.closed: list[Segment] = []
        self._open: dict[int, Segment] = {}

    def add(self, slot: Slot) -> None:
        """Take the next slot."""
        length = slot.end - slot.start
        for label in [label for label in self._open if not slot.shares[label] >= self.release]:
            self._close(label)
        for label in np.flatnonzero(slot.shares >= min(self.threshold, self.release)).tolist():
            share = float(slot.shares[label])
            segment = self._open.get(label)
            if segment is None and share >= self.threshold:
                self._open[label] = Segment(label, slot.start, slot.end, share, share)
            elif segment is not None:
                whole = slot.end - segment.start
                weight = length / whole if whole > 0 else 0.0
                segment.mean += (share - segment.mean) * weight
                segment.peak, segment.end = max(segment.peak, share), slot.end

    def finish(self) -> list[Segment]:
        """All segments in the order of their beginnings; what is open ends here."""
        for label in list(self._open):
            self._close(label)
        return sorted(self.closed, key=lambda segment: (segment.start, segment.label))

    def _close(self, label: int) -> None:
        segment = self._open.pop(label)
        if segment.end - segment.start >= self.shortest:
            self.closed.append(segment)
