"""How much BERT's classification token looks at each time step of a clip, as numbers and as a picture."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from src import files
from src.models.recognizer import Recognizer

COLOUR = "#1f6fb4"
SHOWN = 16  # frames of a picture


def has_attention(recognizer: Recognizer) -> bool:
    """Whether the network's heads can tell what they look at."""
    return recognizer.pooling.has_attention


@torch.no_grad()
def cls_attention(recognizer: Recognizer, frames: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """For each head: what the classification token gives each time step of one clip (T, H, W, C), (time steps,).

    Mean over the attention heads of the last layer, without what the token gives itself.
    """
    training = recognizer.training
    recognizer.eval()
    clip = torch.from_numpy(frames).permute(3, 0, 1, 2)[None]  # T H W C → 1 C T H W
    features = recognizer.features(clip.to(recognizer.mean.device))
    shares = []
    for weights in recognizer.pooling.attention(features):  # (1, layers, heads, T + 1, T + 1)
        shares.append(weights[0, -1, :, 0, 1:].mean(0).float().cpu().numpy())
    recognizer.train(training)
    return shares


def save(recognizer: Recognizer, frames: NDArray[np.uint8], folder: Path) -> Path:
    """attention.png: what each head looks at in one clip (T, H, W, C); returns the picture's path."""
    shares = cls_attention(recognizer, frames)
    figure = Figure(figsize=(11, 1.4 + 1.1 * len(shares)), layout="constrained")
    draw(figure, frames, shares, "How much the classification token looks at each time step")
    with files.replacing(folder / "attention.png") as temporary:
        figure.savefig(temporary, dpi=110)
    return folder / "attention.png"


def draw(figure: Any, frames: NDArray[np.uint8], shares: list[NDArray[np.float32]], title: str) -> None:
    """Frames of one clip (T, H, W, C), and below them a row of bars for each head, where the time steps are."""
    if frames.shape[-1] == 2:  # flow: red and green
        frames = np.concatenate([frames, np.full_like(frames[..., :1], 128)], axis=-1)
    picked = np.linspace(0, len(frames) - 1, SHOWN).round().astype(int)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    grid = figure.add_gridspec(
        1 + len(shares), SHOWN, height_ratios=(1, *[0.8] * len(shares)), wspace=0.04, hspace=0.05
    )
    for column, index in enumerate(picked):
        axes = figure.add_subplot(grid[0, column])
        axes.imshow(frames[index])
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(str(index + 1), fontsize=8, pad=2)
    for row, share in enumerate(shares):
        bars = figure.add_subplot(grid[1 + row, :])
        step = len(frames) / len(share)  # frames that one token spans
        bars.bar((np.arange(len(share)) + 0.5) * step, share, width=0.92 * step, color=COLOUR)
        bars.set(xlim=(0, len(frames)), ylabel="attention")
        bars.spines[["top", "right"]].set_visible(False)
    bars.set_xlabel("frame")
