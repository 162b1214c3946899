"""An explanation as files: NAME.explained.png, .mp4, .json (for people) and .npz (all numbers)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from numpy.typing import NDArray

from src import files
from src.prediction.explanation import Explanation, Numbers, Shown
from src.text import printable
from src.training.mistakes import write_video

mpl.use("Agg")

Frames = NDArray[np.uint8]  # T, H, W, 3
COLUMNS = 12  # frames of a picture
SMALLEST = 224  # pixels of a frame's side in the video
OPACITY = 0.65  # of the map's colours where it is highest
COLOUR = "#1f6fb4"
AGAINST = "#d1603d"  # bars of steps whose absence raises the score
DIGITS = 5  # of numbers in .json


def write(stem: Path, found: Explanation, shown: Shown, name: str, video: str) -> list[Path]:
    """Write all files; returns their paths. name: of the class. video: as it is shown to people."""
    frames = to_rgb(shown.clip)
    overlays = [overlay(frames, cam) for cam in found.maps]
    title = f"{printable(video)}: {printable(name)} {found.probability:.0%}, score {found.score:.2f}"
    paths = {kind: stem.with_name(f"{stem.name}.explained.{kind}") for kind in ("png", "mp4", "json", "npz")}
    figure = picture(found, shown, frames, overlays, title)
    with files.replacing(paths["png"]) as temporary:
        figure.savefig(temporary, dpi=110)
    write_video(paths["mp4"], side_by_side(found, frames, overlays), max(1, round(shown.fps / shown.stride)))
    files.write_json(paths["json"], _summary(found, shown, name, video))
    with files.replacing(paths["npz"]) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **_arrays(found, shown))  # type: ignore[arg-type]
    return list(paths.values())


def to_rgb(clip: torch.Tensor) -> Frames:
    """C, T, H, W → T, H, W, 3; flow is shown as red and green, no motion as grey."""
    frames = clip.permute(1, 2, 3, 0).cpu().numpy()  # C T H W → T H W C
    if frames.shape[-1] == 2:
        frames = np.concatenate([frames, np.full_like(frames[..., :1], 128)], axis=-1)
    return np.ascontiguousarray(frames)


def overlay(frames: Frames, cam: Numbers) -> Frames:
    """Frames (T, H, W, 3) with a map (t, h, w) laid over them: the stronger, the more of its colour."""
    size = frames.shape[:3]
    spread = F.interpolate(torch.from_numpy(cam)[None, None], size=size, mode="trilinear", align_corners=False)
    strength = spread[0, 0].numpy()  # 1 1 T H W → T H W
    strength = strength / max(float(strength.max()), 1e-12)
    colours = mpl.colormaps["inferno"](strength)[..., :3] * 255  # T H W → T H W 3
    share = OPACITY * strength[..., None]
    return np.rint(frames * (1 - share) + colours * share).astype(np.uint8)


def picture(found: Explanation, shown: Shown, frames: Frames, overlays: Sequence[Frames], title: str) -> Figure:
    """Rows of frames, with each pathway's map below, bars of drops, and attention of the class token."""
    rows = 1 + len(overlays)
    heights = [1.0] * rows + [0.9] * len(found.drops)
    heights += [0.35 + 0.11 * weights.shape[0] * weights.shape[1] for weights in found.attention]
    figure = Figure(figsize=(13, 0.7 + 1.12 * sum(heights)), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, parse_math=False)
    grid = figure.add_gridspec(len(heights), COLUMNS, height_ratios=heights, wspace=0.03, hspace=0.06)
    picked = np.linspace(0, len(frames) - 1, COLUMNS).round().astype(int)
    labels = ["frames", *(f"Grad-CAM{_of(i, len(overlays), 'pathway')}" for i in range(len(overlays)))]
    for row, (name, pictures) in enumerate(zip(labels, [frames, *overlays], strict=True)):
        for column, index in enumerate(picked):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(pictures[index])
            axes.set_xticks([])
            axes.set_yticks([])
            if row == 0:
                axes.set_title(f"{shown.indices[index] / max(shown.fps, 1e-9):.2f} s", fontsize=8, pad=2)
            if column == 0:
                axes.set_ylabel(name.replace(", ", "\n"), fontsize=8)
    row = rows
    for head, drop in enumerate(found.drops):
        axes = figure.add_subplot(grid[row, :])
        bars = axes.bar(np.arange(len(drop)) + 0.5, drop, width=0.9, color=COLOUR)
        for bar, value in zip(bars, drop, strict=True):
            bar.set_color(COLOUR if value >= 0 else AGAINST)
        axes.axhline(0, color="#555555", linewidth=0.6)
        _time_axis(axes, len(drop), f"score lost without the step{_of(head, len(found.drops), 'head')}")
        row += 1
    for head, weights in enumerate(found.attention):
        axes = figure.add_subplot(grid[row, :])
        layers, count, length = weights.shape[0], weights.shape[1], weights.shape[2] - 1
        shares = weights[:, :, 0, 1:].reshape(layers * count, length)  # layers heads T → layers·heads T
        image = axes.imshow(shares, aspect="auto", cmap="Blues", vmin=0, extent=(0, length, layers * count, 0))
        figure.colorbar(image, ax=axes, shrink=0.9, pad=0.01, aspect=8).ax.tick_params(labelsize=7)
        names = [f"layer {i + 1}, head {k + 1}" for i in range(layers) for k in range(count)]
        axes.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=6)
        _time_axis(axes, length, f"attention of the class token{_of(head, len(found.attention), 'head')}")
        row += 1
    if row > rows:
        axes.set_xlabel("time step of the feature map", fontsize=9)
    return figure


