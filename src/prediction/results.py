"""What was predicted, as a table on the terminal and as a file: .csv, .jsonl or .parquet.

A .csv and a .parquet file have a row for each video and class (`COLUMNS`), a .jsonl file an object for each video.
A video that could not be read has one row, without a class and with the reason.
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from src import files
from src.prediction.many import probabilities
from src.text import printable

COLUMNS = ("video", "views", "rank", "class", "probability", "score", "error")
DIGITS = 6  # of probabilities and scores in files


@dataclass(frozen=True)
class Guess:
    """One class of one video. score: the classifier's output, before the softmax."""

    name: str
    probability: float
    score: float


@dataclass(frozen=True)
class Prediction:
    """One video: its most probable classes first; none where nothing could be read."""

    video: str
    views: int
    guesses: list[Guess]
    error: str | None = None


def best(scores: NDArray[np.float32], classes: Sequence[str], top: int, multilabel: bool = False) -> list[Guess]:
    """The `top` most probable classes by scores (K,); of equal ones the first.

    multilabel: each class has a probability of its own, whatever those of the others.
    """
    shares = np.exp(-np.logaddexp(0, -scores)) if multilabel else probabilities(scores)
    order = np.argsort(-scores, kind="stable")[:top]
    return [Guess(classes[i], float(shares[i]), float(scores[i])) for i in order.tolist()]


def table(predictions: Sequence[Prediction], several: bool) -> Table:
    """Classes and probabilities; with a column of videos where there are several."""
    shown = Table()
    if several:
        shown.add_column("video")
    shown.add_column("class")
    shown.add_column("probability", justify="right")
    for prediction in predictions:
        for rank, guess in enumerate(prediction.guesses):
            cells = [printable(guess.name), f"{guess.probability:.3f}"]
            shown.add_row(*([printable(prediction.video) if rank == 0 else ""] if several else []), *cells)
    return shown


def write(path: Path, predictions: Sequence[Prediction]) -> None:
    """Write the file that `src.prediction.question.check_file` has let through, whole or not at all."""
    kind = path.suffix.lower()
    if kind == ".parquet":
        _write_parquet(path, predictions)
    else:
        files.write_text(path, _csv(predictions) if kind == ".csv" else _jsonl(predictions))


def _rows(predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for prediction in predictions:
        about = {"video": prediction.video, "views": prediction.views}
        for rank, guess in enumerate(prediction.guesses, 1):
            numbers = {"probability": round(guess.probability, DIGITS), "score": round(guess.score, DIGITS)}
            rows.append({**about, "rank": rank, "class": guess.name, **numbers, "error": prediction.error})
        if not prediction.guesses:
            rows.append({**dict.fromkeys(COLUMNS), **about, "error": prediction.error})
    return rows


def _csv(predictions: Sequence[Prediction]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rows(predictions))
    return text.getvalue()


def _jsonl(predictions: Sequence[Prediction]) -> str:
    lines = []
    for prediction in predictions:
        guesses = []
        for guess in prediction.guesses:
            numbers = {"probability": round(guess.probability, DIGITS), "score": round(guess.score, DIGITS)}
            guesses.append({"class": guess.name, **numbers})
        content = {"video": prediction.video, "views": prediction.views, "classes": guesses, "error": prediction.error}
        lines.append(json.dumps(content, allow_nan=False) + "\n")
    return "".join(lines)


def _write_parquet(path: Path, predictions: Sequence[Prediction]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {"views": pa.int64(), "rank": pa.int64(), "probability": pa.float64(), "score": pa.float64()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
    rows = _rows(predictions)
    for row in rows:
        for name in ("video", "class", "error"):  # bytes that are not UTF-8 have no place in it
            row[name] = row[name] and row[name].encode("utf-8", "backslashreplace").decode()
    with files.replacing(path) as temporary:
        parquet.write_table(pa.Table.from_pylist(rows, schema=schema), temporary)
