"""Small real videos, written once a session."""

import os
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest

SAMPLES = os.environ.get("LATE_SAMPLE_CLIPS")  # a folder of real clips


def picture(seed: int, index: int, width: int, height: int) -> np.ndarray:
    """H, W, 3: blocks that differ from frame to frame, so that every frame can be told from the others."""
    blocks = np.random.default_rng([seed, index]).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.ascontiguousarray(blocks.repeat(-(-height // 6), 0).repeat(-(-width // 8), 1)[:height, :width])


@contextmanager
def as_before():
    """Undo what SVT-AV1 does for root: its caller becomes a real-time process, and all others wait."""
    if not hasattr(os, "sched_setscheduler"):
        yield
        return
    policy, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameter)


def write_video(path, frames=20, size=(64, 48), codec="libx264", seed=0, **options):
    """Encode `frames` pictures of (width, height); returns the path. The same pictures give the same bytes."""
    if codec == "libx264":  # whose looking ahead gives other results from time to time
        options = {"rc-lookahead": "0", "mbtree": "0", **options}
    path.parent.mkdir(parents=True, exist_ok=True)
    with as_before(), av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"threads": "1", **options})
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for i in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(seed, i, *size), format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def codecs(tmp_path_factory) -> dict[str, Path]:
    """One file of each kind, with seeking made hard: B-frames, open groups of pictures, packed containers."""
    root = tmp_path_factory.mktemp("codecs")
    kinds = {
        "plain.mp4": {"g": "8", "bf": "0"},
        "bframes.mkv": {"g": "12", "bf": "2"},
        "open.mp4": {"x264-params": "open-gop=1:keyint=12:bframes=3"},
        "h264.avi": {"bf": "2", "g": "12"},
        "stream.ts": {"bf": "2", "g": "12"},
        "xvid.avi": {"codec": "mpeg4", "bf": "2"},
        "jpeg.avi": {"codec": "mjpeg"},
        "odd.avi": {"codec": "mpeg4", "size": (66, 50)},
    }
    return {name: write_video(root / name, 50, **options) for name, options in kinds.items()}


@pytest.fixture(scope="session")
def tree(tmp_path_factory) -> Path:
    """A folder per class: three classes of four clips, 5 to 38 frames long."""
    root = tmp_path_factory.mktemp("tree")
    for c, name in enumerate(("hop", "skip", "jump")):
        for i in range(4):
            write_video(root / name / f"clip {i}.mp4", 5 + 3 * (4 * c + i), seed=4 * c + i, g="8", bf="0")
    return root


@pytest.fixture(scope="session")
def samples() -> list[Path]:
    """Real clips, where the folder named by LATE_SAMPLE_CLIPS is there."""
    files = Path(SAMPLES).rglob("*") if SAMPLES else []
    found = sorted(p for p in files if p.suffix in {".avi", ".mp4", ".mkv", ".webm", ".gif"})
    if not found:
        pytest.skip("LATE_SAMPLE_CLIPS names no folder of sample clips")
    return found
