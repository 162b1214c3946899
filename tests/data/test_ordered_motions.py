"""The embedded data set: the same for the same seed, whole or not there, and only order tells twins apart."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import av
import numpy as np
import pytest
from src.data import ordered_motions
from src.data.annotations import Lists, Video
from src.data.decode import open_video
from src.data.folder import folder
from src.data.moving_shapes import CLASSES, LEAD, PAIRS, PAUSE, _noise, scenes, twins
from src.data.ordered_motions import VERSION, encode, lists, to_yuv
from src.errors import UserError

REPOSITORY = Path(__file__).parents[2]


def small(root: Path | None, seed: int = 0, train: int = 16, size: int = 32) -> Lists:
    where = None if root is None else str(root)
    return lists(root=where, set_seed=seed, train=train, val=8, test=8, frames=26, size=size)


def everything(made: Lists) -> list[Video]:
    return [*made.train, *(made.val or []), *made.test]


def planes(path: Path) -> np.ndarray:
    """T,H·3/2,W: what decoding gives, without any conversion."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray() for frame in container.decode(video=0)])


def digest(directory: Path) -> dict[str, str]:
    """Name → hash of the decoded pictures, or of the bytes of what is no video."""
    found = {}
    for file in sorted(file for file in directory.rglob("*") if file.is_file()):
        content = planes(file).tobytes() if file.suffix == ".mp4" else file.read_bytes()
        found[str(file.relative_to(directory))] = hashlib.sha256(content).hexdigest()
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Lists:
    return small(tmp_path_factory.mktemp("motions"))


def test_every_split_has_every_class_equally_often(made: Lists) -> None:
    assert made.classes == list(CLASSES) and len(CLASSES) >= 8
    assert made.val is not None
    for videos, each in ((made.train, 2), (made.val, 1), (made.test, 1)):
        assert Counter(video.label for video in videos) == dict.fromkeys(range(len(CLASSES)), each)
    assert len({video.name for video in everything(made)}) == len(everything(made))


def test_groups_are_twins_and_never_cross_a_split(made: Lists) -> None:
    assert made.val is not None
    splits = [{video.group for video in videos} for videos in (made.train, made.val, made.test)]
    assert sum(map(len, splits)) == len(set.union(*splits))
    for group, count in Counter(video.group for video in everything(made)).items():
        labels = sorted(video.label for video in everything(made) if video.group == group)
        assert count == 2 and labels[0] % 2 == 0 and labels[1] == labels[0] + 1


def test_files_are_h264_that_both_decoders_read_alike(made: Lists) -> None:
    video = made.train[0]
    with av.open(video.path) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        pyav = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    with open_video(video.path, "decord") as reader:
        assert pyav.shape == (26, 32, 32, 3) and len(reader) == 26
        other = reader.frames(range(26))
    assert np.abs(pyav.astype(int) - other).max() <= 8  # colour conversion may round differently


def test_a_video_shows_the_frames_that_were_drawn(made: Lists) -> None:
    drawn = twins(0, [0, 0, 0], frames=26, size=32)[0]
    assert made.train[0].label == 0
    np.testing.assert_array_equal(planes(Path(made.train[0].path)), to_yuv(drawn))
    with open_video(made.train[0].path, "decord") as reader:
        read = reader.frames(range(26))
    assert np.abs(drawn.astype(int) - read).mean() < 6  # what half-size colour leaves


def test_the_set_is_the_same_on_every_machine(made: Lists) -> None:
    """Its pictures and lists as one hash. A change of the pictures needs a new VERSION and a new hash."""
    whole = hashlib.sha256(json.dumps(digest(Path(made.root))).encode()).hexdigest()
    assert (VERSION, whole) == (2, "e6180854be667005d8997dea85724b1540cd9f95f7e6b3ec9c615ed90d3d95d3")


def test_conversion_is_within_rounding_of_the_standard() -> None:
    colours = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 160, 30]], np.uint8)
    clip = np.broadcast_to(colours[:, None, None], (6, 2, 2, 3))
    red, green, blue = colours.T / 255.0
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    expected = [16 + 219 * luma, 128 + 112 * (blue - luma) / 0.886, 128 + 112 * (red - luma) / 0.701]
    yuv = to_yuv(clip).reshape(6, 6)
    for place, plane in zip((0, 4, 5), expected, strict=True):
        assert np.abs(yuv[:, place] - plane).max() <= 1.5


def test_flat_colour_keeps_its_place_and_noise_its_size() -> None:
    flat, level = np.full((400, 8, 8), 100.0), 5.0
    noisy = flat + _noise(np.random.default_rng(0), flat.shape) * level
    assert abs(noisy.mean() - 100) < 0.1 and abs(noisy.std() - level) < 0.1


@pytest.mark.slow
def test_two_thousand_encodes_in_two_threads_show_the_same(tmp_path: Path) -> None:
    clip = twins(0, [7], frames=26, size=32)[0]

    def shown(number: int) -> bytes:
        path = tmp_path / f"{number}.mp4"
        encode(path, clip)
        content = planes(path).tobytes()
        path.unlink()
        return content

    with ThreadPoolExecutor(2) as pool:
        assert set(pool.map(shown, range(2000))) == {to_yuv(clip).tobytes()}


def test_the_same_seed_gives_the_same_pictures_and_another_seed_others(made: Lists, tmp_path: Path) -> None:
    again, other = small(tmp_path), small(tmp_path, seed=1)
    assert Path(again.root).name == Path(made.root).name != Path(other.root).name
    assert digest(Path(again.root)) == digest(Path(made.root))
    files = [digest(Path(x.root)) for x in (again, other)]
    assert not {v for k, v in files[0].items() if k.endswith("mp4")} & set(files[1].values())


