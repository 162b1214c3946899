"""Videos of any length, window by window: windows, segments, the timeline and the labelled copy."""

import csv
import io
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from src import predict
from src.config import ClipSpec
from src.data.annotations import Video
from src.data.dataset import Source, TestViews
from src.data.pixels import Pixels
from src.data.stream import Clock, TimedFrame, frames_in_order
from src.errors import UnreadableVideoError, UserError
from src.prediction.labelled import label_at
from src.prediction.segments import Segments, Slot, slots
from src.prediction.timeline import POINTS, Timeline
from src.prediction.windows import Prefetched, Window, batches, check_windows, span, windows

from tests.conftest import write_video
from tests.small_runs import exit_of

SPEC = ClipSpec(4, 2, 16, (24, 16), keep_aspect=False)  # 7 frames long
Capture = pytest.CaptureFixture[str]


def numbered(count: int | None, rate: float = 10) -> Iterator[TimedFrame]:
    """Frames whose pixels are their number."""
    for i in itertools.count() if count is None else range(count):
        yield TimedFrame(i / rate, Pixels(np.full((16, 24, 3), i % 256, np.uint8)), float(i))


def frames_of(window: Window) -> list[int]:
    return [int(value) for value in window.clip[0, 0, :, 0, 0]]


@pytest.mark.parametrize("step", [1, 3, 7, 20])
@pytest.mark.parametrize("count", [1, 3, 6, 7, 8, 13, 14, 30])
def test_every_window_and_the_last_frame(count: int, step: int) -> None:
    found = [frames_of(window) for window in windows("v", numbered(count), SPEC, step)]
    if count < span(SPEC):
        assert found == [[2 * i % count for i in range(4)]]
        return
    starts = list(range(0, count - span(SPEC) + 1, step))
    if starts[-1] + span(SPEC) < count:
        starts.append(count - span(SPEC))
    assert found == [[start + 2 * i for i in range(4)] for start in starts]


def test_windows_have_times() -> None:
    first, second = windows("v", numbered(10), SPEC, 3)
    assert (first.start, first.end) == (0.0, pytest.approx(0.7))
    assert (second.start, second.end) == (pytest.approx(0.3), pytest.approx(1.0))
    assert second.arrived == 9


def test_no_frames_give_no_window_and_small_ones_are_refused() -> None:
    assert not list(windows("v", numbered(0), SPEC, 1))
    with pytest.raises(UserError, match="too small"):
        list(windows("v", [TimedFrame(0, Pixels(np.zeros((1, 8, 3), np.uint8)), 0)], SPEC, 1))


def test_windows_without_overlap_are_the_views_of_the_test(tmp_path: Path) -> None:
    clip = ClipSpec(8, 1, 32, (64, 48), keep_aspect=False)
    path = str(write_video(tmp_path / "v.mp4", 24, g="8", bf="0"))
    views = TestViews([], Source(clip, "rgb", "pyav"), crops=3, view_batch=9)
    (item,) = views.video(Video(path, 0, "g", "v"))
    cut = list(windows(path, frames_in_order(path), clip, 8, crops=3))
    assert torch.equal(torch.cat([window.clip for window in cut]), item.views)  # V C T H W


def test_a_stream_without_an_end_is_read_no_further_than_asked() -> None:
    waiting = Prefetched(windows("v", numbered(None), SPEC, 1), 2)
    taken = list(itertools.islice(batches(waiting, 2, wait=True), 5))
    assert [len(batch) for batch in taken] == [2] * 5
    assert frames_of(taken[-1][-1])[0] == 9


def test_prefetching_passes_errors_on_and_can_forget() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise UnreadableVideoError("v", "it ends")

    waiting = iter(Prefetched(broken(), 2))
    assert next(waiting) == 1
    with pytest.raises(UnreadableVideoError):
        next(waiting)
    eager = Prefetched(range(100), 2, latest=True)
    values = []
    for value in eager:
        eager._thread.join()  # all is fetched before the first is looked at
        values.append(value)
    assert values[-1] == 99
    assert eager.forgotten == 100 - len(values)


def slot(start: float, *shares: float) -> Slot:
    return Slot(start, start + 1, np.array(shares, np.float32))


def test_slots_follow_one_another() -> None:
    shares = np.array([1], np.float32)
    found = list(slots([(0, 4, shares), (2, 6, shares), (6, 10, shares)]))
    assert [(one.start, one.end) for one in found] == [(0, 3), (3, 6), (6, 10)]
    assert [(one.start, one.end) for one in slots([(0, 4, shares)])] == [(0, 4)]
    assert not list(slots([]))


def test_segments_have_two_thresholds_and_a_shortest_length() -> None:
    probabilities = [0.4, 0.6, 0.45, 0.31, 0.6, 0.2, 0.5, 0.1, 0.9]
    collected = Segments(0.5, 0.3, 2)
    for second, share in enumerate(probabilities):
        collected.add(slot(second, share, 1 - share))
    first = [(one.start, one.end) for one in collected.finish() if one.label == 0]
    assert first == [(1, 5)]  # 0.45 and 0.31 are between the thresholds; 0.5 and 0.9 last a second each
    (one,) = [one for one in collected.finish() if one.label == 0]
    assert one.peak == pytest.approx(0.6)
    assert one.mean == pytest.approx(np.mean(probabilities[1:5]), abs=1e-6)
    other = [(one.start, one.end) for one in collected.finish() if one.label == 1]
    assert other == [(0, 8)]


