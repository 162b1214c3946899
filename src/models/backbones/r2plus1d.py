"""R(2+1)D (Tran et al., 2018), with the block of the IG-65M weights."""

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from src.models.backbones.backbone import Backbone, stages
from src.models.backbones.blocks import Norm, check_reduction, halved, initialize
from src.models.backbones.stage import Stage


class R2Plus1D(Backbone):
    """Clip (N, C, T, H, W) → one map (N, 512, T/8, H/16, W/16) at full size, fractions rounded up.

    Full size is R(2+1)D-34 (conf/model/r2plus1d.yaml): 32 frames of 112×112 give 512×4×7×7, 64 frames 512×8×7×7.

    blocks: basic blocks per stage; widths: channels of the stages.
    stem_width: channels between the stem's spatial and temporal convolution.
    reduction: only "none", as the map is as narrow as the other backbones' reduced ones.
    norm_momentum: in PyTorch's sense, the weight of the new batch.
    """

    def __init__(
        self,
        in_channels: int,
        reduction: str,
        *,
        blocks: Sequence[int],
        widths: Sequence[int],
        stem_width: int,
        norm_eps: float,
        norm_momentum: float,
    ) -> None:
        check_reduction("R(2+1)D", reduction, ("none",))
        super().__init__()
        norm = partial(nn.BatchNorm3d, eps=norm_eps, momentum=norm_momentum)
        channels = widths[0]
        self.stem = nn.Sequential(
            nn.Conv3d(in_channels, stem_width, (1, 7, 7), stride=(1, 2, 2), padding=(0, 3, 3), bias=False),
            norm(stem_width),
            nn.ReLU(inplace=True),
            nn.Conv3d(stem_width, channels, (3, 1, 1), padding=(1, 0, 0), bias=False),
            norm(channels),
            nn.ReLU(inplace=True),
        )
        built = []
        for stage, (count, width) in enumerate(zip(blocks, widths, strict=True)):
            layers = []
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(BasicBlock(channels, width, stride, norm))
                channels = width
            built.append(Stage(*layers))
        self.stages = nn.Sequential(*built)
        self.channels = (channels,)
        initialize(self)

    def lengths(self, frames: int) -> tuple[int]:
        """Time steps of the last map for a clip of `frames` frames."""
        return (halved(frames, times=len(self.stages) - 1),)

    def parts(self) -> dict[str, list[nn.Module]]:
        """All layers."""
        return stages(self.stem, list(self.stages))

    def trunk(self, clip: Tensor) -> tuple[Tensor]:
        """The last map."""
        return (self.stages(self.stem(clip)),)


class BasicBlock(nn.Module):
    """Two (2+1)D convolutions around a shortcut: (N, C, T, H, W) → (N, `width`, T/s, H/s, W/s)."""

    def __init__(self, in_channels: int, width: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(factorized(in_channels, width, stride, norm), norm(width), nn.ReLU(inplace=True))
        self.conv2 = nn.Sequential(factorized(width, width, 1, norm), norm(width))
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or in_channels != width:
            self.downsample = nn.Sequential(nn.Conv3d(in_channels, width, 1, stride, bias=False), norm(width))

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.conv1(x))
        out += self.downsample(x)
        result: Tensor = self.relu(out)
        return result


def factorized(in_channels: int, out_channels: int, stride: int, norm: Norm) -> nn.Sequential:
    """A 1×3×3 and a 3×1×1 convolution with as many weights as one 3×3×3 convolution has.

    The width between them follows from each convolution's own channels. Torchvision's blocks take the first
    convolution's for both, which does not fit the published IG-65M weights.
    """
    middle = 27 * in_channels * out_channels // (9 * in_channels + 3 * out_channels)
    return nn.Sequential(
        nn.Conv3d(in_channels, middle, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False),
        norm(middle),
        nn.ReLU(inplace=True),
        nn.Conv3d(middle, out_channels, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False),
    )
