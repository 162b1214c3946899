"""docs/onnx_predict.py says of a video what src.predict says, with three packages."""

import os
import re
import runpy
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from src.config import ROOT, ClipSpec
from src.data import transforms
from src.data.pixels import resized
from src.prediction import many

from tests.conftest import write_video
from tests.networks import export, random_network
from tests.tiny import tiny

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")
SCRIPT = ROOT / "docs" / "onnx_predict.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


@pytest.mark.parametrize("native", [(64, 48), (341, 256), (30, 90), (56, 56)])
@pytest.mark.parametrize("keep", [False, True])
def test_its_clips_are_those_of_the_network(script: dict[str, Any], native: tuple[int, int], keep: bool) -> None:
    spec = ClipSpec(frames=3, stride=1, crop=56, frame_size=(85, 64), keep_aspect=keep)
    clip = {"crop": 56, "frame_size": [85, 64], "keep_aspect": keep}
    frames = np.random.default_rng(0).integers(0, 256, (3, native[1], native[0], 3), dtype=np.uint8)
    size = transforms.virtual_size(native, spec)
    box, size, _ = transforms.cutting([transforms.centre_crop(size, 56)], native, spec)
    want = resized(frames, box, size).astype(int)
    got = script["make_clip"](frames, clip).astype(int)
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= 2  # each pass rounds there, the end result here


def answers(text: str) -> dict[str, float]:
    return {name: float(share) for share, name in re.findall(r"^([\d.]+)  (.+)$", text, re.MULTILINE)}


def expected(found: Any, video: Path) -> dict[str, float]:
    scores = torch.from_numpy(many.ask(found, [str(video)]).scores[0])
    return dict(zip(found.classes, scores.softmax(0).tolist(), strict=True))


def test_it_says_what_predict_says(script: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = random_network(*tiny("tiny"), "pooling=average")
    export(found, "onnx", tmp_path / "net.onnx")
    for frames in (10, 40):
        video = write_video(tmp_path / f"{frames}.mp4", frames, g="8", bf="0")
        capsys.readouterr()
        script["main"](str(tmp_path / "net.onnx"), str(video))
        assert answers(capsys.readouterr().out) == pytest.approx(expected(found, video), abs=2e-3)


@pytest.mark.slow
def test_it_runs_where_nothing_else_is_installed(tmp_path: Path) -> None:
    found = random_network(*tiny("slowfast"), "pooling=bert_late_fusion")
    export(found, "onnx", tmp_path / "net.onnx")
    video = write_video(tmp_path / "v.mp4", 40, g="8", bf="0")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    packages = [f"{name}=={version(name)}" for name in ("onnxruntime", "numpy", "av")]
    done = subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"packages cannot be had here: {done.stderr.strip().splitlines()[-1]}")
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    assert subprocess.run([python, "-c", "import torch"], capture_output=True, env=clean).returncode != 0
    words = [python, SCRIPT, tmp_path / "net.onnx", video]
    printed = subprocess.run(words, check=True, capture_output=True, text=True, cwd=tmp_path, env=clean).stdout
    assert answers(printed) == pytest.approx(expected(found, video), abs=2e-3)
