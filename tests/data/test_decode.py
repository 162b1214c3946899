import re
import subprocess
import sys

import av
import numpy as np
import pytest
from src.config import ROOT
from src.data.decode import open_video
from src.data.decord_reader import DecordReader
from src.data.frame_folder import FrameFolder
from src.data.scan import scan
from src.errors import UnreadableVideoError, UserError
from torch import from_numpy, full, uint8
from torchvision.io import write_jpeg

from tests.conftest import write_video


def in_order(path):
    """Every frame as PyAV decodes it from beginning to end."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def requests(count, rng):
    """Single frames, runs, strides, the last frames, and an order that goes back."""
    yield from ([int(i)] for i in rng.integers(0, count, 4))
    yield from (list(range(s, min(count, s + 16))) for s in rng.integers(0, count, 3))
    yield [0, count - 1]
    yield list(range(0, count, 3))
    yield [count - 1, count // 3, count // 3, count // 2]
    yield [count - 1]


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
def test_frames_equal_a_decode_in_order(codecs, decoder):
    for name, path in codecs.items():
        truth, rng = in_order(path), np.random.default_rng(0)
        with open_video(str(path), decoder) as used:
            assert len(used) == len(truth) and used.size == truth.shape[2:0:-1], name
            for indices in requests(len(truth), rng):
                with open_video(str(path), decoder) as fresh:
                    for reader in (used, fresh):
                        frames = reader.frames(indices)
                        assert frames.dtype == np.uint8 and np.array_equal(frames, truth[indices]), (name, indices)


def test_decoders_agree_on_real_clips(samples):
    rng, direct = np.random.default_rng(0), 0
    for path in [p for i, p in enumerate(samples) if i < 25 or i % 20 == 0]:
        with open_video(str(path), "decord") as reader, open_video(str(path), in_order=True) as other:
            direct += isinstance(reader, DecordReader)
            assert len(reader) == len(other) and reader.size == other.size, path
            count = len(reader)
            start, last = int(rng.integers(count)), count - 1
            asked = [
                range(start, min(count, start + 8)),
                range(0, count, max(1, count // 8)),
                [last, start],
                [last],
            ]
            wanted = sorted({i for indices in asked for i in indices})
            truth = dict(zip(wanted, other.frames(wanted), strict=True))  # one decode in order
            for indices in asked:
                for i, frame in zip(indices, reader.frames(indices), strict=True):
                    # FFmpeg 4 (in decord) and later ones round single MPEG-4 pixels differently.
                    assert largest_difference(frame, truth[i]) <= 1, (path, i)
    assert direct > 5


def largest_difference(a, b):
    """Largest difference of two uint8 pictures."""
    return int((np.maximum(a, b) - np.minimum(a, b)).max())


def test_decord_reads_what_it_can_seek_in(codecs):
    with open_video(str(codecs["plain.mp4"]), "decord") as reader:
        assert isinstance(reader, DecordReader) and reader.fps == 25
    for name in ("stream.ts", "xvid.avi"):
        with open_video(str(codecs[name]), "decord") as reader:
            assert not isinstance(reader, DecordReader), name


@pytest.fixture
def bad_files(tmp_path, codecs):
    whole = codecs["jpeg.avi"].read_bytes()
    content = {"empty.mp4": b"", "text.avi": b"not a video\n" * 99, "half.avi": whole[: len(whole) // 2]}
    content["half.mp4"] = codecs["plain.mp4"].read_bytes()[:3000]
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    with av.open(str(tmp_path / "audio.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 16000
        for packets in (stream.encode(frame), stream.encode(None)):
            container.mux(packets)
    return [*(tmp_path / name for name in content), tmp_path / "audio.mp4", tmp_path / "missing.mp4"]


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
def test_bad_files_are_named_in_one_line(bad_files, decoder):
    for path in bad_files:
        with pytest.raises(UnreadableVideoError) as caught, open_video(str(path), decoder) as reader:
            reader.frames(range(len(reader)))
        message = str(caught.value)
        assert message.startswith(f"{path}: cannot be read as a video (") and message.endswith("); replace it")
        assert "\n" not in message and "Check failed" not in message and ".cc" not in message


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
def test_frames_beyond_the_end_are_unreadable(codecs, decoder):
    with open_video(str(codecs["plain.mp4"]), decoder) as reader, pytest.raises(UnreadableVideoError):
        reader.frames([50])
    with open_video(str(codecs["xvid.avi"]), decoder, frames=60) as reader:
        assert len(reader) == 60  # an inventory that is wrong is found out
        with pytest.raises(UnreadableVideoError, match="ends after 50 of 60"):
            reader.frames([59])


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
def test_names_with_odd_characters(tmp_path, monkeypatch, decoder):
    monkeypatch.chdir(tmp_path)
    for name in ("a b;[c] é.mp4", "12:30:00.mp4", "http:x.mp4", "%03d.mp4", "-i.mp4", "pipe:"):
        (tmp_path / "made.mp4").unlink(missing_ok=True)
        write_video(tmp_path / "made.mp4", 3, bf="0").rename(name)
        for path in (name, str(tmp_path / name)):
            with open_video(path, decoder) as reader:
                assert len(reader) == 3 and reader.frames([2]).shape == (1, 48, 64, 3)
                assert decoder == "pyav" or not reader.gave_up


def test_unknown_decoder():
    with pytest.raises(UserError, match="decoder 'cv2' is unknown; choose from pyav, decord"):
        open_video("x.mp4", "cv2")


def test_packets_are_scanned_once(codecs):
    open_video(str(codecs["plain.mp4"]))
    hits = scan.cache_info().hits
    open_video(str(codecs["plain.mp4"]))
    assert scan.cache_info().hits == hits + 1


@pytest.mark.parametrize("ending", [".jpg", ""])
def test_frame_folders(tmp_path, ending):
    for i in range(1, 6):
        for stem in ("img", "flow_x", "flow_y"):
            value = 20 * i + (100 if stem == "flow_y" else 0)
            picture = np.full((3 if stem == "img" else 1, 24, 32), value, np.uint8)
            file = tmp_path / f"{stem}_{i:05d}.jpg"
            write_jpeg(from_numpy(picture), str(file))
            file.rename(file.with_suffix(ending))
    for modality, expected in (("rgb", (100, 100, 100)), ("flow", (100, 200))):
        with open_video(str(tmp_path), modality=modality) as reader:
            assert isinstance(reader, FrameFolder) and len(reader) == 5 and reader.size == (32, 24)
            frames = reader.frames([4, 0])
            assert frames.shape == (2, 24, 32, len(expected))
            assert np.abs(frames[0, 5, 5].astype(int) - expected).max() <= 2
    picture = tmp_path / f"img_00003{ending}"
    write_jpeg(from_numpy(np.zeros((3, 10, 20), np.uint8)), str(tmp_path / "other size"))
    for content, reason in (
        ((tmp_path / "other size").read_bytes(), "is 20x10 pixels, the first picture 32x24"),
        (b"text\n" * 99, "is not a picture that can be decoded"),
        (b"", r"is empty \(0 bytes\)"),
    ):
        picture.write_bytes(content)
        with pytest.raises(UnreadableVideoError, match=rf"cannot be read as a video \(img_00003{ending} {reason}\)"):
            open_video(str(tmp_path)).frames([2])
    picture.unlink()
    with pytest.raises(UnreadableVideoError, match=rf"img_00003{ending} is missing"):
        open_video(str(tmp_path)).frames([2])


@pytest.mark.parametrize(
    "template", ["img_{:05d}.jpg", "{:05d}.jpg", "{:06d}.jpg", "image_{:05d}.png", "frame_{:06d}.jpeg"]
)
def test_pictures_of_all_these_names_are_read(tmp_path, template):
    for i in range(1, 4):
        picture = full((3, 24, 32), 60 * i, dtype=uint8)
        write_jpeg(picture, str(tmp_path / template.format(i)))
    (tmp_path / "notes.txt").write_text("no picture")
    with open_video(str(tmp_path)) as reader:
        assert len(reader) == 3 and reader.size == (32, 24)
        assert [int(frame.mean()) for frame in reader.frames([2, 0])] == [180, 60]


def test_decord_leaves_pyav_its_own_libraries():
    versions = []
    for first in ("", "from src.data.decord_reader import decord; "):
        code = f"{first}import av; print(av.library_versions)"
        versions.append(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT).stdout)
    assert versions[0] == versions[1] != ""
    others = [file for file in (ROOT / "src").rglob("*.py") if re.search(r"^ *import decord", file.read_text(), re.M)]
    assert not others, "src.data.decord_reader imports it"
