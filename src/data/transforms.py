"""From native frames to what the network takes: one cut, one resize, uint8 all the way.

Crops are chosen in a *virtual* frame, the size that the paper resizes every frame to, and mapped to native pixels.
Decoding at native size, cutting there and resizing once gives the same picture as resize-then-crop-then-resize,
with one interpolation instead of two and without touching pixels that the crop throws away.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from src.config import ClipSpec
from src.errors import UserError

Frames = npt.NDArray[np.uint8]  # T, H, W, C
MAX_ENLARGEMENT = 8  # a crop that has to be blown up more than this shows nothing
# In quarters of the free room: corners, centre; middles of the edges; half-way from the corners to the centre.
POSITIONS = (
    *((0, 0), (4, 0), (0, 4), (4, 4), (2, 2)),
    *((0, 2), (4, 2), (2, 4), (2, 0)),
    *((1, 1), (3, 1), (1, 3), (3, 3)),
)


class Crop(NamedTuple):
    """A window of the virtual frame, in its pixels, and whether it is mirrored."""

    left: int
    top: int
    width: int
    height: int
    flip: bool = False


def virtual_size(native: tuple[int, int], clip: ClipSpec) -> tuple[int, int]:
    """(width, height) that frames of `native` size would be resized to before cropping.

    `clip.frame_size` as it is, or, with `clip.keep_aspect`, the native shape with a short side of its height.
    """
    if not clip.keep_aspect:
        return clip.frame_size[0], clip.frame_size[1]
    short = min(native)
    width, height = (round(side * clip.frame_size[1] / short) for side in native)
    return width, height


def check_size(path: str, native: tuple[int, int], clip: ClipSpec) -> None:
    """Raise UserError where the crop would be blown up beyond recognition."""
    if min(native) * MAX_ENLARGEMENT < clip.crop:
        raise UserError(
            f"{path}: {native[0]}x{native[1]} pixels are too small for a crop of {clip.crop}; "
            f"remove it, or take clips of at least {-(-clip.crop // MAX_ENLARGEMENT)} pixels a side"
        )


def crop_sizes(size: tuple[int, int], crop: int, scales: tuple[float, ...]) -> list[tuple[int, int]]:
    """All (width, height) that training crops may have: scales of the short side, at most one scale apart.

    A size within 2 pixels of `crop` is `crop`, so that it is cut without resizing wherever that is possible.
    """
    sides = [int(min(size) * scale) for scale in scales]
    sides = [crop if abs(side - crop) < 3 and crop <= min(size) else side for side in sides]
    return [(w, h) for i, w in enumerate(sides) for j, h in enumerate(sides) if abs(i - j) <= 1]


def multi_scale_crop(
    size: tuple[int, int],
    crop: int,
    rng: np.random.Generator,
    scales: tuple[float, ...],
    flip: bool,
) -> Crop:
    """A random training crop: one of the sizes at one of 13 fixed places, mirrored half of the time.

    The places follow from the size that was drawn, so that every crop lies inside the frame (section 4.2).
    """
    sizes = crop_sizes(size, crop, scales)
    width, height = sizes[rng.integers(len(sizes))]
    x, y = POSITIONS[rng.integers(len(POSITIONS))]
    mirrored = bool(rng.random() < 0.5) and flip
    return Crop((size[0] - width) * x // 4, (size[1] - height) * y // 4, width, height, mirrored)


def centre_crop(size: tuple[int, int], crop: int) -> Crop:
    """The crop x crop window in the middle."""
    return Crop((size[0] - crop) // 2, (size[1] - crop) // 2, crop, crop)


def crops_for_testing(size: tuple[int, int], crop: int, number: int) -> list[Crop]:
    """Crops for testing: 1 the centre; 3 along the longer side; 10 corners and centre, and their mirror images."""
    room_x, room_y = size[0] - crop, size[1] - crop
    centre = centre_crop(size, crop)
    if number == 1:
        return [centre]
    if number == 3 and room_x >= room_y:
        return [centre._replace(left=room_x * i // 2) for i in range(3)]
    if number == 3:
        return [centre._replace(top=room_y * i // 2) for i in range(3)]
    if number == 10:
        corners = [Crop(x, y, crop, crop) for y in (0, room_y) for x in (0, room_x)]
        plain = [*corners, centre]
        return plain + [window._replace(flip=True) for window in plain]
    raise ValueError(f"{number} test crops: 1, 3 and 10 are known")


def mirrored_views(first: int, number: int, crops: int) -> Tensor:
    """Which of `number` views of a video, from view `first` on, are mirror images: V bool.

    Views are clips, each in the order of `crops_for_testing`.
    """
    flips = [False] * 5 + [True] * 5 if crops == 10 else [False]
    return torch.tensor([flips[view % len(flips)] for view in range(first, first + number)])


def native_window(window: Crop, size: tuple[int, int], native: tuple[int, int]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of a virtual frame's window in native pixels: never empty, never outside."""

    def edges(start: int, length: int, virtual: int, real: int) -> tuple[int, int]:
        first = min(real - 1, round(start * real / virtual))
        return first, min(real, max(first + 1, round((start + length) * real / virtual)))

    left, right = edges(window.left, window.width, size[0], native[0])
    top, bottom = edges(window.top, window.height, size[1], native[1])
    return left, top, right, bottom


def cut(frames: Frames, window: Crop, size: tuple[int, int], crop: int, flow: bool = False) -> Tensor:
    """Cut a window of the virtual frame of `size` out of native frames and bring it to crop x crop.

    Args:
        frames: T, H, W, C uint8 at native size.
        flow: channel 0 is horizontal motion, 127.5 = none: mirroring also turns it round.

    Returns:
        C, T, crop, crop uint8.
    """
    native = frames.shape[2], frames.shape[1]
    left, top, right, bottom = native_window(window, size, native)
    clip = torch.from_numpy(frames[:, top:bottom, left:right]).permute(0, 3, 1, 2)  # T,H,W,C → T,C,H,W (a view)
    if clip.shape[-2:] != (crop, crop):
        clip = functional.resize(clip, [crop, crop], antialias=True)
    if window.flip:
        clip = clip.flip(-1)
        if flow:
            clip[:, 0] = 255 - clip[:, 0]  # flip has copied
    return clip.transpose(0, 1).contiguous()  # T,C,H,W → C,T,H,W
