"""What every temporal head is: a feature map in, one vector out."""

from torch import Tensor, nn


class Head(nn.Module):
    """Maps a feature map (N, C, T, H, W) to (N, `out_channels`).

    A head is built as `Head(channels, length, **arguments)`: `channels` is C and `length` is T.

    has_attention: whether the head can report what it attends to, see `attention`.
    reads_maps: whether it looks at single positions of the map. A head whose answer follows from the tokens says False,
        and its features take a fraction of the room.
    sees_order: whether its output depends on the order of the time steps; one that says no is taken at its word.
    """

    out_channels: int
    has_attention: bool = False
    reads_maps: bool = True
    sees_order: bool = True

    def attention(self, feature_map: Tensor) -> Tensor:
        """Attention weights (N, layers, heads, T + 1, T + 1) of a head with `has_attention`."""
        raise NotImplementedError(f"{type(self).__name__} has no attention weights")


def tokens(feature_map: Tensor) -> Tensor:
    """One token per time step: the spatial average, (N, C, T, H, W) → (N, T, C)."""
    return feature_map.mean(dim=(3, 4)).transpose(1, 2)  # (N, C, T) → (N, T, C)


def as_maps(feature_map: Tensor) -> Tensor:
    """The tokens as a map of one position, which every head reads as it reads the map: → (N, C, T, 1, 1)."""
    return feature_map.mean(dim=(3, 4), keepdim=True)


def checked_tokens(feature_map: Tensor, length: int, head: str) -> Tensor:
    """`tokens`, for a head whose weights belong to exactly `length` time steps; ValueError for another T."""
    if feature_map.shape[2] != length:
        raise ValueError(
            f"{head} was built for {length} time steps and the feature map has {feature_map.shape[2]}; "
            "build the recognizer for this number of frames, or use average pooling, which takes any"
        )
    return tokens(feature_map)
