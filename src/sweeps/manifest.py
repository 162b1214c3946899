"""outputs/sweeps/NAME.json: the jobs of a sweep, written at each of its starts and read by status and report.

A manifest is data: reading it composes and runs nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from src.errors import UserError
from src.runs import records
from src.runs.folder import SWEEPS, RunFolder
from src.runs.records import SCHEMA, DamagedError
from src.text import listed, printable


@dataclass(frozen=True)
class Job:
    """One run of a row."""

    data: str
    split: int | None
    seed: int
    overrides: list[str]
    folder: str
    identity: str

    @property
    def place(self) -> str:
        """Data set and split, as a table says it."""
        return self.data + (f" split {self.split}" if self.split else "")

    @property
    def run(self) -> RunFolder:
        """The run's folder."""
        return RunFolder(Path(self.folder))


@dataclass(frozen=True)
class Row:
    """One row of a sweep's table: its jobs, or the two rows whose scores it adds (then it has no jobs)."""

    name: str
    streams: list[str]
    jobs: list[Job]


@dataclass(frozen=True)
class Manifest:
    """All rows of a sweep, in the table's order, also those that were not picked this time.

    table: the paper's table that it repeats (experiments/paper.json); None for a table of one's own.
    overrides: what the command line added to every job.
    """

    schema: int
    experiment: str
    table: str | None
    title: str
    overrides: list[str]
    rows: list[Row]


def unique(jobs: Iterable[Job]) -> list[Job]:
    """One job a run, in order: rows may share runs."""
    return list({job.identity: job for job in jobs}.values())


def path_of(experiment: str) -> Path:
    """Where the manifest of an experiment is."""
    return SWEEPS / f"{experiment}.json"


def started() -> dict[str, Path]:
    """Experiment → manifest of every sweep that has been started here."""
    return {path.stem: path for path in sorted(SWEEPS.glob("*.json"))}


def read(path: Path) -> Manifest | None:
    """The manifest in a file, None where there is no file. Raises UserError where it cannot be read."""
    manifest = records.read(path, Manifest)
    if manifest is not None:
        _check(manifest, path)
    return manifest


def _check(manifest: Manifest, path: Path) -> None:
    """Raise DamagedError where rows or folders are not what `write` could have written."""
    names = [row.name for row in manifest.rows]
    for row in manifest.rows:
        if names.count(row.name) > 1:
            raise DamagedError(path, f"two rows have the name {printable(row.name)}")
        unknown = [stream for stream in row.streams if stream not in names]
        if unknown:
            raise DamagedError(path, f"row {printable(row.name)} adds {listed(unknown)}, which it does not have")
        for job in row.jobs:
            if "\0" in job.folder:
                raise DamagedError(path, f"row {printable(row.name)} has a folder that cannot exist")


def write(new: Manifest) -> None:
    """Write a manifest. Seeds of earlier starts stay in it, unless these set other options."""
    path = path_of(new.experiment)
    try:
        before = read(path)
    except UserError:  # damaged, or of another version: the runs are in their folders all the same
        before = None
    kept = {row.name: row.jobs for row in before.rows} if before and before.overrides == new.overrides else {}
    rows = [Row(row.name, row.streams, _with_earlier(row.jobs, kept.get(row.name, []))) for row in new.rows]
    records.write(path, Manifest(SCHEMA, new.experiment, new.table, new.title, new.overrides, rows))


def _with_earlier(jobs: list[Job], earlier: list[Job]) -> list[Job]:
    """The jobs, and those of earlier starts for other data, splits and seeds."""
    planned = {(job.data, job.split, job.seed) for job in jobs}
    known = {job.identity for job in jobs}
    others = [job for job in earlier if job.identity not in known and (job.data, job.split, job.seed) not in planned]
    return [*jobs, *others]
