"""Any two runs added: their scores summed on the same test videos, beside each of the two."""

from collections.abc import Sequence
from dataclasses import replace

from src.errors import UsageError, UserError
from src.reports import comparisons
from src.reports.lines import Line, Result, add, add_costs
from src.reports.report import Report
from src.reports.runs import Condition, Run, read_run
from src.reports.sources import entries_of
from src.runs.folder import RunFolder
from src.text import printable


def fuse(folders: Sequence[RunFolder]) -> Report:
    """Two runs, the sum of their scores video by video, and McNemar's test of the sum against each of them.

    Raises:
        UsageError: they are not two.
        UserError: one has not been tested; or they differ in protocol, split, classes or videos.
    """
    if len(folders) != 2:
        raise UsageError(f"fuse=sum adds two runs, and these are {len(folders)}; give runs=A,B fuse=sum")
    first, second = (_tested(folder) for folder in folders)
    both = f"{printable(first.folder)} and {printable(second.folder)}"
    condition = _shared(first, second, both)
    key = first.key  # the second may have another seed
    single = [Result(key, [run], run.metrics) for run in (first, second)]
    try:
        added = add(*single)
    except UserError as error:
        raise UserError(f"{both}: {error}") from None
    costs = [first.results.cost, second.results.cost]
    names = _names(folders)
    lines = []
    for name, result, cost in zip(
        [*names, " + ".join(names)], [*single, added], [*costs, add_costs(*costs)], strict=True
    ):
        lines.append(Line(name, condition, {key: result}, [], {}, cost, []))
    tests = [comparisons.compare(line, lines[2]) for line in lines[:2]]
    return Report("fused", f"Sum of {' and '.join(names)}", lines, comparisons.apply_holm(tests))


def _tested(folder: RunFolder) -> Run:
    run = read_run(folder)
    if run is None:
        raise UserError(f"{printable(folder)}: it has not been tested, so that it has no scores; let the run finish")
    return run


def _shared(first: Run, second: Run, both: str) -> Condition:
    """The condition of both runs; a part of the backbone may be frozen in one of them alone."""
    mine, theirs = first.condition, second.condition
    differing = [what for what in ("protocol", "data", "classes") if getattr(mine, what) != getattr(theirs, what)]
    if first.results.split != second.results.split:
        differing.append("split")
    if differing:
        raise UserError(f"{both} differ in {' and '.join(differing)}; only scores of one test can be added")
    if mine == theirs:
        return mine
    return replace(mine, frozen=" + ".join(one.frozen or "nothing frozen" for one in (mine, theirs)))


def _names(folders: Sequence[RunFolder]) -> list[str]:
    """What each run is called: by what sets it apart, or by its folder where nothing does."""
    names = [entry.name for entry in entries_of(folders)]
    return names if len(names) == 2 else [printable(folder.path.name) for folder in folders]
