"""Small runs for tests of what is done with a run afterwards."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from src.command_line.hydra import composed
from src.command_line.options import Arguments, Command, finish, parse
from src.runs.folder import RunFolder
from src.runs.records import Results
from src.runs.start import begin

from tests.conftest import write_video

CLASSES = ("run", "jump", "walk")
CLIP = ("model.clip.frames=8", "model.clip.crop=32", "model.clip.frame_size=[64,48]")


def write_classes(root: Path, names: Sequence[str] = CLASSES, clips: int = 4) -> Path:
    """A folder a class, with clips that all differ."""
    for c, name in enumerate(names):
        for i in range(clips):
            write_video(root / name / f"clip{i}.mp4", 10, seed=100 * c + i, g="8", bf="0")
    return root


def own_videos(root: Path) -> list[str]:
    """Overrides for the smallest network on a folder of videos."""
    settings = ["logger=csv", "recipe.epochs=1", "data.workers=0", "test.view_batch=4"]
    return ["model=tiny", "pooling=average", "data=folder", f"data.root={root}", *CLIP, *settings]


def train_here(words: Sequence[str]) -> RunFolder:
    """Train and test in this process; returns the run's folder."""
    from src.training import loop

    cfg = composed(words)
    with begin(cfg, list(words)) as run:
        loop.run(cfg, run.folder, run.checkpoint)
    return run.folder


def exit_of(command: Command, task: Callable[[Arguments], int | None], *words: str) -> int:
    """The exit code of a command with these words."""
    with pytest.raises(SystemExit) as exit_:
        finish(lambda: task(parse(command, words)))
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


def start(words: Sequence[str]) -> Results:
    """Train and test in this process; returns what results.json says."""
    results = train_here(words).read_results()
    assert results is not None
    return results
