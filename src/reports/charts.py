"""Charts as inline SVG that take their colours from the page, so that they follow a light or a dark theme."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from src.runs.folder import Curves
from src.text import number

COLOURS = 8  # --c0 … --c7 in page.css; more rows than that repeat them with other dashes

FINEST = 1e-6  # what axes tell apart, relative to their values


@dataclass(frozen=True)
class Band:
    """One row's curve: mean, lowest and highest value over its runs, each epoch → value, with the runs' number."""

    mean: dict[int, float]
    low: dict[int, float]
    high: dict[int, float]
    runs: int


def band(curves: Sequence[Curves], metric: str) -> Band | None:
    """Mean and range over the runs that have this metric, at each epoch that all of them reached."""
    chosen = [one[metric] for one in curves if one.get(metric)]
    if not chosen:
        return None
    epochs = sorted(set.intersection(*(set(one) for one in chosen)))
    values = {epoch: [one[epoch] for one in chosen] for epoch in epochs}
    return Band(
        {epoch: sum(v) / len(v) for epoch, v in values.items()},
        {epoch: min(v) for epoch, v in values.items()},
        {epoch: max(v) for epoch, v in values.items()},
        len(chosen),
    )


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`, about `wanted` of them."""
    span = high - low or abs(high) or 1.0
    span = max(span, FINEST, FINEST * abs(low), FINEST * abs(high))
    raw = span / wanted
    power = 10 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, max(last, first + 1) + 1)]


