"""A small R(2+1)D-style backbone for short clips of small frames on a CPU."""

from collections.abc import Sequence

from torch import Tensor, nn

from src.models.backbones.backbone import Backbone, stages
from src.models.backbones.blocks import Kernel, centred, check_reduction
from src.models.backbones.stage import Stage


class Tiny(Backbone):
    """Blocks of a spatial and a temporal convolution, each with batch norm and ReLU; space is halved per block.

    Clip (N, C, T, H, W) → one feature map (N, widths[-1], T / product of strides, H / 2^blocks, W / 2^blocks),
    sizes rounded up. A block with temporal kernel 1 has a spatial convolution only, so that `kernels` sets how
    far the network sees in time: `receptive_field` frames for one step of its feature map. It has to be small
    where the head, not the backbone, is to relate the motions of a clip (see data=ordered_motions).

    in_channels: 3 for rgb, 2 for flow.
    reduction: only "none", as the map is narrow already.
    widths, kernels, strides: output channels, temporal kernel (odd) and temporal stride of each block.
    """

    def __init__(
        self,
        in_channels: int,
        reduction: str,
        *,
        widths: Sequence[int],
        kernels: Sequence[int],
        strides: Sequence[int],
    ) -> None:
        check_reduction("tiny", reduction, ("none",))
        super().__init__()
        if not widths or not len(widths) == len(kernels) == len(strides):
            raise ValueError(
                f"tiny: {len(widths)} widths, {len(kernels)} kernels and {len(strides)} strides; "
                "give one of each for every block"
            )
        if any(kernel < 1 or kernel % 2 == 0 for kernel in kernels) or min(strides) < 1:
            raise ValueError(
                f"tiny: kernels={list(kernels)}, strides={list(strides)}; kernels must be odd, and strides at least 1"
            )
        self.channels = (widths[-1],)
        self.strides = tuple(strides)
        self.receptive_field = 1
        step = 1
        for kernel, stride in zip(kernels, strides, strict=True):
            self.receptive_field += (kernel - 1) * step
            step *= stride
        blocks = []
        for width, kernel, stride in zip(widths, kernels, strides, strict=True):
            blocks.append(_block(in_channels, width, kernel, stride))
            in_channels = width
        self.blocks = Stage(*blocks)

    def lengths(self, frames: int) -> tuple[int]:
        """Time steps of the feature map for a clip of `frames` frames."""
        for stride in self.strides:
            frames = -(-frames // stride)
        return (frames,)

    def parts(self) -> dict[str, list[nn.Module]]:
        """All blocks, of which the first counts as the stem."""
        first, *later = self.blocks
        return stages(first, later)

    def trunk(self, clip: Tensor) -> tuple[Tensor]:
        """The last map."""
        return (self.blocks(clip),)


def _block(in_channels: int, width: int, kernel: int, stride: int) -> nn.Sequential:
    layers = _unit(in_channels, width, (1, 3, 3), (1 if kernel > 1 else stride, 2, 2))
    if kernel > 1:
        layers += _unit(width, width, (kernel, 1, 1), (stride, 1, 1))
    return nn.Sequential(*layers)


def _unit(in_channels: int, width: int, kernel: Kernel, stride: Kernel) -> list[nn.Module]:
    conv = nn.Conv3d(in_channels, width, kernel, stride, centred(kernel), bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return [conv, nn.BatchNorm3d(width), nn.ReLU(inplace=True)]