def test_equal_thresholds_zero_and_nan() -> None:
    collected = Segments(0.5, 0.5, 0)
    for second, share in enumerate([0.5, float("nan"), 0.5]):
        collected.add(slot(second, share))
    assert [(one.start, one.end) for one in collected.finish()] == [(0, 1), (2, 3)]
    everything = Segments(0, 0, 0)
    everything.add(slot(0, 0, 1))
    assert len(everything.finish()) == 2
    with pytest.raises(ValueError, match="above"):
        Segments(0.5, 0.6, 0)


def test_a_timeline_is_bounded_and_keeps_the_mean() -> None:
    timeline, values = Timeline(), np.random.default_rng(0).random((3 * POINTS + 7, 2), np.float32)
    for second, shares in enumerate(values):
        timeline.add(slot(second, *shares.tolist()))
    points = timeline.all()
    assert len(points) < POINTS
    assert points[-1].end == len(values)
    assert all(a.end == b.start for a, b in itertools.pairwise(points))
    weighted = sum((one.end - one.start) * one.shares for one in points) / len(values)
    np.testing.assert_allclose(weighted, values.mean(0), rtol=1e-4)


def test_times_ascend_whatever_frames_say() -> None:
    clock = Clock(10)
    stated = [None, 5.0, 5.1, 5.1, 4.0, None, 6.0]
    found = [clock(seconds) for seconds in stated]
    assert found == sorted(set(found))
    assert found[:3] == pytest.approx([0, 0.1, 0.2])
    assert found[-1] == pytest.approx(1.1)
    assert Clock(0).period == 1 / 25


def test_labels_hold_until_the_next() -> None:
    labels = [(1.0, "a"), (2.5, "b")]
    assert [label_at(labels, seconds) for seconds in (0, 1, 2.4, 2.5, 9)] == ["", "a", "a", "b", "b"]


def look(*words: str) -> int:
    return exit_of(predict.COMMAND, predict.predict, "windows=true", *words)


def rows(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_text())))


def test_a_long_video_gives_scores_segments_a_picture_and_a_copy(
    checkpoint: Path, folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "out"
    words = [f"checkpoint={checkpoint}", str(folder), f"out={out}", "step=3", "threshold=0", "shortest=0", "draw=true"]
    assert look(*words) == 1  # one file of the folder is no video
    printed = capsys.readouterr()
    assert "in/d.mp4: cannot be read as a video" in printed.err
    assert "\x1b" not in printed.out + printed.err
    kinds = ("scores.csv", "segments.csv", "timeline.png", "labelled.mp4")
    assert {f"in_c.mp4.{kind}" for kind in kinds} <= {path.name for path in out.iterdir()}
    assert not [path for path in out.iterdir() if "unfinished" in path.name or path.name.startswith("in_d.mp4")]
    scores = rows(out / "in_c.mp4.scores.csv")  # 29 frames, windows of 8
    assert scores[0] == ["start_s", "end_s", "hop", "jump", "skip [b]"]
    assert len(scores) == 1 + 8
    assert [row[0] for row in scores[1:3]] == ["0.0", "0.12"]
    assert float(scores[-1][1]) == pytest.approx(29 / 25, abs=1e-3)
    assert all(sum(map(float, row[2:])) == pytest.approx(1, abs=1e-3) for row in scores[1:])
    segments = rows(out / "in_c.mp4.segments.csv")
    assert [row[2] for row in segments[1:]] == ["hop", "jump", "skip [b]"]  # threshold 0: all of the time
    assert (out / "in_c.mp4.timeline.png").read_bytes().startswith(b"\x89PNG")
    with av.open(str(out / "in_c.mp4.labelled.mp4")) as copy, av.open(str(folder / "in/c.mp4")) as original:
        pairs = list(zip(copy.decode(video=0), original.decode(video=0), strict=True))
    assert len(pairs) == 29
    drawn, plain = (frame.to_ndarray(format="rgb24").astype(int) for frame in pairs[10])
    plain = plain.repeat(5, 0).repeat(5, 1)
    changed = np.abs(drawn - plain).mean((1, 2))  # by row
    assert changed[-15:].min() > 3 * changed[:200].mean()


def test_a_video_that_breaks_off_keeps_what_came_before(checkpoint: Path, tmp_path: Path, capsys: Capture) -> None:
    whole = write_video(tmp_path / "whole.ts", 60, size=(128, 96), g="10", bf="0").read_bytes()
    broken = tmp_path / "broken.mkv"
    write_video(broken, 60, size=(128, 96), g="10", bf="0")
    content = bytearray(broken.read_bytes())
    content[len(content) // 2 :] = np.random.default_rng(0).bytes(len(content) - len(content) // 2)
    broken.write_bytes(bytes(content))
    assert whole
    look(f"checkpoint={checkpoint}", f"video={broken}", f"out={tmp_path / 'out'}")
    scores = rows(tmp_path / "out" / "broken.mkv.scores.csv")
    assert 3 < len(scores) < 1 + (60 - 8) // 4 + 2
    capsys.readouterr()


def test_two_networks_and_flow_videos_are_refused(checkpoint: Path, folder: Path, capsys: Capture) -> None:
    assert look(f"checkpoint={checkpoint}", f"checkpoint={checkpoint}", f"video={folder}/a.mp4") == 2
    assert "one network" in capsys.readouterr().err
    assert look(f"checkpoint={checkpoint}", "video=none.mp4") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "none.mp4" in line


@pytest.mark.parametrize("other", [{"sampling": "segments"}, {"fps": 25.0}])
def test_windows_of_neighbouring_frames_are_refused_for_other_clips(other: dict[str, object]) -> None:
    with pytest.raises(UserError, match="windows=true: this network "):
        check_windows(replace(ClipSpec(8, 1, 32, (64, 48), False), **other))
    check_windows(ClipSpec(8, 1, 32, (64, 48), False))
