"""Optical flow of a video, computed with OpenCV or PyTorch and written as src/data/flow.py reads it."""

import importlib
import io
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from src import files
from src.data.decode import open_video
from src.data.flow import TAG, Fields, flow_path, open_flow, to_bytes
from src.data.inventory import Entry
from src.data.probe import bad_entry
from src.errors import UnreadableVideoError, UserError
from src.text import first_line, printable

Gray = npt.NDArray[np.uint8]  # H, W
Flow = npt.NDArray[np.float32]  # H, W, 2 in pixels
Method = Callable[[Sequence[Gray]], Iterable[Flow]]  # frames → flow from each to the next
KEYFRAMES = 12  # fields from keyframe to keyframe: what a random start may decode in vain
JPEG_QUALITY = 95
MARK = ".made_by_prepare"  # in a folder of flow pictures: this program may replace it
PICTURE = re.compile(r"flow_[xy]_\d{5,}\.jpg")
ENCODER = {
    **{"g": str(KEYFRAMES), "bf": "0", "sc_threshold": "0"},
    "x264-params": "rc-lookahead=0:mbtree=0:weightp=0",
}
CRF_OFFSET = 5.4  # what x264 adds to crf where it looks ahead; with it files are as large and as good as with that
CHUNK = 16  # frames decoded at a time
LONGEST_BATCH = 129  # frames that are given to the method together, the first of them once more


@dataclass(frozen=True)
class FlowSpec:
    """How flow is made; the same for all of one flow folder."""

    method: str  # tvl1 | tvl1_fast | dis: also the ending of the folder's name
    algorithm: str  # tvl1 | dis
    settings: dict[str, Any]  # arguments of OpenCV's maker
    size: tuple[int, int] | None  # width, height that frames are brought to first; None: as they are
    form: str  # video | frames
    crf: int  # of the video: 0 is lossless
    device: str | None = None  # None: OpenCV; cpu, cuda: PyTorch there

    def __post_init__(self) -> None:
        if self.algorithm not in ("tvl1", "dis"):
            raise UserError(f"flow.algorithm={self.algorithm} is unknown; choose tvl1 or dis")
        if self.form not in ("video", "frames"):
            raise UserError(f"flow.format={self.form} is unknown; choose video or frames")
        if not isinstance(self.crf, int) or not 0 <= self.crf <= 51:
            raise UserError(f"flow.crf={self.crf} must be between 0 (lossless) and 51 (coarse)")
        if self.device is not None and self.algorithm != "tvl1":
            raise UserError(f"flow.device={self.device}: PyTorch makes TV-L1 only; give flow.device=null, or flow=tvl1")

    def record(self) -> dict[str, Any]:
        """What decides what the flow is: OpenCV's and PyTorch's differ by a rounding now and then, devices hardly."""
        content = asdict(self)
        if content.pop("device") is not None:
            content["made_with"] = "PyTorch"
        return content


@dataclass(frozen=True)
class FlowTask:
    """One video whose flow is wanted."""

    name: str
    path: str
    root: str
    frames: int  # by the inventory
    spec: FlowSpec


def algorithm(spec: FlowSpec) -> Method:
    """The function that computes flow from each of several gray frames to the next.

    Raises:
        MachineError: the device is not there.
        UserError: OpenCV's contrib package is missing, or a setting is unknown.
    """
    if spec.device is not None:
        from src.data.torch_flow import torch_flow  # slow to import, and OpenCV's method does without

        return torch_flow(spec.device, spec.settings)
    cv2: Any
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError as error:
        raise UserError("flow needs OpenCV: pip install 'opencv-contrib-python-headless>=4.14'") from error
    cv2.setNumThreads(1)
    cv2.ocl.setUseOpenCL(False)
    try:
        if spec.algorithm == "dis":
            made = cv2.DISOpticalFlow_create(**spec.settings)
        elif hasattr(cv2, "optflow"):
            made = cv2.optflow.DualTVL1OpticalFlow_create(**spec.settings)
        else:
            raise UserError(
                "TV-L1 is in OpenCV's contrib package only: pip uninstall opencv-python opencv-python-headless; "
                "pip install 'opencv-contrib-python-headless>=4.14'; or take flow=dis"
            )
    except (TypeError, cv2.error) as error:
        raise UserError(f"flow.settings {spec.settings}: {first_line(error)}") from error

    def between(frames: Sequence[Gray]) -> Iterator[Flow]:
        for first, second in pairwise(frames):
            yield made.calc(first, second, None)

    return between


