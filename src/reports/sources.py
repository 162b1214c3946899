"""Where a report's entries come from: the manifests of sweeps, and the folders of runs.

Only records are read (src/runs/records.py): nothing is composed, built or run.
"""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src import files
from src.config import OUTPUTS
from src.errors import UserError
from src.runs.folder import SWEEPS, RunFolder
from src.runs.records import Results, RunRecord
from src.sweeps import manifest, paper
from src.sweeps.manifest import Job, Manifest
from src.text import listed, printable

# Options in which the runs of one entry may differ, and how the names of others begin: what was tested, and how, is
# told apart later by what was really read.
WITHIN_ENTRY = ("seed", "data.split", "data.name", "data.num_classes", "data.lists")
WITHIN_ENTRY_GROUPS = ("protocol.", "test.")
SHOWN = ("model.name", "pooling.name", "modality.name", "optim.name")  # of an entry's name
USUAL = ("rgb", "adamw")  # left out of it
DIFFERENCES = 3  # options that tell two entries apart


@dataclass(frozen=True)
class Entry:
    """The runs that belong together in the table, or the entries whose scores are added (then it has no jobs).

    expected: the paper's numbers (`top1`, `params`, `operations`), those that it prints.
    """

    name: str
    jobs: list[Job]
    streams: list[str]
    expected: dict[str, float]


@dataclass(frozen=True)
class Source:
    """What one report is about."""

    name: str
    title: str
    entries: list[Entry]


def choose(names: Sequence[str], runs: Sequence[str]) -> tuple[list[Source], list[str]]:
    """The sources that are asked for: sweeps by name and runs by folder, or all that there are.

    Returns:
        The sources, and a line on each manifest that cannot be read.

    Raises:
        UserError: there is no such sweep or run, or nothing at all.
    """
    started = manifest.started()
    for name in names:
        if name not in started:
            there = listed(list(started), 20) or "none"
            raise UserError(f"no sweep {printable(name)} has been started; there are: {there} (in {SWEEPS}/)")
    everything = not names and not runs
    sources, damaged = [], []
    for name in started if everything else dict.fromkeys(names):
        try:
            sources.append(from_manifest(name, started[name]))
        except UserError as error:
            damaged.append(str(error))
    folders = loose(sources) if everything else [find_folder(run) for run in runs]
    if folders:
        sources.append(Source("runs", "Single runs", entries_of(folders)))
    if not sources and not damaged:
        raise UserError(f"nothing to report: no sweep and no finished run under {OUTPUTS}/; give run=FOLDER")
    return sources, damaged


def from_manifest(name: str, path: Path) -> Source:
    """A sweep. Raises UserError where its manifest cannot be read."""
    content = manifest.read(path)
    if content is None:
        raise UserError(f"{path}: not a file; start the sweep again")
    title = f"{content.experiment}: {content.title}" if content.title else content.experiment
    return Source(name, printable(title), _entries_of_manifest(content))


def _entries_of_manifest(content: Manifest) -> list[Entry]:
    """The rows of a manifest; one that has runs on several data sets becomes an entry for each."""
    data_of: dict[str, list[str | None]] = {}
    for row in content.rows:
        data_of[row.name] = list(dict.fromkeys(job.data for job in row.jobs))
    entries = []
    for row in content.rows:
        sets = data_of[row.streams[0]] if row.streams else data_of[row.name]
        for data in sets or [None]:
            suffix = f" · {data}" if len(sets) > 1 else ""
            entries.append(
                Entry(
                    name=printable(row.name + suffix),
                    jobs=[job for job in row.jobs if job.data == data],
                    streams=[printable(stream + suffix) for stream in row.streams],
                    expected=paper.numbers(content.table, row.name, data),
                )
            )
    return entries


