"""Classes are found by name in what a network was trained on, whatever numbers they have elsewhere."""

import logging
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from src.build.data import with_classes
from src.data.annotations import Lists, Video
from src.data.folder import folder
from src.data.inventory import Entry
from src.data.usable import usable
from src.errors import UserError

NFC, NFD = (unicodedata.normalize(form, "Küche") for form in ("NFC", "NFD"))


def lists(*classes: str) -> Lists:
    """A test video a class."""
    videos = [Video(f"{name}.mp4", label, name, f"{name}.mp4") for label, name in enumerate(classes)]
    return Lists(list(classes), [], None, videos, ".", None, "folder", official=False)


@pytest.mark.parametrize("trained", [["walk", NFC, "run"], ["walk", NFD, "run"], ["Run", NFC, "run", "walk", NFD]])
@pytest.mark.parametrize("written", [NFC, NFD])
def test_names_are_matched_in_either_unicode_form(trained: list[str], written: str) -> None:
    found = with_classes(lists("run", "walk", written), trained)
    names = [found.classes[video.label] for video in found.test]
    assert names[:2] == ["run", "walk"]
    assert names[2] == (written if written in trained else trained[1])


@pytest.mark.parametrize("written", ["run", " Run", "Run ", "RUN", "Ｒun", "walk_slow", "walk  slow", "walk\u00a0slow"])
def test_a_name_that_is_hardly_another_is_refused_beside_the_known_one(written: str) -> None:
    known = "walk slow" if "walk" in written else "Run"
    with pytest.raises(UserError) as refused:
        with_classes(lists("jump", written), ["Run", "jump", "walk slow"])
    assert f"({written!a} is nearly {known!a})" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_name_of_its_own_is_called_like_nothing() -> None:
    with pytest.raises(UserError, match=r"does not know the classes zumba; it was trained on Run, jump; rename"):
        with_classes(lists("zumba"), ["Run", "jump"])


@pytest.mark.parametrize("other", ["Run ", "run", "walk_slow", "walk\u00a0slow"])
def test_folders_that_look_alike_are_two_classes_and_said_to_be(
    tmp_path: Path, other: str, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("Run", "walk slow", other):
        (tmp_path / name).mkdir()
        for i in range(3):
            (tmp_path / name / f"{i}.mp4").write_text(name + str(i))
    with caplog.at_level(logging.WARNING):
        assert sorted(folder(str(tmp_path)).classes) == sorted(["Run", "walk slow", other])
    (message,) = [record.getMessage() for record in caplog.records if "two classes" in record.getMessage()]
    shown = ascii(other) if other in ("Run ", "walk\u00a0slow") else other
    assert shown in message


def test_for_testing_a_side_of_training_is_not_needed(tmp_path: Path) -> None:
    for name in ("test/run", "test/walk"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a.mp4").write_text(name)
    with pytest.raises(UserError, match=r"holds test/ but no train/"):
        folder(str(tmp_path))
    found = folder(str(tmp_path), training=False)
    assert [found.classes[video.label] for video in found.test] == ["run", "walk"]
    assert not found.train
    (tmp_path / "list.csv").write_text("path,label,split\ntest/run/a.mp4,run,train\ntest/walk/a.mp4,walk,train\n")
    with pytest.raises(UserError, match="no video has the split test; testing needs test videos"):
        folder(str(tmp_path), csv="list.csv", training=False)


def test_an_inventory_and_flow_are_asked_for_test_videos_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run.mp4").touch()
    status = (tmp_path / "run.mp4").stat()
    known = {"run.mp4": Entry("run.mp4", 5, (8, 8), 25.0, "h264", 0, status.st_mtime_ns, "x", None, in_order=False)}
    monkeypatch.setattr("src.data.usable.load", lambda root: known)
    path = str(tmp_path / "run.mp4")
    here = replace(lists("run"), root=str(tmp_path), test=[Video(path, 0, "run", "run.mp4")])
    assert usable(here).test[0].frames == 5
    with pytest.raises(UserError, match="no tvl1 flow yet"):
        usable(here, "flow", on_error="skip")
