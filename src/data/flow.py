"""Optical flow on disk: where it is, how motion becomes bytes, and how it is read back.

Flow of the video `<root>/<name>` is one grayscale video `<root>_flow_<method>/<name>.mkv` (x above y), or the
folder `<root>_flow_<method>/<name without ending>/` with the authors' pictures `flow_x_%05d.jpg`,
`flow_y_%05d.jpg`. Field i (from 0; picture i + 1) is the motion from frame i to frame i + 1: T frames have T - 1
fields (a single frame has one, without motion), and RGB and flow clips that start at one index start at one moment.

A motion of v pixels is the byte round(127.5 + v · 127.5 / 20), v clamped to ±20. No byte means 127.5: half a step
(0.08 pixels) is unavoidable, and ties go up, so that no motion is the byte 128 everywhere. The network's
normalisation (x/255 - 0.5) / 0.5 makes it 0.004 of the range. Mirroring turns x into 255 - x, exactly the opposite
motion; no motion is 127 there.

A flow video says that it is one, by a tag of its container; any other video is refused, so that a network for flow
never takes the halves of a picture for motion. Files written before there was the tag are known by the flow.json of
the folder they are in, and by being gray.
"""

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import av
import numpy as np
import numpy.typing as npt

from src.data.frame_folder import FrameFolder
from src.data.pixels import Box, Size, resized_in_portions
from src.errors import UnreadableVideoError, UserError
from src.files import leaves, safe_name, safe_path
from src.text import first_line, printable

Fields = npt.NDArray[np.uint8]  # T, H, W, 2
BOUND = 20.0  # pixels a frame; larger motion is cut off
STILL = 128  # the byte of no motion
NO_COLOUR = 128  # in the colour planes of a video
ENDING = ".mkv"
TAG = {"LATE_TEMPORAL_FLOW": "1"}  # of the container: this is flow, in this file's first format
SPEC = "flow.json"  # in the flow folder: how its flow is made
LONGEST_PART = 200  # bytes of a file name, to which endings are added; file systems allow 255


def flow_root(root: str | Path, method: str = "tvl1") -> Path:
    """Folder of the flow of the videos under `root`: beside it, so that it is not taken for a class.

    Raises:
        UserError: `method` cannot be the end of a folder's name, or `root` is the root of the file system.
    """
    if safe_name(method) != method:
        raise UserError(
            f"flow method {printable(method)} cannot be the end of a folder's name; use letters, digits, - and _ "
            "(flow.method in src.prepare, data.flow in training)"
        )
    root = Path(root).absolute()
    if root.name in ("", ".."):
        root = root.resolve()
    if not root.name:
        raise UserError(f"data.root={root}: flow is written beside the data folder; move the videos into a folder")
    return root.with_name(f"{root.name}_flow_{method}")


def flow_path(root: str | Path, name: str, method: str = "tvl1", form: str = "video") -> Path:
    """Where the flow of video `name` (relative to `root`) is written: a file (video) or a folder (frames).

    It is always inside `flow_root`: a name that leads out of `root` gets a folder of its own there.
    """
    return flow_root(root, method) / _inside(name, form)


def _inside(name: str, form: str) -> Path:
    """Where the flow of video `name` is in a folder of flow."""
    if form == "frames":
        name = os.path.splitext(name)[0]  # noqa: PTH122 - a Path would drop what makes names differ
    parts = [_short(part) for part in name.split("/") if part not in ("", ".")]
    path = safe_path(name) if leaves(name) or not parts else Path(*parts)
    return path if form == "frames" else path.with_name(path.name + ENDING)


def _short(part: str) -> str:
    """A part of a path that exists on disk is a safe name already, but may be too long for another ending."""
    return part if len(os.fsencode(part)) <= LONGEST_PART else safe_name(part)


def find_flow(root: str | Path, name: str, method: str = "tvl1") -> Path | None:
    """The flow of video `name`, file or folder, or None where it has not been made."""
    return flow_in(flow_root(root, method), name)


def flow_in(folder: Path, name: str) -> Path | None:
    """The flow of video `name` (relative to the videos' root) in a folder of flow, or None."""
    video, pictures = folder / _inside(name, "video"), folder / _inside(name, "frames")
    if video.is_file():
        return video
    return pictures if pictures.is_dir() else None


def flow_beside(path: str | Path, method: str = "tvl1") -> Path | None:
    """The flow of a video whose data folder is not known: of any folder above it that has flow beside it."""
    video = Path(path).absolute()
    for root in video.parents:
        if root.name and (found := find_flow(root, video.relative_to(root).as_posix(), method)):
            return found
    return None


def to_bytes(flow: npt.NDArray[np.floating[Any]]) -> Fields:
    """Motion in pixels → uint8, same shape; what is not a number counts as no motion."""
    scaled = np.nan_to_num(flow, posinf=BOUND, neginf=-BOUND).clip(-BOUND, BOUND) * (127.5 / BOUND) + 127.5
    rounded: Fields = np.floor(scaled + 0.5).clip(0, 255).astype(np.uint8)
    return rounded


def to_motion(fields: Fields) -> npt.NDArray[np.float32]:
    """uint8 → motion in pixels, within half a step (0.08) of what `to_bytes` was given (up to its bound)."""
    return ((fields.astype(np.float32) - 127.5) * (BOUND / 127.5)).astype(np.float32)


