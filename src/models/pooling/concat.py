"""Concatenation pooling: every time step keeps its own weights in what follows."""

from torch import Tensor, nn

from src.models.pooling.head import Head, checked_tokens


class Concat(Head):
    """The T tokens side by side: (N, C, T, H, W) → (N, T·C), or (N, `hidden`) through one linear layer.

    There is no activation between that layer and the classifier (Table 1: concatenation + fully connected).
    """

    reads_maps = False

    def __init__(self, channels: int, length: int, hidden: int | None) -> None:
        super().__init__()
        self.length = length
        self.linear = nn.Identity() if hidden is None else nn.Linear(length * channels, hidden)
        self.out_channels = length * channels if hidden is None else hidden

    def forward(self, feature_map: Tensor) -> Tensor:
        side_by_side = checked_tokens(feature_map, self.length, "concat").flatten(1)  # (N, T, C) → (N, T·C)
        output: Tensor = self.linear(side_by_side)
        return output
