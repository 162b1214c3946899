"""What src.predict is asked, and what can be refused before a network is read. Needs no PyTorch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from src import extras
from src.data.address import is_stream
from src.errors import UsageError, UserError
from src.text import printable

EXPLANATIONS = ("attention", "occlusion", "gradcam")
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
    """What is asked: inputs as they were typed, where their flow is, where answers are written, and what explains them.

    explain: of EXPLANATIONS; their files go to the folder `out`.
    """

    words: Sequence[str]
    flow: Path | None
    out: Path | None
    explain: Sequence[str] = ()

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
        if self.explain:
            self._check_explain(settings)
            return
        if settings is None:
            if self.out is not None:
                check_file(self.out)
            return
        if settings.draw and (self.out is None or self.streams()):
            raise UsageError("draw=true: give out=FOLDER for the copy, and a file as video")
        if self.out is not None:
            check_folder(self.out, "windows=true")

    def _check_explain(self, settings: Settings | None) -> None:
        unknown = [kind for kind in self.explain if kind not in EXPLANATIONS]
        if unknown:
            raise UsageError(f"explain={printable(','.join(self.explain))}: choose from {', '.join(EXPLANATIONS)}")
        if settings is not None:
            raise UsageError("explain= takes one clip of each video; leave windows=true and streams out")
        if self.out is None:
            raise UsageError("explain=: where to? give out=FOLDER")
        check_folder(self.out, "explain=")


def check_folder(path: Path, option: str) -> None:
    """Refuse a folder that could not be written, before anything is computed.

    Raises:
        UserError: it is a file, or there is no folder to make it in.
    """
    shown, parent = printable(path), path.absolute().parent
    if path.exists() and not path.is_dir():
        raise UserError(f"out={shown} is a file; {option} writes several, give a folder")
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
    if path.suffix.lower() == ".parquet":
        extras.require(f"out={printable(path)}", "parquet", "pyarrow")