def colour(index: int) -> str:
    """Stroke style of the `index`-th row."""
    dash = ("", "stroke-dasharray:6 3", "stroke-dasharray:2 3")[index // COLOURS % 3]
    return f"stroke:var(--c{index % COLOURS});{dash}"


def lines(bands: Mapping[int, Band], names: Sequence[str], unit: str, title: str) -> str:
    """A line chart over epochs; `bands` maps a row's index to its curve. Shaded: from lowest to highest run."""
    width, height, left, bottom, top, right = 560, 300, 46, 34, 12, 12
    epochs = [epoch for one in bands.values() for epoch in one.mean]
    lows = [v for one in bands.values() for v in one.low.values()]
    highs = [v for one in bands.values() for v in one.high.values()]
    y_ticks = ticks(min(lows), max(highs))
    first, last = min(epochs), max(epochs)

    def x(epoch: float) -> float:
        return left + (epoch - first) / max(last - first, 1) * (width - left - right)

    def y(value: float) -> float:
        return height - bottom - (value - y_ticks[0]) / (y_ticks[-1] - y_ticks[0]) * (height - bottom - top)

    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">']
    for value in y_ticks:
        parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(_text(left - 6, y(value) + 4, f"{value:g}", "end"))
    for epoch in sorted({round(t) for t in ticks(first, last, 6) if first <= t <= last} | {first}):
        parts.append(_text(x(epoch), height - bottom + 16, str(epoch), "middle"))
    parts.append(_text((left + width - right) / 2, height - 4, "epoch", "middle"))
    for index, one in bands.items():
        if one.runs > 1:
            corners = [(x(e), y(v)) for e, v in one.low.items()]
            corners += [(x(e), y(v)) for e, v in reversed(one.high.items())]
            parts.append(f'<polygon style="fill:var(--c{index % COLOURS})" class="band" points="{_points(corners)}"/>')
    for index, one in bands.items():
        points = [(x(e), y(v)) for e, v in one.mean.items()]
        parts.append(f'<polyline class="curve" style="{colour(index)}" points="{_points(points)}"/>')
        for (px, py), (epoch, value) in zip(points, one.mean.items(), strict=True):
            tip = escape(f"{names[index]}, epoch {epoch}: {number(value)}{unit}")
            parts.append(f'<circle class="hit" cx="{px:.1f}" cy="{py:.1f}" r="6"><title>{tip}</title></circle>')
            if len(points) == 1:
                parts.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" style="fill:var(--c{index % COLOURS})"/>')
    return "".join([*parts, "</svg>"])


@dataclass(frozen=True)
class Dot:
    """One row of the dot chart, in percent."""

    name: str
    mean: float | None
    sd: float | None
    values: list[float]
    mark: float | None


def dots(rows: Sequence[Dot], title: str = "top-1 by row", values: str = "runs", mark: str = "in the paper") -> str:
    """Top-1 of every row: faint dots for its values, its mean with one standard deviation either side, and its mark.

    values, mark: what these are, in words.
    """
    known = [v for r in rows for v in [*r.values, r.mean, r.mark, *_ends(r)] if v is not None]
    if not known:
        return ""
    x_ticks = ticks(max(0.0, min(known)), min(100.0, max(known)), 6)
    width, line, top = 1100, 30, 8
    left = 30 + min(300, round(6.8 * max(len(r.name) for r in rows)))
    height = top + line * len(rows) + 26

    def x(value: float) -> float:
        return left + (value - x_ticks[0]) / (x_ticks[-1] - x_ticks[0]) * (width - left - 24)

    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">']
    for value in x_ticks:
        parts.append(f'<line class="grid" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{top}" y2="{height - 24}"/>')
        parts.append(_text(x(value), height - 8, f"{value:g}", "middle"))
    for i, row in enumerate(rows):
        y = top + line * (i + 0.5)
        fill = f"var(--c{i % COLOURS})"
        parts.append(_text(left - 12, y + 4, row.name if len(row.name) < 46 else row.name[:44] + "…", "end", "name"))
        low, high = _ends(row)
        if low is not None and high is not None:
            parts.append(f'<path class="whisker" style="stroke:{fill}" d="M{x(low):.1f} {y}H{x(high):.1f}"/>')
        for value in row.values:
            parts.append(f'<circle class="run" style="fill:{fill}" cx="{x(value):.1f}" cy="{y}" r="3"/>')
        if row.mark is not None:
            at = x(row.mark)
            tip = escape(f"{row.name}: {number(row.mark)} % {mark}")
            parts.append(f'<path class="paper" d="M{at:.1f} {y - 7}l6 7l-6 7l-6 -7z"><title>{tip}</title></path>')
        if row.mean is not None:
            tip = escape(f"{row.name}: {number(row.mean)} %, {len(row.values)} {values}")
            parts.append(
                f'<circle style="fill:{fill}" cx="{x(row.mean):.1f}" cy="{y}" r="6"><title>{tip}</title></circle>'
            )
    return "".join([*parts, "</svg>"])


def _ends(row: Dot) -> tuple[float | None, float | None]:
    if row.mean is None or row.sd is None:
        return None, None
    return max(0.0, row.mean - row.sd), min(100.0, row.mean + row.sd)


def confusion(counts: NDArray[np.int64], classes: Sequence[str], index: int) -> str:
    """Shares of each true class (rows) by predicted class (columns), from summed counts (K, K)."""
    shares = counts / counts.sum(1, keepdims=True).clip(min=1)
    size = len(classes)
    cell = 26 if size <= 12 else 14 if size <= 60 else 5
    labelled = size <= 60
    left = 12 + (min(160, round(6.4 * max(map(len, classes)))) if labelled else 0)
    side = left + cell * size
    parts = [f'<svg viewBox="0 0 {side + 4} {side + 4}" style="max-width:{side + 4}px" role="img">']
    for i, name in enumerate(classes):
        if labelled:
            middle = left + cell * (i + 0.5)
            parts.append(_text(left - 6, middle + 4, name, "end", "small"))
            place = f"translate({middle + 4:.1f} {left - 6}) rotate(-90)"
            parts.append(f'<text class="small" transform="{place}">{escape(name)}</text>')
    parts.append(f'<rect class="frame" x="{left}" y="{left}" width="{cell * size}" height="{cell * size}"/>')
    for i, j in np.argwhere(counts > 0).tolist():
        share, x, y = float(shares[i, j]), left + cell * j, left + cell * i
        tip = escape(f"{classes[i]} taken for {classes[j]}: {counts[i, j]} ({100 * share:.0f} %)")
        parts.append(
            f'<rect x="{x}" y="{y}" width="{cell}" height="{cell}" style="fill:var(--c{index % COLOURS});'
            f'fill-opacity:{0.08 + 0.92 * share:.2f}"><title>{tip}</title></rect>'
        )
        if cell >= 26:
            shade = "on" if share > 0.55 else "off"
            parts.append(_text(x + cell / 2, y + cell / 2 + 4, f"{100 * share:.0f}", "middle", f"small {shade}"))
    return "".join([*parts, "</svg>"])


def _text(x: float, y: float, text: str, anchor: str, style: str = "") -> str:
    named = f' class="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}>{escape(text)}</text>'


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