def open_flow(path: str | Path, frames: int | None = None) -> "FlowVideo | FrameFolder":
    """Open flow, a grayscale video or a folder of pictures, as a reader of T, H, W, 2 uint8 (x, y).

    Args:
        frames: fields that can be read, where it is known; otherwise it is found out.

    Raises:
        UnreadableVideoError: it cannot be read.
        UserError: it is a video, but not one of flow.
    """
    return FrameFolder(str(path), frames, "flow") if Path(path).is_dir() else FlowVideo(path, frames)


def is_flow_video(path: str | Path) -> bool:
    """Whether a file says that it is flow; False for what is not a video."""
    try:
        with av.open(str(path)) as container:
            return _is_tagged(container)
    except (OSError, av.FFmpegError):
        return False


def _is_tagged(container: Any) -> bool:
    key, value = next(iter(TAG.items()))
    return bool(container.metadata.get(key) == value)


def _check_flow(path: str, container: Any) -> None:
    """The file says that it is flow, or is gray and in a folder of flow."""
    if _is_tagged(container):
        return
    if any((folder / SPEC).is_file() for folder in Path(path).absolute().parents) and _is_gray(path):
        return
    raise UserError(
        f"{printable(path)} is not an optical-flow video, and this network takes flow; make the flow of a folder "
        "of videos with python -m src.prepare flow=tvl1 data.root=FOLDER"
    )


def _is_gray(path: str) -> bool:
    """Whether the first picture has no colour. The decoder gives gray H.264 with planes of no colour."""
    with av.open(path) as container:
        picture = next(container.decode(video=0))
        colours = [
            np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
            for plane in picture.planes[1:]
        ]
    return picture.format.name in ("gray", "yuv420p") and all((colour == NO_COLOUR).all() for colour in colours)


class FlowVideo:
    """Random access to a flow file as `src.prepare` writes it: one packet a picture, a picture is 2·H high.

    The files are this program's own (H.264 without reordering), so a packet's place in the file is its number, and
    decoding may start at any keyframe.
    """

    fps = 0.0  # fields are counted, not timed

    def __init__(self, path: str | Path, frames: int | None = None) -> None:
        self._path = str(path)
        with self._readable():
            self._container = av.open(self._path)
            try:
                self._stream = self._container.streams.video[0]
                _check_flow(self._path, self._container)
                self._stream.thread_count = 1
                packets = [packet for packet in self._container.demux(self._stream) if packet.size]
                self._times = [int(packet.pts or 0) for packet in packets]
                self._keys = [i for i, packet in enumerate(packets) if packet.is_keyframe]
                if not packets or self._keys[:1] != [0] or sorted(set(self._times)) != self._times:
                    raise ValueError("the pictures of a flow file are in order and begin with a keyframe")
                if self._stream.height % 2:
                    raise ValueError(f"it is {self._stream.height} pixels high; flow has x above y, equally high")
            except BaseException:
                self._container.close()
                raise
        self._next = len(packets)  # nothing is decoded yet: the first field is sought
        self._pictures: Iterator[Any] = iter(())
        self.size = (int(self._stream.width), int(self._stream.height) // 2)
        self._count = min(frames or len(packets), len(packets))

    def __len__(self) -> int:
        """Fields that can be read."""
        return self._count

    def frames(self, indices: Sequence[int]) -> Fields:
        """Fields T, H, W, 2 (uint8) in the order asked for; ascending order is cheapest.

        Raises:
            UnreadableVideoError: a field cannot be given.
        """
        outside = [index for index in indices if not 0 <= index < self._count]
        if outside:
            raise UnreadableVideoError(self._path, f"flow field {outside[0]} of {self._count}")
        found: dict[int, Fields] = {}
        with self._readable():
            for index in sorted(set(indices)):
                found[index] = self._field(index)
        return np.stack([found[index] for index in indices])

    def cut(self, indices: Sequence[int], box: Box, size: Size) -> Fields:
        """A box of each of these fields at another size: 2, T, H, W (uint8); motion stays in the file's own pixels."""
        return resized_in_portions(self.frames, indices, box, size)

    def _field(self, index: int) -> Fields:
        key = self._keys[bisect_right(self._keys, index) - 1]
        sought, self._next = not key <= self._next <= index, len(self._times)
        if sought:  # behind us, or a keyframe ahead is nearer
            self._container.seek(self._times[key], stream=self._stream)
            self._pictures = self._container.decode(self._stream)
        for picture in self._pictures:
            if picture.pts >= self._times[index]:
                break
        else:
            raise ValueError(f"it ends before field {index} of {len(self._times)}")
        if picture.pts != self._times[index]:
            raise ValueError(f"field {index} is missing")
        self._next = index + 1
        width, height = self.size
        plane = picture.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(2, height, plane.line_size)
        return np.stack([rows[0, :, :width], rows[1, :, :width]], axis=-1)  # 2,H,W → H,W,2

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (OSError, IndexError, RuntimeError, StopIteration, ValueError, av.FFmpegError) as error:
            raise UnreadableVideoError(self._path, first_line(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._container.close()
