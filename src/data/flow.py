"""Optical flow on disk: where it is, how motion becomes bytes, and how it is read back.

Flow of the video `<root>/<name>` is one grayscale video `<root>_flow_<method>/<name>.mkv` (x above y), or the folder
`<root>_flow_<method>/<name without ending>/` with the authors' pictures `flow_x_%05d.jpg`, `flow_y_%05d.jpg`. Field i
(from 0; picture i + 1) is the motion from frame i to frame i + 1, so that T frames have T - 1 fields, and RGB and flow
clips that start at the same index start at the same moment.

A motion of v pixels is the byte round(127.5 + v · 127.5 / 20), v clamped to ±20. No byte means 127.5: half a step
(0.08 pixels) is unavoidable, and ties go to 128, so that no motion is the same byte everywhere. The network's
normalisation (x/255 - 0.5) / 0.5 makes it 0.004 of the range. Mirroring turns x into 255 - x: no motion is then 127.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import av
import numpy as np
import numpy.typing as npt

from src.data.frame_folder import FrameFolder
from src.errors import UnreadableVideoError

Fields = npt.NDArray[np.uint8]  # T, H, W, 2
BOUND = 20.0  # pixels a frame; larger motion is cut off
STILL = 128  # the byte of no motion
ENDING = ".mkv"


def flow_root(root: str | Path, method: str = "tvl1") -> Path:
    """Folder of the flow of the videos under `root`: beside it, so that it is not taken for a class."""
    root = Path(root).absolute()
    return root.with_name(f"{root.name}_flow_{method}")


def flow_path(root: str | Path, name: str, method: str = "tvl1", form: str = "video") -> Path:
    """Where the flow of video `name` (relative to `root`) is written: a file (video) or a folder (frames)."""
    path = flow_root(root, method) / name
    return path.with_suffix("") if form == "frames" else path.with_name(path.name + ENDING)


def find_flow(root: str | Path, name: str, method: str = "tvl1") -> Path | None:
    """The flow of video `name`, file or folder, or None where it has not been made."""
    for form in ("video", "frames"):
        path = flow_path(root, name, method, form)
        if path.is_dir() if form == "frames" else path.is_file():
            return path
    return None


def to_bytes(flow: npt.NDArray[np.floating[Any]]) -> Fields:
    """Motion in pixels → uint8, same shape; nothing known (not a number) counts as no motion."""
    scaled = np.nan_to_num(flow, posinf=BOUND, neginf=-BOUND).clip(-BOUND, BOUND) * (127.5 / BOUND) + 127.5
    return np.floor(scaled + 0.5).clip(0, 255).astype(np.uint8)


def to_motion(fields: Fields) -> npt.NDArray[np.float32]:
    """uint8 → motion in pixels, within half a step (0.08) of what `to_bytes` was given."""
    return ((fields.astype(np.float32) - 127.5) * (BOUND / 127.5)).astype(np.float32)


def open_flow(path: str | Path, frames: int | None = None) -> "FlowVideo | FrameFolder":
    """Open flow, a grayscale video or a folder of pictures, as a reader of T, H, W, 2 uint8 (x, y).

    Args:
        frames: fields that can be read, where it is known; otherwise it is found out.

    Raises:
        UnreadableVideoError: it cannot be read.
    """
    if Path(path).is_dir():
        return FrameFolder(str(path), frames, "flow")
    return FlowVideo(path, frames)


class FlowVideo:
    """Random access to a flow file; every decoded picture is 2·H high: x above y."""

    def __init__(self, path: str | Path, frames: int | None = None) -> None:
        raise NotImplementedError

    def __len__(self) -> int:
        """Fields that can be read."""
        return self._count

    def frames(self, indices: Sequence[int]) -> Fields:
        """Fields T, H, W, 2 (uint8) in the order asked for."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._container.close()
