"""Which part of a frame the network sees: one cut, one resize, uint8 all the way (src/data/picture.py does them).

Crops are chosen in a *virtual* frame, the size that the paper resizes every frame to, and mapped to native pixels.
Cutting there and resizing once gives the same picture as resize-then-crop-then-resize, with one interpolation instead
of two and without touching pixels that the crop throws away.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from src.batch import cut
from src.config import ClipSpec
from src.data.pixels import Box, Frames, Size
from src.errors import UserError

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


def virtual_size(native: Size, clip: ClipSpec) -> Size:
    """(width, height) that frames of `native` size would be resized to before cropping.

    `clip.frame_size` as it is, or, with `clip.keep_aspect`, the native shape with a short side of its height.
    """
    if not clip.keep_aspect:
        return clip.frame_size[0], clip.frame_size[1]
    short = min(native)
    width, height = (round(side * clip.frame_size[1] / short) for side in native)
    return width, height


def check_size(path: str, native: Size, clip: ClipSpec) -> None:
    """Raise UserError where the crop would be blown up beyond recognition."""
    if min(native) * MAX_ENLARGEMENT < clip.crop:
        raise UserError(
            f"{path}: {native[0]}x{native[1]} pixels are too small for a crop of {clip.crop}; "
            f"remove it, or take clips of at least {-(-clip.crop // MAX_ENLARGEMENT)} pixels a side"
        )


def crop_sizes(size: Size, crop: int, scales: tuple[float, ...]) -> list[tuple[int, int]]:
    """All (width, height) that training crops may have: scales of the short side, at most one scale apart.

    A size within 2 pixels of `crop` is `crop`, so that it is cut without resizing wherever that is possible.
    """
    sides = [int(min(size) * scale) for scale in scales]
    sides = [crop if abs(side - crop) < 3 and crop <= min(size) else side for side in sides]
    return [(w, h) for i, w in enumerate(sides) for j, h in enumerate(sides) if abs(i - j) <= 1]


def multi_scale_crop(
    size: Size,
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


def centre_crop(size: Size, crop: int) -> Crop:
    """The crop x crop window in the middle."""
    return Crop((size[0] - crop) // 2, (size[1] - crop) // 2, crop, crop)


def crops_for_testing(size: Size, crop: int, number: int) -> list[Crop]:
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


def native_window(window: Crop, size: Size, native: Size) -> Box:
    """A virtual frame's window in native pixels: never empty, never outside."""

    def edges(start: int, length: int, virtual: int, real: int) -> tuple[int, int]:
        first = min(real - 1, round(start * real / virtual))
        return first, min(real, max(first + 1, round((start + length) * real / virtual)))

    left, right = edges(window.left, window.width, size[0], native[0])
    top, bottom = edges(window.top, window.height, size[1], native[1])
    return Box(left, top, right, bottom)


class Cutting(NamedTuple):
    """How one or several crops come out of native frames: one box around all of them, resized once, and cut up.

    Several crops are of the size that the network takes; a single one may have another, and is resized to it.
    """

    box: Box  # in native pixels
    size: Size  # what it is brought to
    crops: Tensor  # V, 5: places in that, as src/batch.py has them, of the one clip

    @property
    def is_whole(self) -> bool:
        """There is one crop, and it is all of the resized box as it is."""
        return self.crops.tolist() == [[0, 0, 0, self.size[0], 0]]

    def views(self, frames: Frames) -> Tensor:
        """The crops V, C, T, H, W uint8 of the resized box C, T, H, W."""
        return cut(torch.from_numpy(frames)[None], self.crops)


def cutting(crops: Sequence[Crop], native: Size, clip: ClipSpec) -> Cutting:
    """How to cut crops of the virtual frame out of frames of `native` size (width, height)."""
    left, top = min(crop.left for crop in crops), min(crop.top for crop in crops)
    width = max(crop.left + crop.width for crop in crops) - left
    height = max(crop.top + crop.height for crop in crops) - top
    box = native_window(Crop(left, top, width, height), virtual_size(native, clip), native)
    if len(crops) == 1:
        return Cutting(box, (clip.crop, clip.crop), torch.tensor([[0, 0, 0, clip.crop, crops[0].flip]]))
    rows = [(0, crop.left - left, crop.top - top, clip.crop, crop.flip) for crop in crops]
    return Cutting(box, (width, height), torch.tensor(rows))
