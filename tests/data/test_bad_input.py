"""Files that are wrong in all the ways that happen: read as they are, or named in one line and left out."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from src.config import ClipSpec
from src.data.annotations import Video
from src.data.dataset import Source, TestViews
from src.data.decode import open_video
from src.data.folder import folder
from src.errors import UnreadableVideoError, UserError

from tests.bad_input import write_bad_input
from tests.small_runs import start


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[int, str | None]]]:
    root = tmp_path_factory.mktemp("bad input")
    for name in ("a", "b;[c]"):
        (root / name).mkdir()
        expected = write_bad_input(root / name)
    return root, expected


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
def test_each_file_is_read_to_its_end_or_named(
    bad: tuple[Path, dict[str, tuple[int, str | None]]], decoder: str
) -> None:
    root, expected = bad
    for name, (frames, reason) in expected.items():
        path = root / "a" / name
        if reason is None:
            with open_video(str(path), decoder) as reader:
                assert len(reader) == frames, name
                picture = reader.frames([0, frames - 1])
                assert picture.shape == (2, reader.size[1], reader.size[0], 3)
        else:
            with pytest.raises(UnreadableVideoError) as caught, open_video(str(path), decoder) as reader:
                reader.frames(range(len(reader)))
            assert str(path) in str(caught.value) and "\n" not in str(caught.value), name
    with open_video(str(root / "a" / "rotated.mp4"), decoder) as reader:
        assert reader.size == (48, 64)  # upright, as players show it
    with open_video(str(root / "a" / "variable rate.mp4"), decoder) as reader:
        values = reader.frames(range(8))[:, 24, 32, 0].astype(int)
    assert np.abs(values - [0, 1, 2, 30, 31, 90, 91, 92]).max() <= 4  # frames as coded, none repeated


def test_a_run_goes_on_without_the_bad_ones_and_names_them(
    bad: tuple[Path, dict[str, tuple[int, str | None]]], tmp_path: Path
) -> None:
    root, expected = bad
    before = {path: path.lstat().st_mtime_ns for path in root.rglob("*")}
    small = [
        *("model=tiny", "pooling=bert", "logger=csv", "trainer.accelerator=cpu", "recipe.epochs=1"),
        *("model.clip.frames=8", "model.clip.crop=32", "model.clip.frame_size=[64,48]", "protocol=paper"),
        *("data=folder", f"data.root={root}", "data.test_fraction=0.5", "data.workers=0"),
        "data.allow_overlap=true",  # both folders hold the same files
    ]
    results = start([*small, "data.on_error=skip", f"run_dir={tmp_path / 'run'}"])
    named = {message for messages in results.unreadable.values() for message in messages}
    wrong = [name for name, (_, reason) in expected.items() if reason is not None]
    lists = folder(str(root), test_fraction=0.5)
    used = [video.path for video in [*lists.train, *lists.test] if Path(video.path).name in wrong]
    assert len(used) == 2 * len(wrong)
    assert sorted(path for path in used if any(path in message for message in named)) == sorted(used)
    assert results.tested == len(lists.test) - sum(video.path in used for video in lists.test)
    with pytest.raises(UserError, match=r"data.on_error=skip"):
        start([*small, f"run_dir={tmp_path / 'again'}"])
    assert {path: path.lstat().st_mtime_ns for path in root.rglob("*")} == before  # nothing is written to the data


def test_advice_fits_the_command(tmp_path: Path) -> None:
    path = str(tmp_path / "text.mp4")
    Path(path).write_text("text")
    video = Video(path, 0, path, path)
    views = TestViews([video], Source(ClipSpec(8, 1, 32, (64, 48), False)))
    (item,) = views.video(video)  # one video alone, as predict reads it
    assert str(item.error).endswith("; replace it")
    (error,) = views  # a data set, which can do without it
    assert str(error).endswith("; replace it, or leave such files out with data.on_error=skip")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
