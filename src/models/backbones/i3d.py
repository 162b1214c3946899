"""I3D: Inception-v1 inflated to 3D (Carreira and Zisserman, 2017), as ported in pytorch-i3d."""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.models.backbones.backbone import Backbone, stages
from src.models.backbones.blocks import Kernel, Norm, check_reduction, halved, initialize
from src.models.backbones.stage import Stage

POOLS: tuple[tuple[Kernel, Kernel], ...] = (  # kernel and stride in front of each stage
    ((1, 3, 3), (1, 2, 2)),
    ((3, 3, 3), (2, 2, 2)),
    ((2, 2, 2), (2, 2, 2)),
)


class I3D(Backbone):
    """Clip (N, C, T, H, W) → one map (N, 1024, T/8, H/32, W/32) at full size, fractions rounded up.

    Full size is that of conf/model/i3d.yaml: 64 frames of 224×224 give 1024×8×7×7. All padding is TensorFlow's
    "same", which depends on the input's size, so any size fits.

    stem: channels of the three convolutions in front.
    stages: three lists of Inception modules, six widths each (see `Inception`).
    reduction: "frmb" replaces the last module by one of widths `reduced`, "frab" appends that one.
    """

    behind = ("reduction", "reduced")

    def __init__(
        self,
        in_channels: int,
        reduction: str,
        *,
        stem: Sequence[int],
        stages: Sequence[Sequence[Sequence[int]]],
        reduced: Sequence[int],
        norm_eps: float,
        norm_momentum: float,
    ) -> None:
        check_reduction("I3D", reduction, ("none", "frmb", "frab"))
        super().__init__()
        norm = partial(nn.BatchNorm3d, eps=norm_eps, momentum=norm_momentum)
        unit = partial(Unit, norm=norm)
        inception = partial(Inception, norm=norm)
        self.stem = Stage(
            unit(in_channels, stem[0], 7, stride=2),
            SamePool((1, 3, 3), (1, 2, 2)),
            unit(stem[0], stem[1], 1),
            unit(stem[1], stem[2], 3),
        )
        plan = [list(stage) for stage in stages]
        if reduction == "frmb":
            # A stage's first layer is its pooling, so its last module has the number of modules.
            self.replaced = {f"stages.{len(plan) - 1}.{len(plan[-1])}.": "reduction."}
            plan[-1].pop()
        built = []
        channels = stem[2]
        for (kernel, stride), stage in zip(POOLS, plan, strict=True):
            layers: list[nn.Module] = [SamePool(kernel, stride)]
            for widths in stage:
                layers.append(inception(channels, widths))
                channels = out_channels(widths)
            built.append(Stage(*layers))
        self.stages = nn.Sequential(*built)
        if reduction != "none":
            self.reduction = inception(channels, reduced)
            channels = out_channels(reduced)
        self.channels = (channels,)
        initialize(self)

    def lengths(self, frames: int) -> tuple[int]:
        """Time steps of the last map for a clip of `frames` frames."""
        return (halved(frames, times=3),)

    def parts(self) -> dict[str, list[nn.Module]]:
        """The trunk's layers."""
        return stages(self.stem, list(self.stages))

    def trunk(self, clip: Tensor) -> tuple[Tensor]:
        """The map in front of the reduction."""
        return (self.stages(self.stem(clip)),)


class Unit(nn.Module):
    """Convolution, batch norm, ReLU: (N, C, T, H, W) → (N, out, T/s, H/s, W/s), rounded up.

    The ReLU is a function, as in pytorch-i3d, so the paper's count of operations leaves it out.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        *,
        norm: Norm,
    ) -> None:
        super().__init__()
        # Under stride 1 "same" padding is symmetric, so the convolution can do it; else it follows the size.
        padding = kernel // 2 if stride == 1 else 0
        self.conv = nn.Conv3d(in_channels, out_channels, kernel, stride, padding, bias=False)
        self.bn = norm(out_channels)
        self.kernel = kernel
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            pads: list[int] = []
            for size in reversed(x.shape[2:]):  # F.pad counts from the last axis
                pads += same_padding(size, self.kernel, self.stride)
            x = F.pad(x, pads)
        return F.relu(self.bn(self.conv(x)), inplace=True)


class SamePool(nn.Module):
    """Max pooling with TensorFlow's "same" padding: sizes are divided by the stride, rounded up."""

    def __init__(self, kernel: Kernel, stride: Kernel) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        sizes = zip(x.shape[2:], self.kernel, self.stride, strict=True)
        before = [same_padding(size, kernel, stride)[0] for size, kernel, stride in sizes]
        # Rounding up lets the last window overhang: the same as padding one more behind than before.
        return F.max_pool3d(x, self.kernel, self.stride, before, ceil_mode=True)


class Inception(nn.Module):
    """Four branches side by side: (N, C, T, H, W) → (N, sum of the branches' widths, T, H, W).

    widths: channels of 1×1×1; of 1×1×1 and 3×3×3 behind it; of another such pair; of 1×1×1 behind a pooling.
    """

    def __init__(self, in_channels: int, widths: Sequence[int], *, norm: Norm) -> None:
        super().__init__()
        if len(widths) != 6:
            raise ValueError(f"an Inception module has six widths, not {len(widths)}: {list(widths)}")
        unit = partial(Unit, norm=norm)
        self.b0 = unit(in_channels, widths[0], 1)
        self.b1a = unit(in_channels, widths[1], 1)
        self.b1b = unit(widths[1], widths[2], 3)
        self.b2a = unit(in_channels, widths[3], 1)
        self.b2b = unit(widths[3], widths[4], 3)
        self.b3a = SamePool((3, 3, 3), (1, 1, 1))
        self.b3b = unit(in_channels, widths[5], 1)

    def forward(self, x: Tensor) -> Tensor:
        branches = [self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))]
        return torch.cat(branches, dim=1)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's "same": the padding before and behind with which ceil(size / stride) windows fit."""
    windows = -(-size // stride)
    total = max((windows - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def out_channels(widths: Sequence[int]) -> int:
    """Channels of the output of an Inception module of these widths."""
    return widths[0] + widths[2] + widths[4] + widths[5]
