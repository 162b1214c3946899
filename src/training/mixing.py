"""MixUp and CutMix of the clips in a batch: torchvision's, with one draw for all frames of all of them."""

from typing import Any, cast

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from src.batch import IGNORE, Batch
from src.models.recognizer import Recognizer


class Mixing:
    """Mixes every clip, or what is kept of it, with its neighbour in the batch, and their labels in the same shares.

    mixup, cutmix: alpha of the Beta distribution that the share is drawn from; 0 leaves it out. With both, each batch
        takes either of them.
    classes: K.
    """

    def __init__(self, mixup: float, cutmix: float, classes: int) -> None:
        settings: dict[str, Any] = {"num_classes": classes, "labels_getter": lambda inputs: inputs[-1]}
        kinds: list[v2.Transform] = []
        if mixup:
            kinds.append(v2.MixUp(alpha=mixup, **settings))
        if cutmix:
            kinds.append(v2.CutMix(alpha=cutmix, **settings))
        self.mix = v2.RandomChoice(kinds) if kinds else None

    def __call__(self, batch: Batch, recognizer: Recognizer, target: Tensor) -> tuple[Batch, Tensor]:
        """The batch with mixed clips, normalised, and their targets (N, K); both as they are where nothing is mixed.

        target: labels (N), or shares of the classes (N, K).
        """
        if self.mix is None or bool((batch["label"] == IGNORE).any()):
            return batch, target
        if "maps" in batch:
            inputs = batch["maps"]
        else:
            clip = batch["clip"]
            inputs = [recognizer.normalize(clip.flatten(0, 1)).view(clip.shape)]
        videos = [tv_tensors.Video(one.flatten(1, 2)) for one in inputs]  # N V C T H W → N VC T H W
        *mixed, target = self.mix(*videos, target)
        outputs = [
            video.as_subclass(Tensor).reshape(one.shape) for video, one in zip(mixed, inputs, strict=True)
        ]  # N VC T H W → N V C T H W
        name, value = ("maps", outputs) if "maps" in batch else ("clip", outputs[0])
        return cast(Batch, {**batch, name: value}), target


def labels_of(target: Tensor) -> Tensor:
    """The class (N) that has the largest share of each target: labels (N), or shares (N, K)."""
    return target if target.ndim == 1 else torch.argmax(target, 1)
