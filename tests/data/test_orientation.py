"""Turned and mirrored videos look as players show them."""

import av
import numpy as np
import pytest
from src.data.decode import open_video
from src.data.orientation import AS_DECODED, orientation
from src.data.stream import frames_in_order

from tests.conftest import write_video

ONE = 1 << 16
PICTURE = np.arange(2 * 3, dtype=np.uint8).reshape(2, 3, 1)  # rows 0 1 2 and 3 4 5
SHOWN = {  # a b c d → rows
    (1, 0, 0, 1): [[0, 1, 2], [3, 4, 5]],
    (0, 1, -1, 0): [[3, 0], [4, 1], [5, 2]],  # a quarter turn clockwise
    (-1, 0, 0, -1): [[5, 4, 3], [2, 1, 0]],
    (0, -1, 1, 0): [[2, 5], [1, 4], [0, 3]],
    (-1, 0, 0, 1): [[2, 1, 0], [5, 4, 3]],  # a mirror
    (1, 0, 0, -1): [[3, 4, 5], [0, 1, 2]],
    (0, 1, 1, 0): [[0, 3], [1, 4], [2, 5]],
    (0, -1, -1, 0): [[5, 2], [4, 1], [3, 0]],
    (0.9998, 0.02, -0.02, 0.9998): [[0, 1, 2], [3, 4, 5]],  # one degree
    (0.02, 0.9998, -0.9998, 0.02): [[3, 0], [4, 1], [5, 2]],
    (2, 0, 0, 2): [[0, 1, 2], [3, 4, 5]],
    (0, 0, 0, 0): [[0, 1, 2], [3, 4, 5]],  # some writers leave the matrix out like this
}


class Frame:
    """A decoded frame with such a matrix; without one where it is None."""

    def __init__(self, numbers=None):
        self.side_data = {}
        if numbers:
            a, b, c, d = (round(number * ONE) for number in numbers)
            self.side_data["DISPLAYMATRIX"] = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], np.int32).tobytes()


@pytest.mark.parametrize("numbers", SHOWN)
def test_a_picture_is_shown_as_its_matrix_says(numbers):
    turned = orientation(Frame(numbers))
    assert turned.apply(PICTURE)[..., 0].tolist() == SHOWN[numbers]
    assert turned.size(3, 2) == np.shape(SHOWN[numbers])[::-1]


def test_without_a_matrix_nothing_is_turned():
    assert orientation(Frame()) == AS_DECODED


@pytest.mark.parametrize("numbers", [(-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, 0, 0, 0)])
def test_every_reader_shows_a_file_upright(tmp_path, numbers):
    path = write_video(tmp_path / "turned.mp4", 4, g="4", bf="0")
    with av.open(str(path)) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    a, b, c, d = (round(number * ONE) for number in numbers)
    content = path.read_bytes()
    place = content.index(ONE.to_bytes(4, "big") + bytes(12) + ONE.to_bytes(4, "big"), content.index(b"tkhd"))
    matrix = np.array([a, b, 0, c, d], ">i4").tobytes()
    path.write_bytes(content[:place] + matrix + content[place + len(matrix) :])
    expected = [orientation(Frame(numbers)).apply(picture) for picture in decoded]
    for decoder in ("decord", "pyav"):
        with open_video(str(path), decoder) as reader:
            assert reader.size == expected[0].shape[1::-1]
            assert np.array_equal(reader.frames(range(4)), expected)
    assert np.array_equal([frame.pixels for frame in frames_in_order(str(path))], expected)