def _time_axis(axes: Any, length: int, label: str) -> None:
    axes.set_xlim(0, length)
    axes.set_xticks(np.arange(length) + 0.5, [str(i + 1) for i in range(length)], fontsize=7)
    axes.set_title(label, loc="left", fontsize=8, pad=3)
    axes.tick_params(axis="y", labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)


def _of(index: int, count: int, what: str) -> str:
    return "" if count == 1 else f", {what} {index + 1}"


def side_by_side(found: Explanation, frames: Frames, overlays: Sequence[Frames]) -> Frames:
    """T, H, W, 3: each frame beside its maps; below, a strip of bars for each head's drops, with the moment marked."""
    scale = max(1, -(-SMALLEST // frames.shape[1]))
    panels = np.concatenate([frames, *overlays], axis=2).repeat(scale, axis=1).repeat(scale, axis=2)
    strips = [_strip(drop, panels.shape[2], len(frames)) for drop in found.drops]
    return np.concatenate([panels, *strips], axis=1)


def _strip(drop: Numbers, width: int, length: int) -> Frames:
    """Bars of drops (t,) as pictures (T, height, width, 3): the moment's place and bar are bright."""
    height = 48
    largest = max(float(np.abs(drop).max()), 1e-12)
    pictures = np.full((length, height, width, 3), 24, np.uint8)
    for index in range(length):
        now = index * len(drop) // length
        pictures[index, :, now * width // len(drop) : (now + 1) * width // len(drop)] = 72
        for step, value in enumerate(drop.tolist()):
            left, right = step * width // len(drop) + 1, (step + 1) * width // len(drop) - 1
            size = round((height // 2 - 2) * value / largest)
            top, bottom = (height // 2 - size, height // 2) if size >= 0 else (height // 2, height // 2 - size)
            colour = np.array((96, 176, 240) if value >= 0 else (240, 130, 90))
            pictures[index, top : bottom + 1, left : max(right, left + 1)] = colour if step == now else colour // 2
    return pictures


def _summary(found: Explanation, shown: Shown, name: str, video: str) -> dict[str, Any]:
    """What a person may want to read: everything but the full maps."""
    attention = [weights[:, :, 0, 1:] for weights in found.attention]
    return {
        "video": printable(video),
        "class": name,
        "score": round(found.score, DIGITS),
        "probability": round(found.probability, DIGITS),
        "frames": shown.indices.tolist(),
        "drop_without_step": [_rounded(drop) for drop in found.drops],
        "attention_of_class_token": [_rounded(shares) for shares in attention],
        "gradcam_by_step": [_rounded(cam.sum((1, 2))) for cam in found.maps],
    }


def _rounded(values: Numbers) -> Any:
    return np.round(values.astype(np.float64), DIGITS).tolist()


def _arrays(found: Explanation, shown: Shown) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {"frames": shown.indices}
    for name, several in (("drops", found.drops), ("attention", found.attention), ("gradcam", found.maps)):
        for index, values in enumerate(several):
            arrays[f"{name}_{index}"] = values
    return arrays
