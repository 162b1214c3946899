"""A run that was cut off and resumed ends, bit by bit, as if nothing had happened, with any number of workers."""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from src.config import ROOT
from src.errors import UserError
from src.runs.folder import RunFolder
from src.runs.records import Best
from src.training import averaging, checkpoints, loop

from tests.conftest import write_video
from tests.training_runs import assert_same, composed, cut, cut_before_the_test, own_videos, train

# A plateau that is reached at once, so that the schedule's state has to survive as well.
PLATEAU = ("schedule.scheduler.patience=0", "optim.optimizer.lr=3e-3", "recipe.batch_size=3", "test.view_batch=3")
# All that a recipe may add, with as many steps an epoch as the others have.
EVERYTHING = ("recipe=finetune", "recipe.batch_size=4", "recipe.accumulate=2", "recipe.warmup=0.7", "test.view_batch=3")
KINDS = {"average": PLATEAU, "bert": PLATEAU, "finetune": EVERYTHING}
CUTS = [(1, None), (2, None), (0, 1), (1, 1), (2, 2)]  # epoch, step


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of seven clips, of which eight are trained on: three steps an epoch."""
    root = tmp_path_factory.mktemp("videos")
    for i in range(14):
        write_video(root / ("hop", "skip")[i % 2] / f"{i}.mp4", 9 + i, seed=i, g="8", bf="0")
    return root


@pytest.fixture(scope="module")
def undisturbed(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunFolder]:
    """One run of each kind, without workers."""
    base = tmp_path_factory.mktemp("undisturbed")
    return {kind: train(overrides(videos, kind), base / kind)[0] for kind in KINDS}


def overrides(videos: Path, kind: str) -> list[str]:
    return [*own_videos(videos, "average" if kind == "average" else "bert"), *KINDS[kind]]


QUICK = [
    *(("bert", 1, None), ("bert", 2, None), ("bert", 0, (2, None)), ("bert", 1, (1, 1))),
    *(("finetune", 2, None), ("finetune", 0, (1, None)), ("finetune", 0, (2, 1))),
]
MATRIX = list(itertools.product(KINDS, (0, 1, 2), (None, *CUTS)))


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "kind, workers, where",
    [*QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in MATRIX if case not in QUICK)],
)
def test_workers_and_cuts_change_nothing(
    kind: str,
    workers: int,
    where: tuple[int, int | None] | None,
    videos: Path,
    undisturbed: dict[str, RunFolder],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [*overrides(videos, kind), f"data.workers={workers}"]
    if where is not None:
        with cut(monkeypatch, *where):
            train(words, tmp_path / "run")
    folder, results = train(words, tmp_path / "run")
    assert_same(folder, undisturbed[kind])
    expected = undisturbed[kind].read_results()
    assert expected is not None
    assert (results.metrics, results.best, results.epochs) == (expected.metrics, expected.best, 3)


def test_a_run_that_was_cut_off_before_its_test_is_tested(
    videos: Path, undisturbed: dict[str, RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = overrides(videos, "bert")
    with cut_before_the_test(monkeypatch):
        train(words, tmp_path / "run")
    assert_same(train(words, tmp_path / "run")[0], undisturbed["bert"])


def test_an_epoch_with_a_checkpoint_is_in_the_curves_on_the_disk(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is killed there goes on behind it."""
    original = checkpoints.BestAndLast.on_train_epoch_end
    folder, seen = RunFolder(tmp_path / "run"), []

    def written(self: checkpoints.BestAndLast, trainer: Trainer, module: LightningModule) -> None:
        original(self, trainer, module)
        assert folder.last.is_file()
        curves = folder.curves()
        seen.append([sorted(curves[name]) for name in ("train/loss_epoch", "train/top1", "lr", "val/loss", "val/top1")])

    monkeypatch.setattr(checkpoints.BestAndLast, "on_train_epoch_end", written)
    train(overrides(videos, "average"), folder.path)
    assert seen == [[[*range(epoch + 1)]] * 5 for epoch in range(3)]


def test_without_a_validation_the_last_epoch_is_tested_before_and_after_a_cut(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*overrides(videos, "bert"), "trainer.limit_val_batches=0", "recipe.epochs=2"]
    whole, results = train(words, tmp_path / "whole")
    assert results.best is None and results.checkpoint == "checkpoints/last.ckpt"
    with cut(monkeypatch, 1, 1):
        train(words, tmp_path / "cut")
    assert_same(train(words, tmp_path / "cut")[0], whole)


