"""Clips beside a float64 reference that cuts the planes, resizes them with antialiasing and converts the colours.

What is measured is the mean difference over all pixels and colours of a clip, edges included, in levels of 255: 1
is allowed for the reference, 2 for whole frames that are converted first and then resized by torchvision.
"""

from pathlib import Path

import av
import numpy as np
import pytest
from src.config import ClipSpec
from src.data.decode import open_video
from src.data.decord_reader import DecordReader
from src.data.picture import Decoded, Scaler, eight_bits
from src.data.pixels import Box, Pixels, resized
from src.data.stream import frames_in_order
from src.data.transforms import crops_for_testing, cutting

from tests.conftest import write_video
from tests.data.test_decode import in_order

SIZE = (160, 120)
LUMA = {1: (0.2126, 0.0722), 2: (0.299, 0.114), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}  # red, blue
BOXES = [
    (Box(20, 10, 124, 114), 56),
    (Box(53, 13, 119, 79), 56),
    (Box(21, 10, 121, 110), 112),
    (Box(0, 0, 160, 120), 60),
]


def scene(index: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """H, W, 3: waves of many colours and a hard edge, moving."""
    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[: size[1], : size[0]]
    waves = np.zeros((size[1], size[0], 3))
    for _ in range(12):
        across, down = rng.uniform(-0.15, 0.15, 2)
        phases = rng.uniform(0, 2 * np.pi, 3) + 0.3 * index
        waves += np.cos(across * columns[..., None] + down * rows[..., None] + phases)
    waves[size[1] // 3 : size[1] // 2, 30 + index : 60 + index] *= -1
    return np.clip(128 + 12 * waves, 0, 255).astype(np.uint8)


def write_scene(path: Path, frames: int = 16, codec: str = "libx264", pixels: str = "yuv420p", **options: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"threads": "1", **options})
        stream.width, stream.height, stream.pix_fmt = *SIZE, pixels
        for i in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene(i), format="rgb24")))
        container.mux(stream.encode(None))
    return path


def filter_matrix(samples: int, start: int, end: int, after: int, step: int) -> np.ndarray:
    """(after, samples): the triangle over a window of pixels, for samples that stand for `step` of them each.

    A sample is in the middle of its pixels; what is outside of the window's samples repeats the outermost.
    """
    first, last = start // step, -(-end // step) - 1
    scale = (end - start) / after
    centres = start + (np.arange(after) + 0.5) * scale
    places = np.arange(first - 9, last + 10)
    weights = np.maximum(0, 1 - np.abs((places + 0.5) * step - centres[:, None]) / max(scale, step))
    weights /= weights.sum(1, keepdims=True)
    matrix = np.zeros((after, samples))
    np.add.at(matrix.T, places.clip(first, last), weights.T)
    return matrix


def reference(frame: av.VideoFrame, box: Box, side: int) -> np.ndarray:
    """3, side, side: float64."""
    planes = []
    for plane in frame.planes[:3]:
        depth = np.uint16 if "10" in frame.format.name else np.uint8
        rows = np.frombuffer(memoryview(plane), depth).reshape(plane.height, -1)[:, : plane.width].astype(np.float64)
        across, down = -(-frame.width // plane.width), -(-frame.height // plane.height)
        columns = filter_matrix(plane.width, box.left, box.right, side, across)
        lines = filter_matrix(plane.height, box.top, box.bottom, side, down)
        planes.append(lines @ rows @ columns.T / (4 if depth is np.uint16 else 1))
    y, u, v = planes
    full = frame.format.name.startswith("yuvj") or frame.color_range == 2
    y, u, v = (
        (y / 255, (u - 128) / 255, (v - 128) / 255) if full else ((y - 16) / 219, (u - 128) / 224, (v - 128) / 224)
    )
    red, blue = LUMA[int(frame.colorspace)]
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    return np.clip(255 * np.stack([r, (y - red * r - blue * b) / (1 - red - blue), b]), 0, 255)


def mean_difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(np.float64) - b).mean())


