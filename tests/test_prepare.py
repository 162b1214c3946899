import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from src.build.compose import compose
from src.config import ROOT
from src.data import inventory
from src.data.flow import find_flow, flow_path, flow_root, open_flow
from src.data.survey import BAD_FILES, find_videos, locked, take_stock
from src.data.ucf101 import ucf101 as read_ucf101
from src.data.workers import Failure, run_limited
from src.errors import MachineError, UserError
from src.prepare import prepare

from tests import lookalikes
from tests.conftest import write_video
from tests.misbehaviour import misbehave, probe_without_end


class Quiet:
    """A progress bar that only counts."""

    def __init__(self):
        self.done = []

    def start(self, what, total, done):
        self.known = done

    def advance(self, entry):
        self.done.append(entry.name)


def run(*overrides):
    prepare(compose(["limit_s=1000", *overrides, "workers=2"], "prepare"))  # also beside much else


def stock(root, limit_s=1000, retry_bad=False):
    quiet = Quiet()
    return take_stock(root, find_videos(root), 2, limit_s, retry_bad, quiet), quiet


def test_crashes_and_greed_are_survived_and_named():
    tasks = ["a", "crash", "exit", "greedy", "raise", "b", "c"]
    results = dict(run_limited(misbehave, tasks, workers=2, limit_s=1000, memory=1 << 30))
    assert results.pop("a") == "A" and results.pop("b") == "B" and results.pop("c") == "C"
    assert all(isinstance(result, Failure) for result in results.values())
    reasons = {task: result.reason for task, result in results.items()}
    assert "SIGSEGV" in reasons["crash"] and "status 3" in reasons["exit"]
    assert reasons["greedy"] == "needs more than 1 GB of memory" and reasons["raise"] == "LookupError: two lines"


def test_hangs_are_survived_and_named(tmp_path):
    os.mkfifo(tmp_path / "pipe.avi")  # opening it waits for ever
    tasks = ["hang", str(tmp_path / "pipe.avi")]
    late = Failure("took more than 1 s")
    assert dict(run_limited(misbehave, tasks, workers=1, limit_s=1)) == dict.fromkeys(tasks, late)


def test_a_full_disk_ends_the_run_rather_than_condemn_the_file():
    with pytest.raises(UserError, match=r"flow\.mkv cannot be written \(No space left on device\); what is done is"):
        list(run_limited(misbehave, ["a", "disk", "b"], workers=1, limit_s=1000))


def test_a_fault_of_the_machine_ends_the_run_with_its_own_words():
    with pytest.raises(MachineError, match=r"^the GPU is gone$"):
        list(run_limited(misbehave, ["a", "machine", "b"], workers=1, limit_s=1000, memory=None))


def test_no_tasks_start_no_workers():
    assert list(run_limited(misbehave, [], workers=2, limit_s=1)) == []


def patched(path, old, new):
    """Replace bytes in a file, so that a header lies or a picture lies on its side."""
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    return path


def matrix(*values):
    return b"".join(value.to_bytes(4, "big", signed=True) for value in values)


