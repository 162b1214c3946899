"""Recurrent pooling."""

import torch
from torch import Tensor, nn

from src.models.pooling.head import Head, tokens


class Lstm(Head):
    """A stacked LSTM over the tokens, read at the last step: (N, C, T, H, W) → (N, `hidden`), for any T."""

    reads_maps = False

    def __init__(self, channels: int, length: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, hidden, num_layers=layers, batch_first=True)
        self.out_channels = hidden

    def forward(self, feature_map: Tensor) -> Tensor:
        steps = tokens(feature_map).to(next(self.lstm.parameters()).dtype)
        # On many CPUs an LSTM fails under autocast ("could not create a primitive descriptor").
        with torch.autocast("cpu", enabled=False):
            outputs, _ = self.lstm(steps)  # (N, T, C) → (N, T, hidden)
        last: Tensor = outputs[:, -1]
        return last