@pytest.mark.parametrize("pixels", ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv420p10le", "yuva420p"])
@pytest.mark.parametrize("colours", [1, 2, 9])
def test_a_box_is_what_the_reference_makes_of_the_planes(pixels: str, colours: int) -> None:
    frame = av.VideoFrame.from_ndarray(scene(0), format="rgb24").reformat(format=pixels)
    for frame.color_range in (1, 2):
        frame.colorspace = colours
        for box, side in BOXES:
            out = np.empty((3, side, side), np.uint8)
            Scaler(SIZE)(frame, box, out)
            difference = mean_difference(out, reference(frame, box, side))
            assert difference < 1, (box, frame.color_range)


def test_deep_pixels_keep_their_planes() -> None:
    expected = {"yuv420p10le": "yuv420p", "gray16be": "gray", "gbrp12le": "gbrp", "p010le": "gbrp", "rgb48le": "gbrp"}
    assert {name: eight_bits(name) for name in expected} == expected


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mpeg4.avi", {"codec": "mpeg4", "b": "4M"}),
        ("h264.mp4", {"g": "5", "bf": "0"}),
        ("bframes.mkv", {"g": "12", "bf": "2"}),
        ("jpeg.avi", {"codec": "mjpeg", "pixels": "yuvj420p", "b": "9M"}),
        ("interlaced.mp4", {"flags": "+ildct+ilme", "x264-params": "tff=1"}),
        ("ten bits.mp4", {"pixels": "yuv420p10le"}),
    ],
)
def test_every_decoder_gives_the_clip_of_the_reference_and_of_whole_frames(
    tmp_path: Path, decoder: str, name: str, options: dict[str, str]
) -> None:
    path = write_scene(tmp_path / name, **options)
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    whole, indices = in_order(path), [9, 3, 3, 14]
    for box, side in BOXES:
        with open_video(str(path), decoder) as reader:
            clip = reader.cut(indices, box, (side, side))
        assert clip.shape == (3, 4, side, side) and clip.dtype == np.uint8
        expected = np.stack([reference(frames[i], box, side) for i in indices], axis=1)
        from_reference = mean_difference(clip, expected)
        from_whole_frames = mean_difference(clip, resized(whole[indices], box, (side, side)))
        assert from_reference < 1 and from_whole_frames < 2, box


def test_decoders_give_equal_clips_of_real_videos(samples: list[Path]) -> None:
    spec, compared = ClipSpec(16, 1, 112, (170, 128), False), 0
    for path in samples[::3]:
        with open_video(str(path), "decord") as reader, open_video(str(path)) as other:
            if not isinstance(reader, DecordReader) or len(reader) < 16:
                continue
            compared += 1
            indices = range(len(reader) - 16, len(reader), 3)
            for number in (1, 10):
                box, size, _ = cutting(crops_for_testing((170, 128), 112, number), reader.size, spec)
                ours, theirs = reader.cut(indices, box, size), other.cut(indices, box, size)
                assert not reader.gave_up
                assert mean_difference(ours, theirs) < 1, path
                assert mean_difference(ours, resized(reader.frames(indices), box, size)) < 2, path
    assert compared


@pytest.mark.parametrize("matrix", [(0, 1, -1, 0), (0, -1, 1, 0), (-1, 0, 0, -1), (-1, 0, 0, 1), (0, 1, 1, 0)])
def test_a_box_of_a_turned_video_is_upright(tmp_path: Path, matrix: tuple[int, ...]) -> None:
    path, one = write_scene(tmp_path / "turned.mp4", 3, g="3", bf="0"), 1 << 16
    content = path.read_bytes()
    place = content.index(one.to_bytes(4, "big") + bytes(12) + one.to_bytes(4, "big"), content.index(b"tkhd"))
    a, b, c, d = (number * one for number in matrix)
    turned = np.array([a, b, 0, c, d], ">i4").tobytes()
    path.write_bytes(content[:place] + turned + content[place + len(turned) :])
    with open_video(str(path)) as reader:
        box = Box(11, 20, 71, 100)
        whole = reader.frames([0, 2])
        clip = reader.cut([0, 2], box, (45, 60))
        assert clip.shape == (3, 2, 60, 45)
        assert mean_difference(clip, resized(whole, box, (45, 60))) < 2


