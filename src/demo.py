"""`make demo`: average pooling against BERT on the embedded data, all else equal; a table and a picture."""

from datetime import datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor

from src import atomic, checkpoints, cli, job, run
from src.build import compose
from src.data.annotations import Video
from src.data.moving_shapes import CLASSES
from src.models.pooling.bert import Bert
from src.recognition import Recognition
from src.run import read_curves
from src.scores import Scores

mpl.use("Agg")

SETTINGS = ["model=tiny", "logger=csv", "recipe.epochs=10"]
HEADS = {"average": "average pooling", "bert": "BERT"}
COLOURS = {"average": "#8a8a8a", "bert": "#1f6fb4"}


def main(overrides: list[str]) -> None:
    """Train both heads (`overrides` go to both runs), print the comparison, write demo.png."""
    console = Console()
    folder = run.OUTPUTS / f"{datetime.now():%Y-%m-%d_%H-%M-%S}_demo"
    results = {}
    for head, name in HEADS.items():
        console.rule(name)
        chosen = [*SETTINGS, f"pooling={head}", f"run_dir={folder / head}", *overrides]
        cfg = compose(chosen)
        results[head] = job.run(cfg, *run.prepare(cfg, chosen))
    console.print(comparison(folder, results))
    picture = draw(folder)
    console.print(f"picture: {picture}", highlight=False)


def comparison(folder: Path, results: dict[str, dict[str, Any]]) -> Table:
    """Both heads side by side; the middle columns part what was seen from the order it was seen in."""
    table = Table(title="Embedded data, test videos: the classes of a pair differ only in order")
    for column in ("pooling", "parameters", "top-1 %", "right pair %", "right order within it %", "training s"):
        table.add_column(column, justify="left" if column == "pooling" else "right")
    for head, name in HEADS.items():
        scores = Scores.load(folder / head / "scores" / "test.npz")
        pair, order = pair_and_order(scores)
        result = results[head]
        table.add_row(
            name,
            f"{result['parameters']:,}",
            f"{result['metrics']['top1']:.1f}",
            f"{100 * pair:.1f}",
            f"{100 * order:.1f}",
            f"{result['seconds']['fit']:.0f}",
        )
    return table


def pair_and_order(scores: Scores) -> tuple[float, float]:
    """Shares of the videos whose pair is right, and among those of the ones whose order is right too.

    The set's classes stand pair by pair, so that class 2i and 2i + 1 are one pair.
    """
    predicted = scores.scores.argmax(1)
    pair = predicted // 2 == scores.labels // 2
    return float(pair.mean()), float(scores.correct()[pair].mean()) if pair.any() else 0.0


def draw(folder: Path) -> Path:
    """demo.png: accuracy on the validation videos by epoch, and one test clip with BERT's attention below it."""
    module, data = job.assemble(compose_again(folder / "bert"), initial_weights=False)
    checkpoints.restore(module, folder / "bert" / "checkpoints" / "best.ckpt")
    video = _surest(Scores.load(folder / "bert" / "scores" / "test.npz"), data.test_videos)
    frames = data.frames(video)
    attention = cls_attention(module, torch.from_numpy(frames))
    figure = Figure(figsize=(11, 6.2), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=(1.5, 1))
    _draw_curves(figure.add_subplot(grid[0]), folder)
    _draw_attention(figure.add_subfigure(grid[1]), frames, attention, video)
    with atomic.replacing(folder / "demo.png") as temporary:
        figure.savefig(temporary, dpi=120)
    return folder / "demo.png"


def compose_again(folder: Path) -> Any:
    """The configuration that the run in `folder` had."""
    from omegaconf import OmegaConf

    return OmegaConf.load(folder / "config.yaml")


@torch.no_grad()
def cls_attention(module: Recognition, frames: Tensor) -> NDArray[np.float32]:
    """How much BERT's classification token looks at each time step of one clip (T, H, W, C): (time steps,).

    Mean over heads of the last layer, without what the token gives itself.
    """
    module.eval()
    clip = frames.permute(3, 0, 1, 2)[None]  # T H W C → 1 C T H W
    fusion = module.recognizer.pooling
    bert = fusion.heads[0]
    assert isinstance(bert, Bert)
    feature_map = fusion.maps(module.recognizer.features(clip))[0]
    weights = bert.attention(feature_map)  # 1, layers, heads, 1 + T, 1 + T
    share: NDArray[np.float32] = weights[0, -1, :, 0, 1:].mean(0).numpy()
    return share


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
        curve = read_curves(folder / head)
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


def _draw_attention(figure: Any, frames: NDArray[np.uint8], attention: NDArray[np.float32], video: Video) -> None:
    shown = 16
    picked = np.linspace(0, len(frames) - 1, shown).round().astype(int)
    figure.suptitle(
        f"A test clip of “{CLASSES[video.label].replace('_', ', then ')}” and how much BERT's "
        "classification token looks at each time step",
        x=0.01, ha="left", fontsize=12,
    )  # fmt: skip
    grid = figure.add_gridspec(2, shown, height_ratios=(1, 0.8), wspace=0.04, hspace=0.05)
    for column, index in enumerate(picked):
        axes = figure.add_subplot(grid[0, column])
        axes.imshow(frames[index])
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(str(index + 1), fontsize=8, pad=2)
    bars = figure.add_subplot(grid[1, :])
    step = len(frames) / len(attention)  # frames that one token spans
    bars.bar((np.arange(len(attention)) + 0.5) * step, attention, width=0.92 * step, color=COLOURS["bert"])
    bars.set(xlim=(0, len(frames)), xlabel="frame", ylabel="attention")
    bars.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    cli.plain(main)
