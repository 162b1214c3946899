"""A table as a sweep: every row at every point of the grid with every seed, each job one resumable run.

`python -m src.train experiments=table1` starts one or goes on, `python -m src.sweep status` tells where all stand.
Starting it again skips what is finished, resumes what was cut off, retries what crashed and runs what is missing;
since a run's folder follows from its configuration, a run that two tables share is one run.

Each start leaves outputs/sweeps/NAME.json, which the report reads:

    {"experiment": "table1",                 name of the experiment
     "table": "table1" | null,               its table in experiments/paper.json
     "title": "Temporal pooling on …",
     "overrides": ["data.root=…"],           what the command line added to every job
     "rows": [                               all rows, in the table's order, also those not picked this time
       {"name": "bert",
        "streams": null | ["rgb", "flow"],   rows whose scores are summed, job by job (same data, split, seed)
        "paper": {"top1": 77.49, …} | null,  the line of experiments/paper.json; null: not printed in the table
        "jobs": [                            [] for a row of streams
          {"data": "hmdb51", "split": 1 | null, "seed": 0, "overrides": ["model=…", …],
           "folder": "outputs/runs/resnext101-bert-hmdb51-split1-seed0_0123456789ab",
           "identity": "0123456789ab"}]}]}
"""

import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from src import cli, files, paper, resumable, run
from src.errors import UserError
from src.overrides import listed, merged, split_arguments

MANIFESTS = run.OUTPUTS / "sweeps"
NUMBERS = ("seed", "data.split")
STYLES = {"finished": "green", "running": "cyan", "crashed": "bold red", "interrupted": "yellow", "missing": "dim"}

Compose = Callable[[Sequence[str]], DictConfig]
Launch = Callable[[Sequence[Sequence[str]]], Any]


@dataclass(frozen=True)
class Job:
    """One run of a row."""

    data: str
    split: int | None
    seed: int
    overrides: list[str]
    folder: str
    identity: str


def plan(
    experiment: DictConfig, seeds: Sequence[int], extra: Sequence[str], compose: Compose
) -> dict[str, list[Job]]:
    """Row → its jobs, in order.

    Raises:
        UserError: a row names streams that do not exist.
    """
    points = [
        [f"{key}={value}" for key, value in zip(experiment.grid, values, strict=True)]
        for values in itertools.product(*experiment.grid.values())
    ]
    compose = _thrifty(compose)
    jobs: dict[str, list[Job]] = {}
    for name, row in experiment.rows.items():
        if unknown := [stream for stream in row.streams if stream not in experiment.rows]:
            raise UserError(f"experiments={experiment.name}: row {name} sums {unknown[0]}, which is no row")
        jobs[name] = [
            _job(
                experiment, name, merged(experiment.common, row.overrides, point, [f"seed={seed}"], extra), compose
            )
            for point, seed in itertools.product(points, seeds)
            if not row.streams
        ]
    return jobs


def _thrifty(compose: Compose) -> Compose:
    """The same, composing (a third of a second) once for jobs that differ in plain numbers only."""
    known: dict[tuple[str, ...], DictConfig] = {}

    def composed(overrides: Sequence[str]) -> DictConfig:
        numbers = {key: int(value) for key, value in (word.split("=", 1) for word in overrides) if key in NUMBERS}
        rest = tuple(word for word in overrides if word.partition("=")[0] not in NUMBERS)
        if rest not in known:
            known[rest] = compose(rest)
        cfg = known[rest].copy()
        for key, value in numbers.items():
            OmegaConf.update(cfg, key, value)  # what Hydra itself does with an override of a value
        return cfg

    return composed


def _job(experiment: DictConfig, row: str, overrides: list[str], compose: Compose) -> Job:
    cfg = compose(overrides)
    if "wandb" in (cfg.logger or {}):  # runs of a sweep stand together there, and say which line they are
        place = f"-split{cfg.data.split}" if cfg.data.get("split") else ""
        own = {"group": experiment.name, "job_type": "table", "name": f"{row}{place}-seed{cfg.seed}"}
        overrides = merged([f"logger.wandb.{key}={value}" for key, value in own.items()], overrides)
    folder = resumable.folder_of(cfg)
    return Job(cfg.data.name, cfg.data.get("split"), cfg.seed, overrides, str(folder), run.identity(cfg))


def picked(experiment: DictConfig, rows: list[str]) -> list[str]:
    """Names of the rows to run: those asked for with their streams, or all.

    Raises:
        UserError: there is no such row.
    """
    for name in rows:
        if name not in experiment.rows:
            raise UserError(f"rows={name}: experiments={experiment.name} has the rows {', '.join(experiment.rows)}")
    wanted = set(rows or experiment.rows)
    wanted |= {stream for name in wanted for stream in experiment.rows[name].streams}
    return [name for name in experiment.rows if name in wanted]


