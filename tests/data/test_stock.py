"""Taking stock of a folder of videos: what is bad is named, what is known is not decoded again."""

import os
import resource
from dataclasses import replace

import pytest
from src.config import ROOT
from src.data import inventory
from src.data.survey import BAD_FILES, locked
from src.errors import UserError

from tests.bad_input import write_bad_input
from tests.conftest import write_video
from tests.misbehaviour import probe_without_end
from tests.prepared import run, stock


def test_bad_input_is_named_with_its_reason_and_nothing_else_is_lost(tmp_path):
    root = tmp_path / "videos"
    root.mkdir()
    expected = write_bad_input(root)
    (root / "again").symlink_to("..")  # a folder in a circle
    entries, _ = stock(root)
    assert set(entries) == set(expected)
    for name, (frames, reason) in expected.items():
        entry = entries[name]
        if reason is None:
            assert (entry.frames, entry.bad) == (frames, None), (name, entry)
            assert len(entry.sha256) == 64 and entry.bytes == (root / name).stat().st_size
        else:
            assert entry.bad and reason in entry.bad and "\n" not in entry.bad, (name, entry)
    assert entries["odd size.avi"].size == (67, 51) and entries["4K.mp4"].size == (3840, 2160)
    assert entries["rotated.mp4"].size == (48, 64)
    lines = (root / BAD_FILES).read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == sorted(n for n, (_, bad) in expected.items() if bad is not None)
    again, quiet = stock(root)
    assert again == entries and quiet.done == [] and quiet.known == len(expected)


def test_only_what_changed_is_decoded_again(tmp_path):
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        write_video(tmp_path / name, 5, seed=ord(name[0]))
    (tmp_path / "bad.mp4").write_bytes(b"")
    stock(tmp_path)
    write_video(tmp_path / "b.mp4", 9)
    (tmp_path / "c.mp4").unlink()
    entries, quiet = stock(tmp_path)
    assert quiet.done == ["b.mp4"] and entries["b.mp4"].frames == 9 and "c.mp4" not in entries
    _, quiet = stock(tmp_path, retry_bad=True)
    assert quiet.done == ["bad.mp4"]


def test_entries_of_an_older_inventory_are_looked_at_once_more(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, 5, seed=ord(name[0]))
    entries, _ = stock(tmp_path)
    older = {**entries, "a.mp4": replace(entries["a.mp4"], in_order=None)}
    inventory.write(tmp_path, older)
    again, quiet = stock(tmp_path)
    assert again == entries and quiet.done == ["a.mp4"] and again["a.mp4"].in_order is False


def test_a_video_that_takes_too_long_is_listed(tmp_path, monkeypatch):
    write_video(tmp_path / "slow.mp4", 2)
    monkeypatch.setattr("src.data.survey.probe", probe_without_end)
    entries, _ = stock(tmp_path, limit_s=0.5)
    assert entries["slow.mp4"].bad == "took more than 0.5 s"
    assert (tmp_path / BAD_FILES).read_text() == "slow.mp4\ttook more than 0.5 s\n"


def test_a_run_that_was_killed_goes_on(tmp_path):
    root = tmp_path / "tree"
    for i in range(6):
        write_video(root / "class" / f"{i}.mp4", 4, seed=i)
    stock(root)
    file = root / inventory.FILE
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:3]) + lines[3][:20])
    entries, quiet = stock(root)
    assert len(entries) == 6 and sorted(quiet.done) == [f"class/{i}.mp4" for i in (3, 4, 5)]


def test_a_full_disk_stops_with_a_line_and_the_run_can_go_on(tmp_path):
    for i in range(5):
        write_video(tmp_path / f"{i}.mp4", 4, seed=i)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        with pytest.raises(UserError, match="cannot be written"):
            stock(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    kept = inventory.load(tmp_path)
    assert 0 < len(kept) < 5
    entries, quiet = stock(tmp_path)
    assert len(entries) == 5 and len(quiet.done) == 5 - len(kept)


def test_a_tree_that_cannot_be_written_says_so():
    with pytest.raises(UserError, match=r"/proc/here cannot be written"), locked(ROOT.__class__("/proc/here")):
        pass


def test_two_prepares_at_once(tmp_path):
    holder = rf"being prepared already \(process {os.getpid()} on "
    with locked(tmp_path), pytest.raises(UserError, match=holder):
        run(f"data.root={tmp_path}")
    with locked(tmp_path):
        pass
