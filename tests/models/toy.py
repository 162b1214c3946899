"""A backbone of one convolution per pathway, for what depends on no real one."""

import torch
from src.models.backbones.backbone import Backbone
from src.models.backbones.stage import Stage
from torch import Tensor, nn


class Toy(Backbone):
    """Pathway i sees every 2^i-th frame and gives maps of half the height and width."""

    def __init__(self, channels: tuple[int, ...] = (16,), in_channels: int = 3) -> None:
        super().__init__()
        self.channels = channels
        self.convs = nn.ModuleList(nn.Conv3d(in_channels, c, 1, stride=(1, 2, 2)) for c in channels)

    def lengths(self, frames: int) -> tuple[int, ...]:
        return tuple(-(-frames // 2**i) for i in range(len(self.channels)))

    def parts(self) -> dict[str, list[nn.Module]]:
        return {"stem": [self.convs]}

    def trunk(self, clip: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.relu(conv(clip[:, :, :: 2**i])) for i, conv in enumerate(self.convs))


class Staged(Toy):
    """The same in stages, whose maps can be computed again."""

    def __init__(self, channels: tuple[int, ...] = (16,), in_channels: int = 3) -> None:
        super().__init__(channels, in_channels)
        self.convs = nn.ModuleList(Stage(conv) for conv in self.convs)
