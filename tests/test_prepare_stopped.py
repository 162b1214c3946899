"""Prepare ended by signals: nothing is left running or half-written, and the same command goes on."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from src.config import ROOT
from src.data import inventory

from tests.conftest import write_video
from tests.prepared import QUICK, everything, run


def session(number):
    """Processes of a session that are alive."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, group = stat.read_text().rpartition(")")[2].split()[:4]
            if int(group) == number and state != "Z":
                found.append(int(stat.parent.name))
    return found


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
