"""What the inventory and the flow beside the videos make of a data set's lists."""

from dataclasses import replace
from pathlib import Path

import pytest
from src.data.annotations import Lists, Video
from src.data.flow import flow_path
from src.data.inventory import Entry, load, write
from src.data.usable import usable
from src.errors import UserError


@pytest.fixture
def lists(tmp_path: Path) -> Lists:
    """Two training and two test videos of other sizes, and no inventory yet."""
    root = tmp_path / "videos"
    sides: list[list[Video]] = [[], []]
    for i, name in enumerate(("a/1.avi", "b/2 [x].avi", "a/3;.avi", "b/4.avi")):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * (10 + i))
        sides[i // 2].append(Video(str(path), i % 2, name, name))
    return Lists(["a", "b"], sides[0], None, sides[1], str(root), None, "folder", official=False)


def inventory(lists: Lists, **bad: str) -> None:
    entries = {}
    for i, video in enumerate([*lists.train, *lists.test]):
        status = Path(video.path).stat()
        reason = bad.get(Path(video.name).stem[0].replace("1", "one").replace("3", "three"))
        entries[video.name] = Entry(
            video.name,
            0 if reason else 20 + i,
            (64, 48),
            25.0,
            "mpeg4",
            status.st_size,
            status.st_mtime_ns,
            "0",
            reason,
        )
    write(lists.root, entries)


def test_nothing_changes_without_an_inventory(lists: Lists) -> None:
    assert usable(lists) == lists


def test_frames_are_the_inventorys(lists: Lists) -> None:
    inventory(lists)
    known = usable(lists)
    assert [video.frames for video in known.train + known.test] == [20, 21, 22, 23]
    assert known.left_out == () and replace(known.train[0], frames=None) == lists.train[0]


def test_videos_that_must_be_read_in_order_are_marked(lists: Lists) -> None:
    inventory(lists)
    entries = load(lists.root)
    entries["b/2 [x].avi"] = replace(entries["b/2 [x].avi"], in_order=True)
    write(lists.root, entries)
    assert [video.in_order for video in usable(lists).train] == [False, True]


def test_bad_videos_in_use_are_refused_or_left_out_and_named(lists: Lists, caplog: pytest.LogCaptureFixture) -> None:
    inventory(lists, three="truncated")
    with pytest.raises(UserError, match=r"1 of 4 videos in use are bad by .*inventory.jsonl: a/3;.avi \(truncated\)"):
        usable(lists)
    known = usable(lists, on_error="skip")
    assert [video.name for video in known.test] == ["b/4.avi"]
    assert known.left_out == ("a/3;.avi (truncated)",)
    assert "a/3;.avi (truncated)" in caplog.text
    unused = replace(lists, test=lists.test[1:])
    assert usable(unused).left_out == ()  # what is not in use may be bad


def test_a_side_without_videos_is_refused(lists: Lists) -> None:
    inventory(lists, three="truncated")
    with pytest.raises(UserError, match="calls every test video bad"):
        usable(replace(lists, test=lists.test[:1]), on_error="skip")


def test_a_file_that_has_changed_is_unknown(lists: Lists, caplog: pytest.LogCaptureFixture) -> None:
    inventory(lists, one="empty")
    Path(lists.train[0].path).write_bytes(b"mended and larger")
    assert [video.frames for video in usable(lists).train] == [None, 21]
    assert "1 videos have changed" in caplog.text


def test_flow_is_found_beside_the_videos_and_is_one_shorter(lists: Lists) -> None:
    with pytest.raises(
        UserError, match=r"4 videos have no tvl1 flow yet: a/1.avi, .*src.prepare flow=tvl1 data=folder"
    ):
        usable(lists, "flow")
    for i, video in enumerate([*lists.train, *lists.test]):
        path = flow_path(lists.root, video.name, form="frames" if i == 3 else "video")
        path.parent.mkdir(parents=True, exist_ok=True)
        if i == 3:
            path.mkdir()
        else:
            path.touch()
    inventory(lists)
    gap = Path(flow_path(lists.root, lists.train[0].name))
    gap.rename(gap.with_name("elsewhere"))
    assert usable(lists, "flow", on_error="skip").left_out == ("a/1.avi (no tvl1 flow)",)
    gap.with_name("elsewhere").rename(gap)
    found = usable(lists, "flow")
    assert [video.frames for video in found.train + found.test] == [19, 20, 21, 22]
    assert all(Path(video.path).exists() and "flow_tvl1" in video.path for video in found.train + found.test)
    assert [video.name for video in found.train] == [video.name for video in lists.train]


def test_folders_of_pictures_hold_their_own_flow(lists: Lists, tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    videos = [Video(str(folder), 0, "g", "clip", 12)]
    own = replace(lists, train=videos, test=videos)
    assert usable(own, "flow") == own
