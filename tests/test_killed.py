"""Commands ended at any moment: the same command goes on, and nothing differs from a run that was left alone.

Parts of it: pytest -m slow tests/test_killed.py -k "train and SIGTERM and 3"
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np
import pytest
import torch
from src.config import ROOT
from src.data.inventory import FILE
from src.files import LEFTOVER

from tests.conftest import write_video

ATTEMPTS = 12
EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}
TINY = ["model=tiny", "pooling=average", "model.clip.frames=8", "model.clip.crop=32", "model.clip.frame_size=[64,48]"]
TRAIN = [*TINY, "data=folder", "data.root=videos", "data.workers=1", "recipe.epochs=3", "logger=csv"]
SWEEP = ["src.train", "-m", "seed=0,1", *TRAIN]
COMMANDS = {
    "train": ["src.train", "run_dir=outputs/run", *TRAIN],
    "sweep": SWEEP,
    "parallel": [*SWEEP, "hydra/launcher=parallel"],
    "prepare": ["src.prepare", "data=folder", "data.root=videos", "workers=2"],
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """Twenty small videos of two classes."""
    root = tmp_path_factory.mktemp("videos") / "videos"
    for number in range(20):
        write_video(root / "ab"[number % 2] / f"{number}.mp4", 12, seed=number, g="4", bf="0")
    return root


def start(kind: str, folder: Path, mark: str) -> "subprocess.Popen[bytes]":
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MARK": mark, "TMPDIR": str(folder)}
    words = [sys.executable, "-m", *COMMANDS[kind]]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(words, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)


def outcome(folder: Path) -> dict[str, object]:
    """What must not differ: every run's scores, weights and figures, and the inventory."""
    found: dict[str, object] = {}
    for run in sorted(folder.glob("outputs/**/run.json")):
        results = json.loads((run.parent / "results.json").read_text())
        scores = np.load(run.parent / "scores" / "test.npz")
        weights = torch.load(run.parent / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        name = json.loads(run.read_text())["identity"]
        found[name] = [results["metrics"], results["best"], {key: scores[key].tolist() for key in scores.files}]
        found[f"{name} weights"] = {key: tensor.tolist() for key, tensor in weights.items()}
    inventory = folder / "videos" / FILE
    found["inventory"] = inventory.read_text() if inventory.is_file() else None
    return found


@pytest.fixture(scope="module", params=COMMANDS)
def undisturbed(request, videos, tmp_path_factory) -> tuple[str, dict[str, object], float]:
    """Kind of command, its outcome, and the seconds that it takes."""
    folder = tmp_path_factory.mktemp(request.param)
    shutil.copytree(videos, folder / "videos")
    before = time.monotonic()
    assert start(request.param, folder, "").wait() == 0, (folder / "log").read_text()
    return request.param, outcome(folder), time.monotonic() - before


def running(mark: str) -> list[int]:
    """The processes that a command has started, and it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:  # ended, a zombie, or somebody else's
            continue
    return found


def ended(command: "subprocess.Popen[bytes]", number: signal.Signals, mark: str) -> tuple[int, float]:
    """End a command; its exit code, and the seconds until none of its processes is left."""
    before = time.monotonic()
    if number == signal.SIGINT:  # Ctrl-C reaches the whole group
        os.killpg(command.pid, number)
    else:
        command.send_signal(number)
    code = command.wait()
    while running(mark):  # nothing is left, or the test's time is over
        time.sleep(0.05)
    return code, time.monotonic() - before


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("attempt", range(ATTEMPTS))
@pytest.mark.parametrize("number", EXIT_CODES, ids=lambda number: number.name)
def test_an_ended_command_goes_on_as_if_nothing_had_been(number, attempt, undisturbed, videos, tmp_path) -> None:
    kind, expected, seconds = undisturbed
    moment = (
        random.Random(f"{kind} {number} {attempt}").uniform(0.3, 1) * seconds
    )  # loading libraries takes the first third
    shutil.copytree(videos, tmp_path / "videos")
    mark = uuid.uuid4().hex
    command = start(kind, tmp_path, mark)
    time.sleep(moment)
    code, took = ended(command, number, mark)
    log = (tmp_path / "log").read_text(errors="replace")
    assert code in (EXIT_CODES[number], 0), log  # 0: it was done already
    assert "Traceback" not in log
    print(f"{kind} {number.name} after {moment:.1f} s: exit {code}, all ended after {took:.1f} s")

    if code != 0 and not (tmp_path / "outputs" / "run" / "results.json").is_file():
        assert start(kind, tmp_path, mark).wait() == 0, (tmp_path / "log").read_text(errors="replace")
    assert outcome(tmp_path) == expected
    assert [path for path in (tmp_path / "videos").rglob(".*") if LEFTOVER.fullmatch(path.name)] == []
    assert [path for path in tmp_path.glob("outputs/**/.*") if LEFTOVER.fullmatch(path.name)] == []
