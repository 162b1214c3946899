"""A non-local block on the feature map, then concatenation pooling (Section 4.3)."""

import math

import torch
from torch import Tensor, nn

from src.models.pooling.concat import Concat
from src.models.pooling.head import Head


class NonLocal(nn.Module):
    """Embedded-Gaussian non-local block over all T·H·W positions on a residual branch; keeps the shape.

    Wang et al., Non-local Neural Networks, Equations 2, 4 and 6. The scores are divided by the square root of
    the number of positions before the softmax, as in the release (not by that of the width, as in attention).
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.theta = nn.Conv3d(channels, inner, 1)
        self.phi = nn.Conv3d(channels, inner, 1)
        self.g = nn.Conv3d(channels, inner, 1)
        self.output = nn.Conv3d(inner, channels, 1)
        self.norm = nn.BatchNorm3d(channels)
        # The block starts as the identity, so it does not disturb pretrained features.
        nn.init.zeros_(self.norm.weight)
        nn.init.zeros_(self.norm.bias)

    def forward(self, feature_map: Tensor) -> Tensor:
        query = self.theta(feature_map).flatten(2).transpose(1, 2)  # (N, D, T, H, W) → (N, P, D), P = T·H·W
        key = self.phi(feature_map).flatten(2)  # (N, D, T, H, W) → (N, D, P)
        value = self.g(feature_map).flatten(2).transpose(1, 2)  # (N, D, T, H, W) → (N, P, D)
        weights = torch.softmax(query @ key / math.sqrt(key.shape[2]), dim=-1)  # (N, P, P)
        gathered = (weights @ value).transpose(1, 2).unflatten(2, feature_map.shape[2:])  # → (N, D, T, H, W)
        output: Tensor = feature_map + self.norm(self.output(gathered))
        return output


class NonLocalConcat(Head):
    """Non-local block, then `Concat`: (N, C, T, H, W) → (N, `hidden`), or (N, T·C) with hidden=None.

    `inner` is the width of the block's embeddings; None makes it as wide as the feature map (the paper: 512).
    """

    def __init__(self, channels: int, length: int, inner: int | None, hidden: int | None) -> None:
        super().__init__()
        self.block = NonLocal(channels, channels if inner is None else inner)
        self.concat = Concat(channels, length, hidden)
        self.out_channels = self.concat.out_channels

    def forward(self, feature_map: Tensor) -> Tensor:
        output: Tensor = self.concat(self.block(feature_map))
        return output
