"""A finished run as a report sees it: its results, per-video scores and curves.

What is damaged is said in `Run.problems`; nothing here ends a report.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from src.errors import UserError
from src.runs import records
from src.runs.folder import Curves, RunFolder
from src.runs.records import Changed, DamagedError, Evaluation, Order, Results
from src.scores import Scores
from src.statistics import Key
from src.text import printable

LARGEST_LOSS = 1e30  # what a chart shows
LONGEST_LABEL = 80  # characters


@dataclass(frozen=True)
class Condition:
    """What two results must share to be in one cell: protocol and data set, apart from the split's lists.

    frozen: which part of the backbone did not learn, in words; empty where all of it did, as in the paper.
    """

    protocol: str
    data: str
    classes: int
    lists: str = ""  # tells two sets of lists apart that have one name
    frozen: str = ""

    def __str__(self) -> str:
        return " · ".join(word for word in (self.protocol, self.data, self.lists, self.frozen) if word)


@dataclass(frozen=True)
class Run:
    """One run that has been tested."""

    folder: RunFolder
    results: Results

    @property
    def key(self) -> Key:
        """Split and seed."""
        return self.results.split, self.results.seed

    @property
    def metrics(self) -> dict[str, float]:
        """top1, top3, top5 and mean_class in percent."""
        return self.results.metrics or {}

    @property
    def condition(self) -> Condition:
        """Protocol and data set."""
        data = self.results.data
        protocol, frozen = protocol_label(self.results.protocol), frozen_label(self.results.settings)
        return Condition(protocol, printable(data.name), len(data.classes), frozen=frozen)

    @property
    def lists(self) -> tuple[str, str]:
        """SHA-256 of the test list and of all videos for training and validation, however a seed parts these."""
        return self.results.data.test.sha256, self.results.data.train_val.sha256

    @cached_property
    def _scores(self) -> Scores | str:
        """Per-video test scores, or why they cannot be used."""
        path = self.folder.scores
        try:
            scores = Scores.load(path)
        except (UserError, OSError) as error:
            return str(error)
        if scores.classes != self.results.data.classes or len(scores.videos) != self.results.tested:
            return f"{path}: of other videos or classes than results.json; not used"
        top1, reported = scores.metrics().get("top1"), self.metrics.get("top1")
        if top1 is not None and reported is not None and not math.isclose(top1, reported, abs_tol=0.01):
            return f"{path}: gives {top1:.2f} % top-1, but results.json says {reported:.2f} %; not used"
        return scores

    @property
    def scores(self) -> Scores | None:
        """Per-video test scores; None where they cannot be used, see `problems`."""
        return self._scores if isinstance(self._scores, Scores) else None

    @cached_property
    def _order(self) -> tuple[Order | None, list[str]]:
        return find_order(self.folder, self.results)

    @property
    def order(self) -> Order | None:
        """Its order sensitivity, where it was tested for it."""
        return self._order[0]

    @property
    def problems(self) -> list[str]:
        """What is wrong with the run's files."""
        scores = [self._scores] if isinstance(self._scores, str) else []
        return [*scores, *self._order[1]]

    @cached_property
    def curves(self) -> Curves:
        """What was logged once an epoch, epochs counted from 1; a resumed run's later values win."""
        curves: Curves = {}
        for name, points in self.folder.curves().items():
            if name.endswith("_step") or name.startswith("test/"):
                continue
            shown = {epoch + 1: value for epoch, value in sorted(points.items()) if abs(value) < LARGEST_LOSS}
            curves[name.removesuffix("_epoch")] = shown
        return curves


def read_run(folder: RunFolder) -> Run | None:
    """The run in a folder; None where it has not been tested.

    Raises:
        UserError: its results cannot be read, or are impossible.
    """
    results = folder.read_results()
    if results is None or not results.metrics:
        return None
    for name, value in results.metrics.items():
        if not 0 <= value <= 100:
            raise DamagedError(folder.results, f"metrics.{name} is {value:g} %")
    found = results.calibration
    if found is not None and not (0 <= found.ece <= 100 and 0 <= (found.scaled_ece or 0) <= 100):
        raise DamagedError(folder.results, f"calibration.ece is {found.ece:g} or {found.scaled_ece} %")
    return Run(folder, results)


def frozen_label(settings: Mapping[str, Any]) -> str:
    """Which part of the backbone a run kept as it was."""
    kind = settings.get("freeze.kind", "none")
    if kind == "none":
        return ""
    part = f"backbone up to {settings.get('freeze.last')}" if kind == "stages" else "backbone"
    return printable(f"frozen {part}")[:LONGEST_LABEL]


def protocol_label(protocol: Mapping[str, Any]) -> str:
    """A protocol in a few words: its name, and what it was given."""
    rest = [f"{key} {value}" for key, value in protocol.items() if key != "name" and value is not None]
    details = f" ({', '.join(rest)})" if rest else ""
    return printable(f"{protocol.get('name', '?')}{details}")[:LONGEST_LABEL]


def find_order(folder: RunFolder, results: Results) -> tuple[Order | None, list[str]]:
    """A run's order sensitivity, and what could not be read.

    It is in the run's results, else in the newest evaluation of the network that they speak of on the same videos.
    """
    if results.order is not None:
        problem = _impossible(results.order)
        return (None, [f"{folder.results}: order: {problem}; not used"]) if problem else (results.order, [])
    problems: list[str] = []
    for path in sorted(folder.evaluations.glob("*/evaluation.json"), reverse=True):
        try:
            evaluation = records.read(path, Evaluation)
        except UserError as error:
            problems.append(str(error))
            continue
        if evaluation is None or evaluation.order is None or not _is_of_the_results(evaluation, results):
            continue
        problem = _impossible(evaluation.order)
        if not problem:
            return evaluation.order, problems
        problems.append(f"{path}: order: {problem}; not used")
    return None, problems


def _is_of_the_results(evaluation: Evaluation, results: Results) -> bool:
    """Whether it tested the same weights on the same videos; the number of views may be another."""
    file = Path(evaluation.run) / (results.checkpoint or "")
    return (
        evaluation.identity == results.identity
        and Path(evaluation.checkpoint) == file
        and evaluation.test == results.data.test
        and evaluation.tested == results.tested
    )


def _impossible(order: Order) -> str | None:
    """What no test can have said; None where all can be."""
    if order.steps == 1:
        return "one time step and yet changed" if order.shuffled or order.reversed or order.hidden else None
    if order.shuffled is None or order.reversed is None or not len(order.hidden) == order.steps > 1:
        return f"not all of {order.steps} time steps were tried"
    drawn = order.shuffled
    changed: list[Changed] = [*drawn.draws, order.reversed, *order.hidden]
    shares = [order.top1, drawn.top1, drawn.deviation or 0, *(one.top1 for one in changed)]
    drops = [drawn.drop, *(one.drop for one in changed)]
    chances = [drawn.p, *(one.p for one in changed)]
    if not all(0 <= share <= 100 for share in shares) or not all(-100 <= drop <= 100 for drop in drops):
        return "a share of more than all videos, or less than none"
    return None if all(0 <= p <= 1 for p in chances) else "a probability that is none"
