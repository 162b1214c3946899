"""Folders of numbered pictures, one a frame, as the authors' preprocessing leaves them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from src.errors import UnreadableVideoError, UserError

Frames = npt.NDArray[np.uint8]  # T, H, W, C, or one picture
STEMS = {"rgb": ("img",), "flow": ("flow_x", "flow_y")}


class FrameFolder:
    """`img_%05d.jpg`, or the pairs `flow_x_%05d.jpg`, `flow_y_%05d.jpg`, numbered from 1.

    The ending may be missing (HMDB51's flow). Frame i is the picture with number i + 1; flow has the channels
    x and y.
    """

    fps = 0.0  # pictures do not say

    def __init__(self, path: str, frames: int | None = None, modality: str = "rgb") -> None:
        if modality not in STEMS:
            raise UserError(f"modality {modality!r} is unknown; choose from {', '.join(STEMS)}")
        self._path, self._stems = Path(path), STEMS[modality]
        ending = next((e for e in (".jpg", "") if (self._path / f"{self._stems[0]}_00001{e}").is_file()), None)
        if ending is None:
            raise UnreadableVideoError(path, f"the folder holds no {self._stems[0]}_00001.jpg")
        self._ending = ending
        self._count = frames or sum(1 for _ in self._path.glob(f"{self._stems[0]}_[0-9]*{ending}"))
        height, width = self._decode(self._stems[0], 0).shape[1:]
        self.size = (int(width), int(height))

    def __len__(self) -> int:
        return self._count

    def frames(self, indices: Sequence[int]) -> Frames:
        """Frames T, H, W, C (uint8), C = 3 for rgb and 2 for flow."""
        pictures = {i: np.concatenate([self._picture(stem, i) for stem in self._stems]) for i in set(indices)}
        stacked = np.stack([pictures[i] for i in indices])  # T, C, H, W
        return stacked.transpose(0, 2, 3, 1)

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

        file = self._path / self._name(stem, index)
        mode = ImageReadMode.RGB if self._stems == STEMS["rgb"] else ImageReadMode.GRAY
        try:
            picture: Frames = decode_image(str(file), mode).numpy()
        except (OSError, RuntimeError) as error:  # in torchvision's words, which tell of its own source files
            if not file.is_file():
                raise self._error(stem, index, "is missing") from error
            if not file.stat().st_size:
                raise self._error(stem, index, "is empty (0 bytes)") from error
            raise self._error(stem, index, "is not a picture that can be decoded") from error
        return picture

    def _name(self, stem: str, index: int) -> str:
        return f"{stem}_{index + 1:05d}{self._ending}"

    def _error(self, stem: str, index: int, what: str) -> UnreadableVideoError:
        return UnreadableVideoError(str(self._path), f"{self._name(stem, index)} {what}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        return None
