"""Many videos asked at once: tables, files, and what cannot be read."""

import csv
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from src import predict
from src.data.flow import flow_path
from src.data.make_flow import write_video as write_flow
from src.prediction import many, results
from src.prediction.network import Network
from src.prediction.results import Guess, Prediction

from tests.conftest import write_video
from tests.prediction.conftest import CLASSES, write_checkpoint
from tests.small_runs import exit_of

Capture = pytest.CaptureFixture[str]


def look(*words: str) -> int:
    return exit_of(predict.COMMAND, predict.predict, "data.workers=0", *words)


def lines(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(errors="surrogateescape"))))


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_together_they_get_what_each_gets_alone(opened: Network, folder: Path, workers: int) -> None:
    paths = [str(folder / name) for name in ("a.mp4", "in/d.mp4", "b.mp4", "in/c.mp4", "none.mp4")]
    opened.cfg.data.workers = workers
    together = many.ask(opened, paths)
    assert together.views.tolist() == [1, 0, 2, 3, 0]
    assert together.problems.keys() == {1, 4}
    assert all(paths[index] in reason for index, reason in together.problems.items())
    for index in (0, 2, 3):
        alone = many.ask(opened, [paths[index]])
        np.testing.assert_allclose(together.scores[index], alone.scores[0], rtol=1e-4, atol=1e-5)


def test_the_rest_is_done_and_bad_files_are_listed(checkpoint: Path, folder: Path, capsys: Capture) -> None:
    assert look(f"checkpoint={checkpoint}", str(folder), f"{folder}/none*.mp4", "top=1") == 1
    printed = capsys.readouterr()
    assert printed.out.count("│ ") > 3
    assert f"{folder}/in/\\x1b[31m.mp4" in printed.out
    assert "\x1b[31m" not in printed.out + printed.err
    first, *named = printed.err.splitlines()
    assert first.startswith("2 of 6 inputs could not be read")
    assert len(named) == 2
    assert "none*.mp4: the pattern matches no file" in named[0]
    assert "in/d.mp4: cannot be read as a video" in named[1]


def test_a_list_on_standard_input(
    checkpoint: Path, folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{folder}/a.mp4\n{folder}/b.mp4\n"))
    assert look(f"checkpoint={checkpoint}", "video=-", "top=1") == 0
    assert "b.mp4" in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert look(f"checkpoint={checkpoint}", "video=-") == 1
    assert "list on standard input is empty" in capsys.readouterr().err


def test_files_say_the_same(checkpoint: Path, folder: Path, tmp_path: Path, capsys: Capture) -> None:
    words = (f"checkpoint={checkpoint}", str(folder), "top=2")
    for name in ("p.csv", "p.JSONL"):
        assert look(*words, f"out={tmp_path / name}") == 1
        assert f"4 predictions: {tmp_path / name}" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"p.csv", "p.JSONL"}  # nothing unfinished
    rows = lines(tmp_path / "p.csv")
    assert list(rows[0]) == list(results.COLUMNS)
    objects = [json.loads(line) for line in (tmp_path / "p.JSONL").read_text().splitlines()]
    assert [one["video"] for one in objects] == list(dict.fromkeys(row["video"] for row in rows))
    for one in objects:
        own = [row for row in rows if row["video"] == one["video"]]
        if one["error"]:
            assert one["video"] == f"{folder}/in/d.mp4"
            assert own[0]["error"] == one["error"]
            assert own[0]["class"] == ""
            continue
        assert [row["class"] for row in own] == [guess["class"] for guess in one["classes"]]
        assert [row["rank"] for row in own] == ["1", "2"]
        assert own[0]["probability"] == str(one["classes"][0]["probability"])
        assert set(CLASSES) >= {row["class"] for row in own}