def run_all(experiment: DictConfig, arguments: Sequence[str], compose: Compose, launch: Launch) -> None:
    """Bring the experiment's jobs to their end, those of the picked rows.

    Raises:
        UserError: some did not get there.
    """
    own, extra = split_arguments([*arguments, *experiment.overrides])
    seeds = [int(seed) for seed in listed(own.get("seeds"))] or list(experiment.seeds)
    jobs = plan(experiment, seeds, extra, compose)
    wanted = unique(job for name in picked(experiment, listed(own.get("rows"))) for job in jobs[name])
    console = terminal()
    if own.get("dry_run", "false").lower() == "true":
        console.print(sizes(jobs, wanted, compose))
        return
    write_manifest(experiment, jobs, extra)
    waiting = [job for job in wanted if resumable.state(Path(job.folder)).kind != "finished"]
    console.print(f"{experiment.name}: {len(wanted)} jobs, {len(wanted) - len(waiting)} finished already")
    if waiting:
        try:
            launch([job.overrides for job in waiting])
        except Exception as error:  # a cluster that is gone, a job that was lost: the folders say what got done
            reason = (str(error).strip().splitlines() or [""])[0]
            console.print(f"the launcher gave up: {type(error).__name__}: {reason}", style="bold red", markup=False)
        console.print(status_table(experiment.name, jobs, wanted))
    if left := [job for job in wanted if resumable.state(Path(job.folder)).kind != "finished"]:
        counts = Counter(resumable.state(Path(job.folder)).kind for job in left)
        told = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        raise UserError(
            f"{experiment.name}: {len(left)} of {len(wanted)} jobs did not finish ({told}); "
            "the same command goes on with them"
        )


def unique(jobs: Iterable[Job]) -> list[Job]:
    """One job a run, in order: rows may share runs."""
    return list({job.identity: job for job in jobs}.values())


def write_manifest(experiment: DictConfig, jobs: dict[str, list[Job]], extra: Sequence[str]) -> None:
    """outputs/sweeps/NAME.json. Seeds of earlier starts stay in it, unless these set other options."""
    extra = [word for word in extra if not word.startswith(("logger", "data.workers"))]  # no run differs by these
    path = MANIFESTS / f"{experiment.name}.json"
    before = run.read_json(path)
    kept = {row["name"]: row["jobs"] for row in before.get("rows", []) if before["overrides"] == list(extra)}
    printed = paper.rows(experiment.table) if experiment.table else {}
    rows = []
    for name, row in experiment.rows.items():
        own = [asdict(job) for job in jobs[name]]
        known = {job["identity"] for job in own}
        planned = {(job["data"], job["split"], job["seed"]) for job in own}
        for job in kept.get(name, []):
            if job["identity"] not in known and (job["data"], job["split"], job["seed"]) not in planned:
                own.append(job)
        rows.append({"name": name, "streams": list(row.streams) or None, "paper": printed.get(name), "jobs": own})
    about = {"experiment": experiment.name, "table": experiment.table, "title": experiment.title}
    files.write_json(path, {**about, "overrides": list(extra), "rows": rows})


def sizes(jobs: dict[str, list[Job]], wanted: list[Job], compose: Compose) -> Table:
    """What would run: each job's configuration hash, its network's parameters and its folder. Takes no data."""
    table = Table("row", "data", "seed", "hash", "parameters", "folder", box=None)
    row_of = {job.identity: row for row, own in reversed(jobs.items()) for job in own}
    known: dict[tuple[str, str], str] = {}  # neither split nor seed changes the size
    for job in wanted:
        row = row_of[job.identity]
        size = known.get((row, job.data)) or parameters(compose(job.overrides))
        known[row, job.data] = size
        table.add_row(row, where(job), str(job.seed), job.identity, size, job.folder)
    return table


def parameters(cfg: DictConfig) -> str:
    """The network's size, without the memory for it."""
    from src.build import skeleton  # heavy, and seldom needed

    return f"{sum(p.numel() for p in skeleton(cfg).parameters()) / 1e6:.2f} M"


def terminal() -> Console:
    """Where tables go; wide where nobody's window sets the width."""
    return Console(soft_wrap=True, width=None if sys.stdout.isatty() else 200)


def where(job: Job) -> str:
    """Data set and split, as a table says it."""
    return job.data + (f" split {job.split}" if job.split else "")


def status_table(name: str, jobs: dict[str, list[Job]], wanted: Sequence[Job] | None = None) -> Table:
    """Where each job of the rows stands."""
    table = Table("row", "data", "seed", "state", "", "folder", title=name, title_justify="left", box=None)
    for row, own in jobs.items():
        for job in own:
            if wanted is None or job in wanted:
                kind, detail = resumable.state(Path(job.folder))
                table.add_row(row, where(job), str(job.seed), kind, detail, job.folder, style=STYLES[kind])
    return table


def status(arguments: list[str]) -> None:
    """`status`: every experiment started here; `status experiments=NAME …`: that one, started or not."""
    console = terminal()
    own, extra = split_arguments(arguments)
    if name := own.get("experiments"):
        from src.build import compose  # heavy, and seldom needed

        experiment = compose([f"experiments={name}"]).experiment
        seeds = [int(seed) for seed in listed(own.get("seeds"))] or list(experiment.seeds)
        jobs = plan(experiment, seeds, extra, lambda overrides: compose(list(overrides)))
        wanted = [job for row in picked(experiment, listed(own.get("rows"))) for job in jobs[row]]
        console.print(status_table(experiment.name, jobs, wanted))
        return
    found = sorted(MANIFESTS.glob("*.json"))
    if not found:
        raise UserError(f"no experiment has been started here ({MANIFESTS}/ is empty); give experiments=NAME")
    for path in found:
        manifest = run.read_json(path)
        jobs = {row["name"]: [Job(**job) for job in row["jobs"]] for row in manifest["rows"]}
        console.print(status_table(manifest["experiment"], jobs))


def main(arguments: list[str]) -> None:
    """The command line."""
    if not arguments or arguments[0] != "status":
        raise UserError("python -m src.sweep status [experiments=NAME [rows=[…]] [seeds=…] [other options]]")
    status(arguments[1:])


if __name__ == "__main__":
    cli.plain(main)
