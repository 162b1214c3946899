"""Made-up run folders and manifests that hold what real ones write, and the commands that read them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from src import files, report, sweep
from src.command_line.options import parse
from src.reports.lines import Line, lines_of
from src.reports.sources import Entry
from src.runs import records
from src.runs.folder import RunFolder
from src.runs.records import (
    SCHEMA,
    Best,
    Changed,
    Cost,
    DataRecord,
    Evaluation,
    Order,
    Origin,
    Results,
    RunRecord,
    Shuffled,
    Videos,
)
from src.scores import Scores
from src.sweeps import manifest
from src.sweeps.manifest import Job, Manifest, Row

CLASSES = ["up", "down", "left", "right", "in", "out"]
ORIGIN = Origin("python -m src.train", "2026-11-22T10:00:00+00:00", None, "3.11.7", {"torch": "2.11"}, {"cores": "2"})
SETTINGS = {
    "version": 2,
    "model.name": "tiny",
    "pooling.name": "bert",
    "pooling.head.layers": 1,
    "modality.name": "rgb",
    "optim.name": "adamw",
    "data.name": "ordered_motions",
    "protocol.name": "paper",
}
COST = Cost(params=1_500_000, macs=2_000_000_000, operations=2_100_000_000)


def scores(right: Sequence[bool], split: int = 1, classes: list[str] = CLASSES) -> Scores:
    """Scores over videos of which the wrong ones are taken for the next class."""
    labels = np.arange(len(right), dtype=np.int64) % len(classes)
    predicted = np.where(right, labels, (labels + 1) % len(classes))
    values = np.zeros((len(right), len(classes)), dtype=np.float32)
    values[np.arange(len(right)), predicted] = 1
    videos = [f"split{split}/v{i}" for i in range(len(right))]
    return Scores(classes, videos, labels, values, np.ones(len(right), dtype=np.int64))


def share(count: int, of: int = 10) -> list[bool]:
    return [i < count for i in range(of)]


def write_run(
    folder: Path | str,
    right: Sequence[bool],
    *,
    split: int | None = 1,
    seed: int = 0,
    protocol: str = "paper",
    lists: str = "",
    root: str | None = None,
    name: str = "ordered_motions",
    settings: dict[str, Any] | None = None,
    made: Scores | None = None,
    **other: Any,
) -> Path:
    """What a finished run writes, with these videos right. other: fields of its results."""
    run = RunFolder(Path(folder))
    made = made or scores(right, split or 1)
    made.save(run.scores)
    settings = {**SETTINGS, "data.split": split, "seed": seed, **(settings or {})}
    data = DataRecord(
        schema=SCHEMA,
        name=name,
        root=root or f"/data{lists}",
        split=split,
        official=True,
        classes=made.classes,
        left_out=[],
        train=Videos(20, f"train{split}{lists}"),
        val=Videos(5, f"val{split}{lists}"),
        test=Videos(len(right), f"test{split}{lists}"),
        train_val=Videos(25, f"train_val{split}{lists}"),
    )
    fields: dict[str, Any] = {
        "cost": COST,
        "data": data,
        "best": Best(epoch=3, val_top1=50.0),
        "diverged": False,
        "metrics": made.metrics(),
        "tested": len(right),
        **other,
    }
    results = Results(
        schema=SCHEMA,
        title=run.path.name,
        identity=run.path.name,
        origin=ORIGIN,
        model="tiny",
        pooling="bert",
        modality="rgb",
        optimizer="adamw",
        protocol={"name": protocol, "fraction": None if protocol == "paper" else 0.1},
        split=split,
        seed=seed,
        epochs=5,
        checkpoint="checkpoints/best.ckpt",
        seconds={"fit": 1.5},
        unreadable={},
        settings=settings,
        **fields,
    )
    files.write_text(run.config, "model: {name: tiny}\n")
    records.write(run.run, RunRecord(SCHEMA, run.path.name, run.path.name, settings, [], ORIGIN))
    records.write(run.results, results)
    return run.path


def order_of(top1: float, shuffled: float, turned: float, hidden: Sequence[float]) -> Order:
    """Order sensitivity with these top-1s; of two draws one is two points above the mean and one below."""

    def changed(steps: list[int], to: float) -> Changed:
        return Changed(steps, to, top1 - to, 3, 1, 0.625)

    draws = [changed([1, 0], shuffled + 2), changed([1, 0], shuffled - 2)]
    return Order(
        steps=len(hidden),
        top1=top1,
        shuffled=Shuffled(shuffled, 2.8284, top1 - shuffled, 0.625, draws),
        reversed=changed([1, 0], turned),
        hidden=[changed([step], value) for step, value in enumerate(hidden)],
    )


def write_evaluation(folder: Path, order: Order | None, name: str = "2026-11-26_10-00-00", **other: Any) -> Path:
    """What testing a run's network again writes. other: fields of the record."""
    results = RunFolder(folder).read_results()
    assert results is not None and results.metrics is not None
    fields: dict[str, Any] = {
        "checkpoint": str(folder / "checkpoints/best.ckpt"),
        "test": results.data.test,
        "tested": results.tested,
        **other,
    }
    evaluation = Evaluation(
        schema=SCHEMA,
        run=str(folder),
        identity=results.identity,
        overrides=["test.order=true"],
        origin=ORIGIN,
        data=results.data.name,
        root=results.data.root,
        split=results.split,
        classes=results.data.classes,
        left_out=[],
        metrics=results.metrics,
        seconds=1.0,
        unreadable={},
        order=order,
        **fields,
    )
    path = RunFolder(folder).evaluations / name / "evaluation.json"
    records.write(path, evaluation)
    return path


def job(folder: Path | str, split: int | None = 1, seed: int = 0, data: str = "ordered_motions") -> Job:
    return Job(data, split, seed, ["pooling=bert", f"seed={seed}"], str(folder), str(folder))


def job_of(folder: Path) -> Job:
    """The job whose run has been written to a folder."""
    results = RunFolder(folder).read_results()
    assert results is not None
    return job(folder, results.split, results.seed, results.data.name)


def entry(
    name: str, folders: Sequence[Path] = (), streams: Sequence[str] = (), expected: dict[str, float] | None = None
) -> Entry:
    return Entry(name, [job_of(folder) for folder in folders], list(streams), expected or {})


def one_line(folders: Sequence[Path]) -> Line:
    (line,) = lines_of([entry("bert", folders)])
    return line


def write_manifest(rows: list[Row], name: str = "mini", table: str | None = None) -> Path:
    manifest.write(Manifest(SCHEMA, name, table, "A table of one's own", [], rows))
    return manifest.path_of(name)


def run_report(*words: str) -> int:
    """The command, as its words are read from the command line."""
    return report.report(parse(report.COMMAND, words))


def run_status(*words: str) -> int:
    return sweep.sweep(parse(sweep.COMMAND, ["status", *words]))
