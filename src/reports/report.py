"""Everything that is said of one experiment, before it is written as a table or a page."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from src.reports import comparisons, metrics, order
from src.reports.comparisons import Comparison
from src.reports.lines import Line, lines_of
from src.reports.order import OrderRow
from src.reports.sources import Source
from src.text import printable


@dataclass(frozen=True)
class Report:
    """Everything that is said of one experiment."""

    name: str
    title: str
    lines: list[Line]
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def conditions(self) -> list[str]:
        """Every protocol and data set that occurs."""
        return list(dict.fromkeys(str(line.condition) for line in self.lines if line.condition))

    @property
    def subtitle(self) -> str:
        """The one condition, where there is one."""
        return self.conditions[0] if len(self.conditions) == 1 else ""

    @property
    def missing(self) -> list[tuple[str, list[str]]]:
        """Rows with runs that have no result yet."""
        return [(line.name, line.missing) for line in self.lines if line.missing]

    @cached_property
    def metrics(self) -> tuple[list[str], list[list[str]]]:
        """Headings and rows of all metrics of every line; no rows where the main table has them all."""
        return metrics.table(self.lines)

    @cached_property
    def order(self) -> list[OrderRow]:
        """Order sensitivity of every run that was tested for it."""
        return order.rows(self.lines)

    @property
    def notes(self) -> list[str]:
        """What a reader must know of the numbers, in whole sentences; problems last."""
        said = []
        if any(line.summary() for line in self.lines):
            said.append(
                "Top-1 in %: mean over splits of the mean over seeds, ± standard deviation over all n runs "
                "(± seeds: within a split; ± splits: of the splits' means)."
            )
        other = [line.name for line in self.lines if line.paper and line.summary() and not line.official]
        if other:
            said.append(
                "No difference to the paper where the test videos are not the whole published list: "
                f"{', '.join(dict.fromkeys(other))}."
            )
        if any(line.condition and line.condition.frozen for line in self.lines):
            said.append(
                "Frozen backbone: only what stands behind it was trained, unlike in the paper and in other rows."
            )
        diverged = [f"{line.title}: {', '.join(line.diverged)}" for line in self.lines if line.diverged]
        if diverged:
            said.append(f"† Diverged, a training loss was not finite: {'; '.join(diverged)}.")
        if any(c.made for c in self.comparisons):
            said.append(
                "Comparisons: second row minus first, paired by split, seed and video; 95 % bootstrap interval "
                "over videos; McNemar's exact test, all judgements of one video flipping together, and its p after "
                "Holm's correction for the number of comparisons. Only first, only second: what only this row got "
                "right, over all runs."
            )
        if self.metrics[1]:
            said.append(metrics.EXPLAINED)
        if self.order:
            said.append(
                "Order sensitivity: top-1 over the same test with the time steps of the head's maps shuffled (mean ± "
                "standard deviation over the draws, the same for all runs with as many steps), reversed, and each "
                "replaced by the mean of the others; p of McNemar's exact test against the true order, for shuffles "
                "the median of the draws. Average, attentive and multi-query pooling cannot see order: their "
                "scores do not change."
            )
        return [*said, *dict.fromkeys(map(printable, self._problems()))]

    def _problems(self) -> list[str]:
        """What could not be read, added or compared."""
        problems = []
        for line in self.lines:
            problems += line.problems
            for run in line.runs:
                problems += run.problems
        for comparison in self.comparisons:
            if comparison.made and comparison.note:
                problems.append(f"{comparison.second} against {comparison.first}: {comparison.note}")
        return problems


def make(source: Source, pairs: Sequence[str]) -> Report:
    """Read the runs and compare: each line with the first one, or the pairs that are asked for (`A,B`).

    Raises:
        UserError: a pair names a row that the source does not have.
    """
    lines = lines_of(source.entries)
    if not pairs:
        return Report(source.name, source.title, lines, comparisons.against_first(lines))
    wanted = []
    for text in pairs:
        wanted += comparisons.pick(lines, text)
    made = comparisons.apply_holm([comparisons.compare(first, second) for first, second in wanted])
    return Report(source.name, source.title, lines, made)
