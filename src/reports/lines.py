"""From entries to the lines of a table: which runs share a line, and which are missing.

An entry wants some runs; a `Line` holds those of them that may share a cell. Results under another protocol or of
other lists of videos are in a line of their own.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from src.errors import UserError
from src.metrics import Interval
from src.reports.runs import Condition, Run, read_run
from src.reports.sources import Entry
from src.runs.records import Cost, Order
from src.scores import Scores
from src.statistics import Key, Summary, summarize
from src.sweeps import paper
from src.sweeps.manifest import Job
from src.text import printable

METRICS = ("top1", "top3", "top5", "mean_class", "macro_f1", "map", "ece", "nll")
LONGEST_REASON = 160  # characters of why a run is missing


@dataclass(frozen=True)
class Result:
    """One number of a line: a run, or two streams' runs of one split and seed whose scores are added."""

    key: Key
    runs: list[Run]
    metrics: dict[str, float]
    added: Scores | None = None

    @property
    def scores(self) -> Scores | None:
        """Per-video scores."""
        return self.runs[0].scores if len(self.runs) == 1 else self.added

    @cached_property
    def values(self) -> dict[str, float]:
        """The metrics, and what is known of calibration: `ece`, `nll`, `temperature`, `scaled_ece`, `scaled_nll`."""
        if len(self.runs) > 1:
            known = self.added.confidences().measures() if self.added is not None and self.added.calibrated else {}
            return self.metrics | known
        found = self.runs[0].results.calibration
        known = {} if found is None else dataclasses.asdict(found)
        return self.metrics | {name: value for name, value in known.items() if value is not None}

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        """The 95 % bootstrap interval over test videos of each of `values` that has one."""
        if len(self.runs) > 1:
            return self.added.intervals() if self.added is not None else {}
        return self.runs[0].results.intervals

    @property
    def order(self) -> Order | None:
        """Order sensitivity; two streams whose scores are added have none together."""
        return self.runs[0].order if len(self.runs) == 1 else None

    @property
    def diverged(self) -> bool:
        """A training loss was not finite."""
        return any(run.results.diverged for run in self.runs)


@dataclass(frozen=True)
class Line:
    """One line of the table. `condition` is None and `results` empty where nothing has finished.

    missing: split and seed of each run that has no result yet.
    others: the entry has lines under other conditions as well.
    """

    name: str
    condition: Condition | None
    results: dict[Key, Result]
    missing: list[str]
    expected: dict[str, float]
    cost: Cost | None
    problems: list[str]
    others: bool = False

    @property
    def title(self) -> str:
        """The entry's name, with the condition where the entry has several."""
        return f"{self.name} [{self.condition}]" if self.others else self.name

    @property
    def runs(self) -> list[Run]:
        """All runs behind the line."""
        return [run for result in self.results.values() for run in result.runs]

    @property
    def diverged(self) -> list[str]:
        """Split and seed of each result of a run that diverged."""
        return [key_label(result.key) for result in self.results.values() if result.diverged]

    def summary(self, metric: str = "top1") -> Summary | None:
        """Mean and deviations over the runs that have this metric."""
        values = {key: r.values[metric] for key, r in self.results.items() if metric in r.values}
        return summarize(values) if values else None

    def interval(self, metric: str) -> Interval | None:
        """The metric's 95 % interval over test videos, of a line with a single result."""
        results = list(self.results.values())
        return results[0].intervals.get(metric) if len(results) == 1 else None

    @property
    def paper(self) -> float | None:
        """The paper's top-1 in percent."""
        return self.expected.get("top1")

    @property
    def official(self) -> bool:
        """Every result is over a full published test list, the one that the paper's numbers are over."""
        return bool(self.runs) and all(map(_is_official, self.runs))

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's, in points; None on other data, where it would mean nothing."""
        summary = self.summary()
        return summary.mean - self.paper if summary and self.paper is not None and self.official else None


def _is_official(run: Run) -> bool:
    results = run.results
    published = paper.published_test_videos(results.data.name, results.split)
    return results.data.official and results.data.test.videos == results.tested == published


def key_label(key: Key) -> str:
    """A split and a seed in words."""
    return f"seed {key[1]}" if key[0] is None else f"split {key[0]} seed {key[1]}"


@dataclass(frozen=True)
class Found:
    """What there is of an entry's jobs: runs with results, jobs without, and what cannot be read."""

    runs: list[Run]
    missing: list[Job]
    problems: list[str]


def find(jobs: Iterable[Job]) -> Found:
    """Read the runs of these jobs."""
    found = Found([], [], [])
    for job in jobs:
        try:
            run = read_run(job.run)
        except UserError as error:
            found.problems.append(str(error))
            run = None
        if run is not None:
            found.runs.append(run)
        else:
            found.missing.append(job)
    return found


def lines_of(entries: Sequence[Entry]) -> list[Line]:
    """The lines of a table, in the order of its entries."""
    found = {entry.name: find(entry.jobs) for entry in entries if not entry.streams}
    singles = {entry.name: _lines(entry, found[entry.name]) for entry in entries if not entry.streams}
    lines = []
    for entry in entries:
        lines += _two_streams(entry, found, singles) if entry.streams else singles[entry.name]
    return lines


def _lines(entry: Entry, found: Found) -> list[Line]:
    """The lines of an entry that has runs of its own; what is missing is said in the first."""
    cells = separate(found.runs) or [Cell(None, [], [])]
    lines = []
    for number, cell in enumerate(cells):
        older = [f"{run.folder}: not counted, a newer run has the same split and seed" for run in cell.older]
        lines.append(
            Line(
                name=entry.name,
                condition=cell.condition,
                results={run.key: Result(run.key, [run], run.metrics) for run in cell.runs},
                missing=[_waiting(job) for job in found.missing] if number == 0 else [],
                expected=_expected(entry, cell.condition),
                cost=cell.runs[0].results.cost if cell.runs else None,
                problems=[*found.problems, *older] if number == 0 else older,
                others=len(cells) > 1,
            )
        )
    return lines


