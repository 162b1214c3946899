"""Whole runs on a small embedded data set: what they leave, resuming, unreadable videos."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from src import evaluate, job, predict, run
from src.build.compose import compose
from src.errors import UnreadableVideoError, UserError
from src.recognition import Recognition
from src.scores import Scores


@pytest.fixture(scope="session")
def motions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the small embedded set is kept for all tests of this module."""
    return tmp_path_factory.mktemp("motions")


@pytest.fixture
def small(motions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    counts = ["data.train=16", "data.val=8", "data.test=8", "data.size=32", "data.workers=0"]
    return ["model=tiny", "pooling=bert", "logger=csv", f"data.root={motions}", *counts, "recipe.epochs=4"]


def start(overrides: list[str]) -> tuple[Path, dict[str, Any]]:
    cfg = compose(overrides)
    folder, checkpoint = run.prepare(cfg, overrides)
    return folder, job.run(cfg, folder, checkpoint)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    content = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    state: dict[str, torch.Tensor] = content["state_dict"]
    return state


def test_a_run_leaves_all_that_its_result_needs(small: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = start([*small, "recipe.epochs=2"])
    results = json.loads((folder / "results.json").read_text())
    scores = Scores.load(folder / "scores" / "test.npz")
    assert results["metrics"] == scores.metrics()
    assert results["tested"] == len(scores.videos) == results["data"]["test"]["videos"] == 8
    assert results["protocol"]["name"] == "holdout"
    assert results["revision"] is None or len(results["revision"]["commit"]) == 40
    assert run.read_curves(folder)["val/top1"].keys() == {0, 1}
    assert {p.name for p in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert str(folder) in capsys.readouterr().out

    again = evaluate.OPTIONS | {"run": str(folder)}
    evaluate.main([f"run={again['run']}", "test.crops=3", "checkpoint=last"])
    (file,) = folder.glob("evaluations/*/scores/test.npz")
    assert (Scores.load(file).views == 3 * scores.views).all()

    (video, *_) = (str(p) for p in Path(results["data"]["root"]).glob("*/test_*.mp4"))
    predict.main([f"run={folder}", f"video={video}", "top=2"])
    assert "1 views" in capsys.readouterr().out


def test_a_resumed_run_ends_with_the_same_weights(small: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    # A plateau that is reached at once, so that the schedule's state has to survive as well.
    overrides = [*small, "schedule.scheduler.patience=0", "optim.optimizer.lr=3e-3"]
    whole, results = start([*overrides, "run_dir=whole"])

    original = Recognition.on_train_epoch_start

    def interrupted(self: Recognition) -> None:
        if self.current_epoch == 2:
            raise RuntimeError("power cut")
        original(self)

    monkeypatch.setattr(Recognition, "on_train_epoch_start", interrupted)
    with pytest.raises(RuntimeError, match="power cut"):
        start([*overrides, "run_dir=cut"])
    monkeypatch.setattr(Recognition, "on_train_epoch_start", original)
    cut, resumed = start([*overrides, "run_dir=cut", "ckpt_path=last"])

    for name, value in weights(whole).items():
        assert torch.equal(value, weights(cut)[name]), name
    assert resumed["metrics"] == results["metrics"]
    assert run.read_curves(cut)["val/loss"] == run.read_curves(whole)["val/loss"]
    assert run.read_curves(cut)["lr"] == run.read_curves(whole)["lr"]


def test_the_seed_settles_everything(small: list[str]) -> None:
    first, _ = start([*small, "recipe.epochs=1", "run_dir=a"])
    second, _ = start([*small, "recipe.epochs=1", "run_dir=b", "data.workers=2"])
    assert all(torch.equal(value, weights(second)[name]) for name, value in weights(first).items())


@pytest.fixture
def broken(small: list[str], tmp_path: Path) -> tuple[list[str], str]:
    """The set as a folder of one's own, in which one training and one test video are no videos."""
    from src.data.ordered_motions import lists

    made = lists(small[3].removeprefix("data.root="), 0, 16, 8, 8, 32, 32, 1)
    root = tmp_path / "own"
    shutil.copytree(made.root, root)
    rows = ["path,label,split"]
    for split in ("train", "val", "test"):
        rows += [f"{v.name},{made.classes[v.label]},{split}" for v in getattr(made, split)]
    (root / "list.csv").write_text("\n".join(rows))
    for video in (made.train[3], made.test[2]):
        (root / video.name).write_text(f"{video.name} is not a video")
    own = ["data=folder", f"data.root={root}", "data.csv=list.csv", "model.clip.frames=32", "model.clip.crop=32"]
    common = [o for o in small if not o.startswith("data.")]
    clip = ["model.clip.frame_size=[32,32]", "data.workers=1", "recipe.epochs=1"]
    return [*common, *own, *clip], made.test[2].name


def test_an_unreadable_video_ends_the_run_with_its_name(broken: tuple[list[str], str]) -> None:
    with pytest.raises(UnreadableVideoError, match=r"\.mp4.*on_error=skip"):
        start(broken[0])


def test_skipped_videos_are_counted_and_named(
    broken: tuple[list[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, results = start([*broken[0], "data.on_error=skip"])
    assert [len(results["unreadable"][phase]) for phase in ("train", "test")] == [1, 1]
    assert results["tested"] == 7
    assert broken[1] not in Scores.load(folder / "scores" / "test.npz").videos
    assert broken[1] in capsys.readouterr().out


def test_without_any_readable_test_video_there_is_no_result(broken: tuple[list[str], str]) -> None:
    root = Path(next(word for word in broken[0] if word.startswith("data.root=")).removeprefix("data.root="))
    for row in (root / "list.csv").read_text().splitlines():
        if row.endswith(",test"):
            (root / row.partition(",")[0]).write_text("no video")
    with pytest.raises(UserError, match=r"none of the 8 test videos can be read \(.*mp4.*\); replace them"):
        start([*broken[0], "data.on_error=skip", "data.allow_overlap=true"])


def test_a_checkpoint_of_another_network_is_refused(small: list[str]) -> None:
    folder, _ = start([*small, "recipe.epochs=1", "test.enabled=false"])
    with pytest.raises(UserError, match=r"does not fit.*missing"):
        start([*small, "pooling.head.layers=2", f"ckpt_path={folder}", "run_dir=other"])


def test_a_file_that_is_no_checkpoint_is_refused(small: list[str], tmp_path: Path) -> None:
    (tmp_path / "x.ckpt").write_text("hello")
    with pytest.raises(UserError, match=r"x\.ckpt cannot be read"):
        start([*small, "ckpt_path=x.ckpt"])
