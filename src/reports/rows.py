"""From runs to the lines of a table: which runs belong together, which are missing, and what a network costs.

A row of an experiment wants some runs; a `Line` is those of them that may share a cell. Results under another
protocol or of other lists of videos stand in a line of their own.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src import complexity, resumable
from src.errors import UserError
from src.models.cost import Cost, total
from src.reports.runs import Condition, Run, read_run
from src.reports.statistics import Key, Summary, summarize
from src.scores import Scores

OFFICIAL = {"hmdb51": {1530}, "ucf101": {3783, 3734, 3696}}  # videos in the published test lists
METRICS = ("top1", "top3", "top5", "mean_class")


@dataclass(frozen=True)
class Job:
    """A run that an experiment wants."""

    folder: Path
    key: Key
    overrides: tuple[str, ...] = ()


@dataclass
class Row:
    """What an experiment says of one row. `streams`: the two rows whose scores are added; then `jobs` is empty."""

    name: str
    jobs: list[Job] = field(default_factory=list)
    expected: dict[str, float] = field(default_factory=dict)
    streams: tuple[str, ...] = ()


@dataclass
class Result:
    """One number of a line: a run, or two streams' runs of one split and seed whose scores are added."""

    key: Key
    runs: list[Run]
    metrics: dict[str, float]
    added: Scores | None = None

    @property
    def scores(self) -> Scores | None:
        """Per-video scores."""
        return self.added if len(self.runs) > 1 else self.runs[0].scores


@dataclass
class Line:
    """One line of the table. `condition` is None and `results` empty where nothing has finished."""

    name: str
    condition: Condition | None
    results: dict[Key, Result]
    missing: list[str]  # split and seed of each run that has no result yet
    expected: dict[str, float]
    cost: Cost | None
    problems: list[str]
    others: bool = False  # the row has lines under other conditions as well

    @property
    def title(self) -> str:
        """The row's name, with the condition where the row has several."""
        return f"{self.name} [{self.condition}]" if self.others else self.name

    @property
    def runs(self) -> list[Run]:
        """All runs behind the line."""
        return [run for result in self.results.values() for run in result.runs]

    def summary(self, metric: str = "top1") -> Summary | None:
        """Mean and deviations over the runs that have this metric."""
        values = {key: r.metrics[metric] for key, r in self.results.items() if metric in r.metrics}
        return summarize(values) if values else None

    @property
    def paper(self) -> float | None:
        """The paper's top-1 in percent."""
        return self.expected.get("top1")

    @property
    def official(self) -> bool:
        """Every result is over a full published test list, the one that the paper's numbers are over."""
        sizes = OFFICIAL.get(self.condition.data if self.condition else "", set())
        tested = [(run.test_videos, run.results.get("tested", run.test_videos)) for run in self.runs]
        return bool(tested) and all(listed in sizes and listed == read for listed, read in tested)

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's, in points; None on other data, where it would mean nothing."""
        summary = self.summary()
        return summary.mean - self.paper if summary and self.paper is not None and self.official else None


def lines_of(rows: Sequence[Row]) -> list[Line]:
    """The lines of an experiment's table, in the order of its rows."""
    lines: list[Line] = []
    found: dict[str, tuple[list[Run], list[Job]]] = {}
    costs = Costs()
    for row in rows:
        if row.streams:
            lines += _two_streams(row, found, [line for line in lines if line.name in row.streams])
            continue
        runs = {job.folder: read_run(job.folder) for job in row.jobs}
        finished = [run for job in row.jobs if (run := runs[job.folder]) and run.metrics]
        missing = [job for job in row.jobs if not ((run := runs[job.folder]) and run.metrics)]
        found[row.name] = finished, missing
        cells = separate(finished)
        for number, (condition, members) in enumerate(cells or [(None, [])]):
            lines.append(
                Line(
                    name=row.name,
                    condition=condition,
                    results={run.key: Result(run.key, [run], run.metrics) for run in members},
                    missing=[_waiting(job) for job in missing] if number == 0 else [],
                    expected=row.expected,
                    cost=costs.of(members[0] if members else None, row.jobs),
                    problems=[p for run in runs.values() if run and number == 0 for p in run.problems],
                    others=len(cells) > 1,
                )
            )
    return lines


def separate(runs: Sequence[Run]) -> list[tuple[Condition, list[Run]]]:
    """Runs that may share a cell: one protocol, one data set, and for one split the same lists of videos.

    Where one name stands for several sets of lists they are told apart by the folder they lie in, else by the lists
    themselves. Of two runs of one split and seed the newest counts.
    """
    cells: dict[Condition, list[Run]] = defaultdict(list)
    for run in runs:
        cells[run.condition].append(run)
    result = []
    for condition, members in cells.items():
        by: Callable[[Run], str] = lambda run: ""  # noqa: E731
        if not _consistent(members):
            by = lambda run: str((run.results.get("data") or {}).get("root", ""))  # noqa: E731
            roots = {by(run) for run in members}
            if not all(_consistent([run for run in members if by(run) == root]) for root in roots):
                by = lambda run: "lists " + "/".join(sha[:6] for sha in run.lists)  # noqa: E731
        for label in dict.fromkeys(by(run) for run in members):
            same = {run.key: run for run in sorted(members, key=_finished) if by(run) == label}
            result.append((replace(condition, label_of_data=label), [same[key] for key in sorted(same, key=str)]))
    return result