def test_a_stream_that_changes_its_size_or_pixels_goes_on_as_it_began() -> None:
    scaler, box = Scaler(SIZE), Box(10, 20, 110, 100)
    expected = None
    for size, pixels in ((SIZE, "yuv420p"), (SIZE, "yuv444p"), ((320, 240), "yuv420p"), (SIZE, "yuv420p")):
        picture = np.repeat(np.repeat(scene(0), size[0] // SIZE[0], 0), size[0] // SIZE[0], 1)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels)
        out = np.empty((3, 40, 50), np.uint8)
        scaler(frame, box, out)
        expected = out if expected is None else expected
        assert mean_difference(out, expected) < 3


def test_frames_of_a_stream_are_cut_like_those_of_a_file(tmp_path: Path) -> None:
    path, box = write_scene(tmp_path / "v.mp4", 5), Box(20, 10, 124, 114)
    with open_video(str(path)) as reader:
        expected, whole = reader.cut(range(5), box, (56, 56)), reader.frames(range(5))
    for i, timed in enumerate(frames_in_order(str(path))):
        assert isinstance(timed.picture, Decoded) and timed.picture.size == SIZE
        assert np.array_equal(timed.picture.cut(box, (56, 56))[:, 0], expected[:, i])
        assert np.array_equal(timed.pixels, whole[i])
        pixels = Pixels(whole[i])
        assert pixels.size == SIZE
        assert mean_difference(pixels.cut(box, (56, 56))[:, 0], expected[:, i]) < 2


def test_seeking_gives_the_clip_of_a_decode_in_order(codecs: dict[str, Path]) -> None:
    box = Box(3, 5, 47, 41)
    for name, path in codecs.items():
        with open_video(str(path), in_order=True) as reader:
            expected = reader.cut(range(50), box, (32, 32))
        for first in (0, 13, 33, 49):
            indices = [*range(first, 50, 3), first]
            with open_video(str(path)) as reader:
                assert np.array_equal(reader.cut(indices, box, (32, 32)), expected[:, indices]), name
                assert np.array_equal(reader.cut([2], box, (32, 32)), expected[:, [2]]), name


def test_the_middle_of_a_video_is_read_from_the_keyframe_before_it(tmp_path: Path) -> None:
    path = write_video(tmp_path / "long.mp4", 150, g="10", bf="0", sc_threshold="0")
    with open_video(str(path)) as reader:
        whole = reader.frames(range(150))
    with open_video(str(path)) as reader:
        given = count_decoded(reader)
        assert np.array_equal(reader.frames([74, 75]), whole[74:76]) and len(given) == 6  # 70 to 75
        assert np.array_equal(reader.frames([81]), whole[[81]]) and len(given) == 12  # near enough to go on
        assert np.array_equal(reader.frames([139, 12]), whole[[139, 12]]) and len(given) == 12 + 3 + 10
    with open_video(str(path), in_order=True) as reader:
        given = count_decoded(reader)
        assert np.array_equal(reader.frames([74]), whole[[74]]) and len(given) == 75


def test_a_container_that_misses_the_keyframe_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", 100, g="10", bf="0", sc_threshold="0")
    with open_video(str(path)) as reader:
        whole = reader.frames(range(100))
    with open_video(str(path)) as reader:
        reader._keyframes = reader._keyframes._replace(times=[time + 1 for time in reader._keyframes.times])
        assert np.array_equal(reader.frames([95, 40]), whole[[95, 40]])


def count_decoded(reader) -> list[int]:
    """Fills as the reader takes frames from its decoder."""
    given: list[int] = []
    take = reader._next

    def counted():
        given.append(1)
        return take()

    reader._next = counted
    return given


@pytest.mark.parametrize("width", [18, 24, 40, 50, 56, 64])
def test_a_box_of_the_same_size_is_whole(width, tmp_path):
    """The last columns too, in whatever way FFmpeg converts colours that need no resizing."""
    path = str(write_video(tmp_path / "clip.mp4", 2, (72, 48), g="8", bf="0"))
    with open_video(path) as reader:
        expected = reader.frames([0])[0][:40, :width].astype(int)
        found = reader.cut([0], Box(0, 0, width, 40), (width, 40))[:, 0].transpose(1, 2, 0).astype(int)
    assert np.abs(found - expected)[:, -8:].mean() < 16 and found[:, -8:].any(axis=(0, 2)).all()
