"""Leaks between the sides are found by place, content and source, and told or refused."""

import json
import os
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from src.data.annotations import Lists, Video
from src.data.audit import audit
from src.data.datamodule import split
from src.data.hmdb51 import group
from src.data.inventory import Entry, write
from src.errors import UserError


@pytest.fixture
def lists(tmp_path: Path) -> Lists:
    """Eight videos of equal size and other content: four to train, two to validate, two to test."""
    videos = []
    for i in range(8):
        path = tmp_path / f"{i}.avi"
        path.write_bytes(b"%8d" % i)
        videos.append(Video(str(path), i % 2, f"source {i}", path.name, 10 + i))
    return Lists(["a", "b"], videos[:4], videos[4:6], videos[6:], str(tmp_path), 2, "mine", official=False)


def phases(lists: Lists, protocol: str = "holdout") -> dict[str, list[Video]]:
    train, val = split(lists, protocol, 0.25, 0)
    return {"train": train, "val": val, "test": lists.test}


def test_clean_lists_are_counted(lists: Lists, tmp_path: Path) -> None:
    printed = StringIO()
    report = audit(lists, phases(lists), tmp_path / "run", Console(file=printed, width=120))
    assert json.loads((tmp_path / "run" / "audit.json").read_text()) == json.loads(json.dumps(report))
    assert report["phases"]["train"] == {
        **{"videos": 4, "classes": 2, "sources": 4, "frames_known": 4},
        **{"shortest": (10, "0.avi"), "longest": (13, "3.avi")},
    }
    assert report["classes"]["b"] == {"train": 2, "val": 1, "test": 1}
    assert "mine split 2" in printed.getvalue() and "2/1/1 each" in printed.getvalue()
    assert not any(shared for found in report["overlap"].values() for shared in found.values())


def test_unknown_lengths_are_said_to_be_unknown(lists: Lists) -> None:
    printed = StringIO()
    unknown = replace(lists, train=[replace(video, frames=None) for video in lists.train])
    report = audit(unknown, phases(unknown), console=Console(file=printed, width=120))
    assert report["phases"]["train"]["shortest"] is None and "unknown" in printed.getvalue()


def test_the_same_file_by_another_name_is_an_error(lists: Lists, tmp_path: Path) -> None:
    link = tmp_path / "link.avi"
    link.symlink_to(lists.train[0].path)
    twice = replace(lists, test=[*lists.test, Video(str(link), 0, "other", "link.avi")])
    with pytest.raises(UserError, match=r"the same file is in train and test: 0.avi = link.avi;"):
        audit(twice, phases(twice), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "audit.json").read_text())["overlap"]["train-test"]["path"]


def test_the_same_content_is_an_error_unless_allowed(lists: Lists, caplog: pytest.LogCaptureFixture) -> None:
    os.truncate(lists.test[0].path, 0)
    Path(lists.test[0].path).write_bytes(Path(lists.train[1].path).read_bytes())
    with pytest.raises(UserError, match=r"the same content are in train and test: 1.avi = 6.avi;.*allow_overlap"):
        audit(lists, phases(lists))
    audit(lists, phases(lists), allow_overlap=True)
    assert "1.avi = 6.avi" in caplog.text
    published = replace(lists, official=True)
    with pytest.raises(UserError, match="the same content"):
        audit(published, phases(published))


def test_content_is_the_inventorys_where_there_is_one(lists: Lists, tmp_path: Path) -> None:
    entries = {}
    for video in [*lists.train, *lists.test]:
        sha = "same" if video.name in ("2.avi", "7.avi") else video.name
        entries[video.name] = Entry(video.name, 9, (8, 8), 25.0, "mpeg4", 8, 0, sha, None)
    write(tmp_path, entries)
    with pytest.raises(UserError, match=r"2.avi = 7.avi"):
        audit(lists, phases(lists))


def test_a_source_on_both_sides(lists: Lists, caplog: pytest.LogCaptureFixture) -> None:
    """The three real clips: HMDB51's second split has one source in training and test."""
    clips = (
        *("How_to_pour_beer__eh__pour_u_nm_np1_fr_goo_0", "How_to_pour_beer_pour_u_nm_np1_fr_goo_0"),
        "How_to_pour_wine_Bar_Basics_5_Bartending_tips_-_Rockstar_Bartender_pour_u_nm_np1_fr_med_0",
    )
    named = [Video(f"/nowhere/{clip}.avi", 0, group(clip, "pour"), clip) for clip in clips]
    shared = replace(lists, train=lists.train + named[:2], test=lists.test + named[2:])
    with pytest.raises(UserError, match="clips of one source are in train and test: How_to_pour_beer__eh__"):
        audit(shared, phases(shared))
    report = audit(replace(shared, official=True), phases(shared))
    assert report["overlap"]["train-test"]["group"] == [list(clips)]
    assert all(clip in caplog.text for clip in clips)


def test_validation_on_the_test_list_is_said_and_no_error(lists: Lists) -> None:
    printed = StringIO()
    report = audit(lists, phases(lists, "paper"), console=Console(file=printed, width=120))
    assert report["validates_on_test"] and "val (= test)" in printed.getvalue()
    assert list(report["overlap"]) == ["train-test"]


def test_held_out_videos_share_no_source(lists: Lists) -> None:
    paired = [replace(video, group=f"pair {i // 2}") for i, video in enumerate(lists.train)]
    own = replace(lists, train=paired * 1, val=None)
    found = phases(own)
    assert found["val"] and audit(own, found)["overlap"]["train-val"]["group"] == []


def test_names_are_shown_as_they_are_and_nothing_is_obeyed(lists: Lists, tmp_path: Path) -> None:
    classes = ["[/b] $\\alpha$ :smile:", "caf\udce9\n\x1b[31m"]
    own = replace(lists, classes=classes, name="[bold]mine[/b]", left_out=("\x1b[2J.avi (empty)",))
    printed = StringIO()
    console = Console(file=printed, width=120, force_terminal=True, color_system=None)
    audit(own, phases(own), tmp_path / "run", console)
    text = printed.getvalue()
    assert "[bold]mine[/b] split 2" in text and "left out: \\x1b[2J.avi (empty)" in text and "\x1b[2J" not in text
    assert [*json.loads((tmp_path / "run" / "audit.json").read_text())["classes"]] == classes
    uneven = replace(own, train=[*own.train, replace(own.train[0], path=str(tmp_path / "more"), group="more")])
    audit(uneven, phases(uneven), console=console)
    assert "[/b] $\\alpha$ :smile: 3/1/1, caf\\xe9\\n\\x1b[31m 2/1/1" in printed.getvalue()


def test_a_hard_link_is_the_same_file(lists: Lists, tmp_path: Path) -> None:
    os.link(lists.train[0].path, tmp_path / "hard.avi")
    twice = replace(lists, test=[*lists.test, Video(str(tmp_path / "hard.avi"), 0, "other", "hard.avi")])
    with pytest.raises(UserError, match=r"the same file is in train and test: 0.avi = hard.avi;"):
        audit(twice, phases(twice))