@pytest.mark.parametrize(
    ("out", "code", "said"),
    [
        ("p.txt", 2, ".csv, .jsonl, .parquet"),
        ("p", 2, ".csv, .jsonl, .parquet"),
        ("none/p.csv", 1, "no folder"),
        ("is.csv", 1, "is a folder"),
    ],
)
def test_a_wrong_out_is_refused_first(
    out: str, code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("is.csv").mkdir()
    assert look("run=nowhere", "video=a.mp4", f"out={out}") == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert [path.name for path in tmp_path.iterdir()] == ["is.csv"]


def test_parquet_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert look("run=nowhere", "video=a.mp4", f"out={tmp_path}/p.parquet") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "--extra parquet" in line


def test_parquet_says_the_same(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    predictions = [
        Prediction("a\udcff.mp4", 2, [Guess("hop", 0.75, 1.5), Guess("jump", 0.25, 0.5)]),
        Prediction("b.mp4", 0, [], "it is empty"),
    ]
    results.write(tmp_path / "p.parquet", predictions)
    rows = parquet.read_table(tmp_path / "p.parquet").to_pylist()
    assert [row["class"] for row in rows] == ["hop", "jump", None]
    assert rows[0]["video"] == "a\\udcff.mp4"
    assert rows[2]["error"] == "it is empty"


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p.csv").write_text("old")

    def full(self: Path, *arguments: object, **options: object) -> None:
        self.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        results.write(tmp_path / "p.csv", [Prediction("a.mp4", 1, [Guess("hop", 1.0, 0.0)])])
    assert (tmp_path / "p.csv").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_scores_that_are_not_finite(opened: Network, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opened.recognizer, "forward", lambda clip: torch.full((len(clip), 3), torch.nan))
    answers = many.ask(opened, [str(folder / "a.mp4")])
    assert "not finite" in answers.problems[0]
    assert answers.views[0] == 0


def test_two_streams_are_summed(checkpoint: Path, tmp_path: Path, capsys: Capture) -> None:
    flow = write_checkpoint(tmp_path / "flow.ckpt", "modality=flow", seed=1)
    root = tmp_path / "set"
    for number, name in enumerate(("a.mp4", "b.mp4")):
        write_video(root / name, 12, seed=number, g="8", bf="0")
    fields = np.random.default_rng(0).integers(0, 256, (11, 48, 64, 2), dtype=np.uint8)
    target = flow_path(root, "a.mp4")
    target.parent.mkdir()
    write_flow(target, fields, crf=12)
    score = {}
    for which, words in {"rgb": [checkpoint], "flow": [flow], "both": [checkpoint, flow]}.items():
        named = [f"checkpoint={word}" for word in words]
        code = look(*named, str(root), "top=3", f"out={tmp_path / which}.csv")
        assert code == (0 if which == "rgb" else 1)  # b.mp4 has no flow
        rows = [row for row in lines(tmp_path / f"{which}.csv") if row["video"].endswith("a.mp4")]
        score[which] = {row["class"]: float(row["score"]) for row in rows}
    for name in CLASSES:
        assert score["both"][name] == pytest.approx(score["rgb"][name] + score["flow"][name], abs=1e-4)
    problems = [row["error"] for row in lines(tmp_path / "both.csv") if row["video"].endswith("b.mp4")]
    assert len(problems) == 1
    assert "takes flow" in problems[0]
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "video="),
        (["video=a.mp4"], 2, "which network"),
        (["video=a.mp4", "top=0"], 2, "top=0"),
        (["video=a.mp4", "threshold=2"], 2, "threshold=2"),
        (["video=a.mp4", "threshold=0.5", "release=0.6"], 2, "release=0.6"),
        (["video=a.mp4", "shortest=-1"], 2, "shortest=-1"),
        (["video=a.mp4", "step=0"], 2, "step=0"),
        (["video=a.mp4", "windows=perhaps"], 2, "windows=perhaps"),
        (["video=a.mp4", "windows=true", "draw=true"], 2, "out=FOLDER"),
        (["video=rtsp://x/y", "draw=true", "out=o"], 2, "a file as video"),
        (["video=a.mp4", "flow=none"], 1, "flow=none"),
        (["video=a.mp4", "windows=true", "out=none/deep"], 1, "no folder"),
    ],
)
def test_mistakes_are_one_line(words: list[str], code: int, said: str, capsys: Capture) -> None:
    assert look(*words) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
