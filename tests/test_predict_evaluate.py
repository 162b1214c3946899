"""A run's network used again: the classes are the run's own, whatever has become of its data."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from src import evaluate, predict
from src.build.recorded import compose_recorded
from src.data.make_flow import write_video as write_flow
from src.reports.runs import read_run
from src.runs import records, trained
from src.runs.folder import RunFolder
from src.runs.records import Evaluation
from src.scores import Scores
from src.training import loop

from tests.small_runs import CLASSES, exit_of, own_videos, train_here, write_classes

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    base = tmp_path_factory.mktemp("made")
    return train_here([*own_videos(write_classes(base / "videos")), f"run_dir={base / 'run'}", "recipe.epochs=2"])


@pytest.fixture
def videos(made: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the data, in the current folder."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(made.path.parent / "videos", tmp_path / "videos"))


def test(run: RunFolder, *words: str) -> int:
    return exit_of(evaluate.COMMAND, evaluate.evaluate, f"run={run}", *words)


test.__test__ = False  # type: ignore[attr-defined]


def look(run: RunFolder, *words: str) -> int:
    return exit_of(predict.COMMAND, predict.predict, f"run={run}", *words)


def newest(run: RunFolder) -> tuple[Evaluation, Scores]:
    folder = max(run.evaluations.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    record = records.read(folder / "evaluation.json", Evaluation)
    assert record is not None
    return record, Scores.load(folder / "scores" / "test.npz")


def rows(text: str) -> dict[str, float]:
    """Class → probability of a printed table."""
    cells = [line.strip("│").split("│") for line in text.splitlines() if line.startswith("│")]
    return {name.strip(): float(value) for name, value in cells}


def test_testing_again_gives_the_same_scores(made: RunFolder, videos: Path) -> None:
    assert test(made, f"data.root={videos}") == 0
    record, scores = newest(made)
    first = Scores.load(made.scores)
    assert scores.videos == first.videos
    np.testing.assert_array_equal(scores.scores, first.scores)
    results = made.read_results()
    assert results is not None
    assert record.metrics == results.metrics
    assert record.test == results.data.test
    assert record.overrides == [f"data.root={videos}"]
    assert record.identity == results.identity


def test_more_crops_are_more_views(made: RunFolder) -> None:
    assert test(made, "test.crops=3", "checkpoint=last") == 0
    record, scores = newest(made)
    assert (scores.views == 3 * Scores.load(made.scores).views).all()
    assert record.checkpoint.endswith("last.ckpt")


def test_the_order_of_time_is_tested_again(made: RunFolder, capsys: Capture) -> None:
    assert test(made, "order=true") == 0
    assert "time steps shuffled" in capsys.readouterr().out
    record, scores = newest(made)
    np.testing.assert_array_equal(scores.scores, Scores.load(made.scores).scores)
    assert record.order is not None and record.order.shuffled is not None
    assert record.order.top1 == record.metrics["top1"]
    assert (record.order.shuffled.drop, record.order.shuffled.p) == (0, 1)  # average pooling
    run = read_run(made)
    assert run is not None and (run.order, run.problems) == (record.order, [])
    for words in (["order=perhaps"], ["test.order=perhaps"], ["order="]):
        assert test(made, *words) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert test(made) == 0
    assert newest(made)[0].order is None
    run = read_run(made)
    assert run is not None and run.order == record.order


def test_two_evaluations_in_one_second_get_two_folders(made: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(trained.datetime):  # type: ignore[name-defined, misc]
        @classmethod
        def now(cls, tz: object = None) -> "Clock":
            return cls(2030, 1, 1)

    monkeypatch.setattr(trained, "datetime", Clock)
    names = [trained.new_evaluation(made).name for _ in range(3)]
    assert names == ["2030-01-01_00-00-00", "2030-01-01_00-00-00_2", "2030-01-01_00-00-00_3"]


def test_predict_names_the_class_that_was_trained(made: RunFolder, videos: Path, capsys: Capture) -> None:
    clip = shutil.copy(videos / "walk" / "clip0.mp4", "clip.mp4")
    said = []
    for change in (lambda: None, lambda: (videos / "jump").rename(videos / "zumba"), lambda: shutil.rmtree(videos)):
        change()
        capsys.readouterr()
        assert look(made, f"video={clip}", f"data.root={videos}") == 0
        said.append(rows(capsys.readouterr().out))
    assert said[0].keys() == set(CLASSES)
    assert sum(said[0].values()) == pytest.approx(1, abs=0.002)
    assert said[0] == said[1] == said[2]


def test_predict_says_what_the_test_says(made: RunFolder, capsys: Capture) -> None:
    scores = Scores.load(made.scores)
    capsys.readouterr()
    for name, logits in zip(scores.videos, scores.scores, strict=True):
        assert look(made, f"video={made.path.parent / 'videos' / name}") == 0
        shares = np.exp(logits) / np.exp(logits).sum()
        expected = dict(zip(scores.classes, shares.tolist(), strict=True))
        assert rows(capsys.readouterr().out) == pytest.approx(expected, abs=0.001)


def test_evaluate_refuses_classes_that_were_not_trained(made: RunFolder, videos: Path, capsys: Capture) -> None:
    (videos / "jump").rename(videos / "zumba")
    before = sorted(made.path.rglob("*"))
    assert test(made, f"data.root={videos}") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "zumba" in line
    assert all(name in line for name in CLASSES)
    assert sorted(made.path.rglob("*")) == before


@pytest.mark.parametrize("left", [("run", "walk"), ("walk",)])
def test_a_part_of_the_classes_is_matched_by_name(
    made: RunFolder, videos: Path, left: tuple[str, ...], capsys: Capture
) -> None:
    for name in set(CLASSES) - set(left):
        shutil.rmtree(videos / name)
    whole = Scores.load(made.scores)
    assert test(made, f"data.root={videos}") == 0
    assert "note: this is not the test list" in capsys.readouterr().out
    record, scores = newest(made)
    assert record.classes == scores.classes == whole.classes
    for name, label in zip(scores.videos, scores.labels, strict=True):
        assert scores.classes[label] == name.split("/")[0]
        if name in whole.videos:
            np.testing.assert_array_equal(
                scores.scores[scores.videos.index(name)], whole.scores[whole.videos.index(name)]
            )


def test_only_test_videos_are_needed(made: RunFolder, videos: Path, capsys: Capture) -> None:
    """Neither a training side, nor that its videos can be used."""
    whole = Scores.load(made.scores)
    clip = whole.videos[0]
    Path("one.csv").write_text(f"path,label,split\n{clip},{clip.split('/')[0]},test\n")
    (Path("held out/test") / clip).parent.mkdir(parents=True)
    shutil.copy(videos / clip, Path("held out/test") / clip)
    for words in ((f"data.root={videos}", "data.csv=one.csv"), ("data.root=held out",)):
        assert test(made, *words) == 0, capsys.readouterr().err
        scores = newest(made)[1]
        assert [name.removeprefix("test/") for name in scores.videos] == [clip]
        np.testing.assert_allclose(scores.scores[0], whole.scores[0], atol=1e-5)  # alone in its batch
        assert scores.classes[scores.labels[0]] == clip.split("/")[0]


def test_a_flow_network_refuses_an_rgb_video(made: RunFolder, videos: Path, capsys: Capture) -> None:
    """The network is made, not trained: a flow file is a gray video that says so."""
    run = RunFolder(Path(shutil.copytree(made.path, "run")))
    content = json.loads(run.run.read_text())
    content["overrides"].append("modality=flow")
    run.run.write_text(json.dumps(content))
    module = loop.recognition(compose_recorded(content["overrides"]), list(CLASSES))
    torch.save({"state_dict": module.state_dict(), "epoch": 0}, run.best)
    assert look(run, f"video={videos / 'run' / 'clip0.mp4'}") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "clip0.mp4" in line
    assert "flow" in line


def test_an_rgb_network_refuses_flow(made: RunFolder, tmp_path: Path, capsys: Capture) -> None:
    fields = np.random.default_rng(0).integers(0, 256, (12, 48, 64, 2), dtype=np.uint8)
    write_flow(tmp_path / "flow.mkv", fields, crf=12)
    assert look(made, f"video={tmp_path / 'flow.mkv'}") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "flow.mkv" in line
    assert "takes RGB" in line


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["video=none.mp4"], 1, "none.mp4"),
        (["video=clip.txt"], 1, "clip.txt"),
        (["video=clip.txt", "top=0"], 2, "top=0"),
        (["video=clip.txt", "top=two"], 2, "top=two"),
        (["video=clip.txt", "checkpoint=none.ckpt"], 1, "none.ckpt"),
        (["video=clip.txt", "checkpoint=clip.txt"], 1, "clip.txt"),
        (["video=clip.txt", "test.crops=4"], 2, "1, 3, 10"),
        (["video=clip.txt", "no.such=1"], 2, "no.such"),
        (["video=clip.txt", "vido=x"], 2, "video="),
        (["video=clip.txt", "pooling=bert"], 1, "does not fit"),
        ([], 2, "video="),
    ],
)
def test_mistakes_are_one_line(
    made: RunFolder, videos: Path, words: list[str], code: int, said: str, capsys: Capture
) -> None:
    Path("clip.txt").write_text("no video")
    assert look(made, *words) == code
    printed = capsys.readouterr()
    assert said in printed.err
    assert len(printed.err.splitlines()) == 1


def test_another_split_is_refused_unless_allowed(made: RunFolder, videos: Path, capsys: Capture) -> None:
    """Own lists have no split: as if the run had been trained on one."""
    run = RunFolder(Path(shutil.copytree(made.path, "run")))
    run.data.write_text(run.data.read_text().replace('"split": null', '"split": 1'))
    assert test(run) == 1
    assert "allow_split_mismatch=true" in capsys.readouterr().err
    for spelling in ("true", "True", "TRUE"):
        assert test(run, f"allow_split_mismatch={spelling}", "trainer.limit_test_batches=1") == 0
    assert test(run, "allow_split_mismatch=perhaps") == 2


def test_the_run_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.chdir(tmp_path)
    assert test(RunFolder(Path("nowhere"))) == 1
    assert "run=nowhere" in capsys.readouterr().err
    assert exit_of(evaluate.COMMAND, evaluate.evaluate) == 2


def test_a_full_disk_loses_no_figures_and_leaves_no_half_evaluation(
    made: RunFolder, videos: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def full(path: Path, record: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    before = set(made.evaluations.glob("*"))
    monkeypatch.setattr(records, "write", full)
    assert test(made, f"data.root={videos}") == 1
    said = capsys.readouterr()
    assert "top1" in said.out
    assert said.err.count("\n") == 1 and "evaluation.json: No space left on device; make room" in said.err
    assert set(made.evaluations.glob("*")) == before
