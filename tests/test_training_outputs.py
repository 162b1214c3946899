"""Results come first: whatever a name or a picture does, results and scores are written."""

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytorch_lightning.loggers import CSVLogger
from src.runs import records
from src.runs.records import Results
from src.scores import Scores
from src.training import outputs

from tests.conftest import write_video
from tests.training_runs import own_videos, train

LONG = "Pretending or trying and failing to twist something so that it looks like something was twisted by a person "
NAMES = [
    LONG + "in the kitchen while talking to somebody else who is not to be seen",
    "costs $5 and $x^2$",
    r"\foo \frac{1}",
    "walk [left] [/b]",
    "two\nlines",
    "\x1b[31mred\x1b[0m",
    os.fsdecode(b"caf\xe9"),
    "=cmd()",
]


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of videos whose classes and files have such names."""
    root = tmp_path_factory.mktemp("odd")
    rows = []
    for label, name in enumerate(NAMES):
        for i, split in enumerate(("train", "val", "test")):
            clip = write_video(root / f"{label}{i}.mp4", 8, seed=3 * label + i)
            named = root / f"{name[:60].replace('/', ':')} {i}.mp4"
            shutil.move(clip, named)
            rows.append((named.name, name, split))
    write_video(root / "more.mp4", 8, seed=99)
    rows.append(("more.mp4", NAMES[3], "train"))  # classes of different sizes are told by name
    with (root / "list.csv").open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    return root


def folder_of_classes(odd: Path, root: Path) -> Path:
    """The same videos in a folder a class."""
    for label, name in enumerate(NAMES):
        folder = root / name.replace("/", ":")
        folder.mkdir(parents=True)
        for i, clip in enumerate(sorted(odd.glob("* ?.mp4"))[3 * label : 3 * label + 3]):
            shutil.copy(clip, folder / f"{i} [x] $.mp4")
    return root


def train_with_worst_mistakes(words: list[str], run_dir: Path) -> tuple[Any, Results]:
    return train([*words, "recipe.epochs=1", "test.view_batch=2"], run_dir)


def test_any_class_name_gets_its_results(
    odd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder, results = train_with_worst_mistakes([*own_videos(odd), f"data.csv={odd}/list.csv"], tmp_path / "run")
    assert sorted(results.data.classes) == sorted(NAMES) == sorted(Scores.load(folder.scores).classes)
    assert records.read(folder.results, Results) == results
    assert (folder.path / "confusion.png").is_file() and (folder.path / "attention.png").is_file()
    assert "not written" not in caplog.text
    mistakes = sorted((folder.path / "mistakes").iterdir())
    assert len(mistakes) > 1 and all(path.is_file() for path in mistakes)
    said = capsys.readouterr().out
    assert "\x1b[31m" not in said
    assert "walk [left] [/b] 2/1/1" in said and r"two\nlines 1/1/1" in said


def test_any_folder_name_gets_its_results(odd: Path, tmp_path: Path) -> None:
    words = [*own_videos(folder_of_classes(odd, tmp_path / "classes")), "data.allow_overlap=true"]
    folder, results = train_with_worst_mistakes(words, tmp_path / "run")
    assert len(results.data.classes) == len(NAMES) == len(set(results.data.classes))
    assert Scores.load(folder.scores).videos and records.read(folder.results, Results) == results


FAILURES: dict[str, tuple[Any, str]] = {
    "confusion": (outputs.mistakes, "save_confusion"),
    "attention": (outputs.attention, "save"),
    "mistakes": (outputs.mistakes, "save_clips"),
    "worst": (outputs.mistakes, "worst"),
    "metrics": (CSVLogger, "log_metrics"),
    "save": (CSVLogger, "save"),
    "finalize": (CSVLogger, "finalize"),
}


@pytest.mark.parametrize("what", FAILURES)
def test_a_picture_or_logger_that_fails_is_a_warning(
    what: str, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(*FAILURES[what], fail)
    folder, results = train_with_worst_mistakes(own_videos(tree), tmp_path / "run")
    assert records.read(folder.results, Results) == results
    assert folder.scores.is_file() and not folder.error.exists()
    warnings = [record.getMessage() for record in caplog.records if "out of luck" in record.getMessage()]
    assert len(warnings) == 1 and "\n" not in warnings[0]


def fail(*arguments: object, **options: object) -> None:
    raise RuntimeError("out of luck\nand of lines")


def test_a_cost_that_cannot_be_counted_is_found_before_training(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.training.outputs.cost_of", fail)
    begun: list[Callable[..., None]] = []
    monkeypatch.setattr("src.training.loop.fit", begun.append)
    with pytest.raises(RuntimeError, match="out of luck"):
        train(own_videos(tree), tmp_path / "run")
    assert not begun


def test_letters_that_the_font_of_the_picture_lacks(tmp_path: Path) -> None:
    """A box takes their place, without a warning (which would be an error here)."""
    scores = Scores(["日本", "👩"], ["a", "b"], np.array([0, 1]), np.eye(2, dtype=np.float32), np.array([1, 1]))
    assert outputs.mistakes.save_confusion(scores, tmp_path).is_file()
