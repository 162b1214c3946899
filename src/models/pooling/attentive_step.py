"""Attentive pooling that knows the order of frames, as in STEP.

Ponbagavathi and Roitberg, Order Matters: On Parameter-Efficient Image-to-Video Probing for Recognizing Nearly Symmetric
Actions (arXiv 2503.24298): self-attentive probing with a learned position for each frame, one global classification
token, and a simplified block, attention without the feed-forward part: a third of a block's weights.
"""

import torch
from torch import Tensor, nn

from src.models.pooling.head import Head, check_divides, check_length, positions


class AttentiveStep(Head):
    """One attention layer over [cls, all T·H·W positions], read at cls: (N, C, T, H, W) → (N, C).

    All positions of a time step share its learned position, so that their order within the step does not matter. STEP
    reads the tokens of image transformers, which end in a layer norm; here one stands in front for maps that do not.
    Only cls is read, so it alone asks, and no residual connection is needed: it would add a constant.

    heads: number of attention heads; must divide `channels`.
    init_std: positions and cls start as N(0, init_std).
    """

    def __init__(self, channels: int, length: int, *, heads: int, init_std: float) -> None:
        super().__init__()
        check_divides("attentive_step", "heads", heads, channels)
        self.out_channels = channels
        self.length = length
        self.norm = nn.LayerNorm(channels)
        self.frame_positions = nn.Parameter(nn.init.normal_(torch.empty(channels, length, 1, 1), std=init_std))
        self.cls = nn.Parameter(nn.init.normal_(torch.empty(1, 1, channels), std=init_std))
        self.attention_layer = nn.MultiheadAttention(channels, heads, batch_first=True)

    def forward(self, feature_map: Tensor) -> Tensor:
        check_length(feature_map, self.length, "attentive_step")
        normed = self.norm(feature_map.movedim(1, 4)).movedim(4, 1)  # over channels; N C T H W again
        cls = self.cls.expand(feature_map.shape[0], -1, -1)
        sequence = torch.cat([cls, positions(normed + self.frame_positions)], dim=1)  # N, 1 + T·H·W, C
        attended: Tensor = self.attention_layer(cls, sequence, sequence, need_weights=False)[0]
        return attended[:, 0]
