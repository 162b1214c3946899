"""The whole network: backbone → feature maps → fusion and temporal head → dropout → classifier."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from src.models.backbones.backbone import Backbone
from src.models.pooling.fusion import FUSIONS, HeadMaker


class Recognizer(nn.Module):
    """Clips in, class scores out.

    head: called as `head(channels=…, length=…)` once per pathway (fusion="late") or once (fusion="early").
    frames: length T of the clips; heads have weights per time step.
    dropout: rate in front of the classifier.
    mean, std: per input channel, on a 0..1 scale; uint8 clips are normalised with them, on the device.

    Raises ValueError for arguments that do not go together.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: Backbone,
        head: HeadMaker,
        *,
        fusion: str,
        frames: int,
        num_classes: int,
        dropout: float,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        if fusion not in FUSIONS:
            raise ValueError(f"unknown fusion '{fusion}'; choose {' or '.join(FUSIONS)}")
        if num_classes < 1:
            raise ValueError(f"num_classes={num_classes} must be at least 1")
        self.memory_format = torch.contiguous_format
        self.backbone = backbone
        self.pooling = FUSIONS[fusion](head, backbone.channels, backbone.lengths(frames))
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(self.pooling.out_channels, num_classes)
        nn.init.xavier_uniform_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)
        # Settings, not weights: they come from the configuration and stay out of checkpoints.
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1, 1), persistent=False)

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (N, C, T, H, W), uint8 or already normalised floating point → logits (N, classes)."""
        logits: Tensor = self.classifier(self.dropout(self.pooling(self.features(clip))))
        return logits

    def features(self, clip: Tensor) -> tuple[Tensor, ...]:
        """The last feature map of each pathway, (N, Ci, Ti, Hi, Wi); takes the clips that `forward` takes."""
        maps: tuple[Tensor, ...] = self.backbone(self.normalize(clip))
        return maps

    def channels_last(self) -> Self:
        """Lay clips and convolutions out with a pixel's channels side by side: same numbers, another speed."""
        self.memory_format = torch.channels_last_3d
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                module.to(memory_format=torch.channels_last_3d)
        return self

    def normalize(self, clip: Tensor) -> Tensor:
        """uint8 clips become (x / 255 − mean) / std; floating-point clips count as normalised and stay.

        Raises ValueError for another shape, number of channels or type.
        """
        if clip.ndim != 5 or clip.shape[1] != len(self.mean):
            raise ValueError(f"a clip is (N, {len(self.mean)}, T, H, W) for this network, not {tuple(clip.shape)}")
        if clip.is_floating_point():
            return clip
        if clip.dtype != torch.uint8:
            raise ValueError(f"a clip is uint8 or normalised floating point, not {clip.dtype}")
        clip = clip.to(self.mean.dtype, memory_format=self.memory_format)
        return torch.addcmul(-self.mean / self.std, clip, 1 / (255 * self.std))  # the same, in one pass
