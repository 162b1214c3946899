"""Attentive pooling: a learned query attends to every position of the map, as in V-JEPA 2's probe.

Assran et al., V-JEPA 2: Self-Supervised Video Models Enable Understanding, Prediction and Planning (arXiv 2506.09985),
Section 5: four transformer blocks, the last of which has cross-attention from one learned query in the place of
self-attention. As in the authors' release, that attention has no output projection, the query is not normalised, and
weights start as a truncated N(0, 0.02) with the last projections of block i divided by sqrt(2i).
"""

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.models.pooling.head import Head, check_divides, positions

EPS = 1e-6  # of layer norms


class CrossBlock(nn.Module):
    """Q queries attend to P positions, then a feed-forward part: (N, Q, C), (N, P, C) → (N, Q, C)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(channels, eps=EPS)
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.norm2 = nn.LayerNorm(channels, eps=EPS)
        self.linear1 = nn.Linear(channels, 4 * channels)
        self.linear2 = nn.Linear(4 * channels, channels)

    def forward(self, queries: Tensor, sequence: Tensor) -> Tensor:
        seen = self.norm1(sequence)
        split = (self.heads, -1)  # N L C → N heads L C/heads
        query = self.query(queries).unflatten(2, split).transpose(1, 2)
        key = self.key(seen).unflatten(2, split).transpose(1, 2)
        value = self.value(seen).unflatten(2, split).transpose(1, 2)
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)  # → N Q C
        queries = queries + attended
        output: Tensor = queries + self.linear2(F.gelu(self.linear1(self.norm2(queries))))
        return output


class Attentive(Head):
    """Self-attention over all T·H·W positions, then a learned query's cross-attention: (N, C, T, H, W) → (N, C).

    It has no positions of its own: what it knows of order is what the backbone has put into the map.

    layers: number of blocks, the last of which is the cross-attention.
    heads: number of attention heads in each block; must divide `channels`.
    """

    sees_order = False

    def __init__(self, channels: int, length: int, *, layers: int, heads: int, init_std: float) -> None:
        super().__init__()
        check_divides("attentive", "heads", heads, channels)
        self.out_channels = channels
        self.query = nn.Parameter(torch.empty(1, 1, channels))
        self.blocks = nn.ModuleList(_self_block(channels, heads) for _ in range(layers - 1))
        self.pool = CrossBlock(channels, heads)
        self._initialize(init_std)

    def _initialize(self, std: float) -> None:
        nn.init.trunc_normal_(self.query, std=std)
        for name, parameter in [*self.blocks.named_parameters(), *self.pool.named_parameters()]:
            if "norm" in name:
                continue
            if parameter.ndim == 2:
                nn.init.trunc_normal_(parameter, std=std)
            else:
                nn.init.zeros_(parameter)
        self.pool.linear2.weight.data /= math.sqrt(2)
        for number, block in enumerate(self.blocks, 2):
            layer = cast(nn.TransformerEncoderLayer, block)
            layer.self_attn.out_proj.weight.data /= math.sqrt(2 * number)
            layer.linear2.weight.data /= math.sqrt(2 * number)

    def forward(self, feature_map: Tensor) -> Tensor:
        sequence = positions(feature_map)
        for block in self.blocks:
            sequence = block(sequence)
        pooled: Tensor = self.pool(self.query.expand(sequence.shape[0], -1, -1), sequence)
        return pooled[:, 0]


def _self_block(channels: int, heads: int) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(
        channels,
        heads,
        dim_feedforward=4 * channels,
        dropout=0.0,
        activation="gelu",
        layer_norm_eps=EPS,
        batch_first=True,
        norm_first=True,
    )
