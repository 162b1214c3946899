"""A box of a frame at the size that the network takes: cut, resized with antialiasing and made RGB in one pass.

Frames of video files are cut on the decoder's own planes, so that FFmpeg's scaler touches the pixels of the box alone
and converts colours at the small size. Arrays (pictures of a folder, flow) are cut and resized by src/data/pixels.py.
Both filters are the triangle, widened where a picture shrinks; both keep uint8.
"""

import re
from fractions import Fraction
from typing import Any

import av
import av.filter
import numpy as np
from av.video.format import VideoFormat
from av.video.reformatter import VideoReformatter

from src.data.orientation import Orientation, orientation
from src.data.pixels import Box, Frames, Size

PLANES = (2, 0, 1)  # where FFmpeg's planar RGB, which is in the order G, B, R, has R, G and B
DEEP = re.compile(r"(.+?)(9|10|12|14|16)[lb]e")  # names of pixel formats
TICK = Fraction(1, 25)  # filters want to be told of some time base


class RGB:
    """Decoded frames as pixels H, W, 3 (uint8), upright, all of one size (width, height)."""

    def __init__(self, size: Size) -> None:
        self._size = size
        self._reformatter = VideoReformatter()

    def __call__(self, frame: Any) -> Frames:
        upright = orientation(frame)
        width, height = upright.size(*self._size)
        plane = self._reformatter.reformat(frame, width, height, "rgb24", threads=1).planes[0]
        return upright.apply(_rows(plane, 3 * width, height).reshape(height, width, 3))


class Scaler:
    """Boxes of decoded frames, upright, as RGB of one size; the frames are taken to be of `native` size."""

    def __init__(self, native: Size) -> None:
        self._native = native
        self._reformatter = VideoReformatter()
        self._key: Any = None  # what the filters have been put together for
        self._graph: Any = None
        self._source: Any = None
        self._sink: Any = None

    def __call__(self, frame: Any, box: Box, out: Frames) -> None:
        """Fill `out` (3, H, W) with a box of the frame.

        Raises:
            av.FFmpegError: its colours cannot become RGB.
        """
        upright = orientation(frame)
        native = upright.size(*self._native)
        if frame.format.components[0].bits > 8:  # in which FFmpeg cuts between the bytes of a pixel
            frame = self._reformatter.reformat(frame, *native, eight_bits(frame.format.name), threads=1)
        elif (frame.width, frame.height) != native:  # the stream goes on in another size
            frame = self._reformatter.reformat(frame, *native, "gbrp", threads=1)
        key = (frame.format.name, upright, box, out.shape)
        if key != self._key:
            self._connect(frame, upright, box, (out.shape[2], out.shape[1]))
            self._key = key
        self._source.push(frame)
        scaled = self._sink.pull()
        for channel, place in enumerate(PLANES):
            out[channel] = upright.apply(_rows(scaled.planes[place], scaled.width, scaled.height))

    def _connect(self, frame: Any, upright: Orientation, box: Box, size: Size) -> None:
        """Put the filters together: cut, resize, RGB in planes."""
        left, top, right, bottom = upright.decoded_box(box, self._native)
        width, height = upright.size(*size)
        self._graph = graph = av.filter.Graph()  # lives as long as its ends
        graph.threads = 1  # workers are the parallelism
        self._source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or TICK
        )
        across = _chroma_place(8 // frame.format.chroma_width(8), left)
        down = _chroma_place(8 // frame.format.chroma_height(8), top)
        # FFmpeg's shortcut for boxes that keep their size leaves the last columns black unless 16 divides the width.
        flags = "bilinear" if (width, height) != (right - left, bottom - top) else "bilinear+accurate_rnd"
        self._sink = graph.add("buffersink")
        graph.link_nodes(
            self._source,
            graph.add("crop", f"{right - left}:{bottom - top}:{left}:{top}:exact=1"),
            graph.add("scale", f"{width}:{height}:flags={flags}:in_h_chr_pos={across}:in_v_chr_pos={down}"),
            graph.add("format", "gbrp"),
            self._sink,
        ).configure()


def eight_bits(name: str) -> str:
    """The pixel format with the same planes in 8 bits; RGB where there is none."""
    match = DEEP.fullmatch(name)
    try:
        return VideoFormat(match[1]).name if match else "gbrp"
    except ValueError:  # no such format
        return "gbrp"


def _chroma_place(step: int, start: int) -> int:
    """Where the first sample of colour is, in 256ths of a pixel as the scaler counts them (0: on the first pixel).

    A sample stands for `step` pixels and is taken to be in their middle, FFmpeg's usual choice; the box may start
    between two of them.
    """
    return 128 * (step - 1) - 256 * (start % step)


def _rows(plane: Any, width: int, height: int) -> Frames:
    """The bytes H, W of a plane, without those that fill up its lines."""
    rows: Frames = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)
    return rows[:, :width]


class Decoded:
    """A decoded frame as a `Picture`."""

    def __init__(self, frame: Any, size: Size, rgb: RGB, scaler: Scaler) -> None:
        self.size = size
        self._frame, self._rgb, self._scaler = frame, rgb, scaler

    @property
    def pixels(self) -> Frames:
        return self._rgb(self._frame)

    def cut(self, box: Box, size: Size) -> Frames:
        out = np.empty((3, 1, size[1], size[0]), np.uint8)
        self._scaler(self._frame, box, out[:, 0])
        return out
