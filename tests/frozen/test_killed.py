"""python -m src.features ended at any moment: the same command goes on, and no byte differs.

Parts of it: pytest -m slow tests/frozen/test_killed.py -k "SIGKILL and 3"
"""

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from src.config import ROOT

from tests.conftest import write_video
from tests.frozen.made import leftovers, shards
from tests.test_killed import ended, running

ATTEMPTS = 12
EXIT_CODES = {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}
MODEL = ["model=tiny", "pooling=concat", "model.clip.frames=8", "model.clip.crop=32", "model.clip.frame_size=[64,48]"]
WORDS = [
    *MODEL,
    "data=folder",
    "data.workers=1",
    "trainer.accelerator=cpu",
    "features.root=features",
    "features.clips=60",
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc"),
]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty small videos of two classes."""
    root = tmp_path_factory.mktemp("many") / "videos"
    for number in range(60):
        write_video(root / "ab"[number % 2] / f"{number}.mp4", 12 + number, seed=number, g="4", bf="0")
    return root


def start(many: Path, folder: Path, mark: str = "", *more: str) -> "subprocess.Popen[bytes]":
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MARK": mark, "TMPDIR": str(folder)}
    words = [sys.executable, "-m", "src.features", *WORDS, f"data.root={many}", *more]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(words, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)


def wait_for(folder: Path, word: str, process: "subprocess.Popen[bytes]") -> None:
    while word not in (folder / "log").read_text(errors="replace"):
        assert process.poll() is None, (folder / "log").read_text(errors="replace")
        time.sleep(0.01)


@pytest.fixture(scope="module")
def undisturbed(many: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], float]:
    """The features, and the seconds that filling takes once it has begun."""
    folder = tmp_path_factory.mktemp("undisturbed")
    process = start(many, folder)
    wait_for(folder, "videos to compute", process)
    before = time.monotonic()
    assert process.wait() == 0, (folder / "log").read_text()
    return shards(folder / "features"), time.monotonic() - before


@pytest.mark.parametrize("attempt", range(ATTEMPTS))
@pytest.mark.parametrize("number", EXIT_CODES, ids=lambda number: number.name)
def test_the_same_command_goes_on(
    number: signal.Signals, attempt: int, undisturbed: tuple[dict[str, bytes], float], many: Path, tmp_path: Path
) -> None:
    expected, seconds = undisturbed
    moment = random.Random(f"{number} {attempt}").uniform(0, 0.9) * seconds
    mark = uuid.uuid4().hex
    process = start(many, tmp_path, mark)
    wait_for(tmp_path, "videos to compute", process)
    time.sleep(moment)
    code, took = ended(process, number, mark)
    log = (tmp_path / "log").read_text(errors="replace")
    done = shards(tmp_path / "features")
    left = leftovers(tmp_path / "features")
    print(f"{number.name} after {moment:.2f} s of {seconds:.1f}: exit {code}, {len(done)} of {len(expected)} shards,")
    print(f"left {len(left)} locks and temporary files, all ended after {took:.1f} s: {log.splitlines()[-1]}")
    assert code in (EXIT_CODES[number], 0), log
    assert "Traceback" not in log
    assert done.items() <= expected.items()  # whole shards only
    if number != signal.SIGKILL:
        assert left == []
        advice = ("the same command continues from here", "all its work is done")
        assert code == 0 or log.splitlines()[-1].endswith(advice)

    assert start(many, tmp_path, mark).wait() == 0, (tmp_path / "log").read_text(errors="replace")
    assert shards(tmp_path / "features") == expected
    assert leftovers(tmp_path / "features") == [] and running(mark) == []


def test_two_commands_at_once(many: Path, undisturbed: tuple[dict[str, bytes], float], tmp_path: Path) -> None:
    both = [start(many, tmp_path), start(many, tmp_path)]
    assert [process.wait() for process in both] == [0, 0], (tmp_path / "log").read_text()
    assert shards(tmp_path / "features") == undisturbed[0]
    assert leftovers(tmp_path / "features") == []


def test_one_of_two_is_killed_and_the_other_does_its_work(
    many: Path, undisturbed: tuple[dict[str, bytes], float], tmp_path: Path
) -> None:
    one, other = start(many, tmp_path), start(many, tmp_path)
    wait_for(tmp_path, "videos to compute", one)
    time.sleep(undisturbed[1] / 4)
    one.kill()
    assert other.wait() == 0, (tmp_path / "log").read_text()
    one.wait()
    assert shards(tmp_path / "features") == undisturbed[0]
    assert leftovers(tmp_path / "features") == []


@pytest.mark.parametrize("devices", [2])
def test_ranks_share_the_work_and_train_as_one(devices: int, many: Path, tmp_path: Path) -> None:
    """Two processes on one run: filled together, trained on features without gradients for the backbone."""
    words = [*WORDS, f"data.root={many}", "freeze=backbone", "logger=csv", "recipe.epochs=2", "run_dir=run"]
    ranks = [f"trainer.devices={devices}", "trainer.strategy=ddp"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for cache in ("true", "false"):
        own = [*words[:-1], f"run_dir={cache}", *ranks, f"features.cache={cache}"]
        done = subprocess.run(
            [sys.executable, "-m", "src.train", *own], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    from src.scores import Scores

    one, other = (Scores.load(tmp_path / cache / "scores" / "test.npz") for cache in ("true", "false"))
    assert one.videos == other.videos
    assert abs(one.scores - other.scores).max() <= 1e-4 * abs(other.scores).max()
    assert leftovers(tmp_path / "features") == []


def test_a_sweep_over_heads_computes_features_once(many: Path, tmp_path: Path) -> None:
    words = ["-m", "pooling=concat,average,lstm", *WORDS[:1], *WORDS[2:], f"data.root={many}", "freeze=backbone"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "src.train", *words, "logger=csv", "recipe.epochs=1"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((tmp_path / "features").glob("*/description.json"))) == 3
    assert len(list(tmp_path.glob("outputs/**/results.json"))) == 3
