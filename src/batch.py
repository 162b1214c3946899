"""The contract between data and model."""

from typing import NotRequired, TypedDict

import torch
from torch import Tensor


class Batch(TypedDict):
    """N videos with V views each (V is 1 in training and validation).

    A view is one clip in one crop; `clip` is what the network sees before normalisation. Overlapping crops of testing
    travel as the frames that they are parts of, a fifth of the memory: `views_of` cuts them.
    """

    clip: NotRequired[Tensor]  # N, V, C, T, H, W uint8; with `crops` N, K, C, T, H', W'
    crops: NotRequired[Tensor]  # N, V, 5 int64: (which of the K, left, top, side, 1 if mirrored)
    maps: NotRequired[list[Tensor]]  # in its place: what the trunk makes of it, for each pathway N, V, Ci, Ti, Hi, Wi
    label: Tensor  # N int64; IGNORE where no frame could be read
    video_id: Tensor  # N int64: position in the phase's list of videos
    mirrored: NotRequired[Tensor]  # N, V bool: the views that are mirror images, where there may be such
    unreadable: NotRequired[list[str]]  # one message for each video that was left out (data.on_error=skip)
    unreadable_id: NotRequired[list[int]]  # position of each of them in the phase's list


IGNORE = -100  # the label that cross-entropy passes over


def views_of(batch: Batch) -> Tensor:
    """The clips of a batch as the network takes them: N, V, C, T, H, W uint8."""
    if "crops" not in batch:
        return batch["clip"]
    return torch.stack([cut(frames, crops) for frames, crops in zip(batch["clip"], batch["crops"], strict=True)])


def cut(frames: Tensor, crops: Tensor) -> Tensor:
    """Square crops (V, 5) of frames K, C, T, H, W uint8: V, C, T, S, S.

    Flow (C = 2) has horizontal motion in channel 0, 127.5 = none: mirroring also turns it round.
    """
    found = []
    for which, left, top, side, mirrored in crops.tolist():
        view = frames[which, ..., top : top + side, left : left + side]
        if mirrored:
            view = view.flip(-1)
            if len(view) == 2:
                view[0] = 255 - view[0]
        found.append(view)
    return stacked(found)


def stacked(tensors: list[Tensor]) -> Tensor:
    """Along a new first dimension, contiguous; a single one that is so already is not copied."""
    return tensors[0][None].contiguous() if len(tensors) == 1 else torch.stack(tensors)