def _expected(entry: Entry, condition: Condition | None) -> dict[str, float]:
    """The paper's numbers beside a line; none beside a frozen backbone, as the paper trains all of it."""
    return {} if condition is not None and condition.frozen else entry.expected


def _waiting(job: Job) -> str:
    """A run without a result in words, with why there is none where that is known."""
    state = job.run.state()
    label = key_label((job.split, job.seed))
    if state.kind == "missing":
        return label
    if state.kind == "finished":
        return f"{label} (not tested)"
    if state.kind == "damaged":  # why is said among the problems
        return f"{label} (damaged)"
    reason = f": {printable(state.detail)[:LONGEST_REASON]}" if state.detail else ""
    return f"{label} ({state.kind}{reason})"


@dataclass(frozen=True)
class Cell:
    """Runs that may be averaged, by split and seed. older: those that a newer run replaces."""

    condition: Condition | None
    runs: list[Run]
    older: list[Run]


def separate(runs: Sequence[Run]) -> list[Cell]:
    """Runs that may share a cell: one protocol, one data set, and for one split the same lists of videos.

    Of two runs of one split and seed the newest counts.
    """
    by_condition: dict[Condition, list[Run]] = {}
    for run in runs:
        by_condition.setdefault(run.condition, []).append(run)
    cells = []
    for condition, members in by_condition.items():
        by_label: dict[str, list[Run]] = {}
        for label, run in zip(_labels_of_lists(members), members, strict=True):
            by_label.setdefault(label, []).append(run)
        for label, same in by_label.items():
            newest = {run.key: run for run in sorted(same, key=_finished)}
            kept = [newest[key] for key in sorted(newest, key=str)]
            older = [run for run in same if newest[run.key] is not run]
            cells.append(Cell(replace(condition, lists=label), kept, older))
    return cells


def _labels_of_lists(runs: Sequence[Run]) -> list[str]:
    """What tells the lists of each run from those of the others.

    Nothing where they agree; else the folder that the data is in; else the lists themselves.
    """
    if _agree(runs):
        return [""] * len(runs)
    roots = [printable(run.results.data.root) for run in runs]
    for root in set(roots):
        if not _agree([run for run, own in zip(runs, roots, strict=True) if own == root]):
            return ["lists " + "/".join(printable(sha)[:6] for sha in run.lists) for run in runs]
    return roots


def _agree(runs: Sequence[Run]) -> bool:
    """No split has two different sets of lists."""
    seen: dict[int | None, tuple[str, str]] = {}
    return all(seen.setdefault(run.key[0], run.lists) == run.lists for run in runs)


def _finished(run: Run) -> float:
    try:
        return run.folder.results.stat().st_mtime
    except OSError:  # removed since it was read
        return 0.0


def _two_streams(entry: Entry, found: Mapping[str, Found], singles: Mapping[str, list[Line]]) -> list[Line]:
    """The lines of an entry whose scores are the sum of two others', split by split and seed by seed."""
    empty = Line(entry.name, None, {}, [], entry.expected, None, [])
    if len(entry.streams) != 2 or not all(name in singles for name in entry.streams):
        problem = f"{entry.name}: not added, its streams must be two rows that have runs of their own"
        return [replace(empty, problems=[problem])]
    first, second = (singles[name] for name in entry.streams)
    waiting = {(job.split, job.seed) for name in entry.streams for job in found[name].missing}
    pairs = [(a, b) for a in first for b in second if a.condition is not None and a.condition == b.condition]
    lines = [_added(empty, a, b) for a, b in pairs]
    if not lines:
        apart = any(line.results for line in first) and any(line.results for line in second)
        problem = f"{entry.name}: its two streams have no protocol and data in common; they are not added"
        lines = [replace(empty, problems=[problem] if apart else [])]
    lines[0] = replace(lines[0], missing=[key_label(key) for key in sorted(waiting, key=str)])
    return [replace(line, others=len(lines) > 1) for line in lines]


def _added(empty: Line, a: Line, b: Line) -> Line:
    """The line of two streams under one condition."""
    results, problems = {}, []
    for key in a.results:
        if key not in b.results:
            continue
        try:
            results[key] = add(a.results[key], b.results[key])
        except UserError as error:
            problems.append(f"{empty.name}, {key_label(key)}: {error}")
    added = replace(empty, condition=a.condition, results=results, cost=add_costs(a.cost, b.cost), problems=problems)
    return replace(added, expected={}) if a.condition is not None and a.condition.frozen else added


def add(a: Result, b: Result) -> Result:
    """The sum of two streams' scores of one split and seed, video by video.

    Raises:
        UserError: they have other lists, videos, classes or labels, or scores that cannot be read.
    """
    if a.runs[0].lists != b.runs[0].lists:
        raise UserError("the two streams have different lists of videos; they are not added")
    if a.scores is None or b.scores is None:
        raise UserError("a stream's scores cannot be read; they are not added")
    scores = a.scores + b.scores
    return Result(a.key, [*a.runs, *b.runs], scores.metrics(), scores)


def add_costs(a: Cost | None, b: Cost | None) -> Cost | None:
    """What both networks cost together; None where one is not known."""
    if a is None or b is None:
        return None
    return Cost(a.params + b.params, a.macs + b.macs, a.operations + b.operations)