def _consistent(runs: Sequence[Run]) -> bool:
    """No split has two different sets of lists."""
    seen: dict[int | None, tuple[str, ...]] = {}
    return all(seen.setdefault(run.key[0], run.lists) == run.lists for run in runs)


def _finished(run: Run) -> float:
    path = run.folder / "results.json"
    return path.stat().st_mtime if path.exists() else 0.0


def _two_streams(row: Row, found: dict[str, tuple[list[Run], list[Job]]], singles: list[Line]) -> list[Line]:
    """The lines of a row whose scores are the sum of two other rows' scores, split by split and seed by seed."""
    unknown = [name for name in row.streams if name not in found]
    if unknown or len(row.streams) != 2:
        raise UserError(f"row {row.name}: its streams {', '.join(row.streams)} must be two rows above it")
    first, second = ([line for line in singles if line.name == name] for name in row.streams)
    lines = []
    waiting = {job.key for name in row.streams for job in found[name][1]}
    for a in first:
        for b in second:
            if a.condition != b.condition or a.condition is None:
                continue
            results, problems = {}, []
            for key in [key for key in a.results if key in b.results]:
                try:
                    results[key] = _add(a.results[key], b.results[key])
                except UserError as error:
                    problems.append(f"{row.name}, {say(key)}: {error}")
            lines.append(Line(row.name, a.condition, results, [], row.expected, _sum(a, b), problems))
    if not lines:
        problems = []
        if any(line.results for line in first) and any(line.results for line in second):
            problems = [f"{row.name}: its two streams have no protocol and data in common; they are not added"]
        lines = [Line(row.name, None, {}, [], row.expected, _sum(first[0], second[0]), problems)]
    lines[0].missing = [say(key) for key in sorted(waiting, key=str)]
    for line in lines:
        line.others = len(lines) > 1
    return lines


def _add(a: Result, b: Result) -> Result:
    if a.runs[0].lists != b.runs[0].lists:
        raise UserError("the two streams have other lists of videos; they are not added")
    if a.scores is None or b.scores is None:
        raise UserError("a stream's scores cannot be read")
    scores = a.scores + b.scores
    return Result(a.key, [*a.runs, *b.runs], scores.metrics(), scores)


def _sum(a: Line, b: Line) -> Cost | None:
    return a.cost + b.cost if a.cost and b.cost else None


def say(key: Key) -> str:
    """A split and a seed in words."""
    return f"seed {key[1]}" if key[0] is None else f"split {key[0]} seed {key[1]}"


def _waiting(job: Job) -> str:
    """A run without a result in words, with why there is none where that is known."""
    try:
        kind, detail = resumable.state(job.folder)
    except (OSError, ValueError):  # what is broken is said where the run is read
        return f"{say(job.key)} (files cannot be read)"
    if kind == "finished":
        kind, detail = "not tested", ""
    return say(job.key) + ("" if kind == "missing" else f" ({kind}{f': {detail}' if detail else ''})")


class Costs:
    """Parameters and operations of networks; each is measured once."""

    def __init__(self) -> None:
        self.known: dict[str, Cost] = {}

    def of(self, run: Run | None, jobs: Sequence[Job]) -> Cost | None:
        """From a run's own configuration, else from what a job would be composed of; None where neither builds."""
        if run is not None and run.config is not None:
            return self._measure(run.config, run.condition.classes)
        if not jobs or not jobs[0].overrides:
            return None
        # All of a row's jobs have one network: split and seed do not change it.
        return self._measure(list(jobs[0].overrides), 0)

    def _measure(self, config: DictConfig | list[str], classes: int) -> Cost | None:
        try:
            if isinstance(config, list):
                own = [word for word in config if not word.startswith(("seed=", "data.split="))]
                return self._once(json.dumps(own), lambda: total(complexity.of_configuration(config)))
            nodes = ("model", "pooling", "modality")
            parts: Any = [OmegaConf.to_container(config[node], resolve=True) for node in nodes]
            name = json.dumps([*parts, classes], sort_keys=True, default=str)
            return self._once(name, lambda: _cost(config, classes))
        except (UserError, HydraException, OmegaConfBaseException, RuntimeError, ValueError):
            return None  # another version's configuration: the table says nothing rather than something wrong

    def _once(self, name: str, measure: Callable[[], Cost]) -> Cost:
        if name not in self.known:
            self.known[name] = measure()
        return self.known[name]


def _cost(config: DictConfig, classes: int) -> Cost:
    return total(complexity.of_configuration(config, classes or None))
