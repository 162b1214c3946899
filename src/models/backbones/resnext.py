"""3D ResNeXt (Hara et al., 2018: "Can spatiotemporal 3D CNNs retrace the history of 2D CNNs …?")."""

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from src.models.backbones.backbone import Backbone, stages
from src.models.backbones.blocks import Bottleneck, check_reduction, halved, initialize
from src.models.backbones.stage import Stage


class ResNeXt(Backbone):
    """Clip (N, C, T, H, W) → one map (N, 2048, T/16, H/32, W/32) at full size, fractions rounded up.

    Full size is ResNeXt-101 (conf/model/resnext101.yaml): 64 frames of 112×112 give 2048×4×4×4.

    blocks: bottlenecks per stage.
    widths: channels of their grouped 3×3×3 convolution; a stage gives twice as many.
    cardinality: groups of that convolution.
    reduction: "frmb" replaces the last bottleneck by one that ends in `reduced_channels`, "frab" appends it.
    """

    behind = ("reduction", "reduced_channels")

    def __init__(
        self,
        in_channels: int,
        reduction: str,
        *,
        blocks: Sequence[int],
        stem_width: int,
        widths: Sequence[int],
        cardinality: int,
        reduced_channels: int,
        norm_eps: float,
        norm_momentum: float,
    ) -> None:
        check_reduction("ResNeXt", reduction, ("none", "frmb", "frab"))
        super().__init__()
        norm = partial(nn.BatchNorm3d, eps=norm_eps, momentum=norm_momentum)
        self.stem = nn.Sequential(
            nn.Conv3d(in_channels, stem_width, 7, stride=(1, 2, 2), padding=3, bias=False),
            norm(stem_width),
            nn.ReLU(inplace=True),
            nn.MaxPool3d(3, stride=2, padding=1),
        )
        counts = list(blocks)
        if reduction == "frmb":
            counts[-1] -= 1
            self.replaced = {f"stages.{len(counts) - 1}.{counts[-1]}.": "reduction."}
        built = []
        channels = stem_width
        for stage, (count, width) in enumerate(zip(counts, widths, strict=True)):
            layers: list[nn.Module] = []
            for block in range(count):
                step = 2 if stage > 0 and block == 0 else 1
                layers.append(
                    Bottleneck(channels, width, 2 * width, stride=(step, step, step), groups=cardinality, norm=norm)
                )
                channels = 2 * width
            built.append(Stage(*layers))
        self.stages = nn.Sequential(*built)
        if reduction != "none":
            self.reduction = Bottleneck(
                channels, reduced_channels // 2, reduced_channels, groups=cardinality, norm=norm
            )
            channels = reduced_channels
        self.channels = (channels,)
        initialize(self)

    def lengths(self, frames: int) -> tuple[int]:
        """Time steps of the last map for a clip of `frames` frames."""
        return (halved(frames, times=len(self.stages)),)  # the stem's pooling and every stage but the first

    def parts(self) -> dict[str, list[nn.Module]]:
        """The trunk's layers."""
        return stages(self.stem, list(self.stages))

    def trunk(self, clip: Tensor) -> tuple[Tensor]:
        """The map in front of the reduction."""
        return (self.stages(self.stem(clip)),)