def test_a_second_call_reads_what_is_there(made: Lists) -> None:
    before = Path(made.root).stat().st_mtime_ns
    assert small(Path(made.root).parent) == made
    assert Path(made.root).stat().st_mtime_ns == before


def test_a_list_file_serves_as_a_data_set_of_ones_own(made: Lists) -> None:
    own = folder(made.root)  # a folder per class
    assert own.classes == sorted(CLASSES)
    assert {video.name for video in (*own.train, *own.test)} == {video.name for video in everything(made)}


def test_the_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Path(small(None).root).parent == tmp_path / "late-temporal" / "ordered_motions"


def motions(clip: np.ndarray) -> list[slice]:
    """Where a clip without noise shows something else than its ground."""
    busy = np.flatnonzero((clip != clip[0]).any(axis=(1, 2, 3)))
    starts = [busy[0], *busy[1:][np.diff(busy) > 1]]
    ends = [*busy[:-1][np.diff(busy) > 1], busy[-1]]
    return [slice(start, end + 1) for start, end in zip(starts, ends, strict=True)]


@pytest.mark.parametrize("group", range(12))
@pytest.mark.parametrize("frames", [26, 32])
def test_twins_show_the_same_frames_in_another_order(group: int, frames: int) -> None:
    clips = scenes(group % len(PAIRS), np.random.default_rng(group), frames, 56)
    (a, b), (c, d) = (motions(clip) for clip in clips)
    np.testing.assert_array_equal(clips[0][a], clips[1][d])
    np.testing.assert_array_equal(clips[0][b], clips[1][c])
    for first, second in ((a, b), (c, d)):
        assert first.start >= LEAD and second.start - first.stop >= PAUSE and frames - second.stop >= LEAD
    # The mean over the moments, which is all that average pooling keeps, is the same.
    np.testing.assert_allclose(clips[0].mean(axis=0), clips[1].mean(axis=0), rtol=1e-4)


def test_the_moments_say_nothing_about_the_order() -> None:
    """The first motion starts at the same frame in both twins, and both start at odd and even frames alike."""
    starts = []
    for group in range(200):
        clips = scenes(3, np.random.default_rng([1, group]), 32, 32)
        (a, b), (c, d) = (motions(clip) for clip in clips)
        assert a.start == c.start
        starts.append((a.start % 2, b.start % 2, d.start % 2))
    odd = np.mean(starts, axis=0)
    assert np.abs(odd - 0.5).max() < 0.15
    assert np.abs(np.corrcoef(np.transpose(starts)[:2])[0, 1]) < 0.25


def test_the_noise_of_twins_is_fresh() -> None:
    first, second = twins(0, [3], 26, 32)
    assert (first[0] != second[0]).any()


WRITER = """
import os
import sys
import time
from src.data import ordered_motions
if len(sys.argv) > 2:
    encode = ordered_motions.encode
    def slow(path, clip):
        encode(path, clip)
        os.write(1, b"one\\n")  # whole: two threads encode
        time.sleep(600)
    ordered_motions.encode = slow
made = ordered_motions.lists(sys.argv[1], set_seed=0, train=16, val=8, test=8, frames=26, size=32)
print(made.root)
"""


def writer(root: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(root), *arguments]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, env={**os.environ})


def test_two_processes_make_one_whole_set(made: Lists, tmp_path: Path) -> None:
    processes = [writer(tmp_path) for _ in range(2)]
    roots = {process.communicate(timeout=250)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0] and len(roots) == 1
    assert digest(Path(roots.pop())) == digest(Path(made.root))
    assert not list(tmp_path.glob("*.unfinished"))


def test_an_interrupted_writer_leaves_no_half_set(made: Lists, tmp_path: Path) -> None:
    process = writer(tmp_path, "slow")
    assert process.stdout is not None
    assert process.stdout.readline() == "one\n"  # it is in the middle
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=250)
    left = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert len(left) == 1 and left[0].name.endswith(".unfinished")
    users = tmp_path / ".unfinished business"
    users.mkdir()
    again = small(tmp_path)
    assert digest(Path(again.root)) == digest(Path(made.root))
    assert users.is_dir() and not left[0].exists()  # what the killed one left is gone


def test_without_a_lock_the_faster_one_wins(made: Lists, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system knows no locks, whoever comes second takes the set that is there."""
    write = ordered_motions._write

    def overtaken(part: Path, *arguments: int) -> None:
        monkeypatch.setattr(ordered_motions, "_write", write)
        small(tmp_path)
        write(part, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ordered_motions, "_locked", lambda path: nullcontext())
    monkeypatch.setattr(ordered_motions, "_write", overtaken)
    assert digest(Path(small(tmp_path).root)) == digest(Path(made.root))
    assert not list(tmp_path.glob("*.unfinished"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"train": 20}, "train=20 clips over 8 classes"),
        ({"val": 0}, "val=0"),
        ({"frames": 16}, "frames=16"),
        ({"size": 33}, "size=33"),
    ],
)
def test_impossible_numbers_are_named(arguments: dict[str, int], words: str, tmp_path: Path) -> None:
    numbers = {"train": 8, "val": 8, "test": 8, "frames": 32, "size": 56, **arguments}
    with pytest.raises(UserError, match=words):
        lists(root=str(tmp_path), set_seed=0, **numbers)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"data\.root=DIR"):
        small(tmp_path / "file")
