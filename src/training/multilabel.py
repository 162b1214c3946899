"""Videos that may show several classes: what they show, and what a step makes of it.

A target (N, K) is the share of each class in a clip: 1 for each class that its video shows, less where clips are mixed,
and 0 for all classes of a clip that could not be read.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from src.batch import IGNORE
from src.data.annotations import Video


def shown(videos: Sequence[Video], classes: int) -> Tensor:
    """Which of K classes N videos show: bool (N, K)."""
    rows = torch.zeros(len(videos), classes, dtype=torch.bool)
    for row, video in zip(rows, videos, strict=True):
        row[list(video.labels)] = True
    return rows


def binary_loss(logits: Tensor, target: Tensor, smoothing: float) -> Tensor:
    """Binary cross-entropy of scores (N, K), a mean over classes and the clips that could be read.

    smoothing: how far each target is moved towards 1/2, as a share of the way.
    """
    readable = target.amax(1) > 0
    smooth = target + smoothing * (0.5 - target)
    losses = F.binary_cross_entropy_with_logits(logits, smooth.to(logits.dtype), reduction="none").mean(1)
    return losses.where(readable, 0).sum() / readable.sum().clamp(min=1)


def one_of_several(logits: Tensor, target: Tensor) -> Tensor:
    """The class by which top-1 judges N clips, (N,): the surest where that is one of those with the largest share.

    IGNORE for a clip that could not be read.
    """
    largest, label = target.max(1)
    surest = logits.argmax(1)
    right = target.gather(1, surest[:, None])[:, 0] == largest
    return torch.where(right, surest, label).where(largest > 0, IGNORE)
