"""Where the configuration stands, and the one piece of it that data and networks share."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf"
EXPERIMENTS = ROOT / "experiments"
OUTPUTS = Path("outputs")


@dataclass(frozen=True)
class ClipSpec:
    """What the network takes: `frames` frames, `stride` apart, in a `crop` x `crop` window.

    With `fps` the frames are those of a video of that rate, whatever its own; with `sampling="segments"` they are
    spread over the whole video (src/data/sampling.py).

    The window is cut from frames of `frame_size` (width, height), or, with `keep_aspect`, from frames whose short
    side has that height.
    """

    frames: int
    stride: int
    crop: int
    frame_size: tuple[int, int]
    keep_aspect: bool
    sampling: str = "dense"
    fps: float | None = None
