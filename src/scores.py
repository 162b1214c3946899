"""Per-video scores: written once a run, read by metrics, two-stream fusion and tables alike."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_confusion_matrix

from src import files
from src.errors import UserError


@dataclass(frozen=True)
class Scores:
    """One row per video: its classifier outputs (before softmax), averaged over its views."""

    classes: list[str]
    videos: list[str]  # N, the videos' names
    labels: NDArray[np.int64]  # N
    scores: NDArray[np.float32]  # N, K
    views: NDArray[np.int64]  # N, how many views were averaged

    def save(self, path: Path) -> None:
        """Write one compressed .npz file, whole or not at all."""
        with files.replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                classes=np.array(self.classes),
                videos=np.array(self.videos),
                labels=self.labels,
                scores=self.scores,
                views=self.views,
            )

    @classmethod
    def load(cls, path: Path) -> "Scores":
        """Read what `save` wrote."""
        if not path.is_file():
            raise UserError(f"{path}: no score file here; a run writes it when its test phase ends")
        with np.load(path) as file:
            return cls(
                [str(c) for c in file["classes"]],
                [str(v) for v in file["videos"]],
                file["labels"],
                file["scores"],
                file["views"],
            )

    def __add__(self, other: "Scores") -> "Scores":
        """Two streams of the same videos: scores summed per video (SPEC: RGB and flow).

        Raises:
            UserError: the two files speak of different videos, labels or classes.
        """
        if self.classes != other.classes:
            raise UserError("the two score files have different classes; both streams need the same data set")
        if set(self.videos) != set(other.videos):
            odd = sorted(set(self.videos) ^ set(other.videos))
            raise UserError(
                f"the two score files differ in {len(odd)} videos (first: {odd[0]}); test both on one list"
            )
        row = {name: i for i, name in enumerate(other.videos)}
        order = np.array([row[name] for name in self.videos], dtype=np.int64)
        if not np.array_equal(self.labels, other.labels[order]):
            raise UserError(
                "the two score files disagree on the videos' labels; both streams need the same data set"
            )
        return Scores(
            self.classes,
            self.videos,
            self.labels,
            self.scores + other.scores[order],
            self.views + other.views[order],
        )

    def correct(self) -> NDArray[np.bool_]:
        """Which videos are right at top-1, (N,)."""
        right: NDArray[np.bool_] = self.scores.argmax(1) == self.labels
        return right

    def metrics(self) -> dict[str, float]:
        """top1, top3 and top5 over videos and mean class accuracy, in percent; top-k only below K classes."""
        scores, labels = torch.from_numpy(self.scores), torch.from_numpy(self.labels)
        count = len(self.classes)
        result = {
            f"top{k}": 100 * float(multiclass_accuracy(scores, labels, count, average="micro", top_k=k))
            for k in (1, 3, 5)
            if k < count
        }
        # Mean over the classes that occur: torchmetrics' macro average leaves absent ones out as well.
        result["mean_class"] = 100 * float(multiclass_accuracy(scores, labels, count, average="macro"))
        return {name: round(value, 4) for name, value in result.items()}

    def confusion(self) -> NDArray[np.int64]:
        """Counts, (K, K): row = true class, column = predicted class."""
        matrix = multiclass_confusion_matrix(
            torch.from_numpy(self.scores).argmax(1), torch.from_numpy(self.labels), len(self.classes)
        )
        counts: NDArray[np.int64] = matrix.numpy()
        return counts
