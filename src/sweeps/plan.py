"""A table as a sweep: every row at every point of the grid with every seed, each job one resumable run.

Starting a sweep again skips what is finished, resumes what was cut off, retries what crashed and runs what is missing.
Since a run's folder follows from what defines the run, a run that two tables share is one run.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.table import Table
from rich.text import Text

from src.build.compose import check, merged
from src.build.fallback import with_fallback
from src.errors import UsageError, UserError
from src.runs.identity import describe, identity
from src.runs.records import SCHEMA
from src.runs.start import folder_of
from src.sweeps import manifest
from src.sweeps.arguments import SweepOptions, split_arguments
from src.sweeps.manifest import Job, Manifest, Row, unique
from src.sweeps.status import status_table
from src.text import console, first_line, printable

NUMBERS = ("seed", "data.split")  # options that may be set without composing again
NO_OTHER_RUN = ("logger", "data.workers")  # how words begin that leave every run as it is

Compose = Callable[[Sequence[str]], DictConfig]
Launch = Callable[[Sequence[Sequence[str]]], Any]


@dataclass(frozen=True)
class RowPlan:
    """One row of an experiment's file: how its runs differ from `common`, or which rows' scores it adds."""

    overrides: list[str]
    streams: list[str]


@dataclass(frozen=True)
class Experiment:
    """An experiment's file: rows, the grid of options that all of them have, and seeds."""

    name: str
    table: str | None
    title: str
    common: list[str]
    grid: dict[str, list[Any]]
    rows: dict[str, RowPlan]
    seeds: list[int]

    def picked(self, names: Sequence[str]) -> list[str]:
        """Names of the rows to run: those asked for with their streams, or all.

        Raises:
            UsageError: there is no such row.
        """
        for name in names:
            if name not in self.rows:
                raise UsageError(f"rows={printable(name)}: experiments={self.name} has the rows {', '.join(self.rows)}")
        wanted = set(names or self.rows)
        for name in list(wanted):
            wanted.update(self.rows[name].streams)
        return [name for name in self.rows if name in wanted]


def experiment_of(node: DictConfig) -> Experiment:
    """An experiment's file as it was composed.

    Raises:
        UserError: it has no name or rows, or a row adds streams that do not exist.
    """
    content: Any = OmegaConf.to_container(node, resolve=True)
    name = content.get("name")
    if not name or not content.get("rows"):
        raise UserError("an experiment needs a name and rows; see experiments/mini_table1.yaml")
    rows = {}
    for row, said in content["rows"].items():
        plan = said or {}
        rows[str(row)] = RowPlan(list(plan.get("overrides", [])), list(plan.get("streams", [])))
    for row, plan in rows.items():
        for stream in plan.streams:
            if stream not in rows:
                raise UserError(f"experiments={name}: row {row} adds {stream}, which is not a row")
    return Experiment(
        name=str(name),
        table=content.get("table"),
        title=str(content.get("title", name)),
        common=list(content.get("common", [])),
        grid=dict(content.get("grid", {})),
        rows=rows,
        seeds=list(content.get("seeds", [0])),
    )


def plan(
    experiment: Experiment, options: SweepOptions, compose: Compose, *, fetch: bool = False
) -> dict[str, list[Job]]:
    """Row → its jobs, in order.

    fetch: fetch published weights that have a fallback, for the picked rows: which file it is defines a run.

    Raises:
        UserError: a row's configuration is not valid.
    """
    points = []
    for values in itertools.product(*experiment.grid.values()):
        points.append([f"{key}={value}" for key, value in zip(experiment.grid, values, strict=True)])
    seeds = options.seeds or experiment.seeds
    compose = _cached(compose)
    picked = experiment.picked(options.rows) if fetch else []
    jobs: dict[str, list[Job]] = {}
    for name, row in experiment.rows.items():
        jobs[name] = []
        if row.streams:
            continue
        for point, seed in itertools.product(points, seeds):
            overrides = merged(experiment.common, row.overrides, point, [f"seed={seed}"], options.jobs)
            jobs[name].append(_job(experiment.name, name, overrides, compose, fetch=name in picked))
    return jobs


