"""What a recipe changes in training clips once they are cut: their pixels, with one draw for all frames of a clip."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

GREY = 128  # the middle of 0..255, which is no motion where the pixels are flow
FOR_FLOW = ("Identity", "TranslateX", "TranslateY")  # others change colours, or turn the picture and not its vectors
OF_ALL_VALUES = ("AutoContrast", "Contrast", "Equalize")  # they depend on all pixels of a picture


class RandAugment(v2.RandAugment):  # type: ignore[misc]  # torchvision has no types
    """RandAugment (Cubuk et al., 2020) of clips; of flow the operations that leave its vectors true.

    An operation that depends on all pixels of a picture gets those of the whole clip: frame by frame it would take out
    what brightens or darkens in time, or make it flicker.
    """

    def __init__(self, operations: int, magnitude: int, flow: bool) -> None:
        super().__init__(operations, magnitude, interpolation=InterpolationMode.BILINEAR, fill=GREY)
        if flow:
            every = v2.RandAugment._AUGMENTATION_SPACE
            self._AUGMENTATION_SPACE = {name: every[name] for name in FOR_FLOW}

    def _apply_image_or_video_transform(self, video: Tensor, transform_id: str, *values: Any, **named: Any) -> Tensor:
        if transform_id not in OF_ALL_VALUES:
            changed: Tensor = super()._apply_image_or_video_transform(video, transform_id, *values, **named)
            return changed
        picture = video.as_subclass(Tensor).transpose(-4, -3).flatten(-3, -2)  # V T C H W → V C TH W
        changed = super()._apply_image_or_video_transform(picture, transform_id, *values, **named)
        frames = changed.view(*changed.shape[:-2], *video.shape[-4:-3], *video.shape[-2:])  # V C TH W → V C T H W
        return cast(Tensor, tv_tensors.wrap(frames.transpose(-4, -3), like=video))  # V C T H W → V T C H W


class Augmentation:
    """Changes training clips; whatever is drawn comes from the clip's own generator, and every frame is treated alike.

    operations, magnitude: of RandAugment; 0 operations leave it out.
    erasing: probability that a rectangle of the clip becomes grey (Zhong et al., 2020); a third of it at most.
    flow: the clips show motion.
    """

    def __init__(self, operations: int, magnitude: int, erasing: float, flow: bool = False) -> None:
        self.steps: list[v2.Transform] = []
        if operations:
            self.steps.append(RandAugment(operations, magnitude, flow))
        if erasing:
            self.steps.append(v2.RandomErasing(erasing, value=GREY))

    def __call__(self, clip: Tensor, rng: np.random.Generator) -> Tensor:
        """Clip (V, C, T, H, W) uint8, whose V views are one clip → the same, changed."""
        if not self.steps:
            return clip
        video = tv_tensors.Video(clip.transpose(1, 2))  # V C T H W → V T C H W
        with torch.random.fork_rng(devices=[]), one_thread():  # torchvision draws from the generator of training
            torch.default_generator.manual_seed(int(rng.integers(2**63)))
            for step in self.steps:
                video = step(video)
        changed: Tensor = video.as_subclass(Tensor)
        return changed.transpose(1, 2).contiguous()  # V T C H W → V C T H W


@contextmanager
def one_thread() -> Iterator[None]:
    """Within the block sums are added up as in a loader's worker, which has one thread: their last digits agree."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
