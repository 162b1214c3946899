"""Order sensitivity: what shuffled, reversed and hidden time steps did to each run, and each line's means."""

from collections.abc import Sequence
from dataclasses import dataclass

from src.reports.lines import Line, key_label
from src.runs.records import Order
from src.statistics import summarize
from src.text import DASH, mean_of, number, probability


@dataclass(frozen=True)
class OrderRow:
    """One run's order sensitivity."""

    line: str
    run: str
    order: Order

    @property
    def decisive(self) -> int | None:
        """The step, counted from 0, without which most is lost; the first of several; None where nothing is."""
        drops = [changed.drop for changed in self.order.hidden]
        return drops.index(max(drops)) if drops and max(drops) > 0 else None


HEADINGS = (
    *("row", "run", "steps", "true order %", "shuffled %", "points", "p median", "reversed %", "p"),
    *("most important step", "without it %"),
)
ORDER = "Order sensitivity"


def rows(lines: Sequence[Line]) -> list[OrderRow]:
    """All runs that were tested with time rearranged, in the order of the lines."""
    made = []
    for line in lines:
        for result in line.results.values():
            if result.order is not None:
                made.append(OrderRow(line.title, key_label(result.key), result.order))
    return made


def table(rows: Sequence[OrderRow]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the runs' order sensitivity."""
    return list(HEADINGS), [_cells(row) for row in rows]


def _cells(row: OrderRow) -> list[str]:
    order, step = row.order, row.decisive
    cells = [row.line, row.run, str(order.steps), number(order.top1)]
    if order.shuffled is None or order.reversed is None:
        return cells + [DASH] * (len(HEADINGS) - len(cells))
    cells += [
        mean_of(order.shuffled.top1, order.shuffled.deviation),
        number(0 - order.shuffled.drop, sign=True),  # not -drop: zero has no sign
        probability(order.shuffled.p),
        number(order.reversed.top1),
        probability(order.reversed.p),
    ]
    return cells + ([DASH, DASH] if step is None else [str(step + 1), number(order.hidden[step].top1)])


@dataclass(frozen=True)
class OrderMeans:
    """A line's top-1 in percent, each the mean over splits of the mean over seeds, and that of each draw."""

    runs: int
    true: float
    shuffled: float
    reversed: float
    draws: list[float]


def means(line: Line) -> OrderMeans | None:
    """Over the line's runs that have an order to change; None where there are none."""
    true, shuffled, turned, draws = {}, {}, {}, []
    for key, result in line.results.items():
        order = result.order
        if order is None or order.shuffled is None or order.reversed is None:
            continue
        true[key] = order.top1
        shuffled[key] = order.shuffled.top1
        turned[key] = order.reversed.top1
        draws += [draw.top1 for draw in order.shuffled.draws]
    if not true:
        return None
    return OrderMeans(len(true), summarize(true).mean, summarize(shuffled).mean, summarize(turned).mean, draws)
