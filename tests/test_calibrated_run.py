"""What a run and its evaluations say of calibration and intervals."""

import json
from pathlib import Path

import pytest
import torch
from src.evaluate import COMMAND, evaluate
from src.runs import records
from src.runs.folder import RunFolder
from src.runs.records import Evaluation
from src.scores import Scores

from tests.small_runs import exit_of, own_videos, train_here, write_classes

FITTED = 1.75


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("videos"))


@pytest.fixture(autouse=True)
def _fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few videos may fix no temperature."""
    monkeypatch.setattr("src.scores.fit_temperature", lambda scores, labels: FITTED)


def test_a_run_and_its_evaluation(videos: Path, tmp_path: Path) -> None:
    folder = train_here([*own_videos(videos), f"run_dir={tmp_path / 'run'}"])
    results = folder.read_results()
    assert results is not None and results.metrics is not None and results.calibration is not None
    scores, found = Scores.load(folder.scores), results.calibration
    plain, scaled = scores.confidences().measures(), scores.confidences(FITTED).measures()
    assert (found.bins, found.temperature) == (15, FITTED)
    assert [found.ece, found.nll] == pytest.approx([plain["ece"], plain["nll"]], abs=1e-4)
    assert [found.scaled_ece, found.scaled_nll] == pytest.approx([scaled["ece"], scaled["nll"]], abs=1e-4)
    assert results.metrics.keys() >= {"top1", "mean_class", "macro_f1"}
    assert results.intervals == scores.intervals() and results.intervals.keys() == results.metrics.keys() | {
        "ece",
        "nll",
    }
    assert torch.load(folder.best, weights_only=True)["temperature"] == FITTED

    assert exit_of(COMMAND, evaluate, f"run={folder}") == 0
    (path,) = folder.evaluations.glob("*/evaluation.json")
    again = records.read(path, Evaluation)
    assert again is not None and again.calibration == found and again.intervals == results.intervals


def test_test_videos_that_are_the_validation_videos_fit_no_temperature(videos: Path, tmp_path: Path) -> None:
    """In the paper's protocol they are the same: fitted on them the numbers would flatter."""
    folder = train_here([*own_videos(videos), "protocol=paper", f"run_dir={tmp_path / 'run'}"])
    results = folder.read_results()
    assert results is not None and results.calibration is not None
    assert results.data.val == results.data.test
    assert results.calibration.temperature is None and results.calibration.scaled_ece is None


def test_an_older_checkpoint_and_older_results_have_none(videos: Path, tmp_path: Path) -> None:
    folder = train_here([*own_videos(videos), f"run_dir={tmp_path / 'run'}"])
    content = torch.load(folder.best, weights_only=True)
    del content["temperature"]
    torch.save(content, folder.best)
    assert exit_of(COMMAND, evaluate, f"run={folder}") == 0
    (path,) = folder.evaluations.glob("*/evaluation.json")
    again = records.read(path, Evaluation)
    assert again is not None and again.calibration is not None and again.calibration.temperature is None
    older = json.loads(folder.results.read_text())
    for name in ("calibration", "intervals"):
        del older[name]
    folder.results.write_text(json.dumps(older))
    results = RunFolder(folder.path).read_results()
    assert results is not None and results.calibration is None and results.intervals == {}
