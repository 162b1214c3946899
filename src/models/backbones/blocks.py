"""What several backbones share: the residual bottleneck, initialisation, and the check of the reduction."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from src.models.backbones.convolution import convolve

Kernel = tuple[int, int, int]
Norm = Callable[[int], nn.BatchNorm3d]  # channels → layer; carries eps and momentum
MERGED = 16  # channels of a group: what a GPU's matrix units take at a time, and a CPU is faster with, too


class GroupedConv3d(nn.Conv3d):
    """A grouped convolution; in training, groups of few channels are computed several at a time.

    Several groups are one with the same weights and zeros between them: more operations, and less time, since
    hardware that multiplies matrices has nothing to multiply in groups of four channels.
    """

    def forward(self, x: Tensor) -> Tensor:
        out, width = self.weight.shape[:2]
        together = math.gcd(self.groups, MERGED // width) if self.training and width < MERGED else 1
        if together == 1:
            return convolve(self, x, self.weight, self.groups)
        groups = self.groups // together
        own = torch.eye(together, dtype=self.weight.dtype, device=x.device).view(1, together, 1, together, 1, 1, 1, 1)
        apart = self.weight.view(groups, together, out // self.groups, 1, width, *self.kernel_size)  # G M O 1 I …
        weight = (apart * own).reshape(out, together * width, *self.kernel_size)  # G M O M I … → GMO MI …
        last = self.weight.is_contiguous(memory_format=torch.channels_last_3d)
        weight = weight.contiguous(memory_format=torch.channels_last_3d if last else torch.contiguous_format)
        return convolve(self, x, weight, groups)


class Bottleneck(nn.Module):
    """Three convolutions with batch norm around a shortcut: (N, C, T, H, W) → (N, out, T', H', W').

    The first is `first_time`×1×1, the second has kernel `middle` and does all the striding and grouping, the
    third is 1×1×1. Where the shape changes the shortcut is a 1×1×1 convolution with batch norm ("shortcut B").
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        out_channels: int,
        *,
        first_time: int = 1,
        middle: Kernel = (3, 3, 3),
        stride: Kernel = (1, 1, 1),
        groups: int = 1,
        norm: Norm = nn.BatchNorm3d,
    ) -> None:
        super().__init__()
        first = (first_time, 1, 1)
        self.conv1 = nn.Conv3d(in_channels, width, first, padding=centred(first), bias=False)
        self.bn1 = norm(width)
        grouped = GroupedConv3d if groups > 1 else nn.Conv3d
        self.conv2 = grouped(width, width, middle, stride, centred(middle), groups=groups, bias=False)
        self.bn2 = norm(width)
        self.conv3 = nn.Conv3d(width, out_channels, 1, bias=False)
        self.bn3 = norm(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if in_channels != out_channels or max(stride) > 1:
            self.downsample = nn.Sequential(
                nn.Conv3d(in_channels, out_channels, 1, stride, bias=False), norm(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += self.downsample(x)
        result: Tensor = self.relu(out)
        return result


def centred(kernel: Kernel) -> Kernel:
    """The padding that keeps the size under stride 1."""
    return (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)


def halved(length: int, times: int = 1) -> int:
    """`length` after `times` convolutions or poolings of stride 2, each rounding up."""
    for _ in range(times):
        length = (length + 1) // 2
    return length


def initialize(module: nn.Module) -> None:
    """Kaiming-normal convolutions; batch norms start as the identity."""
    for part in module.modules():
        if isinstance(part, nn.Conv3d):
            nn.init.kaiming_normal_(part.weight)
        elif isinstance(part, nn.BatchNorm3d):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)


def check_reduction(backbone: str, reduction: str, offered: Sequence[str]) -> None:
    """ValueError unless `reduction` is one that this backbone offers."""
    if reduction not in offered:
        raise ValueError(f"{backbone} has no reduction={reduction}; choose {' or '.join(offered)}")
