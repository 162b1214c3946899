"""A picture of what was seen when: probabilities over time, and the segments below them."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from src import files
from src.prediction.segments import Segment, Slot
from src.text import printable

mpl.use("Agg")

POINTS = 2000  # slots that are kept; beyond it neighbours are merged, so that memory does not grow with the video
SHOWN = 6  # classes that get a curve
LONGEST_LABEL = 40  # characters
COLOURS = ("#1f6fb4", "#d1603d", "#3b8f5a", "#8a5fb0", "#b0892b", "#5f7f8a")


class Timeline:
    """Probabilities over time, at a resolution that halves whenever there are too many points."""

    def __init__(self) -> None:
        self.slots: list[Slot] = []
        self._merged = 1  # slots in a point
        self._waiting: list[Slot] = []

    def add(self, slot: Slot) -> None:
        """Take the next slot."""
        self._waiting.append(slot)
        if len(self._waiting) < self._merged:
            return
        self.slots.append(_mean(self._waiting))
        self._waiting = []
        if len(self.slots) >= POINTS:
            self.slots = [_mean(self.slots[i : i + 2]) for i in range(0, len(self.slots), 2)]
            self._merged *= 2

    def all(self) -> list[Slot]:
        """The points so far."""
        return self.slots + ([_mean(self._waiting)] if self._waiting else [])


def _mean(several: Sequence[Slot]) -> Slot:
    """Neighbours as one, weighted by their lengths."""
    lengths = np.array([slot.end - slot.start for slot in several])
    weights = lengths / lengths.sum() if lengths.sum() > 0 else np.full(len(several), 1 / len(several))
    shares: NDArray[np.float32] = np.tensordot(weights, np.stack([slot.shares for slot in several]), 1)
    return Slot(several[0].start, several[-1].end, shares.astype(np.float32))


def save(
    path: Path,
    timeline: Timeline,
    segments: Sequence[Segment],
    classes: Sequence[str],
    threshold: float,
    title: str,
) -> None:
    """Curves of the most probable classes over a row of bars, one for each class that has segments."""
    points = timeline.all()
    shares = np.stack([point.shares for point in points])  # T K
    labels = _chosen(shares, segments)
    figure = Figure(figsize=(11, 2.6 + 0.32 * max(1, len(labels))), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 0.32 * max(1, len(labels)) + 0.2])
    edges = np.array([points[0].start, *(point.end for point in points)])
    for place, label in enumerate(labels):
        colour = COLOURS[place % len(COLOURS)]
        above.stairs(shares[:, label], edges, baseline=None, color=colour, linewidth=1.4)
        bars = [(one.start, one.end - one.start) for one in segments if one.label == label]
        below.broken_barh(bars, (place - 0.35, 0.7), color=colour)
    above.axhline(threshold, color="#999999", linewidth=0.8, linestyle=":")
    above.set_ylim(0, 1.02)
    above.set_ylabel("probability")
    above.set_title(_short(title), loc="left", fontsize=10, parse_math=False)
    names = [_short(classes[label]) for label in labels]
    below.set_yticks(range(len(labels)), names, parse_math=False)
    below.set_ylim(len(labels) - 0.4, -0.6)
    below.set_xlim(edges[0], max(edges[-1], edges[0] + 1e-3))
    below.set_xlabel("seconds")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    for tick, place in zip(below.get_yticklabels(), range(len(labels)), strict=True):
        tick.set_color(COLOURS[place % len(COLOURS)])
    with files.replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _chosen(shares: NDArray[np.float32], segments: Sequence[Segment]) -> list[int]:
    """At most SHOWN classes: those with the longest segments, as they begin, then those with the highest peaks."""
    length: dict[int, float] = {}
    first: dict[int, float] = {}
    for one in segments:
        length[one.label] = length.get(one.label, 0.0) + one.end - one.start
        first.setdefault(one.label, one.start)
    longest = sorted(length, key=lambda label: -length[label])[:SHOWN]
    longest.sort(key=lambda label: first[label])
    highest = np.argsort(-shares.max(0), kind="stable").tolist()
    return list(dict.fromkeys([*longest, *highest]))[: min(SHOWN, shares.shape[1])]


def _short(name: str) -> str:
    text = printable(name)
    return text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1] + "…"
