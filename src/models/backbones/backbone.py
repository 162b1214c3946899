"""What every backbone is: a clip in, one feature map per pathway out."""

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from src.models.backbones.stage import Stage


class Backbone(nn.Module):
    """Maps a normalised clip (N, C, T, H, W) to one feature map (N, Ci, Ti, Hi, Wi) per pathway.

    The trunk holds all pretrained layers; behind it, where there is one, stands the block of a reduction.

    channels: Ci of each pathway's map.
    reduction: the block behind the trunk, where there is one.
    behind: names of the constructor's arguments that say what stands behind the trunk, and of the trunk nothing that
        its weights do not show.
    replaced: blocks that a reduction takes the place of. Start of the tensor names of such a block → start of the
        names of the block in its place, both inside the backbone. Empty for most.
    own_classifier_fits: whether the classifier that is published with its weights reads the mean of its map.
    """

    channels: tuple[int, ...]
    reduction: nn.Module
    behind: tuple[str, ...] = ()
    replaced: dict[str, str]
    own_classifier_fits: bool = True

    def __init__(self) -> None:
        super().__init__()
        self.replaced = {}

    def lengths(self, frames: int) -> tuple[int, ...]:
        """Ti of each pathway's map for a clip of `frames` frames."""
        raise NotImplementedError

    def parts(self) -> dict[str, list[nn.Module]]:
        """The trunk's layers from the clip on, by the names that `freeze=stages` knows: stem, stage1, stage2, …"""
        raise NotImplementedError

    def regions(self) -> Iterator[nn.Module]:
        """Blocks, and units of a convolution and what belongs to it, that are compiled one by one.

        Most are alike, so that few have to be compiled; a whole trunk takes minutes.
        """
        for part in self.children():
            yield from _regions(part)

    def trunk(self, clip: Tensor) -> tuple[Tensor, ...]:
        """Each pathway's map in front of the reduction."""
        raise NotImplementedError

    def reduce(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The trunk's maps behind the reduction: (N, Di, Ti, Hi, Wi) → (N, Ci, Ti, Hi, Wi)."""
        return (self.reduction(maps[0]),) if self.reduces() else tuple(maps)

    def reduces(self) -> bool:
        """Whether a reduction stands behind the trunk."""
        return hasattr(self, "reduction") and next(self.reduction.parameters(), None) is not None

    def forward(self, clip: Tensor) -> tuple[Tensor, ...]:
        """The last feature map of each pathway."""
        return self.reduce(self.trunk(clip))


def stages(stem: nn.Module, later: Sequence[nn.Module]) -> dict[str, list[nn.Module]]:
    """`parts` of a backbone with a stem and stages behind it."""
    named = {"stem": [stem]}
    for number, stage in enumerate(later, 1):
        named[f"stage{number}"] = [stage]
    return named


def _regions(module: nn.Module) -> Iterator[nn.Module]:
    parts = list(module.children())
    is_plain = isinstance(module, nn.Sequential) and not isinstance(module, Stage)  # which calls its blocks one by one
    is_unit = is_plain and any(isinstance(part, nn.Conv3d) for part in parts)
    if isinstance(module, nn.Sequential | nn.ModuleList) and not is_unit:
        for part in parts:
            yield from _regions(part)
    elif next(module.parameters(), None) is not None:
        yield module
