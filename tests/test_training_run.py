"""Whole runs: what they leave, unreadable videos, checkpoints that do not fit."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from src.data.ordered_motions import lists
from src.errors import UnreadableVideoError, UserError
from src.scores import Scores

from tests.training_runs import own_videos, train, weights


@pytest.fixture(scope="session")
def motions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the small embedded set is kept for all tests of this module."""
    return tmp_path_factory.mktemp("motions")


@pytest.fixture
def small(motions: Path) -> list[str]:
    counts = ["data.train=16", "data.val=8", "data.test=8", "data.size=32", "data.workers=0"]
    return ["model=tiny", "pooling=bert", "logger=csv", f"data.root={motions}", *counts, "recipe.epochs=2"]


def test_a_run_leaves_all_that_its_result_needs(
    small: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, results = train(small, tmp_path / "run")
    scores = Scores.load(folder.scores)
    data = folder.read_data()
    assert folder.read_results() == results and data == results.data
    assert results.metrics == scores.metrics() and scores.classes == results.data.classes
    assert results.tested == len(scores.videos) == results.data.test.videos == 8
    assert results.protocol["name"] == "holdout" and not results.diverged
    assert results.cost.params == sum(value.numel() for name, value in weights(folder).items() if is_trained(name))
    assert 0 < results.cost.macs < results.cost.operations
    assert results.origin.revision is None or len(results.origin.revision["commit"]) == 40
    assert folder.curves()["val/top1"].keys() == {0, 1}
    assert 0 <= folder.curves()["train/top1"][0] <= 100
    assert {path.name for path in folder.checkpoints.iterdir()} == {"best.ckpt", "last.ckpt"}
    assert {"confusion.png", "confusion.csv", "attention.png"} <= {path.name for path in folder.path.iterdir()}
    assert str(folder) in capsys.readouterr().out
    with pytest.raises(UserError, match="has finished"):
        train(small, folder.path)


def is_trained(name: str) -> bool:
    buffers = ("running_mean", "running_var", "num_batches_tracked", "mean", "std")
    return name.startswith("recognizer.") and not name.endswith(buffers)


@pytest.mark.slow
def test_the_seed_settles_everything(small: list[str], tmp_path: Path) -> None:
    words = [*small, "recipe.epochs=1"]
    first, same, other = (
        weights(train([*words, more], tmp_path / f"run{i}")[0])
        for i, more in enumerate(("data.workers=0", "data.workers=2", "seed=1"))
    )
    assert all(torch.equal(value, same[name]) for name, value in first.items())
    assert not all(torch.equal(value, other[name]) for name, value in first.items())


@pytest.fixture
def broken(motions: Path, tmp_path: Path) -> tuple[list[str], str]:
    """The set as a folder of one's own, in which one training and one test video are no videos."""
    made = lists(str(motions), 0, 16, 8, 8, 32, 32)
    root = tmp_path / "own"
    shutil.copytree(made.root, root)
    rows = ["path,label,split"]
    for split in ("train", "val", "test"):
        rows += [f"{v.name},{made.classes[v.label]},{split}" for v in getattr(made, split)]
    (root / "list.csv").write_text("\n".join(rows))
    for video in (made.train[3], made.test[2]):
        (root / video.name).write_text(f"{video.name} is not a video")
    own = [*own_videos(root), f"data.csv={root}/list.csv", "model.clip.frame_size=[32,32]", "recipe.epochs=1"]
    return [*own, "data.workers=1"], made.test[2].name


def test_an_unreadable_video_ends_the_run_with_its_name(broken: tuple[list[str], str], tmp_path: Path) -> None:
    with pytest.raises(UnreadableVideoError, match=r"train_0001\.mp4: cannot be read"):
        train(broken[0], tmp_path / "run")


def test_skipped_videos_are_counted_and_named(
    broken: tuple[list[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, results = train([*broken[0], "data.on_error=skip"], tmp_path / "run")
    assert [len(results.unreadable[phase]) for phase in ("train", "test")] == [1, 1]
    assert results.tested == 7
    assert broken[1] not in Scores.load(folder.scores).videos
    assert broken[1] in capsys.readouterr().out


def test_without_any_readable_test_video_there_is_no_result(broken: tuple[list[str], str], tmp_path: Path) -> None:
    root = tmp_path / "own"
    for row in (root / "list.csv").read_text().splitlines():
        if row.endswith(",test"):
            (root / row.partition(",")[0]).write_text("no video")
    with pytest.raises(UserError, match=r"none of the 8 test videos can be read \(.*mp4.*\); replace them"):
        train([*broken[0], "data.on_error=skip", "data.allow_overlap=true"], tmp_path / "run")


def test_a_checkpoint_of_another_network_is_refused(small: list[str], tmp_path: Path) -> None:
    folder, _ = train([*small, "recipe.epochs=1", "test.enabled=false"], tmp_path / "run")
    record = json.loads(folder.run.read_text())
    for more, reason in ((["pooling.head.layers=2"], r"does not fit.*missing"), (["pooling=average"], "left over")):
        with pytest.raises(UserError, match=reason):
            train([*small, *more, f"ckpt_path={folder}"], tmp_path / "other")
    assert json.loads(folder.run.read_text()) == record
    assert not (tmp_path / "other").exists()


def test_fewer_epochs_than_a_checkpoint_has_are_refused(small: list[str], tmp_path: Path) -> None:
    folder, _ = train([*small, "test.enabled=false"], tmp_path / "run")
    with pytest.raises(UserError, match=r"has 2 epochs behind it, more than recipe\.epochs=1"):
        train([*small, "recipe.epochs=1", f"ckpt_path={folder}"], tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_file_that_is_no_checkpoint_is_refused(small: list[str], tmp_path: Path) -> None:
    (tmp_path / "x.ckpt").write_text("hello")
    with pytest.raises(UserError, match=r"x\.ckpt cannot be read"):
        train([*small, f"ckpt_path={tmp_path}/x.ckpt"], tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("where", ["", "clip"])
def test_one_class_is_one_line_and_leaves_no_folder(tree: Path, tmp_path: Path, where: str) -> None:
    root = tmp_path / "one"
    shutil.copytree(tree / "hop", root / "hop")
    for path in sorted((root / "hop").iterdir())[1 if where else 4 :]:
        path.unlink()
    with pytest.raises(UserError) as refused:
        train(own_videos(root), tmp_path / "run")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()