def write_bad_input(root):
    """One file of each kind; name → (frames, part of the reason or None)."""
    one = 1 << 16
    long = write_video(root / "long.avi", 40, codec="mjpeg").read_bytes()
    (root / "truncated.avi").write_bytes(long[: len(long) // 2])
    (root / "empty.mp4").write_bytes(b"")
    (root / "renamed text.avi").write_text("path,label\n" * 400)
    (root / "renamed.mp4").write_text("#!/bin/sh\n")
    with av.open(str(root / "no frames.avi"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    (root / "liar.avi").write_bytes(long)
    for _ in range(2):  # avih and strh
        patched(root / "liar.avi", (40).to_bytes(4, "little"), (99).to_bytes(4, "little"))
    write_video(root / "one.mp4", 1)
    write_video(root / "odd size.avi", 5, size=(67, 51), codec="ffv1")
    write_video(root / "4K.mp4", 2, size=(3840, 2160), preset="ultrafast")
    upright, turned = (one, 0, 0, 0, one, 0, 0, 0, 1 << 30), (0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    patched(write_video(root / "rotated.mp4", 6), matrix(*upright) + (64 << 16).to_bytes(4, "big"),
            matrix(*turned) + (64 << 16).to_bytes(4, "big"))  # fmt: skip
    write_variable(root / "variable rate.mp4", [0, 1, 2, 30, 31, 90, 91, 92])
    write_sound(root / "audio only.mp4")
    write_video(root / "a b;[c] (d) 'e' $f.mp4", 4)
    (root / "circle.avi").symlink_to("circle.avi")
    (root / "nowhere.avi").symlink_to("not there.avi")
    os.mkfifo(root / "pipe.avi")
    return {
        **{"long.avi": (40, None), "one.mp4": (1, None), "odd size.avi": (5, None), "4K.mp4": (2, None)},
        **{"rotated.mp4": (6, None), "variable rate.mp4": (8, None), "a b;[c] (d) 'e' $f.mp4": (4, None)},
        **{"truncated.avi": (0, "truncated"), "empty.mp4": (0, "empty"), "renamed text.avi": (0, "nvalid data")},
        **{"renamed.mp4": (0, ""), "no frames.avi": (0, ""), "liar.avi": (40, None)},
        **{"audio only.mp4": (0, "no video stream"), "circle.avi": (0, "symbolic links")},
        **{"nowhere.avi": (0, "No such file"), "pipe.avi": (0, "not a regular file")},
    }


def write_variable(path, times):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for time_ in times:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), time_, np.uint8), format="rgb24")
            frame.pts = time_
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_sound(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 16000
        for packets in (stream.encode(frame), stream.encode(None)):
            container.mux(packets)


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


def test_frame_folders_are_counted_and_read(tmp_path):
    tree = lookalikes.ucf101(tmp_path / "made", groups=3, clips=1)
    splits = [read_ucf101(str(tree), split, check_counts=False) for split in (1, 2, 3)]
    root = lookalikes.frame_folders(splits, tmp_path / "frames")
    broken = sorted(folder for folder in root.iterdir() if folder.name.startswith("v_"))[0]
    (broken / "img_00004.jpg").write_bytes(b"torn")
    run("data=frames", f"data.root={root}")
    entries = inventory.load(root)
    assert len(entries) == 9 and [entry.name for entry in entries.values() if entry.bad] == [broken.name]
    name, entry = next((name, entry) for name, entry in entries.items() if not entry.bad)
    assert entry.frames == len(list((root / name).glob("img_*"))) and entry.size == (64, 48)


def test_flow_of_another_making_is_not_mixed_in(tmp_path):
    root = tmp_path / "tree"
    for name in "ab":
        for i in range(2):
            write_video(root / name / f"{i}.mp4", 3, seed=i)
    run(f"data.root={root}", "flow=dis")
    with pytest.raises(UserError, match=r"made with other settings \(crf"):
        run(f"data.root={root}", "flow=dis", "flow.crf=0")
    find_flow(root, "a/0.mp4", "dis").unlink()
    folder = root.with_name("tree_flow_dis") / "a"
    dead = subprocess.Popen(["true"])
    dead.wait()
    (folder / f".0.{dead.pid}.abcd1234.unfinished.mkv").write_bytes(b"x")
    (folder / f".0.{dead.pid}.abcd1234.unfinished").mkdir()
    (folder / ".mine").write_text("mine")
    run(f"data.root={root}", "flow=dis")
    assert sorted(path.name for path in folder.iterdir()) == [".mine", "0.mp4.mkv", "1.mp4.mkv"]


def test_flow_by_pytorch(tmp_path):
    """Close to OpenCV's, continued where it stopped, and never mixed with OpenCV's in one folder."""
    root = tmp_path / "tree"
    for name in ("a/0.mp4", "a/1.mp4", "b/0.mp4", "b/1.mp4"):
        write_video(root / name, 4)
    run(f"data.root={root}", *QUICK)
    run(f"data.root={root}", *QUICK, "flow.device=cpu", "flow.method=torch")
    for name in ("a/0.mp4", "b/0.mp4"):
        with open_flow(find_flow(root, name, "tvl1")) as one, open_flow(find_flow(root, name, "torch")) as other:
            assert len(one) == len(other) == 3 and one.size == other.size == (32, 24)
            assert np.abs(one.frames(range(3)).astype(int) - other.frames(range(3))).mean() < 1
    made = find_flow(root, "a/0.mp4", "torch")
    content = made.read_bytes()
    made.unlink()
    run(f"data.root={root}", *QUICK, "flow.device=cpu", "flow.method=torch")
    assert made.read_bytes() == content
    for words in (["flow.device=cpu"], ["flow.method=torch"]):
        with pytest.raises(UserError, match=r"made with other settings \(made_with: see"):
            run(f"data.root={root}", *QUICK, *words)


def test_a_device_that_is_not_there_is_refused_before_any_work(tmp_path, monkeypatch):
    write_video(tmp_path / "tree" / "a" / "0.mp4", 3)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for words, said in (
        (["flow=tvl1", "flow.device=cuda"], "this machine has no GPU"),
        (["flow=dis", "flow.device=cpu"], "PyTorch makes TV-L1 only"),
    ):
        with pytest.raises(UserError, match=said):
            run(f"data.root={tmp_path / 'tree'}", *words)
    assert not (tmp_path / "tree" / "inventory.jsonl").exists()


def everything(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def listed_outside(tmp_path):
    """A data folder whose list names a video beside it, and the folder of somebody's thesis there."""
    root, other = tmp_path / "data" / "tree", tmp_path / "data" / "other"
    for name in ("a/0.mp4", "b/0.mp4"):
        write_video(root / name, 3)
    write_video(other / "thesis.mp4", 3, seed=1)
    write_video(tmp_path / "far" / "0.mp4", 3, seed=2)
    (other / "thesis").mkdir()
    (other / "thesis" / "chapter.txt").write_text("mine")
    names = ["a/0.mp4", "b/0.mp4", "../other/thesis.mp4", str(tmp_path / "far" / "0.mp4")]
    rows = [f"{name},{'ab'[i % 2]}" for i, name in enumerate(names)]
    (tmp_path / "videos.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    return root, names


@pytest.mark.parametrize("form", ["video", "frames"])
def test_flow_is_written_beside_the_root_and_nowhere_else(tmp_path, form):
    root, names = listed_outside(tmp_path)
    before = everything(tmp_path)
    words = [f"data.root={root}", f"data.csv={tmp_path / 'videos.csv'}", "flow=dis", f"flow.format={form}"]
    run(*words)
    folder = flow_root(root, "dis")
    after = everything(tmp_path)
    assert {path: after.pop(path) for path in before} == before
    assert {path.parent for path in after if not path.is_relative_to(folder)} == {root}
    assert len(inventory.load(folder)) == len(names)
    for name in names:
        with open_flow(find_flow(root, name, "dis")) as flow:
            assert len(flow) == 2


@pytest.mark.parametrize("form", ["video", "frames"])
def test_somebody_elses_files_where_flow_belongs_end_prepare_with_one_line(tmp_path, form):
    for name in ("a/0.mp4", "a/1.mp4", "b/0.mp4", "b/1.mp4"):
        write_video(tmp_path / "tree" / name, 3)
    place = flow_path(tmp_path / "tree", "b/0.mp4", "dis", form)
    mine = place / "chapter.txt" if form == "frames" else place
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(UserError, match=r"b/0.* does not say that src\.prepare made it"):
        run(f"data.root={tmp_path / 'tree'}", "flow=dis", f"flow.format={form}")
    assert mine.read_text() == "mine"


def test_frames_of_videos_that_differ_in_their_ending_are_not_mixed(tmp_path):
    write_video(tmp_path / "tree" / "a" / "0.mp4", 3)
    write_video(tmp_path / "tree" / "a" / "0.mkv", 3, seed=1)
    write_video(tmp_path / "tree" / "b" / "0.mp4", 3)
    with pytest.raises(UserError, match=r"a/0\.mkv and a/0\.mp4 would have their flow in one place.*format=video"):
        run(f"data.root={tmp_path / 'tree'}", "flow=dis", "flow.format=frames")
    run(f"data.root={tmp_path / 'tree'}", "flow=dis")
    assert len(list(flow_root(tmp_path / "tree", "dis").rglob("*.mkv"))) == 3


def test_a_flow_method_that_leads_out_is_refused_before_any_work(tmp_path):
    write_video(tmp_path / "tree" / "a" / "0.mp4", 3)
    with pytest.raises(UserError, match="cannot be the end of a folder's name"):
        run(f"data.root={tmp_path / 'tree'}", "flow=dis", "flow.method=../../x")
    assert not (tmp_path / "tree" / "inventory.jsonl").exists()


def session(number):
    """Processes of a session that are alive."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, group = stat.read_text().rpartition(")")[2].split()[:4]
            if int(group) == number and state != "Z":
                found.append(int(stat.parent.name))
    return found


QUICK = ["flow=tvl1", "flow.size=[32,24]", "flow.settings.nscales=1", "flow.settings.warps=1"]


PREPARE = ["-m", "src.prepare"]
PREPARE_WITHOUT_END = [
    "-c",
    "import runpy; from src.data import survey; from tests.misbehaviour import flow_of_the_first; "
    "survey.make_flow = flow_of_the_first; runpy.run_module('src.prepare', run_name='__main__', alter_sys=True)",
]


def signalled(program, root, number, to_all, ready):
    """Start a program, wait until `ready()`, send a signal; its exit code, what it said, and its errors."""
    words = [f"data.root={root}", "workers=2", *QUICK]
    process = subprocess.Popen(
        [sys.executable, *program, *words],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    while not ready() and process.poll() is None:
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):  # it has done all it had to
        (os.killpg if to_all else os.kill)(process.pid, number)
    out, errors = process.communicate(timeout=250)
    deadline = time.monotonic() + 250
    while session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert session(process.pid) == []
    return process.returncode, out, errors


def write_some(root):
    for name in "ab":
        for i in range(8):
            write_video(root / name / f"{i}.mp4", 4, seed=i)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What prepare leaves when nothing happens to it: name → bytes of flow, and both inventories."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_some(folder / "tree")
    run(f"data.root={folder / 'tree'}", *QUICK)
    return left(folder)


def left(folder):
    """What prepare has left in `folder`, without what the time of day changes."""
    found = {}
    for path, content in everything(folder).items():
        if path.name == "inventory.jsonl":
            entries = inventory.load(path.parent).values()
            content = [(entry.name, entry.frames, entry.sha256, entry.bad) for entry in entries]
        if path.name != ".prepare.lock":
            found[path.relative_to(folder).as_posix()] = content
    return found


ENDINGS = [
    (signal.SIGINT, True, 130),
    (signal.SIGTERM, False, 143),
    pytest.param(signal.SIGTERM, True, 143, marks=pytest.mark.slow),
    pytest.param(signal.SIGKILL, False, -9, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("number, to_all, code", ENDINGS)
def test_a_signal_ends_all_processes_and_the_same_command_goes_on(tmp_path, undisturbed, number, to_all, code):
    write_some(tmp_path / "tree")

    def in_the_middle():
        return list(tmp_path.rglob("0.mp4.mkv")) and list(tmp_path.rglob("*.unfinished.mkv"))

    ended, _, errors = signalled(PREPARE_WITHOUT_END, tmp_path / "tree", number, to_all, in_the_middle)
    words = f"stopped by {number.name}; the same command continues from here\n" if code > 0 else ""
    assert (ended, errors) == (code, words)
    if number != signal.SIGKILL:
        assert not list(tmp_path.rglob("*.unfinished*"))
    assert not [entry for entry in inventory.load(tmp_path / "tree").values() if entry.bad]
    run(f"data.root={tmp_path / 'tree'}", *QUICK)
    assert left(tmp_path) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_twelve_signals_at_random_moments(tmp_path, undisturbed, number, code):
    """Each prepare is signalled after a random time, from its first import on, and the next goes on from there."""
    rng = random.Random(int(number))
    write_some(tmp_path / "tree")
    for _ in range(12):
        for path in list(tmp_path.rglob("*.mp4.mkv"))[1:]:
            path.unlink()  # so that there is something left to do
        end = time.monotonic() + rng.uniform(0.1, 8)
        ended, _, errors = signalled(PREPARE, tmp_path / "tree", number, False, lambda end=end: time.monotonic() > end)
        assert ended in (code, 0) and "Traceback" not in errors, errors  # 0: it was done before
    run(f"data.root={tmp_path / 'tree'}", *QUICK)
    assert left(tmp_path) == undisturbed


@pytest.mark.parametrize(
    "overrides, said",
    [
        (["data=ordered_motions"], "nothing to prepare"),
        (["data=folder"], "give data.root="),
        (["data=folder", "data.root=/not/there"], "data.root=/not/there is not a folder"),
        (["data=hmdb51", "data.root=.", "archives=/not/there"], "archives=/not/there is not a folder"),
    ],
)
def test_mistakes_are_told_in_one_line(overrides, said):
    with pytest.raises(UserError, match=said) as caught:
        run(*overrides)
    assert "\n" not in str(caught.value)


def test_the_command(tmp_path):
    for name in "ab":
        for i in range(2):
            write_video(tmp_path / "t" / name / f"{i}.mp4", 3, seed=i)
    command = [sys.executable, "-m", "src.prepare", f"data.root={tmp_path / 't'}", "workers=1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    assert "4 videos can be read to their end, 0 are bad" in done.stdout and "Traceback" not in done.stderr
    assert len(json.loads((tmp_path / "t" / "inventory.jsonl").read_text().splitlines()[0])["sha256"]) == 64
