"""Small runs in this process, and ways to cut them off."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from src.build.compose import compose
from src.runs import start
from src.runs.folder import Curves, RunFolder
from src.runs.records import Results
from src.scores import Scores
from src.training import averaging, loop
from src.training.recognition import Recognition

from tests.small_runs import CLIP

TIMES = ("clips_per_second", "waiting", "gpu_memory_gb")  # curves that differ from run to run


class PowerCutError(RuntimeError):
    """The end of a process, as far as files can tell."""


@cache
def composed(words: tuple[str, ...]) -> DictConfig:
    return compose(list(words))


def own_videos(root: Path, pooling: str = "bert") -> list[str]:
    """Overrides for a small run of three epochs on a folder of videos."""
    settings = ["logger=csv", "recipe.epochs=3", "recipe.batch_size=4", "data.workers=0", "trainer.accelerator=cpu"]
    return ["model=tiny", f"pooling={pooling}", "data=folder", f"data.root={root}", *CLIP, *settings]


def train(words: list[str], run_dir: str | Path) -> tuple[RunFolder, Results]:
    """Train and test in this process, in a folder of its own or where it was cut off."""
    words = [*words, f"run_dir={run_dir}"]
    cfg = composed(tuple(words)).copy()
    with start.begin(cfg, words) as run:
        results = loop.run(cfg, run.folder, run.checkpoint)
    assert results is not None
    return run.folder, results


@contextmanager
def cut(monkeypatch: pytest.MonkeyPatch, epoch: int, step: int | None) -> Iterator[None]:
    """Cut a run off in an epoch (from 0) before a step of it, or, without a step, before the epoch begins."""
    name = "on_train_epoch_start" if step is None else "training_step"
    original = getattr(Recognition, name)

    def until(self: Recognition, *arguments: Any) -> Any:
        if self.current_epoch == epoch and (step is None or arguments[1] == step):
            raise PowerCutError
        return original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Recognition, name, until)
        with pytest.raises(PowerCutError):
            yield


@contextmanager
def cut_before_the_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Cut a run off between its last epoch and its test."""

    def end(session: loop.Session) -> None:
        raise PowerCutError

    with monkeypatch.context() as patch:
        patch.setattr(loop, "test", end)
        with pytest.raises(PowerCutError):
            yield


def weights(folder: RunFolder) -> dict[str, torch.Tensor]:
    """Of the last epoch; where they are averages also those that were trained."""
    content = torch.load(folder.last, weights_only=True)
    trained = content[averaging.KEY]["weights"] if averaging.KEY in content else {}
    return {**content["state_dict"], **{f"trained.{name}": value for name, value in trained.items()}}


def outcome(folder: RunFolder) -> tuple[dict[str, torch.Tensor], Scores, Curves]:
    """Weights, scores and curves: all that must be the same, bit by bit."""
    curves = folder.curves()
    for name in TIMES:
        curves.pop(name, None)
    return weights(folder), Scores.load(folder.scores), curves


def assert_same(one: RunFolder, other: RunFolder) -> None:
    first, second = outcome(one), outcome(other)
    assert first[0].keys() == second[0].keys()
    for name, value in first[0].items():
        assert torch.equal(value, second[0][name]), name
    assert first[1].videos == second[1].videos
    assert (first[1].scores == second[1].scores).all()
    assert first[2] == second[2]
