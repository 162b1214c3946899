"""Per-video scores: written once a run, read by metrics, two-stream fusion and tables alike. Needs NumPy only."""

import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src import files
from src.errors import UserError
from src.metrics import (
    Confidences,
    Floats,
    Interval,
    MultilabelOutcomes,
    Outcomes,
    fit_temperature,
    intervals,
    log_softmax,
)
from src.text import first_line, printable

LARGEST = 1 << 30  # bytes of one array; a header that promises more is not believed
ARRAYS = {"classes": "U", "videos": "U", "labels": "i", "scores": "f", "views": "i"}  # in a file: name → NumPy's kind


@dataclass(frozen=True)
class Scores:
    """One row per video: its classifier outputs (before softmax), averaged over its views."""

    classes: list[str]
    videos: list[str]  # N, the videos' names
    labels: NDArray[np.int64]  # N
    scores: NDArray[np.float32]  # N, K
    views: NDArray[np.int64]  # N, how many views were averaged
    targets: NDArray[np.bool_] | None = None  # N, K: all classes of videos that may show several; None: one each

    def save(self, path: Path) -> None:
        """Write one compressed .npz file, whole or not at all."""
        arrays: dict[str, Any] = {name: np.asarray(getattr(self, name)) for name in ARRAYS}
        if self.targets is not None:
            arrays["targets"] = self.targets
        with files.replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> "Scores":
        """Read what `save` wrote.

        Raises:
            UserError: there is no such file, or it is damaged: other arrays, types, shapes or labels.
        """
        try:
            if not path.is_file():
                raise FileNotFoundError
            with zipfile.ZipFile(path) as archive:
                if len(set(archive.namelist())) < len(archive.namelist()):
                    raise ValueError("an array is in it twice")
                several = {"targets": "b"} if "targets.npy" in archive.namelist() else {}
                return cls._checked({name: _read_array(archive, name) for name in (*ARRAYS, *several)})
        except FileNotFoundError:
            raise UserError(f"{path}: no score file here; a run writes it when its test phase ends") from None
        except Exception as error:  # zipfile, zlib and NumPy raise all kinds for bytes that are not theirs
            raise UserError(f"{path}: damaged ({printable(first_line(error))}); test the run again") from error

    @classmethod
    def _checked(cls, arrays: dict[str, NDArray[Any]]) -> "Scores":
        for name, array in arrays.items():
            if array.dtype.kind != ARRAYS.get(name, "b") and array.size:
                raise ValueError(f"{name} holds {array.dtype}")
        count, width = len(arrays["videos"]), len(arrays["classes"])
        shapes = {
            "classes": (width,),
            "videos": (count,),
            "labels": (count,),
            "scores": (count, width),
            "views": (count,),
            "targets": (count, width),
        }
        for name, shape in shapes.items():
            if name in arrays and arrays[name].shape != shape:
                raise ValueError(f"{name} has the shape {arrays[name].shape} instead of {shape}")
        labels = arrays["labels"]
        if count and not (labels.min() >= 0 and labels.max() < width):
            raise ValueError("a label is not one of the classes")
        if count and arrays["views"].min() < 1:
            raise ValueError("a video has less than one view")
        targets = arrays.get("targets")
        if targets is not None and not targets[np.arange(count), labels].all():
            raise ValueError("a label is not among the video's classes")
        videos = [str(name) for name in arrays["videos"]]
        if len(set(videos)) < count:
            raise ValueError("a video has two rows")
        return cls(
            [str(name) for name in arrays["classes"]],
            videos,
            labels.astype(np.int64),
            _single(arrays["scores"]),
            arrays["views"].astype(np.int64),
            targets,
        )

    def __add__(self, other: "Scores") -> "Scores":
        """Two streams of the same videos: scores summed per video (Section 4.4: RGB and flow).

        Raises:
            UserError: the two files speak of different videos, labels or classes.
        """
        if self.classes != other.classes:
            raise UserError("the two score files have different classes; both streams need the same data set")
        if set(self.videos) != set(other.videos):
            odd = sorted(set(self.videos) ^ set(other.videos))
            raise UserError(
                f"the two score files differ in {len(odd)} videos (first: {printable(odd[0])}); "
                "test both on the same list"
            )
        row = {name: i for i, name in enumerate(other.videos)}
        order = np.array([row[name] for name in self.videos], dtype=np.int64)
        if not self.same_classes(other, list(range(len(order))), order.tolist()):
            raise UserError("the two score files disagree on the videos' labels; both streams need the same data set")
        return Scores(
            self.classes,
            self.videos,
            self.labels,
            self.scores + other.scores[order],
            self.views + other.views[order],
            self.targets,
        )

    def same_classes(self, other: "Scores", mine: list[int], theirs: list[int]) -> bool:
        """Whether these rows of both, pair by pair, have the same true classes."""
        if self.targets is None or other.targets is None:
            return self.targets is other.targets and np.array_equal(self.labels[mine], other.labels[theirs])
        return np.array_equal(self.targets[mine], other.targets[theirs])

    def ranks(self) -> NDArray[np.int64]:
        """How many classes come before the true one, (N,); of equal scores the first class counts as the higher.

        Of a video that shows several classes its highest counts, so that the first one is right if it is any of them.

        A video with a score that is not finite has its true class last.
        """
        true = self.labels
        if self.targets is not None:
            true = np.where(self.targets, np.nan_to_num(self.scores), -np.inf).argmax(1)
        own = np.take_along_axis(self.scores, true[:, None], 1)  # N, 1
        before = np.arange(self.scores.shape[1]) < true[:, None]  # N, K
        higher = (self.scores > own) | ((self.scores == own) & before)
        ranks = higher.sum(1)
        ranks[~np.isfinite(self.scores).all(1)] = self.scores.shape[1]
        result: NDArray[np.int64] = ranks.astype(np.int64)
        return result

    def correct(self) -> NDArray[np.bool_]:
        """Which videos are right at top-1, (N,)."""
        right: NDArray[np.bool_] = self.ranks() == 0
        return right

    def outcomes(self) -> Outcomes | MultilabelOutcomes:
        """How each video was judged."""
        if self.targets is not None:
            return MultilabelOutcomes(self.ranks(), self.targets, self.scores)
        finite = np.isfinite(self.scores).all(1)
        predicted = np.where(finite, np.nan_to_num(self.scores).argmax(1), -1)
        return Outcomes(len(self.classes), self.labels, self.ranks(), predicted)

    def metrics(self) -> dict[str, float]:
        """In percent, over all videos: `Outcomes.metrics` or `MultilabelOutcomes.metrics`. Empty without a video."""
        if not self.videos:
            return {}
        return {name: round(value, 4) for name, value in self.outcomes().metrics().items()}

    def intervals(self) -> dict[str, Interval]:
        """The 95 % bootstrap interval over videos of each metric, and of `ece` and `nll` where scores are finite."""
        if not self.videos:
            return {}
        outcomes = self.outcomes()
        confidences = self.confidences() if self.calibrated else None

        def measure(weights: Floats) -> dict[str, float]:
            values = outcomes.metrics(weights)
            return values if confidences is None else values | confidences.measures(weights)

        return intervals(measure, len(self.videos))

    @property
    def calibrated(self) -> bool:
        """Whether calibration can be spoken of: every score is finite, and a video has one class."""
        return self.targets is None and bool(np.isfinite(self.scores).all())

    def confidences(self, temperature: float = 1.0) -> Confidences:
        """How sure each video's probabilities are; scores must be finite."""
        return Confidences.of(self.scores, self.labels, temperature)

    def temperature(self) -> float | None:
        """The temperature that fits these videos best, see `fit_temperature`."""
        return None if self.targets is not None else fit_temperature(self.scores, self.labels)

    def loss(self) -> float:
        """Mean cross-entropy of the averaged scores; of several classes the mean of the binary ones."""
        if self.targets is not None:
            values = self.scores.astype(np.float64)
            return float((np.logaddexp(0, values) - values * self.targets).mean())
        logs = log_softmax(self.scores)
        return float(-np.take_along_axis(logs, self.labels[:, None], 1).mean())

    def confusion(self) -> NDArray[np.int64]:
        """Counts, (K, K): row = true class, column = predicted class; without videos whose scores are not finite.

        For videos that show one class each.
        """
        counts = np.zeros((len(self.classes), len(self.classes)), dtype=np.int64)
        finite = np.isfinite(self.scores).all(1)
        if finite.any():
            np.add.at(counts, (self.labels[finite], self.scores[finite].argmax(1)), 1)
        return counts


def _single(values: NDArray[Any]) -> NDArray[np.float32]:
    """In single precision; what is too large for it becomes infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float32)


def _read_array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """One array of an .npz file; its header must promise what the archive holds, and no objects."""
    info = archive.getinfo(f"{name}.npy")
    if info.file_size > LARGEST:
        raise ValueError(f"{name} is {info.file_size / 1e9:.0f} GB large")
    with archive.open(info) as file, warnings.catch_warnings():
        warnings.simplefilter("error")  # NumPy warns of headers that it has to mend
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_column, dtype = header(file)
        if dtype.hasobject:
            raise ValueError(f"{name} holds objects")
        content = file.read(info.file_size)
    promised = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if len(content) != promised:
        raise ValueError(f"{name} promises {promised} bytes and has {len(content)}")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if by_column else "C")
