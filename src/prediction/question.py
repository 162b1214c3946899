"""What src.predict is asked, and what can be refused before a network is read. Needs no PyTorch."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from src.data.address import is_stream
from src.errors import UsageError, UserError
from src.text import printable

ENDINGS = (".csv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Settings:
    """How a long video is looked at.

    step: frames from a window's first to the next one's; None: half a window.
    threshold, release, shortest: see src.prediction.segments.Segments.
    out: the folder for files; None writes none.
    draw: also a copy of the video with labels.
    """

    step: int | None
    threshold: float
    release: float
    shortest: float
    out: Path | None
    draw: bool


@dataclass(frozen=True)
class Question:
    """What is asked: inputs as they were typed, where their flow is, and where answers are written."""

    words: Sequence[str]
    flow: Path | None
    out: Path | None

    def streams(self) -> bool:
        """Whether a stream is among the inputs."""
        return any(is_stream(word) for word in self.words)

    def check(self, settings: Settings | None) -> None:
        """Refuse what cannot work, before a network is read. settings: of windows, where they are wanted.

        Raises:
            UsageError, UserError: nothing can be written where `out` says, or there is no `flow`.
        """
        if self.flow is not None and not self.flow.exists():
            raise UserError(f"flow={printable(self.flow)}: there is no such file or folder")
        if settings is None:
            if self.out is not None:
                check_file(self.out)
            return
        if settings.draw and (self.out is None or self.streams()):
            raise UsageError("draw=true: give out=FOLDER for the copy, and a file as video")
        if self.out is not None:
            shown, parent = printable(self.out), self.out.absolute().parent
            if self.out.exists() and not self.out.is_dir():
                raise UserError(f"out={shown} is a file; windows=true writes several, give a folder")
            if not parent.is_dir():
                raise UserError(f"out={shown}: there is no folder {printable(parent)}; make it first")


def check_file(path: Path) -> None:
    """Refuse a file that could not be written, before anything is computed.

    Raises:
        UsageError: another ending.
        UserError: no such folder, or a .parquet file where PyArrow is not installed.
    """
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"out={printable(path)}: give a file that ends in {', '.join(ENDINGS)}")
    if path.is_dir():
        raise UserError(f"out={printable(path)} is a folder; give a file in it")
    if not path.parent.is_dir():
        raise UserError(f"out={printable(path)}: there is no folder {printable(path.parent)}; make it first")
    if path.suffix.lower() == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise UserError(
            f"out={printable(path)}: PyArrow is not installed (uv pip install -r pyproject.toml --extra parquet); "
            "install it, or give a .csv or .jsonl file"
        )
