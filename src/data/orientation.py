"""How a decoded picture is turned and mirrored to look as players show it: the display matrix of its container."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]  # H, W, C, or one plane H, W


class Orientation(NamedTuple):
    """Quarter turns and mirror images: rows and columns change places first, then left and right, top and bottom."""

    transposed: bool
    mirrored: bool
    upside_down: bool

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of an upright picture from those of a decoded one, and the other way round."""
        return (height, width) if self.transposed else (width, height)

    def apply(self, picture: Picture) -> Picture:
        """A decoded picture H, W, C or H, W upright, without a copy."""
        if self.transposed:
            picture = picture.swapaxes(0, 1)  # H,W → W,H
        if self.mirrored:
            picture = picture[:, ::-1]
        return picture[::-1] if self.upside_down else picture

    def decoded_box(self, box: tuple[int, int, int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) in the decoded picture, of a box in the upright one of `size` (width, height)."""
        left, top, right, bottom = box
        if self.upside_down:
            top, bottom = size[1] - bottom, size[1] - top
        if self.mirrored:
            left, right = size[0] - right, size[0] - left
        return (top, left, bottom, right) if self.transposed else (left, top, right, bottom)


AS_DECODED = Orientation(False, False, False)


def orientation(frame: Any) -> Orientation:
    """What the display matrix of a decoded frame asks for, to the nearest quarter turn.

    A pixel at (x, y) is shown at (a·x + c·y, b·x + d·y); the matrix holds a, b, _, c, d as fixed-point numbers.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return AS_DECODED
    a, b, _, c, d = np.frombuffer(memoryview(matrix), np.int32)[:5].tolist()
    if abs(a) < abs(b):
        return Orientation(True, c < 0, b < 0)
    return Orientation(False, a < 0, d < 0)
