"""Whole frames as arrays, and a box of them at the size that the network takes, for what is not decoded by FFmpeg."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.uint8]  # T, H, W, C, or one picture
Size = tuple[int, int]  # width, height
CHUNK = 2**26  # bytes of whole frames held at once


class Box(NamedTuple):
    """A window of an upright frame, in its own pixels."""

    left: int
    top: int
    right: int
    bottom: int


def resized(frames: Frames, box: Box, size: Size) -> Frames:
    """A box of whole frames T, H, W, C at another size: C, T, H, W uint8."""
    import torch  # slow, and src.prepare answers without it
    from torchvision.transforms.v2 import functional

    clip = torch.from_numpy(frames[:, box.top : box.bottom, box.left : box.right]).permute(0, 3, 1, 2)  # → T,C,H,W
    if clip.shape[-2:] != (size[1], size[0]):
        clip = functional.resize(clip, [size[1], size[0]], antialias=True)
    array: Frames = clip.transpose(0, 1).contiguous().numpy()  # T,C,H,W → C,T,H,W
    return array


def resized_in_portions(
    read: Callable[[Sequence[int]], Frames], indices: Sequence[int], box: Box, size: Size
) -> Frames:
    """`resized` for the frames that `read` gives, few of which are held at once."""
    parts = []
    start, portion = 0, 1  # the first frame tells how large they are
    while start < len(indices):
        frames = read(indices[start : start + portion])
        parts.append(resized(frames, box, size))
        start += portion
        portion = max(1, CHUNK // frames[0].nbytes)
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)  # C, t, H, W → C, T, H, W


class Picture(Protocol):
    """One frame of a stream, which is converted when it is asked for."""

    size: Size

    @property
    def pixels(self) -> Frames:
        """The whole frame H, W, C uint8."""

    def cut(self, box: Box, size: Size) -> Frames:
        """A box of it at another size: C, 1, H, W uint8."""


class Pixels:
    """An array H, W, C uint8 as a `Picture`."""

    def __init__(self, pixels: Frames) -> None:
        self.pixels = pixels
        self.size = (pixels.shape[1], pixels.shape[0])

    def cut(self, box: Box, size: Size) -> Frames:
        return resized(self.pixels[None], box, size)
