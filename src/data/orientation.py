"""How a decoded picture is turned and mirrored to look as players show it: the display matrix of its container."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]  # H, W, C


class Orientation(NamedTuple):
    """Quarter turns and mirror images: rows and columns change places first, then left and right, top and bottom."""

    transposed: bool
    mirrored: bool
    upside_down: bool

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of an upright picture from those of a decoded one, and the other way round."""
        return (height, width) if self.transposed else (width, height)

    def apply(self, picture: Picture) -> Picture:
        """A decoded picture H, W, C upright, without a copy."""
        if self.transposed:
            picture = picture.transpose(1, 0, 2)  # H,W,C → W,H,C
        if self.mirrored:
            picture = picture[:, ::-1]
        return picture[::-1] if self.upside_down else picture


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
