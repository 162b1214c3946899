"""A run's folder, read: what it was, what came out, its curves and its per-video scores.

Folders may be half there (killed, copied in part, made by an older version): what is missing is None and said in
`Run.problems`; nothing here ends a report.
"""

import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast
from zipfile import BadZipFile

from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from src.errors import UserError
from src.reports.statistics import Key
from src.run import read_curves
from src.scores import Scores

Curves = dict[str, dict[int, float]]  # metric → epoch (from 1) → value


@dataclass(frozen=True)
class Condition:
    """What two results must share to stand in one cell: protocol and data set, apart from the split's lists."""

    protocol: str
    data: str
    classes: int
    label_of_data: str = ""  # told apart by hand where one name stands for two sets of lists

    def __str__(self) -> str:
        return " · ".join(word for word in (self.protocol, self.data, self.label_of_data) if word)


@dataclass
class Run:
    """One finished or unfinished run. `metrics` is empty where no test has ended."""

    folder: Path
    config: DictConfig | None
    results: dict[str, Any]
    problems: list[str] = field(default_factory=list)

    @property
    def key(self) -> Key:
        """Split and seed."""
        return self.results.get("split"), self.results.get("seed", 0)

    @property
    def metrics(self) -> dict[str, float]:
        """top1, top3, top5 and mean_class in percent."""
        return self.results.get("metrics") or {}

    @property
    def condition(self) -> Condition:
        """Protocol and data, as far as the results tell."""
        data = self.results.get("data") or {}
        return Condition(protocol_label(self.results.get("protocol")), data.get("name", "?"), data.get("classes", 0))

    @property
    def lists(self) -> tuple[str, ...]:
        """SHA-256 of the test list and of all videos for training and validation, however a seed parts these."""
        data = self.results.get("data") or {}
        phases = ("test", "train_val") if "train_val" in data else ("test", "train", "val")
        return tuple((data.get(phase) or {}).get("sha256", "") for phase in phases)

    @property
    def test_videos(self) -> int | None:
        """How many videos the test list has."""
        count: int | None = ((self.results.get("data") or {}).get("test") or {}).get("videos")
        return count

    @cached_property
    def scores(self) -> Scores | None:
        """Per-video test scores; None (and a problem noted) where they cannot be read."""
        path = self.folder / "scores" / "test.npz"
        try:
            scores = Scores.load(path)
        except UserError as error:
            self.problems.append(str(error))
        except (OSError, ValueError, KeyError, BadZipFile, EOFError) as error:
            self.problems.append(f"{path}: cannot be read ({error}); test the run's checkpoint again")
        else:
            top1 = scores.metrics().get("top1") if scores.videos else None
            reported = self.metrics.get("top1")
            if top1 is None or reported is None or math.isclose(top1, reported, abs_tol=0.01):
                return scores
            self.problems.append(
                f"{path}: gives {top1:.2f} % top-1, but results.json says {reported:.2f} %; not used in comparisons"
            )
        return None

    @cached_property
    def curves(self) -> Curves:
        """What was logged once an epoch, epochs counted from 1; a resumed run's later rows win."""
        return {
            name.removesuffix("_epoch"): {e + 1: v for e, v in sorted(points.items()) if math.isfinite(v)}
            for name, points in read_curves(self.folder).items()
            if not name.endswith("_step") and not name.startswith("test/")
        }


def read_run(folder: Path) -> Run | None:
    """The run in `folder`, None where nothing of a run is there."""
    problems: list[str] = []
    results = {**_json(folder / "run.json", problems), **_json(folder / "results.json", problems)}
    config = _config(folder / "config.yaml", problems)
    if not results and config is None:
        return None
    return Run(folder, config, results, problems)


def protocol_label(protocol: Any) -> str:
    """A protocol in a few words: its name, and what it was given."""
    if not isinstance(protocol, dict):
        return str(protocol or "?")
    rest = [f"{key} {value}" for key, value in protocol.items() if key != "name" and value is not None]
    return " ".join([str(protocol.get("name", "?")), *([f"({', '.join(rest)})"] if rest else [])])


def _json(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text()) if path.is_file() else {}
    except (OSError, ValueError) as error:
        problems.append(f"{path}: cannot be read ({error})")
        return {}
    return content if isinstance(content, dict) else {}


def _config(path: Path, problems: list[str]) -> DictConfig | None:
    try:
        return cast(DictConfig, OmegaConf.load(path)) if path.is_file() else None
    except (OSError, ValueError, YAMLError) as error:
        problems.append(f"{path}: cannot be read ({' '.join(str(error).split())[:120]})")
        return None
