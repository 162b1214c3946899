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


def positions(feature_map: Tensor) -> Tensor:
    """One token per position, time step by time step: (N, C, T, H, W) → (N, T·H·W, C)."""
    return feature_map.flatten(2).transpose(1, 2)  # (N, C, T·H·W) → (N, T·H·W, C)


def as_maps(feature_map: Tensor) -> Tensor:
    """The tokens as a map of one position, which every head reads as it reads the map: → (N, C, T, 1, 1)."""
    return feature_map.mean(dim=(3, 4), keepdim=True)


def checked_tokens(feature_map: Tensor, length: int, head: str) -> Tensor:
    """`tokens`, for a head whose weights belong to exactly `length` time steps; ValueError for another T."""
    check_length(feature_map, length, head)
    return tokens(feature_map)


def check_length(feature_map: Tensor, length: int, head: str) -> None:
    """Refuse a map that does not have the `length` time steps that a head's weights belong to."""
    if feature_map.shape[2] != length:
        raise ValueError(
            f"{head} was built for {length} time steps and the feature map has {feature_map.shape[2]}; "
            "build the recognizer for this number of frames, or use average pooling, which takes any"
        )


def check_divides(head: str, argument: str, parts: int, channels: int) -> None:
    """Refuse a number of parts that the map's channels cannot be divided into; names what can."""
    if parts < 1 or channels % parts:
        fits = [n for n in range(1, min(channels, 16) + 1) if channels % n == 0]
        raise ValueError(
            f"{head}: {argument}={parts} does not divide the map's {channels} channels; choose from {fits}"
        )
