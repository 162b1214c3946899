"""Videos with a hole, with odd sides, with times of decoding: the frames of a decode in order without any inventory."""

import av
import numpy as np
import pytest
from src.data.decode import examine, open_video
from src.data.decord_reader import DecordReader
from src.data.h264 import Bits, Numbering
from src.errors import UnreadableVideoError

from tests.conftest import picture, write_video
from tests.data.test_odd_videos import truth

FRAMES, SIZE = 40, (64, 48)
CODECS = {
    "x264.mp4": {"g": "12", "bf": "0", "sc_threshold": "0"},
    "pyramid.mkv": {"x264-params": "keyint=12:scenecut=0:bframes=3:b-pyramid=normal:b-adapt=0"},
    "matrices.mp4": {"g": "12", "bf": "0", "x264-params": "cqm=jvt:scenecut=0"},
    "x265.mp4": {"codec": "libx265", "x265-params": "keyint=12:bframes=0:log-level=none"},
    "vp9.webm": {"codec": "libvpx-vp9", "g": "12", "cpu-used": "8"},
    "vp8.mkv": {"codec": "libvpx", "g": "12"},
}
HOLES = {"one": {17}, "several": set(range(15, 20)), "a keyframe": set(range(22, 27)), "two": {5, 31}}


def without(source, target, lost):
    """Copy a video's packets but those of these numbers."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(packet for packet in old.demux(video=0) if packet.size):
            if number not in lost:
                packet.stream = stream
                new.mux(packet)
    return target


def assert_read_as_decoded(path):
    expected = truth(path)
    for decoder in ("decord", "pyav"):
        with open_video(str(path), decoder) as reader:
            assert len(reader) == len(expected)
            for indices in ([len(expected) - 1], [len(expected) // 2], range(len(expected))):
                difference = reader.frames(indices).astype(int) - expected[list(indices)]
                assert np.abs(difference).max() <= 2, (path.name, decoder, indices)


@pytest.mark.parametrize("name", CODECS)
def test_frames_around_a_hole_are_those_of_a_decode_in_order(tmp_path, name):
    whole = write_video(tmp_path / name, FRAMES, **CODECS[name])
    assert examine(str(whole)).plain
    for hole, lost in HOLES.items():
        path = without(whole, tmp_path / f"{hole} {name}", lost)
        assert not examine(str(path)).plain, hole
        assert_read_as_decoded(path)


@pytest.mark.parametrize("ending", ["avi", "mp4", "mkv"])
def test_h264_without_reordering_in_any_container(tmp_path, ending):
    """AVI holds times of decoding only: decord looks for a frame at the wrong one."""
    path = write_video(tmp_path / f"plain.{ending}", FRAMES, g="12", bf="0", sc_threshold="0")
    assert_read_as_decoded(path)
    with open_video(str(path), "decord") as reader:
        assert isinstance(reader, DecordReader) == (ending != "avi")


@pytest.mark.parametrize("size", [(64, 49), (65, 49), (65, 48)])
@pytest.mark.parametrize(("codec", "ending"), [("mpeg4", "avi"), ("mjpeg", "avi"), ("libvpx", "webm")])
def test_odd_sides(tmp_path, size, codec, ending):
    assert_read_as_decoded(write_video(tmp_path / f"odd.{ending}", 12, size=size, codec=codec))


def test_colours_that_cannot_become_rgb_are_refused_by_every_reader(tmp_path):
    path = tmp_path / "ycgco.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height = SIZE
        stream.pix_fmt, stream.codec_context.colorspace = "yuv420p", 8
        for i in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(0, i, *SIZE), format="rgb24")))
        container.mux(stream.encode(None))
    for decoder in ("decord", "pyav"):
        with pytest.raises(UnreadableVideoError, match="not supported"), open_video(str(path), decoder) as reader:
            reader.frames([0])


def test_numbers_in_bits():
    bits = Bits(bytes([0b10100110, 0b01000010, 0b10000000]))  # 1 010 011 00100 00101 …
    assert [bits.counted() for _ in range(5)] == [0, 1, 2, 3, 4]
    bits = Bits(bytes([0b10100110, 0b01000010, 0b10000000]))
    assert [bits.signed() for _ in range(5)] == [0, 1, -1, 2, -2]
    assert Bits(b"\0\0\3\1").fixed(24) == 1  # a byte that only keeps zeros apart
    for emptied in (Bits(b""), Bits(b"\0\0")):
        with pytest.raises(ValueError, match="ends"):
            emptied.counted()


@pytest.mark.parametrize("packet", [b"", b"\0\0\1", b"\0\0\1\x65", b"\0\0\1\x41\xff\xff", b"\0\0\1\x67\x64"])
def test_what_cannot_be_understood_is_not_called_whole(packet):
    assert not Numbering(None, 0).follows(packet)
