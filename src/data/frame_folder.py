"""Folders of numbered pictures, one a frame, as the authors' preprocessing leaves them."""

import os
import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from src.data.pixels import Box, Frames, Size, resized_in_portions
from src.errors import UnreadableVideoError, UserError

STEMS = {  # what stands before the number
    "rgb": (("img_",), ("",), ("image_",), ("frame_",)),
    "flow": (("flow_x_", "flow_y_"),),
}
DIGITS = (5, 6)
ENDINGS = (".jpg", "", ".jpeg", ".png")


class Naming(NamedTuple):
    """How a folder's pictures are called: one stem a channel group, and the number of digits."""

    stems: tuple[str, ...]
    digits: int
    ending: str

    def name(self, stem: str, index: int) -> str:
        """Of the picture of frame `index`, which has the number `index` + 1."""
        return f"{stem}{index + 1:0{self.digits}d}{self.ending}"


def naming(folder: str | Path, modality: str = "rgb") -> Naming | None:
    """How the pictures in a folder are called; None where no known name has the number 1."""
    for stems, digits, ending in product(STEMS[modality], DIGITS, ENDINGS):
        one = Naming(stems, digits, ending)
        if os.path.isfile(f"{folder}/{one.name(stems[0], 0)}"):  # noqa: PTH113  # Path.is_file raises on long names
            return one
    return None


class FrameFolder:
    """`img_%05d.jpg`, or the pairs `flow_x_%05d.jpg`, `flow_y_%05d.jpg`, numbered from 1.

    The ending may be missing (HMDB51's flow); RGB pictures may be called `%05d.jpg` (Jester), `image_%05d.jpg` or
    `frame_%05d.jpg`, have six digits, or be PNG. Frame i is the picture with number i + 1; flow has the channels
    x and y.
    """

    fps = 0.0  # pictures do not say

    def __init__(self, path: str, frames: int | None = None, modality: str = "rgb") -> None:
        if modality not in STEMS:
            raise UserError(f"modality {modality!r} is unknown; choose from {', '.join(STEMS)}")
        self._path, self._modality = Path(path), modality
        found = naming(self._path, modality)
        if found is None:
            raise UnreadableVideoError(path, f"the folder holds no {STEMS[modality][0][0]}00001.jpg")
        self._naming, self._stems = found, found.stems
        self._count = frames or self._pictures()
        height, width = self._decode(self._stems[0], 0).shape[1:]
        self.size = (int(width), int(height))

    def __len__(self) -> int:
        return self._count

    def frames(self, indices: Sequence[int]) -> Frames:
        """Frames T, H, W, C (uint8), C = 3 for rgb and 2 for flow."""
        pictures = {i: np.concatenate([self._picture(stem, i) for stem in self._stems]) for i in set(indices)}
        stacked = np.stack([pictures[i] for i in indices])  # T, C, H, W
        return stacked.transpose(0, 2, 3, 1)

    def _pictures(self) -> int:
        pattern = re.compile(rf"{self._stems[0]}\d+{re.escape(self._naming.ending)}")
        return sum(1 for file in self._path.iterdir() if pattern.fullmatch(file.name))

    def cut(self, indices: Sequence[int], box: Box, size: Size) -> Frames:
        """A box of each of these frames at another size: C, T, H, W (uint8)."""
        return resized_in_portions(self.frames, indices, box, size)

    def _picture(self, stem: str, index: int) -> Frames:
        """C, H, W uint8 of the first picture's size; C is 1 for flow."""
        picture = self._decode(stem, index)
        height, width = picture.shape[1:]
        if (width, height) != self.size:
            first = "x".join(map(str, self.size))
            raise self._error(stem, index, f"is {width}x{height} pixels, the first picture {first}")
        return picture

    def _decode(self, stem: str, index: int) -> Frames:
        """C, H, W uint8 of the picture's own size."""
        from torchvision.io import ImageReadMode, decode_image  # slow, and src.prepare answers without it

        file = self._path / self._naming.name(stem, index)
        mode = ImageReadMode.RGB if self._modality == "rgb" else ImageReadMode.GRAY
        try:
            picture: Frames = decode_image(str(file), mode).numpy()
        except (OSError, RuntimeError) as error:  # in torchvision's words, which tell of its own source files
            if not file.is_file():
                raise self._error(stem, index, "is missing") from error
            if not file.stat().st_size:
                raise self._error(stem, index, "is empty (0 bytes)") from error
            raise self._error(stem, index, "is not a picture that can be decoded") from error
        return picture

    def _error(self, stem: str, index: int, what: str) -> UnreadableVideoError:
        return UnreadableVideoError(str(self._path), f"{self._naming.name(stem, index)} {what}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        return None
