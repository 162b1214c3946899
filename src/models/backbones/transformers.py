"""Vision transformers for video of the transformers library (an extra): their tokens, laid out as a map."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from src import extras
from src.models.backbones.blocks import check_reduction
from src.models.backbones.wrapped import Wrapped

TUBE, PATCH = 2, 16  # frames, and height and width, of what becomes a token
QUARTERS = 4  # of the layers, the stages of freeze=stages


class VideoTransformer(Wrapped):
    """Clip (N, C, T, H, W) → one map (N, width, T/2, H/16, W/16), for an even T and H = W a multiple of 16.

    network: it has `embeddings`, clip (N, T, C, H, W) → tokens (N, T/2·H/16·W/16, width).
    layers: what follows, tokens → tokens, or a tuple that begins with them.
    frames, size: T, and H = W.
    pooled: the map is the vector that the published classifier reads, `pool` of the tokens: (N, width, 1, 1, 1).
    """

    def __init__(
        self,
        network: Any,
        layers: Sequence[nn.Module],
        *,
        in_channels: int,
        frames: int,
        size: int,
        width: int,
        pooled: bool,
        reduction: str,
        reduced_channels: int,
    ) -> None:
        super().__init__(network, in_channels, width, reduction, reduced_channels)
        self.layers = list(layers)  # a list, so that they have one name
        self.grid = (frames // TUBE, size // PATCH, size // PATCH)
        self.pooled = pooled
        self.own_classifier_fits = pooled

    def lengths(self, frames: int) -> tuple[int]:
        """Time steps of the map for a clip of `frames` frames.

        Raises:
            ValueError: another number of frames than it is made for.
        """
        if frames // TUBE != self.grid[0]:
            raise ValueError(f"this network is made for {self.grid[0] * TUBE} frames, not for {frames}")
        return (1 if self.pooled else self.grid[0],)

    def parts(self) -> dict[str, list[nn.Module]]:
        """The embedding of patches, and a quarter of the layers each; what follows belongs to the last one."""
        named: dict[str, list[nn.Module]] = {"stem": [self.network.embeddings]}
        count = min(QUARTERS, len(self.layers))
        for number in range(count):
            first, end = (len(self.layers) * edge // count for edge in (number, number + 1))
            named[f"stage{number + 1}"] = self.layers[first:end]
        return named

    def encode(self, clip: Tensor) -> Tensor:
        """Clip (N, C, T, H, W) → tokens (N, P, width)."""
        raise NotImplementedError

    def pool(self, tokens: Tensor) -> Tensor:
        """Tokens (N, P, width) → vector (N, width)."""
        raise NotImplementedError

    def trunk(self, clip: Tensor) -> tuple[Tensor]:
        """The tokens as a map, or pooled."""
        tokens = self.encode(clip)
        if self.pooled:
            return (self.pool(tokens)[..., None, None, None],)  # N C → N C 1 1 1
        return (torch.unflatten(tokens.transpose(1, 2), 2, self.grid),)  # N P C → N C T H W


class VideoMAE(VideoTransformer):
    """VideoMAE (Tong et al., 2022): the tokens behind the last layer; positions are fixed sines, for any size of clip.

    width, depth, heads, hidden: of the tokens, number of layers, attention heads in each, width of the feed-forward
        parts; ViT-B in conf/model/videomae.yaml.
    pooled: the norm of the tokens' mean.
    """

    def __init__(
        self,
        in_channels: int,
        reduction: str,
        *,
        frames: int,
        size: int,
        width: int,
        depth: int,
        heads: int,
        hidden: int,
        pooled: bool,
        reduced_channels: int,
    ) -> None:
        check_reduction("VideoMAE", reduction, ("none", "frab"))
        check_sizes(
            in_channels=in_channels, frames=frames, size=size, width=width, depth=depth, heads=heads, hidden=hidden
        )
        extras.require("model=videomae", "transformers", "transformers")
        from transformers import VideoMAEConfig, VideoMAEModel

        config = VideoMAEConfig(
            image_size=size,
            num_frames=frames,
            tubelet_size=TUBE,
            patch_size=PATCH,
            num_channels=in_channels,
            hidden_size=width,
            num_hidden_layers=depth,
            num_attention_heads=heads,
            intermediate_size=hidden,
        )
        network = VideoMAEModel(config)
        super().__init__(
            network,
            network.encoder.layer,
            in_channels=in_channels,
            frames=frames,
            size=size,
            width=width,
            pooled=pooled,
            reduction=reduction,
            reduced_channels=reduced_channels,
        )
        if pooled:
            self.fc_norm = nn.LayerNorm(width)  # its name there

    def parts(self) -> dict[str, list[nn.Module]]:
        """All layers."""
        named = super().parts()
        if self.pooled:
            list(named.values())[-1].append(self.fc_norm)
        return named

    def encode(self, clip: Tensor) -> Tensor:
        """Clip (N, C, T, H, W) → tokens (N, P, width)."""
        tokens: Tensor = self.network.embeddings(clip.transpose(1, 2), None)
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens

    def pool(self, tokens: Tensor) -> Tensor:
        """Tokens (N, P, width) → vector (N, width)."""
        vector: Tensor = self.fc_norm(tokens.mean(1))
        return vector


class VJEPA2(VideoTransformer):
    """V-JEPA 2 (Assran et al., 2025): the encoder's tokens behind its last norm; positions are rotary.

    width, depth, heads, hidden: as of VideoMAE; ViT-L in conf/model/vjepa2.yaml.
    pooled: the attentive pooler of the published classifiers, with `pooler_layers` layers of self-attention.
    """

    def __init__(
        self,
        in_channels: int,
        reduction: str,
        *,
        frames: int,
        size: int,
        width: int,
        depth: int,
        heads: int,
        hidden: int,
        pooled: bool,
        pooler_layers: int,
        reduced_channels: int,
    ) -> None:
        check_reduction("V-JEPA 2", reduction, ("none", "frab"))
        check_sizes(
            in_channels=in_channels,
            frames=frames,
            size=size,
            width=width,
            depth=depth,
            heads=heads,
            hidden=hidden,
            pooler_layers=pooler_layers,
        )
        if width // heads < 6:  # rotary positions take a third each, in pairs
            raise ValueError(f"width={width}, heads={heads}: an attention head needs at least 6 channels")
        extras.require("model=vjepa2", "transformers", "transformers")
        from transformers import VJEPA2Config, VJEPA2ForVideoClassification

        config = VJEPA2Config(
            crop_size=size,
            frames_per_clip=frames,
            tubelet_size=TUBE,
            patch_size=PATCH,
            in_chans=in_channels,
            hidden_size=width,
            num_hidden_layers=depth,
            num_attention_heads=heads,
            mlp_ratio=hidden / width,
            num_pooler_layers=pooler_layers,
            pred_num_hidden_layers=1,  # of the predictor, which is left out
        )
        whole = VJEPA2ForVideoClassification(config)
        encoder = whole.vjepa2.encoder
        super().__init__(
            encoder,
            encoder.layer,
            in_channels=in_channels,
            frames=frames,
            size=size,
            width=width,
            pooled=pooled,
            reduction=reduction,
            reduced_channels=reduced_channels,
        )
        if pooled:
            self.pooler = whole.pooler

    def parts(self) -> dict[str, list[nn.Module]]:
        """All layers."""
        named = super().parts()
        list(named.values())[-1].append(self.network.layernorm)
        if self.pooled:
            list(named.values())[-1].append(self.pooler)
        return named

    def encode(self, clip: Tensor) -> Tensor:
        """Clip (N, C, T, H, W) → tokens (N, P, width)."""
        tokens: Tensor = self.network.embeddings(clip.transpose(1, 2))
        for layer in self.layers:
            tokens = layer(tokens)[0]
        normed: Tensor = self.network.layernorm(tokens)
        return normed

    def pool(self, tokens: Tensor) -> Tensor:
        """Tokens (N, P, width) → vector (N, width)."""
        vector: Tensor = self.pooler(tokens)
        return vector


def check_sizes(**sizes: int) -> None:
    """ValueError unless all are whole numbers above 0, clips can be cut into patches, and channels into heads."""
    for name, value in sizes.items():
        if type(value) is not int or value < 1:
            raise ValueError(f"{name}={value}; give a whole number, at least 1")
    frames, size = sizes["frames"], sizes["size"]
    if frames % TUBE or size % PATCH:
        raise ValueError(
            f"{frames} frames of {size}x{size} cannot be cut into tokens of {TUBE} frames of {PATCH}x{PATCH}; make "
            "model.clip.frames even, and model.clip.crop a multiple of 16"
        )
    if sizes["width"] % sizes["heads"]:
        raise ValueError(f"{sizes['heads']} attention heads do not divide {sizes['width']} channels")
