"""Losses that are not finite, and epochs without a validation."""

import math
from pathlib import Path
from typing import Any

import pytest
from src.errors import UserError
from src.runs.folder import RunFolder
from src.scores import Scores
from src.training.recognition import DivergedError, Recognition

from tests.training_runs import cut, own_videos, train


@pytest.fixture
def words(tree: Path) -> list[str]:
    """Two epochs of two steps."""
    return [*own_videos(tree, "average"), "recipe.epochs=2", "schedule=constant"]


@pytest.fixture
def _spoilt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network gives NaN in the first step of the second epoch, once."""
    original = Recognition.logits

    def spoilt(self: Recognition, batch: Any) -> Any:
        logits = original(self, batch)
        in_place = self.training and self.current_epoch == 1 and not self.diverged
        return logits * math.nan if in_place else logits

    monkeypatch.setattr(Recognition, "logits", spoilt)


@pytest.mark.usefixtures("_spoilt")
def test_a_loss_that_is_not_finite_ends_the_run(words: list[str], tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"the loss is nan in epoch 2, step 2 \(learning rate 0\.001\)") as stopped:
        train(words, tmp_path / "run")
    assert "recipe.lr" in str(stopped.value) and "on_divergence=continue" in str(stopped.value)
    folder = RunFolder(tmp_path / "run")
    assert folder.read_results() is None and folder.last.is_file()  # of the epoch before


@pytest.mark.usefixtures("_spoilt")
def test_who_goes_on_knowingly_gets_results_that_say_so(words: list[str], tmp_path: Path) -> None:
    folder, results = train([*words, "on_divergence=continue"], tmp_path / "run")
    assert results.diverged and folder.read_results() == results
    assert results.best is not None and math.isfinite(results.best.val_top1)
    assert len(Scores.load(folder.scores).videos) == results.tested


@pytest.mark.parametrize("rate", ["1e10", "1e30"])
def test_an_absurd_learning_rate_is_found_out(rate: str, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"training has diverged; try a smaller recipe\.lr"):
        train([*words, "optim=sgd", f"recipe.lr.sgd={rate}", "recipe.epochs=5"], tmp_path / "run")


def test_weights_that_the_last_step_spoils_are_found_out(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All losses are finite, and the network is worth nothing."""

    original = Recognition.on_validation_epoch_start

    def start(self: Recognition) -> None:
        if self.current_epoch == 1:
            spoil(self)
        original(self)

    monkeypatch.setattr(Recognition, "on_validation_epoch_start", start)
    with pytest.raises(DivergedError, match="scores of the validation videos are not finite in epoch 2"):
        train(words, tmp_path / "validated")
    monkeypatch.setattr("src.training.checkpoints.restore", lambda module, path: spoil(module))
    with pytest.raises(DivergedError, match="scores of the test videos are not finite"):
        train([*words, "trainer.limit_val_batches=0"], tmp_path / "tested")


def spoil(module: Recognition) -> None:
    for parameter in module.recognizer.parameters():
        parameter.data.fill_(math.nan)


def test_what_was_seen_before_a_cut_is_still_known(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def note(self: Recognition, original: Any = Recognition.on_train_epoch_end) -> None:
        self.diverged = self.diverged or self.current_epoch == 0
        self.unreadable["train"].update(["x.mp4: cannot be read"] if self.current_epoch == 0 else [])
        original(self)

    monkeypatch.setattr(Recognition, "on_train_epoch_end", note)
    with cut(monkeypatch, 1, 0):
        train([*words, "on_divergence=continue"], tmp_path / "run")
    _, results = train([*words, "on_divergence=continue"], tmp_path / "run")
    assert results.diverged and results.unreadable == {"train": ["x.mp4: cannot be read"]}


@pytest.mark.parametrize("schedule", ["plateau", "cosine", "constant"])
def test_a_schedule_and_the_best_epoch_follow_validations_only(
    schedule: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.scores.Scores.loss", lambda scores: 1.0)  # a plateau from the second validation on
    more = ["trainer.check_val_every_n_epoch=2", "recipe.epochs=5", f"schedule={schedule}", "early_stopping=9"]
    more += ["schedule.scheduler.patience=0"] if schedule == "plateau" else []
    folder, results = train([*words, *more], tmp_path / "run")
    curves = folder.curves()
    assert list(curves["val/loss"]) == list(curves["val/top1"]) == [1, 3]
    assert results.best is not None and results.best.epoch in (1, 3)
    if schedule == "plateau":
        assert list(curves["lr"].values()) == pytest.approx([1e-3, 1e-3, 1e-3, 1e-3, 1e-4])


@pytest.mark.parametrize("schedule", ["plateau", "cosine"])
def test_without_validations_the_last_epoch_counts(schedule: str, words: list[str], tmp_path: Path) -> None:
    more = ["trainer.limit_val_batches=0", f"schedule={schedule}", "early_stopping=1"]
    folder, results = train([*words, *more], tmp_path / "run")
    assert (results.best, results.epochs, results.checkpoint) == (None, 2, "checkpoints/last.ckpt")
    assert "val/loss" not in folder.curves() and not folder.best.exists()


def test_steps_that_end_in_the_middle_of_an_epoch(words: list[str], tmp_path: Path) -> None:
    folder, results = train([*words, "+trainer.max_steps=1", "schedule=plateau"], tmp_path / "run")
    assert all(math.isfinite(value) for points in folder.curves().values() for value in points.values())
    assert results.metrics is not None and folder.last.is_file()


def test_nothing_to_train_on_tests_the_network_as_it_is(words: list[str], tmp_path: Path) -> None:
    _, results = train([*words, "trainer.limit_train_batches=0"], tmp_path / "run")
    assert (results.epochs, results.checkpoint, results.best) == (0, None, None)
    assert results.tested == 3


def test_a_validation_of_which_no_video_can_be_read(words: list[str], tmp_path: Path, tree: Path) -> None:
    rows = ["path,label,split"]
    rows += [
        f"{path},{path.parent.name},{'train' if i % 2 else 'test'}"
        for i, path in enumerate(sorted(tree.rglob("*.mp4")))
    ]
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video")
    (tmp_path / "list.csv").write_text("\n".join([*rows, f"{broken},hop,val"]))
    more = [f"data.csv={tmp_path}/list.csv", "data.on_error=skip", "schedule=plateau"]
    folder, results = train([*words, *more], tmp_path / "run")
    assert results.best is None and "val/top1" not in folder.curves()
    assert [len(messages) for messages in results.unreadable.values()] == [1]
    with pytest.raises(UserError, match="broken"):
        train([*words, *more, "data.on_error=raise"], tmp_path / "strict")


@pytest.mark.parametrize("steps", [[], ["+trainer.max_steps=1"]])
def test_a_last_step_that_diverges_leaves_no_checkpoint(
    steps: list[str], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No step and no validation follow that would look at its loss."""
    last = 0 if steps else 1

    def loss(self: Recognition, *arguments: Any, original: Any = Recognition.loss) -> Any:
        return original(self, *arguments) * (math.nan if self.global_step == last else 1)

    monkeypatch.setattr(Recognition, "loss", loss)
    more = ["recipe.epochs=1", "trainer.limit_val_batches=0", *steps]
    with pytest.raises(DivergedError, match=f"the loss is nan in epoch 1, step {last} "):
        train([*words, *more], tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    assert not folder.last.exists() and not folder.best.exists() and folder.read_results() is None
