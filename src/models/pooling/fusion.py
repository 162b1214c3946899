"""How several pathways meet the temporal head; with one pathway both ways are the plain head.

Section 3.3 of the paper: early and late fusion of SlowFast's pathways, for any head.
"""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from src.models.pooling.head import Head

HeadMaker = Callable[..., Head]  # called with channels and length


class Fusion(nn.Module):
    """One feature map per pathway (N, Ci, Ti, Hi, Wi) → one vector (N, `out_channels`)."""

    def __init__(self, heads: Sequence[Head]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)
        self.out_channels = sum(head.out_channels for head in heads)
        self.has_attention = all(head.has_attention for head in heads)
        self.reads_maps = any(head.reads_maps for head in heads)
        self.sees_order = any(head.sees_order for head in heads)

    def maps(self, features: Sequence[Tensor]) -> Sequence[Tensor]:
        """The map that each of `heads` reads, in their order; such maps in the place of `features` stay as they are."""
        return features

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        maps = self.maps(features)
        return torch.cat([head(feature_map) for head, feature_map in zip(self.heads, maps, strict=True)], dim=1)

    def attention(self, features: Sequence[Tensor]) -> list[Tensor]:
        """For each head its attention weights (N, layers, heads, T + 1, T + 1); needs `has_attention`."""
        weights = []
        for head, feature_map in zip(self.heads, self.maps(features), strict=True):
            weights.append(cast(Head, head).attention(feature_map))
        return weights


class LateFusion(Fusion):
    """One head per pathway, their outputs side by side."""

    def __init__(self, head: HeadMaker, channels: Sequence[int], lengths: Sequence[int]) -> None:
        super().__init__([head(channels=c, length=t) for c, t in zip(channels, lengths, strict=True)])


class EarlyFusion(Fusion):
    """Pathways averaged down over time to the shortest T, channels side by side, one head."""

    def __init__(self, head: HeadMaker, channels: Sequence[int], lengths: Sequence[int]) -> None:
        super().__init__([head(channels=sum(channels), length=min(lengths))])

    def maps(self, features: Sequence[Tensor]) -> Sequence[Tensor]:
        if len(features) == 1:
            return features
        if len({feature_map.shape[3:] for feature_map in features}) > 1:
            # Maps of different height and width have no positions in common, so only their averages can be joined.
            features = [feature_map.mean(dim=(3, 4), keepdim=True) for feature_map in features]
        shortest = min(feature_map.shape[2] for feature_map in features)
        return [torch.cat([shorten(feature_map, shortest) for feature_map in features], dim=1)]


def shorten(feature_map: Tensor, length: int) -> Tensor:
    """Adaptive average pooling over time only: (N, C, T, H, W) → (N, C, `length`, H, W).

    Written out, as `F.adaptive_avg_pool3d` has no deterministic backward pass on a GPU.
    """
    time = feature_map.shape[2]
    if time == length:
        return feature_map
    steps = []
    for step in range(length):
        start = step * time // length
        end = -(-(step + 1) * time // length)  # rounded up
        steps.append(feature_map[:, :, start:end].mean(dim=2))
    return torch.stack(steps, dim=2)


FUSIONS: dict[str, type[LateFusion] | type[EarlyFusion]] = {"late": LateFusion, "early": EarlyFusion}
