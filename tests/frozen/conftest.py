"""Small videos with a split of their own, and their features."""

from pathlib import Path

import pytest

from tests.conftest import write_video
from tests.frozen.made import filled, words


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes: 6 training videos of 5 to 15 frames, 2 for validation, 4 of 20 to 41 frames for testing."""
    root = tmp_path_factory.mktemp("split") / "videos"
    for number, (split, count, frames) in enumerate((("train", 3, 5), ("val", 1, 12), ("test", 2, 20))):
        for label, name in enumerate(("run", "jump")):
            for i in range(count):
                length = frames + (7 * (2 * i + label) if split == "test" else 2 * i)
                write_video(root / split / name / f"{i}.mp4", length, seed=100 * number + 10 * label + i, g="8", bf="0")
    return root


@pytest.fixture(scope="session")
def kept(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of features as nobody has disturbed it; tests copy it."""
    folder = tmp_path_factory.mktemp("kept") / "features"
    filled(words(videos, folder))
    return folder
