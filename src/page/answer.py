"""What the page says of one video. Knows nothing of Gradio."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from src.data import stream
from src.data.decode import examine
from src.errors import UserError
from src.prediction import explanation, explanation_files, many, results, timeline, untrimmed
from src.prediction.network import Network
from src.prediction.question import Settings
from src.text import counted, printable

LONGEST_S = 60.0  # seconds of video
LARGEST_MB = 100
TOP = 5  # classes
THRESHOLD, SHORTEST_S = 0.5, 1.0  # of segments, as src.predict has them if not told otherwise


@dataclass(frozen=True)
class Choice:
    """A network that can be chosen; it is read when it is asked first."""

    title: str
    open: Callable[[], Network]


class Opened:
    """The network that was asked last: there is memory for one, and most questions are for the same one again."""

    def __init__(self, choices: list[Choice]) -> None:
        self.choices = {choice.title: choice for choice in choices}
        self._last: tuple[str, Network] | None = None

    def get(self, title: str) -> Network:
        """The network of this title.

        Raises:
            UserError: there is none, or it cannot be read.
        """
        if self._last is None or self._last[0] != title:
            if title not in self.choices:
                raise UserError(f"{printable(title)}: there is no such network; choose one of the list")
            self._last = None  # frees the memory before the next one takes it
            self._last = title, self.choices[title].open()
        return self._last[1]


@dataclass
class Answer:
    """What is known so far.

    shares: class → probability, the most probable ones first.
    note: how it was found out, in one line.
    timeline: picture of probabilities over time.
    picture, clip: why, as a picture and as a short video.
    """

    shares: dict[str, float] = field(default_factory=dict)
    note: str = ""
    timeline: Path | None = None
    picture: Path | None = None
    clip: Path | None = None


def check_length(video: Path) -> None:
    """Refuse what is no video, and what is too long to be waited for.

    Raises:
        UserError: says so; of a long video how it is asked without the page.
    """
    seconds = stream.duration(str(video)) or 0.0
    if seconds <= LONGEST_S:
        known = examine(str(video))
        seconds = max(seconds, known.frames / known.fps if known.fps else 0.0)
    if seconds > LONGEST_S:
        raise UserError(
            f"{video.name}: {seconds:.0f} seconds, and the page takes {LONGEST_S:.0f} at most; ask with "
            f"python -m src.predict run=FOLDER video=FILE windows=true out=FOLDER"
        )


def answers(network: Network, video: Path, folder: Path) -> Iterator[Answer]:
    """The answer as it grows: classes, then when, then why. Files are written to `folder`.

    Raises:
        UserError: the video is too long, or cannot be read; messages name it without its folder.
    """
    try:
        check_length(video)
        yield from _answers(network, video, folder)
    except UserError as error:
        raise UserError(str(error).replace(str(video), video.name)) from error


def _answers(network: Network, video: Path, folder: Path) -> Iterator[Answer]:
    asked = many.ask(network, [str(video)])
    if not asked.views[0]:
        raise UserError(asked.problems[0])
    guesses = results.best(asked.scores[0], network.classes, TOP, network.multilabel)
    answer = Answer({printable(guess.name): guess.probability for guess in guesses}, _note(network, asked))
    if network.multilabel:
        answer.note += ". It tells several classes of a video: when they come and why is not shown"
        yield answer
        return
    yield answer

    settings = Settings(None, THRESHOLD, THRESHOLD * 2 / 3, SHORTEST_S, None, False)
    seen = untrimmed.watch(network, str(video), settings)
    answer.timeline = folder / "timeline.png"
    timeline.save(answer.timeline, seen.timeline, seen.segments, network.classes, THRESHOLD, video.name)
    yield answer

    try:
        recognizer = network.with_parts()
    except UserError as error:
        answer.note += f". {printable(error)}"
        yield answer
        return
    label = int(asked.scores[0].argmax())
    shown = explanation.most_telling(network, str(video), label)
    found = explanation.explain(recognizer, shown.clip, label)
    files = explanation_files.write(folder / "why", found, shown, network.classes[label], video.name)
    answer.picture, answer.clip = files[:2]
    yield answer


def _note(network: Network, asked: many.Answers) -> str:
    clips = counted(int(asked.views[0]), "clip")
    note = f"{printable(network.origin)}: {clips} in {asked.total_s:.1f} s"
    return note + (f". Only a part could be read: {printable(asked.problems[0])}" if asked.problems else "")
