"""Video networks of torchvision, each as far as its last map; the weights that torchvision publishes fit them."""

from collections.abc import Sequence

from torch import Tensor, nn

from src.models.backbones.backbone import stages
from src.models.backbones.blocks import check_reduction, halved
from src.models.backbones.wrapped import Wrapped


class VideoResNet(Wrapped):
    """18 layers (Tran et al., 2018): clip (N, C, T, H, W) → one map (N, 512, T', H/16, W/16), fractions rounded up.

    Full size is 2 `blocks` per stage: 16 frames of 112×112 give 512×2×7×7, with MC3 512×16×7×7.

    convolutions: kind of each stage: "3d", "2d" (nothing in time) or "2+1d". T is halved by every stage behind the
        first whose kind is not "2d".
    stem_convolution: "3d" or "2+1d".
    reduction: only "none", as the map is as narrow as the other backbones' reduced ones.
    """

    def __init__(
        self,
        in_channels: int,
        reduction: str,
        *,
        stem_convolution: str,
        convolutions: Sequence[str],
        blocks: Sequence[int],
    ) -> None:
        check_reduction("an 18-layer ResNet", reduction, ("none",))
        from torchvision.models.video import resnet

        kinds = {"3d": resnet.Conv3DSimple, "2d": resnet.Conv3DNoTemporal, "2+1d": resnet.Conv2Plus1D}
        stems = {"3d": resnet.BasicStem, "2+1d": resnet.R2Plus1dStem}
        if stem_convolution not in stems or len(convolutions) != 4 or not set(convolutions) <= set(kinds):
            raise ValueError(
                f"stem_convolution={stem_convolution}, convolutions={list(convolutions)}; the stem's is "
                f"{' or '.join(stems)}, and each of the four stages' {', '.join(kinds)}"
            )
        if len(blocks) != 4 or min(blocks) < 1:
            raise ValueError(f"blocks={list(blocks)}; give four numbers, each at least 1")
        layers = [kinds[kind] for kind in convolutions]
        network = resnet.VideoResNet(resnet.BasicBlock, layers, list(blocks), stems[stem_convolution])
        del network.fc
        super().__init__(network, in_channels, channels=512)
        self.halvings = sum(kind != "2d" for kind in convolutions[1:])

    def lengths(self, frames: int) -> tuple[int]:
        """Time steps of the last map for a clip of `frames` frames."""
        return (halved(frames, times=self.halvings),)

    def parts(self) -> dict[str, list[nn.Module]]:
        """All layers."""
        network = self.network
        return stages(network.stem, (network.layer1, network.layer2, network.layer3, network.layer4))

    def trunk(self, clip: Tensor) -> tuple[Tensor]:
        """The last map."""
        for modules in self.parts().values():
            clip = modules[0](clip)
        return (clip,)


class S3D(Wrapped):
    """S3D without gating (Xie et al., 2018): clip (N, C, T, H, W) → one map (N, 1024, T/8, H/32, W/32).

    The last halving rounds down, those before it round up: 128 frames of 224×224 give 1024×16×7×7.
    """

    def __init__(self, in_channels: int, reduction: str, *, reduced_channels: int) -> None:
        check_reduction("S3D", reduction, ("none", "frab"))
        from torchvision.models import video

        network = video.S3D()
        del network.classifier
        super().__init__(network, in_channels, 1024, reduction, reduced_channels)

    def lengths(self, frames: int) -> tuple[int]:
        """Time steps of the last map for a clip of `frames` frames.

        Raises:
            ValueError: too few frames for one step.
        """
        if frames < 5:
            raise ValueError(f"S3D needs at least 5 frames, not {frames}; make model.clip.frames larger")
        return (halved(frames, times=2) // 2,)

    def parts(self) -> dict[str, list[nn.Module]]:
        """All layers; a stage begins with a pooling in time or space."""
        layers = list(self.network.features)
        return {"stem": layers[:5], "stage1": layers[5:7], "stage2": layers[7:13], "stage3": layers[13:]}

    def trunk(self, clip: Tensor) -> tuple[Tensor]:
        """The last map."""
        return (self.network.features(clip),)
