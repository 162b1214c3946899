"""What every backbone is: a clip in, one feature map per pathway out."""

from torch import Tensor, nn


class Backbone(nn.Module):
    """Maps a normalised clip (N, C, T, H, W) to one feature map (N, Ci, Ti, Hi, Wi) per pathway.

    channels: Ci of each pathway's map.
    replaced: blocks that a reduction takes the place of. Start of the tensor names of such a block → start of the
        names of the block in its place, both inside the backbone. Empty for most.
    """

    channels: tuple[int, ...]
    replaced: dict[str, str]

    def __init__(self) -> None:
        super().__init__()
        self.replaced = {}

    def lengths(self, frames: int) -> tuple[int, ...]:
        """Ti of each pathway's map for a clip of `frames` frames."""
        raise NotImplementedError

    def forward(self, clip: Tensor) -> tuple[Tensor, ...]:
        """The last feature map of each pathway."""
        raise NotImplementedError
