"""Memory does not grow with a video's length: ten minutes are tested in less than 4 GB."""

import subprocess
import sys
from pathlib import Path

import av
import pytest
from src.config import ROOT

from tests import lookalikes

MINUTES, FPS, SIZE = 10, 25, (320, 240)
GIB = 2**20  # in kB, the unit of ru_maxrss


def write_long(path: Path, frames: int, size: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = [av.VideoFrame.from_ndarray(p, format="rgb24") for p in lookalikes.moving_pattern(0, 0, 32, size)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "30"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for i in range(frames):
            pictures[i % len(pictures)].pts = None
            container.mux(stream.encode(pictures[i % len(pictures)]))
        container.mux(stream.encode(None))


def run(root: Path, *overrides: str) -> float:
    """Peak memory of a run in GiB: its own process and its largest worker."""
    code = (
        "import resource, sys, torch; from tests.small_runs import start;"
        "torch.set_num_threads(2);"
        "assert start(sys.argv[1:]).tested == 1;"
        "print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,"
        " resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    common = ["data=folder", f"data.root={root}", "data.csv=list.csv", "protocol=paper", "recipe.epochs=1"]
    command = [sys.executable, "-c", code, f"run_dir={root / 'run'}", *common, "logger=csv", "pooling=bert", *overrides]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    own, worker = map(int, done.stdout.split("peak")[1].split())
    return (own + worker) / GIB


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_minutes_are_tested_in_4_gb(tmp_path: Path) -> None:
    write_long(tmp_path / "long.mp4", MINUTES * 60 * FPS, SIZE)
    for name in "ab":
        write_long(tmp_path / f"{name}.mp4", 80, SIZE)
    (tmp_path / "list.csv").write_text("path,label,split\na.mp4,a,train\nb.mp4,b,train\nlong.mp4,a,test\n")
    clip = ["model=tiny", "model.clip.frames=64", "model.clip.crop=112", "model.clip.frame_size=[170,128]"]
    peak = run(tmp_path, *clip, "data.workers=1", "recipe.batch_size=2")
    print(f"peak of main process and worker: {peak:.2f} GiB")
    assert peak < 4
