"""How far the computing of features has come: a bar on a terminal, else a line now and then."""

import time

import rich.progress as rich_progress
from rich.console import Console

from src.text import printable

TOLD_S = 30  # seconds between two lines where there is no terminal


class Speed(rich_progress.ProgressColumn):
    """Clips per second since the start."""

    def render(self, task: rich_progress.Task) -> str:
        clips, seconds = task.fields["clips"], task.elapsed or 0.0
        return f"{clips / seconds:.1f} clips/s" if seconds and clips else "- clips/s"


class Bar:
    """Videos done of those to do, clips per second, time left."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.clips = self.done = self.total = 0
        self._begun = self._told = time.monotonic()
        self._bar = rich_progress.Progress(
            rich_progress.TextColumn("features"),
            rich_progress.BarColumn(),
            rich_progress.MofNCompleteColumn(),
            rich_progress.TextColumn("videos"),
            Speed(),
            rich_progress.TextColumn("time left"),
            rich_progress.TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def start(self, total: int) -> None:
        """Begin with `total` videos to do."""
        self.total = total
        self._begun = self._told = time.monotonic()
        self._bar.start()
        self._task = self._bar.add_task("features", total=total, clips=0)

    def advance(self, clips: int, error: Exception | None = None) -> None:
        """One more video is done, or cannot be read."""
        self.done += 1
        self.clips += clips
        self._bar.update(self._task, advance=1, clips=self.clips)
        if error is not None:
            self.console.print(f"left out: {printable(error)}")
        if not self.console.is_terminal and time.monotonic() - self._told > TOLD_S:
            self._told = time.monotonic()
            speed = self.clips / (self._told - self._begun)
            left = (self.total - self.done) / self.done * (self._told - self._begun)
            self.console.print(
                f"features: {self.done} of {self.total} videos, {speed:.1f} clips/s, {left / 60:.0f} min left"
            )
