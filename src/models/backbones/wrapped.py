"""What backbones share whose network is another library's."""

from typing import Any

from torch import nn

from src.models.backbones.backbone import Backbone
from src.models.backbones.blocks import Bottleneck


class Wrapped(Backbone):
    """A network of another library without its classifier: tensors have its names behind `backbone.network.`.

    network: the library's own; its first convolution gives way to one with `in_channels`.
    channels: of its last map.
    reduction: "frab" appends a bottleneck that ends in `reduced_channels`. There is no "frmb", which would throw away
        the last pretrained block.
    """

    behind = ("reduction", "reduced_channels")
    network: Any

    def __init__(
        self, network: nn.Module, in_channels: int, channels: int, reduction: str = "none", reduced_channels: int = 0
    ) -> None:
        super().__init__()
        take_channels(network, in_channels)
        self.network = network
        self.channels = (channels,)
        if reduction == "frab":
            self.reduction = Bottleneck(channels, reduced_channels // 2, reduced_channels)
            self.channels = (reduced_channels,)


def take_channels(network: nn.Module, in_channels: int) -> None:
    """Put a convolution for `in_channels` in the place of a network's first one, unless that takes as many."""
    convolutions = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv3d)]
    name, module = convolutions[0]
    if module.in_channels == in_channels:
        return
    first = nn.Conv3d(
        in_channels,
        module.out_channels,
        module.kernel_size,  # type: ignore[arg-type]
        module.stride,  # type: ignore[arg-type]
        module.padding,  # type: ignore[arg-type]
        bias=module.bias is not None,
    )
    network.set_submodule(name, first)
