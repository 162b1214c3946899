"""Made-up run folders that hold what real runs write."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from src import files
from src.reports.rows import Job, Row
from src.reports.runs import read_run
from src.scores import Scores

CLASSES = ["up", "down", "left", "right", "in", "out"]
TINY = ["model=tiny", "data=ordered_motions", "logger=csv"]


def scores(right: Sequence[bool], split: int = 1, classes: list[str] = CLASSES) -> Scores:
    """Scores over videos of which the wrong ones are taken for the next class."""
    labels = np.arange(len(right), dtype=np.int64) % len(classes)
    predicted = np.where(right, labels, (labels + 1) % len(classes))
    values = np.zeros((len(right), len(classes)), dtype=np.float32)
    values[np.arange(len(right)), predicted] = 1
    videos = [f"split{split}/v{i}" for i in range(len(right))]
    return Scores(classes, videos, labels, values, np.ones(len(right), dtype=np.int64))


def write_run(
    folder: Path,
    right: Sequence[bool],
    config: DictConfig | None = None,
    split: int | None = 1,
    seed: int = 0,
    protocol: str = "paper",
    lists: str = "",
    name: str = "ordered_motions",
    **other: Any,
) -> Path:
    """What a finished run leaves behind, with these videos right."""
    made = other.pop("scores", None) or scores(right, split or 1)
    made.save(folder / "scores" / "test.npz")
    if config is not None:
        cfg = config.copy()
        cfg.seed = seed
        files.write_text(folder / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True))
    about = {"title": folder.name, "identity": folder.name}
    data = {phase: {"videos": len(right), "sha256": f"{phase}{split}{lists}"} for phase in ("test", "train_val")}
    results = {
        "protocol": {"name": protocol, "fraction": None if protocol == "paper" else 0.1},
        "split": split,
        "seed": seed,
        "parameters": 1,
        "data": {"name": name, "root": f"/data{lists}", "classes": len(made.classes), **data},
        "metrics": made.metrics(),
        "tested": len(right),
        "best": {"epoch": 3},
    }
    files.write_json(folder / "run.json", about)
    files.write_json(folder / "results.json", {**about, **results, **other})
    return folder


def share(count: int, of: int = 10) -> list[bool]:
    return [i < count for i in range(of)]


def row_of(name: str, folders: Sequence[Path], **other: Any) -> Row:
    def job(folder: Path) -> Job:
        run = read_run(folder)
        return Job(folder, run.key if run else (1, 9))

    return Row(name, [job(folder) for folder in folders], **other)


def write_manifest(rows: list[dict[str, Any]], name: str = "mini") -> None:
    about = {"experiment": name, "table": None, "title": "A table of one's own", "overrides": []}
    files.write_json(Path("outputs/sweeps") / f"{name}.json", {**about, "rows": rows})


def job(folder: str, split: int | None = 1, seed: int = 0, data: str = "ordered_motions") -> dict[str, Any]:
    overrides = [*TINY, "pooling=bert", f"seed={seed}"]
    return {
        "data": data,
        "split": split,
        "seed": seed,
        "overrides": overrides,
        "folder": folder,
        "identity": folder,
    }
