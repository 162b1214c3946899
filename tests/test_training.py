"""Whole runs on a small embedded data set: what they write, unreadable videos, checkpoints that do not fit."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from src.data.ordered_motions import lists
from src.errors import UnreadableVideoError, UserError
from src.scores import Scores

from tests.small_runs import start, train_here

SMALL = ["data.train=16", "data.val=8", "data.test=8", "data.size=32", "data.workers=0"]


@pytest.fixture(scope="session")
def motions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the small embedded set is kept for all tests of this module."""
    return tmp_path_factory.mktemp("motions")


@pytest.fixture
def small(motions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    return ["model=tiny", "pooling=bert", "logger=csv", f"data.root={motions}", *SMALL, "recipe.epochs=1"]


def test_a_run_writes_all_that_its_result_needs(small: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    folder = train_here([*small, "recipe.epochs=2"])
    results = folder.read_results()
    assert results is not None
    scores = Scores.load(folder.scores)
    assert results.metrics == scores.metrics()
    assert results.tested == len(scores.videos) == results.data.test.videos == 8
    assert results.protocol["name"] == "holdout"
    assert results.origin.revision is None or len(results.origin.revision["commit"]) == 40
    assert results.data == folder.read_data() and results.data.classes == scores.classes
    assert results.cost.params > 200_000 and results.cost.operations > results.cost.macs > 0
    assert folder.curves()["val/top1"].keys() == {0, 1}
    assert {path.name for path in folder.checkpoints.iterdir()} == {"best.ckpt", "last.ckpt"}
    for name in ("confusion.png", "confusion.csv", "attention.png", "audit.json", "config.yaml", "run.json"):
        assert (folder.path / name).stat().st_size > 0, name
    assert not list(folder.path.rglob(".*.unfinished*"))
    assert str(folder) in capsys.readouterr().out


def test_the_seed_settles_everything(small: list[str]) -> None:
    first, second = train_here([*small, "run_dir=a"]), train_here([*small, "run_dir=b", "data.workers=2"])
    states = [torch.load(folder.last, weights_only=True)["state_dict"] for folder in (first, second)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    np.testing.assert_array_equal(Scores.load(first.scores).scores, Scores.load(second.scores).scores)


@pytest.fixture
def broken(motions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], Path, str]:
    """The set as a folder of one's own, in which one training and one test video are not videos."""
    monkeypatch.chdir(tmp_path)
    made = lists(str(motions), 0, 16, 8, 8, 32, 32)
    root = tmp_path / "own"
    shutil.copytree(made.root, root)
    rows = ["path,label,split"]
    for split in ("train", "val", "test"):
        rows += [f"{video.name},{made.classes[video.label]},{split}" for video in getattr(made, split)]
    (root / "list.csv").write_text("\n".join(rows))
    for video in (made.train[3], made.test[2]):
        (root / video.name).write_text(f"{video.name} is not a video")
    words = ["model=tiny", "pooling=bert", "logger=csv", "recipe.epochs=1", "data.workers=1"]
    words += ["data=folder", f"data.root={root}", "data.csv=list.csv"]
    words += ["model.clip.frames=32", "model.clip.crop=32", "model.clip.frame_size=[32,32]"]
    return words, root, made.test[2].name


def test_an_unreadable_video_ends_the_run_with_its_name(broken: tuple[list[str], Path, str]) -> None:
    with pytest.raises(UnreadableVideoError, match=r"\.mp4.*on_error=skip"):
        start(broken[0])


def test_skipped_videos_are_counted_and_named(
    broken: tuple[list[str], Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = train_here([*broken[0], "data.on_error=skip"])
    results = folder.read_results()
    assert results is not None
    assert [len(results.unreadable[phase]) for phase in ("train", "test")] == [1, 1]
    assert results.tested == 7
    assert broken[2] not in Scores.load(folder.scores).videos
    assert broken[2] in capsys.readouterr().out


def test_without_any_readable_test_video_there_is_no_result(broken: tuple[list[str], Path, str]) -> None:
    words, root, _ = broken
    for number, row in enumerate((root / "list.csv").read_text().splitlines()):
        if row.endswith(",test"):
            (root / row.partition(",")[0]).write_text(f"no video {number}")
    with pytest.raises(UserError, match=r"none of the 8 test videos can be read \(.*mp4.*\); replace them"):
        start([*words, "data.on_error=skip"])


def test_a_checkpoint_of_another_network_is_refused(small: list[str]) -> None:
    folder = train_here([*small, "test.enabled=false"])
    with pytest.raises(UserError, match=r"does not fit.*missing"):
        start([*small, "pooling.head.layers=2", f"ckpt_path={folder}", "run_dir=other"])
    assert not Path("other").exists()


def test_a_file_that_is_no_checkpoint_is_refused(small: list[str], tmp_path: Path) -> None:
    (tmp_path / "x.ckpt").write_text("hello")
    with pytest.raises(UserError, match=r"x\.ckpt cannot be read"):
        start([*small, "ckpt_path=x.ckpt"])
