"""A run says where its time goes."""

import gzip
import io
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from src.training import timing
from src.training.timing import Throughput

from tests.training_runs import assert_same, own_videos, train


class Epochs:
    """Training on a clock of its own: each step waits for its clips, then computes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, workers: int = 1, ranks: int = 1) -> None:
        self.text, self.now = io.StringIO(), 100.0
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
        monkeypatch.setenv("LATE_CORES", str(8 // ranks))
        self.throughput = Throughput(Console(file=self.text, width=300), workers)
        self.trainer: Any = SimpleNamespace(world_size=ranks, is_global_zero=True)
        self.logged: dict[str, float] = {}
        self.module: Any = SimpleNamespace(log=lambda name, value, **_: self.logged.update({name: value}))

    def run(self, steps: int, wait: float, compute: float) -> str:
        """What an epoch prints."""
        before = len(self.text.getvalue())
        self.throughput.on_train_epoch_start(self.trainer, self.module)
        for step in range(steps):
            self.now += wait
            batch = {"clip": torch.zeros(4, 1, 3, 2, 2, 2)}
            self.throughput.on_train_batch_start(self.trainer, self.module, batch, step)
            self.now += compute
            self.throughput.on_train_batch_end(self.trainer, self.module, None, batch, step)
        self.now += 50  # validation
        self.throughput.on_train_epoch_end(self.trainer, self.module)
        return self.text.getvalue()[before:]


def test_clips_per_second_and_the_share_of_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    epochs = Epochs(monkeypatch, ranks=2)
    assert epochs.run(10, 0.1, 0.9) == ""
    assert epochs.logged["clips_per_second"] == pytest.approx(2 * 4)
    assert epochs.logged["waiting"] == pytest.approx(0.1)
    assert epochs.run(10, 0.5, 0.5) == ""  # five seconds are too few to tell
    assert epochs.logged["waiting"] == pytest.approx(0.5)


def test_a_loader_that_is_the_bottleneck_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    epochs = Epochs(monkeypatch, workers=1, ranks=2)
    said = "note: training waited for clips 75% of its time; give data.workers=4 instead of 1\n"
    assert epochs.run(20, 0.75, 0.25) == said
    assert epochs.run(20, 0.75, 0.25) == ""


def test_where_every_core_decodes_the_videos_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "store the videos smaller" in Epochs(monkeypatch, workers=8).run(20, 0.75, 0.25)


def test_a_single_core_that_decodes_between_the_steps_gets_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "store the videos smaller" in Epochs(monkeypatch, workers=0, ranks=8).run(20, 0.75, 0.25)


def test_an_epoch_without_a_step_is_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Epochs(monkeypatch).run(0, 0, 0) == ""


def test_a_profile_is_written_and_changes_nothing(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = own_videos(tree, "average")
    plain, _ = train(words, tmp_path / "plain")
    profiled, _ = train([*words, "trainer.profile=true"], tmp_path / "profiled")
    assert_same(profiled, plain)
    assert "aten::" in (profiled.profile / "operations.txt").read_text()
    trace = json.loads(gzip.decompress((profiled.profile / "trace.json.gz").read_bytes()))
    names = {event.get("name", "") for event in trace["traceEvents"]}
    assert "aten::convolution" in names
    assert "profile of 4 steps: " in capsys.readouterr().out  # of six, and two are passed over
    assert not plain.profile.exists()
