"""A small R(2+1)D-style backbone for short clips of small frames on a CPU."""

from collections.abc import Sequence

from torch import Tensor, nn


class Tiny(nn.Module):
    """Blocks of a spatial and a temporal convolution, each with batch norm and ReLU; space is halved per block.

    Clip (N, C, T, H, W) → one feature map (N, widths[-1], T / product of strides, H / 2^blocks, W / 2^blocks),
    sizes rounded up. A block with temporal kernel 1 has a spatial convolution only, so that `kernels` sets how
    far the network looks in time: `receptive_field` frames for one step of its feature map. It has to be small
    where the head, not the backbone, is to bring the motions of a clip together (see data=ordered_motions).

    in_channels: 3 for rgb, 2 for flow.
    reduction: "none"; the map is narrow already.
    widths, kernels, strides: output channels, temporal kernel (odd) and temporal stride of each block.
    """

    def __init__(
        self,
        in_channels: int,
        reduction: str = "none",
        widths: Sequence[int] = (8, 16, 32, 128),
        kernels: Sequence[int] = (5, 1, 1, 1),
        strides: Sequence[int] = (2, 1, 1, 1),
    ) -> None:
        super().__init__()
        if reduction != "none":
            raise ValueError(f"tiny has no reduction={reduction}: its last map is narrow already; reduction=none works")
        if not widths or not len(widths) == len(kernels) == len(strides):
            raise ValueError(
                f"tiny: {len(widths)} widths, {len(kernels)} kernels and {len(strides)} strides; "
                "one of each per block works"
            )
        if any(kernel < 1 or kernel % 2 == 0 for kernel in kernels) or min(strides) < 1:
            raise ValueError(
                f"tiny: kernels={list(kernels)}, strides={list(strides)}; odd kernels and strides from 1 work"
            )
        self.channels = (widths[-1],)
        self.strides = tuple(strides)
        self.receptive_field, step = 1, 1
        for kernel, stride in zip(kernels, strides, strict=True):
            self.receptive_field += (kernel - 1) * step
            step *= stride
        inputs = [in_channels, *widths[:-1]]
        self.blocks = nn.Sequential(*(_block(*sizes) for sizes in zip(inputs, widths, kernels, strides, strict=True)))

    def lengths(self, frames: int) -> tuple[int, ...]:
        """Time steps of the feature map for a clip of `frames` frames."""
        for stride in self.strides:
            frames = -(-frames // stride)
        return (frames,)

    def forward(self, clip: Tensor) -> tuple[Tensor, ...]:
        return (self.blocks(clip),)


def _block(inputs: int, width: int, kernel: int, stride: int) -> nn.Sequential:
    layers = _unit(inputs, width, (1, 3, 3), (1 if kernel > 1 else stride, 2, 2))
    if kernel > 1:
        layers += _unit(width, width, (kernel, 1, 1), (stride, 1, 1))
    return nn.Sequential(*layers)


def _unit(inputs: int, width: int, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> list[nn.Module]:
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    conv = nn.Conv3d(inputs, width, kernel, stride, padding, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return [conv, nn.BatchNorm3d(width), nn.ReLU(inplace=True)]
