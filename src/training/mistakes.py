"""What a finished test leaves to look at: the confusion matrix and the worst mistakes with a short video each."""

import csv
import io
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from src import files
from src.scores import Scores
from src.text import printable

mpl.use("Agg")

LONGEST_LABEL = 40  # characters


def save_confusion(scores: Scores, folder: Path) -> Path:
    """confusion.csv (counts) and confusion.png (shares of each true class); returns the picture's path."""
    counts = scores.confusion()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["true \\ predicted", *scores.classes])
    writer.writerows([name, *row] for name, row in zip(scores.classes, counts.tolist(), strict=True))
    files.write_text(folder / "confusion.csv", text.getvalue())
    size = max(4.0, min(24.0, 2 + 0.28 * len(scores.classes)))
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(counts / counts.sum(1, keepdims=True).clip(min=1), vmin=0, vmax=1, cmap="Blues")
    names = [_label(name) for name in scores.classes]
    axes.set_xticks(range(len(names)), names, rotation=90, parse_math=False)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    figure.colorbar(image, label="share of the true class", shrink=0.8)
    with files.replacing(folder / "confusion.png") as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # that the font lacks; a box takes its place
        figure.savefig(temporary, dpi=110)
    return folder / "confusion.png"


def _label(name: str) -> str:
    """A class's name short enough for the edge of a picture."""
    text = printable(name)
    return text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1] + "…"


def worst(scores: Scores, count: int) -> list[dict[str, Any]]:
    """The `count` wrong videos that are surest of themselves: name, classes and their probabilities."""
    shifted = np.exp(scores.scores - scores.scores.max(1, keepdims=True))
    probability = shifted / shifted.sum(1, keepdims=True)
    predicted = scores.scores.argmax(1)
    rows = np.arange(len(scores.labels))
    margin = probability[rows, predicted] - probability[rows, scores.labels]
    order = [i for i in np.argsort(-margin, kind="stable").tolist() if predicted[i] != scores.labels[i]]
    return [
        {
            "video": scores.videos[i],
            "true": scores.classes[scores.labels[i]],
            "predicted": scores.classes[predicted[i]],
            "p_true": round(float(probability[i, scores.labels[i]]), 4),
            "p_predicted": round(float(probability[i, predicted[i]]), 4),
        }
        for i in order[:count]
    ]


def save_clips(
    mistakes: list[dict[str, Any]], frames_of: Callable[[str], NDArray[np.uint8]], folder: Path
) -> list[dict[str, Any]]:
    """Write the mistakes' clips as .mp4 files and mistakes.csv beside them; rows gain the column `clip`.

    frames_of: video name → frames (T, H, W, 3) or flow (T, H, W, 2) uint8.
    """
    rows = []
    for number, row in enumerate(mistakes):
        name = files.safe_name(f"{number:02d}_{row['true']}_as_{row['predicted']}")
        path = folder / "mistakes" / f"{name}.mp4"
        write_video(path, frames_of(row["video"]))
        rows.append({**row, "clip": path.name})
    if rows:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        files.write_text(folder / "mistakes" / "mistakes.csv", text.getvalue())
    return rows


def write_video(path: Path, frames: NDArray[np.uint8], fps: int = 12) -> None:
    """H.264 video of frames (T, H, W, 3), each enlarged to at least 112 pixels so that it can be looked at.

    Flow (T, H, W, 2) is shown as red and green, no motion as grey.
    """
    if frames.shape[-1] == 2:
        frames = np.concatenate([frames, np.full_like(frames[..., :1], 128)], axis=-1)
    scale = max(1, -(-112 // min(frames.shape[1:3])))
    frames = frames.repeat(scale, axis=1).repeat(scale, axis=2)
    height, width = (side // 2 * 2 for side in frames.shape[1:3])  # 4:2:0 colour takes even sides
    with files.replacing(path) as temporary, av.open(str(temporary), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            image = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:height, :width]), format="rgb24")
            container.mux(stream.encode(image))
        container.mux(stream.encode())