def loose(sources: Iterable[Source]) -> list[RunFolder]:
    """Folders of finished runs directly or two levels under outputs/ that are in none of the sources."""
    taken: set[str] = set()
    for source in sources:
        for entry in source.entries:
            taken.update(os.path.realpath(job.folder) for job in entry.jobs)
    found = {path.parent for pattern in ("*/results.json", "*/*/results.json") for path in OUTPUTS.glob(pattern)}
    return [RunFolder(path) for path in sorted(found) if os.path.realpath(path) not in taken]


def find_folder(name: str) -> RunFolder:
    """The folder that `run=` names.

    Raises:
        UserError: it holds no run.
    """
    folder = RunFolder(files.home_expanded(name))
    try:
        is_run = folder.run.exists() or folder.results.exists()
    except PermissionError:
        return folder  # its line says that it cannot be read
    except OSError as error:
        raise UserError(f"run={printable(name)}: cannot be read ({error.strerror}); check the path") from None
    if not is_run:
        raise UserError(
            f"run={printable(name)}: holds no run (neither run.json nor results.json); give the folder of a run"
        )
    return folder


@dataclass(frozen=True)
class _Described:
    """A run by hand: its job, the name of its entry, and the options that make the entry."""

    job: Job
    name: str
    settings: dict[str, Any]


def entries_of(folders: Iterable[RunFolder]) -> list[Entry]:
    """Entries for runs given by hand: those that differ only in split, seed, data and protocol make one.

    Where two entries would have one name, the options in which they differ are added to it.
    """
    groups: dict[str, list[_Described]] = {}
    for folder in folders:
        run = _describe(folder)
        groups.setdefault(json.dumps(run.settings, sort_keys=True), []).append(run)
    firsts = [runs[0] for runs in groups.values()]
    entries: list[Entry] = []
    for runs in groups.values():
        name = runs[0].name
        twins = [other.settings for other in firsts if other.name == name]
        words = [f"{key}={runs[0].settings.get(key)}" for key in _differing(twins)]
        full = printable(" ".join([name, *words]))
        entries.append(Entry(_unused(full, entries), [run.job for run in runs], [], {}))
    return entries


def _unused(name: str, entries: Sequence[Entry]) -> str:
    """The name, with a number where an entry has it already."""
    names = {entry.name for entry in entries}
    number = 2
    unused = name
    while unused in names:
        unused = f"{name} ({number})"
        number += 1
    return unused


def _describe(folder: RunFolder) -> _Described:
    """What a run says of itself, from results.json or else run.json; its folder where neither can be read."""
    record = _readable_record(folder)
    settings: dict[str, Any] = {}
    if record is not None:
        settings = record.settings if isinstance(record, Results) else record.description
    split, seed = settings.get("data.split"), settings.get("seed")
    job = Job(
        data=str(settings.get("data.name", "?")),
        split=split if isinstance(split, int) else None,
        seed=seed if isinstance(seed, int) else 0,
        overrides=[],
        folder=str(folder),
        identity=record.identity if record else "",
    )
    if not settings:
        return _Described(job, folder.path.name, {"folder": str(folder)})
    words = [str(settings[key]) for key in SHOWN if key in settings]
    own = {key: value for key, value in settings.items() if not _is_within_entry(key)}
    return _Described(job, " ".join(word for word in words if word not in USUAL), own)


def _readable_record(folder: RunFolder) -> Results | RunRecord | None:
    """What can be read of a run. Why the rest cannot is said when its line of the table is made."""
    try:
        if (results := folder.read_results()) is not None and results.settings:
            return results
    except UserError:
        pass
    try:
        return folder.read_run()
    except UserError:
        return None


def _is_within_entry(option: str) -> bool:
    return option in WITHIN_ENTRY or option.startswith(WITHIN_ENTRY_GROUPS)


def _differing(twins: Sequence[dict[str, Any]]) -> list[str]:
    """A few options in which these differ, those of the head first."""
    names = {name for settings in twins for name in settings}
    differing = [name for name in names if len({json.dumps(settings.get(name)) for settings in twins}) > 1]
    return sorted(differing, key=lambda name: (not name.startswith("pooling"), name))[:DIFFERENCES]
