"""Multi-query pooling: several learned queries attend to the map, each of which reads a part of the channels.

Psomas et al., Attention, Please! Revisiting Attentive Probing Through the Lens of Efficiency (ICLR 2026, arXiv
2506.10178): cross-attention without projections of queries, keys or output. As in the authors' release the values have
no bias and scores are divided by the square root of the width.
"""

import math

import torch
from torch import Tensor, nn

from src.models.pooling.head import Head, check_divides, positions


class EfficientProbing(Head):
    """Q queries, and for each its attention's mean of C/Q value channels: (N, C, T, H, W) → (N, C).

    One query is plain attention pooling. No position is known, so that order is seen only where the backbone has put
    it into the map.

    queries: number Q of learned queries; must divide `channels`.
    init_std: queries start as N(0, init_std).
    """

    sees_order = False

    def __init__(self, channels: int, length: int, *, queries: int, init_std: float) -> None:
        super().__init__()
        check_divides("efficient_probing", "queries", queries, channels)
        self.out_channels = channels
        self.queries = nn.Linear(channels, queries, bias=False)  # a row of its weight is a query
        nn.init.normal_(self.queries.weight, std=init_std)
        self.value = nn.Linear(channels, channels, bias=False)

    def forward(self, feature_map: Tensor) -> Tensor:
        tokens = positions(feature_map)  # N P C
        weights = (self.queries(tokens) / math.sqrt(tokens.shape[2])).softmax(dim=1)  # N P Q
        values = self.value(tokens).unflatten(2, (weights.shape[2], -1))  # N P C → N P Q C/Q
        pooled: Tensor = torch.einsum("npq,npqd->nqd", weights, values)
        return pooled.flatten(1)  # N Q C/Q → N C
