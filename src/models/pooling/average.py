"""Temporal global average pooling (TGAP), the baseline that throws the order of time away."""

from torch import Tensor

from src.models.pooling.head import Head


class Average(Head):
    """The mean over time and space: (N, C, T, H, W) → (N, C), for any T."""

    sees_order = False
    reads_maps = False

    def __init__(self, channels: int, length: int) -> None:
        super().__init__()
        self.out_channels = channels

    def forward(self, feature_map: Tensor) -> Tensor:
        return feature_map.mean(dim=(2, 3, 4))
