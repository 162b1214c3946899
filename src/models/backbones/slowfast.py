"""SlowFast (Feichtenhofer et al., 2019) with a ResNet-50 in each pathway."""

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from src.models.backbones.backbone import Backbone
from src.models.backbones.blocks import Bottleneck, Kernel, centred, check_reduction, initialize
from src.models.backbones.stage import Stage

SLOW, FAST = 0, 1
FIRST_TIME = ((1, 1, 3, 3), (3, 3, 3, 3))  # length in time of each stage's first convolutions, slow and fast


class SlowFast(Backbone):
    """Clip (N, C, T, H, W) → slow map (N, 2048, T/8, H/32, W/32) and fast map (N, 256, T/2, H/32, W/32).

    At full size (conf/model/slowfast.yaml), fractions rounded up: 64 frames of 224×224 give 2048×8×7×7 and
    256×32×7×7.

    fast_stride, alpha: of the clip's frames the fast pathway takes every `fast_stride`-th, and the slow one
        every `alpha`-th of those.
    blocks: bottlenecks per stage.
    width: channels of the slow stem, doubled from stage to stage; the fast pathway has 1 / `beta_inverse` of it.
    lateral_ratio, lateral_time: the convolutions from fast to slow multiply the channels, and are this long.
    reduction: "frmb" replaces the last bottleneck by one that ends in `reduced_channels` (slow, fast), "frab"
        appends it: with fusion="early" in both pathways, with fusion="late" in the slow one (Section 3.3).
    """

    behind = ("reduction", "fusion", "reduced_channels")

    def __init__(
        self,
        in_channels: int,
        reduction: str,
        *,
        fusion: str,
        blocks: Sequence[int],
        width: int,
        fast_stride: int,
        alpha: int,
        beta_inverse: int,
        lateral_ratio: int,
        lateral_time: int,
        reduced_channels: Sequence[int],
        norm_eps: float,
        norm_momentum: float,
    ) -> None:
        check_reduction("SlowFast", reduction, ("none", "frmb", "frab"))
        if fusion not in ("early", "late"):
            raise ValueError(f"unknown fusion '{fusion}'; choose late or early")
        super().__init__()
        self.fast_stride = fast_stride
        self.alpha = alpha
        self._norm = partial(nn.BatchNorm3d, eps=norm_eps, momentum=norm_momentum)
        reduced: tuple[int, ...] = ()  # the pathways that a reduction changes
        if reduction != "none":
            reduced = (SLOW, FAST) if fusion == "early" else (SLOW,)
        last = [blocks[-1], blocks[-1]]  # blocks in each pathway's last stage
        if reduction == "frmb":
            for pathway in reduced:
                last[pathway] -= 1
                self.replaced[f"stages.{len(blocks) - 1}.{pathway}.{last[pathway]}."] = f"reduction.{pathway}."
        widths = (width, width // beta_inverse)
        self.stems = nn.ModuleList([self._stem(in_channels, widths[SLOW], 1), self._stem(in_channels, widths[FAST], 5)])
        channels = list(widths)
        laterals = []
        stages = []
        for stage, count in enumerate(blocks):
            sideways = lateral_ratio * channels[FAST]
            laterals.append(self._lateral(channels[FAST], sideways, lateral_time))
            entering = (channels[SLOW] + sideways, channels[FAST])
            counts = last if stage == len(blocks) - 1 else [count, count]
            pathways = []
            for pathway in (SLOW, FAST):
                pathways.append(self._stage(pathway, stage, counts[pathway], entering[pathway], widths[pathway]))
                # A last stage of one block has none left once frmb has replaced it.
                channels[pathway] = 4 * widths[pathway] * 2**stage if counts[pathway] else entering[pathway]
            stages.append(nn.ModuleList(pathways))
        self.laterals = nn.ModuleList(laterals)
        self.stages = nn.ModuleList(stages)
        self.reduction = reductions = nn.ModuleList([nn.Identity(), nn.Identity()])
        for pathway in reduced:
            out = reduced_channels[pathway]
            reductions[pathway] = Bottleneck(channels[pathway], out // 2, out, norm=self._norm)
            channels[pathway] = out
        self.channels = (channels[SLOW], channels[FAST])
        initialize(self)

    def _stem(self, in_channels: int, out_channels: int, time: int) -> nn.Sequential:
        kernel = (time, 7, 7)
        return nn.Sequential(
            nn.Conv3d(in_channels, out_channels, kernel, (1, 2, 2), centred(kernel), bias=False),
            self._norm(out_channels),
            nn.ReLU(inplace=True),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        )

    def _lateral(self, in_channels: int, out_channels: int, time: int) -> nn.Sequential:
        kernel = (time, 1, 1)
        return nn.Sequential(
            nn.Conv3d(in_channels, out_channels, kernel, (self.alpha, 1, 1), centred(kernel), bias=False),
            self._norm(out_channels),
            nn.ReLU(inplace=True),
        )

    def _stage(self, pathway: int, stage: int, count: int, entering: int, width: int) -> Stage:
        width *= 2**stage
        blocks = []
        for block in range(count):
            step = 2 if stage > 0 and block == 0 else 1
            stride: Kernel = (1, step, step)
            time = FIRST_TIME[pathway][stage]
            shape = (entering, width, 4 * width)
            blocks.append(Bottleneck(*shape, first_time=time, middle=(1, 3, 3), stride=stride, norm=self._norm))
            entering = 4 * width
        return Stage(*blocks)

    def lengths(self, frames: int) -> tuple[int, int]:
        """Time steps of the slow and the fast map for a clip of `frames` frames."""
        fast = -(-frames // self.fast_stride)
        return -(-fast // self.alpha), fast

    def parts(self) -> dict[str, list[nn.Module]]:
        """The trunk's layers; a lateral convolution belongs to the stage behind it."""
        named: dict[str, list[nn.Module]] = {"stem": [self.stems]}
        for number, layers in enumerate(zip(self.laterals, self.stages, strict=True), 1):
            named[f"stage{number}"] = list(layers)
        return named

    def trunk(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """The slow and the fast map in front of the reductions."""
        fast = clip[:, :, :: self.fast_stride]
        slow = fast[:, :, :: self.alpha]
        slow, fast = self.stems[SLOW](slow), self.stems[FAST](fast)
        for lateral, stage in zip(self.laterals, self.stages, strict=True):
            slow = torch.cat([slow, lateral(fast)], dim=1)
            slow, fast = stage[SLOW](slow), stage[FAST](fast)  # type: ignore[index]
        return slow, fast

    def reduce(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Each pathway's map behind its reduction."""
        slow, fast = maps
        reductions = cast(nn.ModuleList, self.reduction)
        return reductions[SLOW](slow), reductions[FAST](fast)