def test_early_stopping_stops_at_the_same_epoch(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.scores.Scores.loss", lambda scores: 1.0)  # no epoch has a lower one
    words = [*overrides(videos, "average"), "recipe.epochs=9", "early_stopping=2"]
    whole, results = train(words, tmp_path / "whole")
    assert results.epochs == 3
    with cut(monkeypatch, 1, None):
        train(words, tmp_path / "cut")
    assert_same(train(words, tmp_path / "cut")[0], whole)
    with cut_before_the_test(monkeypatch):
        train(words, tmp_path / "untested")
    assert_same(train(words, tmp_path / "untested")[0], whole)  # and trains no epoch more


def test_a_longer_run_from_a_checkpoint_ends_as_if_it_had_been_planned(
    videos: Path, undisturbed: dict[str, RunFolder], tmp_path: Path
) -> None:
    words = overrides(videos, "bert")
    short, _ = train([*words, "recipe.epochs=1"], tmp_path / "short")
    long, results = train([*words, f"ckpt_path={short}"], tmp_path / "long")
    expected = undisturbed["bert"].read_results()
    assert expected is not None and results.metrics == expected.metrics and results.best == expected.best
    assert long.best.is_file()


def test_the_best_epoch_of_another_folder_comes_along(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = overrides(videos, "bert")
    short, _ = train([*words, "recipe.epochs=1"], tmp_path / "short")
    monkeypatch.setattr("src.scores.Scores.metrics", lambda scores: {"top1": 0.0})  # no epoch is better
    moved, results = train([*words, f"ckpt_path={short}", "recipe.epochs=2"], tmp_path / "long")
    assert results.best == Best(0, short.curves()["val/top1"][0])
    assert moved.best.read_bytes() == short.best.read_bytes()


def command(words: list[str], folder: Path) -> list[str]:
    return [sys.executable, "-m", "src.train", *words, f"run_dir={folder}"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("devices", [1, 2])
def test_killed_processes_and_ranks_change_nothing(kind: str, devices: int, videos: Path, tmp_path: Path) -> None:
    """The command as a user types it: kill -9 after each epoch and in the middle of one, and the same again."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ranks = [f"trainer.devices={devices}", *(["trainer.strategy=ddp"] if devices > 1 else [])]
    runs = []
    for workers in (0, 1, 2):
        words = [*overrides(videos, kind), *ranks, f"data.workers={workers}"]
        calm, cut_off = RunFolder(tmp_path / f"calm{workers}"), RunFolder(tmp_path / f"cut{workers}")
        assert subprocess.run(command(words, calm.path), env=environment).returncode == 0
        for lines in (1, 2):  # of epochs that have ended
            process = subprocess.Popen(
                command(words, cut_off.path), env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
            )
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(f"epoch {lines}/"):
                    time.sleep(0.05 * workers)  # at its end, or in the next
                    break
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if cut_off.read_results() is None:  # it may have ended before the signal came
            assert subprocess.run(command(words, cut_off.path), env=environment).returncode == 0
        runs += [calm, cut_off]
    for run in runs[1:]:
        assert_same(run, runs[0])


def test_averaged_weights_are_what_is_validated_tested_and_used(
    videos: Path, undisturbed: dict[str, RunFolder]
) -> None:
    folder = undisturbed["finetune"]
    best, last = (torch.load(path, weights_only=True) for path in (folder.best, folder.last))
    assert last[averaging.KEY]["updates"] == 3 * 2 and last[averaging.KEY]["decay"] == 0.999
    trained = last[averaging.KEY]["weights"]
    assert any(not torch.equal(trained[name], last["state_dict"][f"recognizer.{name}"]) for name in trained)
    cfg = composed(tuple(overrides(videos, "finetune")))
    module, data = loop.assemble(cfg)
    checkpoints.restore(module, folder.best)
    module.recognizer.eval()
    with torch.inference_mode():
        batches = list(data.val_dataloader())
        scores = torch.cat([module.logits(batch)[:, 0] for batch in batches])
    loss = torch.nn.functional.cross_entropy(scores, torch.cat([batch["label"] for batch in batches]))
    epoch = best["epoch"]
    assert folder.curves()["val/loss"][epoch] == pytest.approx(loss.item(), rel=1e-4)


@pytest.mark.parametrize(("had", "has"), [("null", "0.9"), ("0.9", "null")])
def test_a_run_with_averages_goes_on_from_such_a_one_only(had: str, has: str, videos: Path, tmp_path: Path) -> None:
    words = [*overrides(videos, "average"), "test.enabled=false"]
    first, _ = train([*words, "recipe.epochs=1", f"recipe.ema={had}"], tmp_path / "first")
    with pytest.raises(UserError, match=r"averages of the weights to go on from; give recipe\.ema"):
        train([*words, f"recipe.ema={has}", f"ckpt_path={first}"], tmp_path / "second")
