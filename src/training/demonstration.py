"""What `make demo` shows of its two runs: a table, and a picture of their curves and of what BERT looks at."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from omegaconf import DictConfig
from rich.table import Table

from src import files
from src.data.annotations import Video
from src.data.moving_shapes import CLASSES
from src.runs.folder import RunFolder
from src.runs.records import Results
from src.scores import Scores
from src.training import attention, checkpoints, loop

mpl.use("Agg")

HEADS = {"average": "average", "bert": "BERT"}
COLOURS = {"average": "#8a8a8a", "bert": attention.COLOUR}


def comparison(folder: Path, results: dict[str, Results]) -> Table:
    """Both heads side by side; order right: among the videos whose pair is right."""
    table = Table(title="Embedded data, test videos: the classes of a pair differ only in order")
    for column in ("pooling", "parameters", "top-1 %", "pair right %", "order right %", "training s"):
        table.add_column(column, justify="left" if column == "pooling" else "right")
    for head, name in HEADS.items():
        pair, order = pair_and_order(Scores.load(RunFolder(folder / head).scores))
        result = results[head]
        assert result.metrics is not None
        table.add_row(
            name,
            f"{result.cost.params:,}",
            f"{result.metrics['top1']:.1f}",
            f"{100 * pair:.1f}",
            f"{100 * order:.1f}",
            f"{result.seconds['fit']:.0f}",
        )
    return table


def pair_and_order(scores: Scores) -> tuple[float, float]:
    """Shares of the videos whose pair is right, and among those of the ones whose order is right too.

    The set's classes stand pair by pair, so that class 2i and 2i + 1 are one pair.
    """
    predicted = scores.scores.argmax(1)
    pair = predicted // 2 == scores.labels // 2
    return float(pair.mean()), float(scores.correct()[pair].mean()) if pair.any() else 0.0


def draw(folder: Path, cfg: DictConfig) -> Path:
    """demo.png: accuracy on the validation videos by epoch, and one test clip with BERT's attention below it.

    cfg: of the run with BERT.
    """
    run = RunFolder(folder / "bert")
    module, data = loop.assemble(cfg, initial_weights=False)
    checkpoints.restore(module, run.best)
    video = _surest(Scores.load(run.scores), data.videos["test"])
    frames = data.frames(video)
    shares = attention.cls_attention(module.recognizer, frames)
    figure = Figure(figsize=(11, 6.2), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=(1.5, 1))
    _draw_curves(figure.add_subplot(grid[0]), folder)
    motions = CLASSES[video.label].replace("_", ", then ")
    title = f"A test clip of “{motions}” and how much BERT's classification token looks at each time step"
    attention.draw(figure.add_subfigure(grid[1]), frames, shares, title)
    with files.replacing(folder / "demo.png") as temporary:
        figure.savefig(temporary, dpi=120)
    return folder / "demo.png"


def _surest(scores: Scores, videos: list[Video]) -> Video:
    """The rightly named test video with the largest lead over its own pair's other order."""
    partner = scores.labels ^ 1
    rows = np.arange(len(partner))
    lead = scores.scores[rows, scores.labels] - scores.scores[rows, partner]
    lead[~scores.correct()] = -np.inf
    name = scores.videos[int(lead.argmax())]
    return next(video for video in videos if video.name == name)


def _draw_curves(axes: Any, folder: Path) -> None:
    for head, name in HEADS.items():
        curve = RunFolder(folder / head).curves()
        epochs, values = zip(*sorted(curve["val/top1"].items()), strict=True)
        axes.plot([e + 1 for e in epochs], values, color=COLOURS[head], lw=2.2, marker="o", ms=4, label=name)
        axes.annotate(
            f"{values[-1]:.0f} %",
            (epochs[-1] + 1, values[-1]),
            (6, -3),
            textcoords="offset points",
            color=COLOURS[head],
        )
    axes.axhline(50, color="#c44", lw=1, ls=":", zorder=0)
    axes.text(1, 51.5, "pair known, order guessed", color="#c44", fontsize=9)
    axes.set(ylim=(0, 104), xlabel="epoch", ylabel="top-1 on validation videos, %")
    axes.set_title("Average pooling sees what happens; BERT also sees in which order", loc="left")
    axes.legend(loc=(0.78, 0.6), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
