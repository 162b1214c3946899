"""A copy of a video with what is seen written into its frames."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from src import files
from src.data.stream import TimedFrame
from src.text import printable

mpl.use("Agg")

TICKS = 90_000  # of a second, in which times are written
SMALLEST = 240  # pixels of a frame's height, below which it is enlarged so that the label can be read
CACHED = 256  # labels whose pictures are kept
Label = tuple[float, str]  # from a moment on, this text


def write(path: Path, frames: Iterable[TimedFrame], labels: Sequence[Label]) -> None:
    """H.264 without sound; each frame with the last of the `labels`, which are in order, that has begun."""
    with files.replacing(path) as temporary, av.open(str(temporary), "w") as container:
        stream = None
        last = -1
        for frame in frames:
            pixels = _enlarged(frame.pixels)
            height, width = (side // 2 * 2 for side in pixels.shape[:2])  # 4:2:0 colour takes even sides
            if stream is None:
                stream = container.add_stream("libx264", rate=Fraction(25))
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                stream.codec_context.time_base = Fraction(1, TICKS)
            drawn = np.array(pixels[:height, :width])
            _draw(drawn, label_at(labels, frame.seconds))
            image = av.VideoFrame.from_ndarray(drawn, format="rgb24")
            last = max(last + 1, round(frame.seconds * TICKS))
            image.pts, image.time_base = last, Fraction(1, TICKS)
            container.mux(stream.encode(image))
        if stream is not None:
            container.mux(stream.encode())


def label_at(labels: Sequence[Label], seconds: float) -> str:
    """The text that holds at a moment; none before the first."""
    place = bisect_right(labels, seconds, key=lambda label: label[0])
    return labels[place - 1][1] if place else ""


def _enlarged(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = max(1, -(-SMALLEST // pixels.shape[0]))
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)


def _draw(pixels: NDArray[np.uint8], text: str) -> None:
    """Write the text on a dark strip along the lower edge of H, W, 3, in place."""
    if not text:
        return
    strip = _strip(printable(text), pixels.shape[1], max(18, pixels.shape[0] // 12))
    part = pixels[-strip.shape[0] :, : strip.shape[1]]
    part[:] = part // 4 + strip[: part.shape[0], : part.shape[1]] // 4 * 3


@lru_cache(CACHED)
def _strip(text: str, width: int, height: int) -> NDArray[np.uint8]:
    """White text on black, height, width, 3."""
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor="black")
    size = min(0.6 * height * 0.72, 1.5 * width / max(1, len(text)))  # points; 0.72 of them are a pixel
    figure.text(0.02, 0.5, text, color="white", fontsize=size, va="center", parse_math=False)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    picture: NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return picture[..., :3].copy()