def _cached(compose: Compose) -> Compose:
    """The same, composing (a third of a second) once for jobs that differ in plain numbers only."""
    known: dict[tuple[str, ...], DictConfig] = {}

    def composed(overrides: Sequence[str]) -> DictConfig:
        numbers: dict[str, int] = {}
        rest: list[str] = []
        for word in overrides:
            key, _, value = word.partition("=")
            if key in NUMBERS and value.isdecimal():
                numbers[key] = int(value)
            else:
                rest.append(word)
        if tuple(rest) not in known:
            known[tuple(rest)] = compose(rest)
        cfg = known[tuple(rest)].copy()
        for key, number in numbers.items():
            OmegaConf.update(cfg, key, number)  # what Hydra itself does with an override of a value
        return cfg

    return composed


def _job(experiment: str, row: str, overrides: list[str], compose: Compose, *, fetch: bool) -> Job:
    cfg = compose(overrides)
    check(cfg)
    cfg, overrides = with_fallback(cfg, overrides, fetch=fetch)
    if "wandb" in (cfg.logger or {}):  # runs of a sweep are grouped there, and say which row they are
        place = f"-split{cfg.data.split}" if cfg.data.get("split") else ""
        labels = {"group": experiment, "job_type": "table", "name": f"{row}{place}-seed{cfg.seed}"}
        overrides = merged([f"logger.wandb.{key}={value}" for key, value in labels.items()], overrides)
    run = identity(describe(cfg))
    folder = str(folder_of(cfg, run))
    return Job(str(cfg.data.name), cfg.data.get("split"), cfg.seed, overrides, folder, run)


def run_all(node: DictConfig, words: Sequence[str], compose: Compose, launch: Launch) -> None:
    """Bring the experiment's jobs to their end, those of the picked rows.

    node: the composed `experiment`; words: of the command line.

    Raises:
        UserError: some did not get there.
    """
    experiment = experiment_of(node)
    options = split_arguments([*words, *(node.get("overrides") or [])])
    jobs = plan(experiment, options, compose, fetch=not options.dry_run)
    wanted = unique(job for name in experiment.picked(options.rows) for job in jobs[name])
    terminal = console()
    if options.dry_run:
        terminal.print(sizes(jobs, wanted, compose))
        return
    manifest.write(manifest_of(experiment, jobs, options.jobs))
    waiting = _unfinished(wanted)
    terminal.print(f"{experiment.name}: {len(wanted)} jobs, {len(wanted) - len(waiting)} finished already")
    if waiting:
        try:
            launch([job.overrides for job in waiting])
        except Exception as error:  # a cluster that is gone, a job that was lost: the folders say what got done
            reason = printable(first_line(error))
            terminal.print(f"the launcher gave up: {type(error).__name__}: {reason}", style="bold red")
        terminal.print(status_table(experiment.name, jobs, wanted))
    left = Counter(job.run.state().kind for job in _unfinished(wanted))
    if left:
        counts = ", ".join(f"{count} {kind}" for kind, count in left.items())
        raise UserError(
            f"{experiment.name}: {left.total()} of {len(wanted)} jobs did not finish ({counts}); "
            "the same command continues with them"
        )


def _unfinished(jobs: Iterable[Job]) -> list[Job]:
    return [job for job in jobs if job.run.state().kind != "finished"]


def manifest_of(experiment: Experiment, jobs: dict[str, list[Job]], words: Sequence[str]) -> Manifest:
    """The manifest of these jobs. words: what the command line added to every job."""
    overrides = [word for word in words if not word.startswith(NO_OTHER_RUN)]
    rows = [Row(name, row.streams, jobs[name]) for name, row in experiment.rows.items()]
    return Manifest(SCHEMA, experiment.name, experiment.table, experiment.title, overrides, rows)


def sizes(jobs: dict[str, list[Job]], wanted: list[Job], compose: Compose) -> Table:
    """What would run: each job's configuration hash, its network's parameters and its folder."""
    table = Table("row", "data", "seed", "hash", "parameters", "folder", box=None)
    row_of = {job.identity: row for row, own in reversed(jobs.items()) for job in own}
    known: dict[tuple[str, str], str] = {}  # neither split nor seed changes the size
    for job in wanted:
        row = row_of[job.identity]
        if (row, job.data) not in known:
            known[row, job.data] = parameters(compose(job.overrides))
        table.add_row(row, job.place, str(job.seed), job.identity, known[row, job.data], Text(printable(job.folder)))
    return table


def parameters(cfg: DictConfig) -> str:
    """The network's size, without the memory for it."""
    from src.build.network import skeleton  # heavy, and seldom needed

    classes = cfg.data.num_classes or 2  # lists of one's own say how many when they are read
    return f"{sum(p.numel() for p in skeleton(cfg, classes).parameters()) / 1e6:.2f} M"
