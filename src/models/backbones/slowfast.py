"""SlowFast (Feichtenhofer et al., 2019) with a ResNet-50 in each pathway."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from src.models.backbones.blocks import Bottleneck, Kernel, centred, check_reduction, initialize

SLOW, FAST = 0, 1
FIRST_TIME = ((1, 1, 3, 3), (3, 3, 3, 3))  # length in time of each stage's first convolutions, slow and fast


class SlowFast(nn.Module):
    """Clip (N, C, T, H, W) → slow map (N, 2048, T/8, H/32, W/32) and fast map (N, 256, T/2, H/32, W/32).

    At the default sizes, fractions rounded up; 64 frames of 224×224 give 2048×8×7×7 and 256×32×7×7.

    fast_stride, alpha: of the clip's frames the fast pathway takes every `fast_stride`-th, and the slow one
        every `alpha`-th of those.
    blocks: bottlenecks per stage.
    width: channels of the slow stem, doubled from stage to stage; the fast pathway has 1 / `beta_inverse` of it.
    lateral_ratio, lateral_time: the convolutions from fast to slow multiply the channels, and are this long.
    reduction: "frmb" replaces the last bottleneck by one that ends in `reduced_channels` (slow, fast), "frab"
        appends it: with fusion="early" in both pathways, with fusion="late" in the slow one (Section 3.3).
    """

    def __init__(
        self,
        in_channels: int = 3,
        reduction: str = "none",
        fusion: str = "late",
        blocks: Sequence[int] = (3, 4, 6, 3),
        width: int = 64,
        fast_stride: int = 2,
        alpha: int = 4,
        beta_inverse: int = 8,
        lateral_ratio: int = 2,
        lateral_time: int = 7,
        reduced_channels: Sequence[int] = (512, 128),
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
    ) -> None:
        check_reduction("SlowFast", reduction, ("none", "frmb", "frab"))
        if fusion not in ("early", "late"):
            raise ValueError(f"fusion={fusion} does not exist for SlowFast; it takes fusion=early or late")
        super().__init__()
        self.fast_stride, self.alpha = fast_stride, alpha
        self._norm = partial(nn.BatchNorm3d, eps=norm_eps, momentum=norm_momentum)
        reduced = () if reduction == "none" else (SLOW, FAST) if fusion == "early" else (SLOW,)
        # How many blocks each pathway's last stage keeps.
        last = [blocks[-1] - (reduction == "frmb" and pathway in reduced) for pathway in (SLOW, FAST)]
        # The blocks that a reduction takes the place of, and their places: names of tensors start with these.
        self.replaced = {
            f"stages.{len(blocks) - 1}.{pathway}.{last[pathway]}.": f"reduction.{pathway}."
            for pathway in (SLOW, FAST)
            if last[pathway] < blocks[-1]
        }
        widths = (width, width // beta_inverse)
        self.stems = nn.ModuleList([self._stem(in_channels, widths[SLOW], 1), self._stem(in_channels, widths[FAST], 5)])
        channels = list(widths)
        laterals, stages = [], []
        for stage, count in enumerate(blocks):
            sideways = lateral_ratio * channels[FAST]
            laterals.append(self._lateral(channels[FAST], sideways, lateral_time))
            entering = (channels[SLOW] + sideways, channels[FAST])
            counts = last if stage == len(blocks) - 1 else [count, count]
            stages.append(nn.ModuleList(self._stage(p, stage, counts[p], entering[p], widths[p]) for p in (SLOW, FAST)))
            channels = [4 * widths[p] * 2**stage if counts[p] else entering[p] for p in (SLOW, FAST)]
        self.laterals, self.stages = nn.ModuleList(laterals), nn.ModuleList(stages)
        self.reduction = nn.ModuleList([nn.Identity(), nn.Identity()])
        for pathway in reduced:
            out = reduced_channels[pathway]
            self.reduction[pathway] = Bottleneck(channels[pathway], out // 2, out, norm=self._norm)
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

    def _stage(self, pathway: int, stage: int, count: int, entering: int, width: int) -> nn.Sequential:
        width *= 2**stage
        blocks = []
        for block in range(count):
            step = 2 if stage > 0 and block == 0 else 1
            stride: Kernel = (1, step, step)
            time = FIRST_TIME[pathway][stage]
            shape = (entering, width, 4 * width)
            blocks.append(Bottleneck(*shape, first_time=time, middle=(1, 3, 3), stride=stride, norm=self._norm))
            entering = 4 * width
        return nn.Sequential(*blocks)

    def lengths(self, frames: int) -> tuple[int, int]:
        """Time steps of the slow and the fast map for a clip of `frames` frames."""
        fast = -(-frames // self.fast_stride)
        return -(-fast // self.alpha), fast

    def forward(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        fast = clip[:, :, :: self.fast_stride]
        slow = fast[:, :, :: self.alpha]
        slow, fast = self.stems[SLOW](slow), self.stems[FAST](fast)
        for lateral, stage in zip(self.laterals, self.stages, strict=True):
            slow = torch.cat([slow, lateral(fast)], dim=1)
            slow, fast = stage[SLOW](slow), stage[FAST](fast)  # type: ignore[index]
        return self.reduction[SLOW](slow), self.reduction[FAST](fast)
