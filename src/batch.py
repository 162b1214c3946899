"""The contract between data and model."""

from typing import NotRequired, TypedDict

from torch import Tensor


class Batch(TypedDict):
    """N videos with V views each (V is 1 in training and validation).

    A view is one clip in one crop; `clip` is what the network sees before normalisation.
    """

    clip: NotRequired[Tensor]  # N, V, C, T, H, W uint8
    maps: NotRequired[list[Tensor]]  # in its place: what the trunk makes of it, for each pathway N, V, Ci, Ti, Hi, Wi
    label: Tensor  # N int64; IGNORE where no frame could be read
    video_id: Tensor  # N int64: position in the phase's list of videos
    mirrored: NotRequired[Tensor]  # N, V bool: the views that are mirror images, where there may be such
    unreadable: NotRequired[list[str]]  # one message for each video that was left out (data.on_error=skip)
    unreadable_id: NotRequired[list[int]]  # position of each of them in the phase's list


IGNORE = -100  # the label that cross-entropy passes over