def make_flow(task: FlowTask) -> Entry:
    """Compute and write the flow of one video.

    Returns:
        The entry for the flow folder's inventory: the video's own name, bytes and time of change (so that a changed
        video is done again), the number, size, codec and hash of the flow.

    Raises:
        OSError: the disk is full.
    """
    status = Path(task.path).stat()
    target = flow_path(task.root, task.name, task.spec.method, task.spec.form)
    check_free(target)
    write = write_video if task.spec.form == "video" else write_frames
    try:
        write(target, fields(task), task.spec.crf)
        with open_flow(target) as reader:
            count, size = len(reader), reader.size
            reader.frames([count - 1])
    except UnreadableVideoError as error:
        return bad_entry(task.name, task.path, error.reason)
    except OSError as error:  # on a full disk the system does not say which file
        raise OSError(error.errno, error.strerror, str(target)) from error
    written = [target] if task.spec.form == "video" else sorted(target.glob("flow_*"))
    return Entry(
        name=task.name,
        frames=count,
        size=size,
        fps=None,
        codec="h264" if task.spec.form == "video" else "pictures",
        bytes=status.st_size,
        mtime=status.st_mtime_ns,
        sha256=files.sha256(*written),
        bad=None,
    )


def check_free(target: Path) -> None:
    """Nothing is at `target`, or flow that this program wrote (of a video that has changed since).

    Raises:
        UserError: it is something else.
    """
    if target.is_dir() and not target.is_symlink():
        own = _is_written_here(target)
    elif target.is_file() and not target.is_symlink():
        own = _is_flow(target)
    else:
        own = not os.path.lexists(target)
    if not own:
        raise UserError(
            f"{printable(target)} is where flow is to be written, but it does not say that src.prepare made it; "
            "move it elsewhere, or give flow.method=NAME for a flow folder of another name"
        )


def _is_flow(file: Path) -> bool:
    try:
        with open_flow(file):
            return True
    except UserError:
        return False


def _is_written_here(folder: Path) -> bool:
    """An empty folder, or one of `write_frames`: the mark, and nothing but flow pictures."""
    names = {path.name for path in folder.iterdir()}
    pictures = names - {MARK}
    return not names or (MARK in names and all(PICTURE.fullmatch(name) for name in pictures))


def fields(task: FlowTask) -> Iterator[Fields]:
    """Flow H, W, 2 uint8 from each frame to the next; one without motion for a single frame."""
    compute = algorithm(task.spec)
    batch: list[Gray] = []
    for frame in gray_frames(task.path, task.frames, task.spec.size):
        batch.append(frame)
        if len(batch) == LONGEST_BATCH:
            yield from map(to_bytes, compute(batch))
            batch = batch[-1:]
    yield from map(to_bytes, compute(batch))
    if batch and task.frames == 1:
        yield to_bytes(np.zeros((*batch[0].shape, 2), np.float32))


def gray_frames(path: str, frames: int, size: tuple[int, int] | None) -> Iterator[Gray]:
    """Gray frames H, W of a video, in order, brought to `size` (width, height) without keeping the shape."""
    import cv2

    with open_video(path, "pyav", frames=frames) as reader:
        for start in range(0, frames, CHUNK):
            for frame in reader.frames(range(start, min(frames, start + CHUNK))):
                gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
                yield gray if size is None else cv2.resize(gray, size, interpolation=cv2.INTER_LINEAR)


def write_video(path: Path, flow: Iterable[Fields], crf: int) -> None:
    """Write fields H, W, 2 as one gray H.264 video, x above y, whole or not at all.

    The same fields give the same bytes: no number in the file is random, and the encoder does not look ahead, which
    gives other results from time to time.
    """
    stream = None
    memory = io.BytesIO()  # a few kB a field; written in one go, where a full disk is told by the system itself
    with av.open(memory, "w", format="matroska", options={"fflags": "+bitexact"}) as container:
        container.metadata.update(TAG)
        for field in flow:
            picture = np.concatenate([field[..., 0], field[..., 1]])  # H,W,2 → 2·H,W
            if stream is None:
                stream = container.add_stream("libx264", rate=25)
                stream.pix_fmt, stream.height, stream.width = "gray", *picture.shape
                stream.codec_context.thread_count = 1
                stream.options = {"crf": str(min(51, crf + CRF_OFFSET) if crf else 0), **ENCODER}
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "gray")))
        if stream is not None:
            container.mux(stream.encode())
    with files.replacing(path) as temporary:
        temporary.write_bytes(memory.getbuffer())


def write_frames(path: Path, flow: Iterable[Fields], crf: int) -> None:
    """Write fields H, W, 2 as `flow_x_%05d.jpg` and `flow_y_%05d.jpg` from 1, the folder whole or not at all.

    A folder that is there already is replaced; whether that is right is the caller's to know (`check_free`).
    """
    import cv2

    with files.filling(path) as folder:
        (folder / MARK).touch()
        for number, field in enumerate(flow, 1):
            for channel, axis in enumerate("xy"):
                plane = np.ascontiguousarray(field[..., channel])
                _, data = cv2.imencode(".jpg", plane, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
                (folder / f"flow_{axis}_{number:05d}.jpg").write_bytes(bytes(data))
        if path.is_dir():
            shutil.rmtree(path)
