"""Where a table's rows come from: the manifest of a sweep, or run folders given by hand."""

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from src.errors import UserError
from src.reports.rows import Job, Row
from src.reports.runs import Run, read_run
from src.run import OUTPUTS

# What may differ between two runs of one row: protocol and lists are told apart later, by what was really read.
ACCIDENTAL = {
    *("seed", "run_dir", "ckpt_path", "logger", "test", "protocol"),
    *(f"data.{word}" for word in ("name", "num_classes", "root", "split", "lists", "workers")),
    *(f"data.module.{word}" for word in ("workers", "protocol", "holdout_fraction")),
    *(f"trainer.{word}" for word in ("enable_progress_bar", "log_every_n_steps", "benchmark", "accelerator")),
}


def manifests(outputs: Path = OUTPUTS) -> dict[str, Path]:
    """Experiment → manifest of its sweep."""
    return {path.stem: path for path in sorted((outputs / "sweeps").glob("*.json"))}


def from_manifest(path: Path) -> tuple[str, list[Row]]:
    """Title and rows of a sweep.

    Raises:
        UserError: the file is no manifest.
    """
    try:
        content = json.loads(path.read_text())
        rows = _rows(content["rows"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: is no sweep's manifest ({type(error).__name__}: {error}); start the sweep again"
        ) from error
    name, title = content.get("experiment", path.stem), content.get("title")
    return (f"{name}: {title}" if title else str(name)), rows


def _rows(written: list[dict[str, Any]]) -> list[Row]:
    """Rows as src/sweep.py writes them; one that has runs on several data sets becomes a row for each."""
    data = {row["name"]: list(dict.fromkeys(job["data"] for job in row["jobs"])) for row in written}
    rows = []
    for row in written:
        streams = row["streams"] or ()
        sets = data[streams[0]] if streams else data[row["name"]]
        for name in sets or [None]:

            def named(text: str, name: str | None = name, several: bool = len(sets) > 1) -> str:
                return f"{text} · {name}" if several else text

            jobs = [
                Job(Path(job["folder"]), (job["split"], job["seed"]), tuple(job["overrides"]))
                for job in row["jobs"]
                if job["data"] == name
            ]
            expected = _expected(row.get("paper"), name)
            rows.append(Row(named(row["name"]), jobs, expected, tuple(named(stream) for stream in streams)))
    return rows


def _expected(paper: dict[str, Any] | None, data: str | None) -> dict[str, float]:
    """The paper's numbers of a row: top1 (in Table 7 under the data set's name), params, operations."""
    printed = {**(paper or {})}
    printed.setdefault("top1", printed.get(data or ""))
    names = ("top1", "params", "operations")
    return {name: float(printed[name]) for name in names if isinstance(printed.get(name), int | float)}


def loose(known: Iterable[Path], outputs: Path = OUTPUTS) -> list[Path]:
    """Folders of runs directly or two levels under `outputs` that are in no manifest."""
    taken = {path.resolve() for path in known}
    found = {path.parent for pattern in ("*/results.json", "*/*/results.json") for path in outputs.glob(pattern)}
    return sorted(path for path in found if path.resolve() not in taken)


def from_folders(folders: Iterable[Path]) -> list[Row]:
    """Rows for runs given by hand: those that differ only in split, seed, data and protocol make one row.

    Where two rows would have one name, the options in which they differ are added to it.

    Raises:
        UserError: a folder that holds no run.
    """
    groups: dict[str, list[Run]] = defaultdict(list)
    for folder in folders:
        run = read_run(folder)
        if run is None:
            raise UserError(f"runs={folder}: holds no run (no config.yaml, run.json or results.json)")
        groups[json.dumps(_settings(run), sort_keys=True, default=str)].append(run)
    names = [_name(runs[0]) for runs in groups.values()]
    rows = []
    for name, (text, runs) in zip(names, groups.items(), strict=True):
        twins = [json.loads(other) for other, same in zip(groups, names, strict=True) if same == name]
        differing = [key for key in twins[0] if len({json.dumps(twin.get(key)) for twin in twins}) > 1]
        own = json.loads(text)
        shown = [f"{key}={own.get(key)}" for key in _leaves_that_say_it(differing)]
        rows.append(Row(" ".join([name, *shown]), [Job(run.folder, run.key) for run in runs]))
    return rows


def _leaves_that_say_it(keys: list[str]) -> list[str]:
    """At most three options, those of the head first."""
    return sorted(keys, key=lambda key: (not key.startswith("pooling"), key))[:3]


def _name(run: Run) -> str:
    """Model, head, modality and optimiser; the folder's name where there is no configuration."""
    if run.config is None:
        return run.folder.name
    wanted = ("model.name", "pooling.name", "modality.name", "optim.name")
    words = [OmegaConf.select(run.config, key) for key in wanted]
    return " ".join(str(word) for word in words if word not in (None, "rgb", "adamw"))


def _settings(run: Run) -> dict[str, Any]:
    """Dotted option → value of what makes a run's row."""
    if run.config is None:
        return {"folder": str(run.folder)}
    content: Any = OmegaConf.to_container(run.config, resolve=False, enum_to_str=True)
    flat: dict[str, Any] = {}

    def walk(node: Any, name: str) -> None:
        if name in ACCIDENTAL or name.endswith((".split", ".seed", ".root")):
            return
        if isinstance(node, dict):
            for key, value in node.items():
                walk(value, f"{name}.{key}" if name else str(key))
        else:
            flat[name] = node

    walk(content, "")
    return flat
