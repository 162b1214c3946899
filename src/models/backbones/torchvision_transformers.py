"""Video transformers of torchvision: their tokens, laid out as a map."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from src.models.backbones.backbone import stages
from src.models.backbones.blocks import check_reduction, halved
from src.models.backbones.wrapped import Wrapped

PATCH = (2, 4, 4)  # frames, height and width of a patch


class Swin(Wrapped):
    """Video Swin (Liu et al., 2022): clip (N, C, T, H, W) → one map (N, 8·width, T/2, H/32, W/32), rounded up.

    Full size is conf/model/swin3d_t.yaml: 32 frames of 224×224 give 768×16×7×7.

    width: channels of the first stage, doubled from stage to stage; depths, heads: blocks of each stage, and
        attention heads in them.
    window: size of the attention windows in patches of 2×4×4: frames, height, width.
    drop_path: rate of stochastic depth in the last block, rising linearly from the first.
    """

    def __init__(
        self,
        in_channels: int,
        reduction: str,
        *,
        width: int,
        depths: Sequence[int],
        heads: Sequence[int],
        window: Sequence[int],
        drop_path: float,
        reduced_channels: int,
    ) -> None:
        check_reduction("Swin", reduction, ("none", "frab"))
        check_stages(depths, heads, [width * 2**stage for stage in range(len(depths))])
        if len(window) != 3 or min(window) < 1:
            raise ValueError(f"window={list(window)}; give frames, height and width in patches")
        from torchvision.models import video

        network = video.SwinTransformer3d(
            list(PATCH), width, list(depths), list(heads), list(window), stochastic_depth_prob=drop_path
        )
        del network.head
        for module in network.modules():  # which follows from the window and is no weight
            if hasattr(module, "relative_position_index"):
                index = module.relative_position_index
                del module.relative_position_index
                module.register_buffer("relative_position_index", index, persistent=False)
        super().__init__(network, in_channels, network.num_features, reduction, reduced_channels)

    def lengths(self, frames: int) -> tuple[int]:
        """Time steps of the last map for a clip of `frames` frames."""
        return (halved(frames),)

    def parts(self) -> dict[str, list[nn.Module]]:
        """All layers; merging patches belongs to the stage behind it, the last norm to the last stage."""
        first, *others = self.network.features  # blocks, then merging and blocks in turn
        named = stages(self.network.patch_embed, [first])
        for number in range(0, len(others), 2):
            named[f"stage{2 + number // 2}"] = others[number : number + 2]
        list(named.values())[-1].append(self.network.norm)
        return named

    def trunk(self, clip: Tensor) -> tuple[Tensor]:
        """The last map, behind the last norm."""
        network = self.network
        tokens = network.norm(network.features(network.pos_drop(network.patch_embed(clip))))
        return (tokens.permute(0, 4, 1, 2, 3),)  # N T H W C → N C T H W


class MViT(Wrapped):
    """Multiscale vision transformer, v1 (Fan et al., 2021) or v2 (Li et al., 2022).

    Clip (N, C, T, H, W) → one map of all tokens but the class's, with four stages (N, widths[-1], T/2, H/32, W/32):
    16 frames of 224×224 give 768×8×7×7. Its positions are made for one size of clip: an even number of frames, height
    and width a multiple of 32.

    frames, size: T, and H = W. Published weights fit 16 and 224 alone.
    depths, widths, heads: blocks of each stage, their channels and their attention heads.
    version: 1 has absolute positions, and widens in the last block of a stage; 2 relative ones, and in the first.
    drop_path: rate of stochastic depth in the last block, rising linearly from the first.
    pooled: the map is the class token alone, which the published classifier reads: (N, widths[-1], 1, 1, 1).
    """

    def __init__(
        self,
        in_channels: int,
        reduction: str,
        *,
        frames: int,
        size: int,
        depths: Sequence[int],
        widths: Sequence[int],
        heads: Sequence[int],
        version: int,
        drop_path: float,
        pooled: bool,
        reduced_channels: int,
    ) -> None:
        check_reduction("MViT", reduction, ("none", "frab"))
        check_stages(depths, heads, widths)
        step = PATCH[1] * 2 ** (len(depths) - 1)
        if frames < 2 or size < step or frames % 2 or size % step:
            raise ValueError(
                f"MViT has no positions for {frames} frames of {size}x{size}: model.clip.frames must be even and "
                f"model.clip.crop a multiple of {step}; its published weights are for model.clip.frames=16 "
                "model.clip.crop=224"
            )
        if version not in (1, 2):
            raise ValueError(f"version={version} of MViT; choose 1 or 2")
        from torchvision.models import video

        blocks = multiscale_blocks(depths, widths, heads, version)
        second = version == 2
        network = video.MViT(
            (size, size),
            frames,
            blocks,
            residual_pool=second,
            residual_with_cls_embed=False,
            rel_pos_embed=second,
            proj_after_attn=second,
            stochastic_depth_prob=drop_path,
        )
        del network.head
        super().__init__(network, in_channels, widths[-1], reduction, reduced_channels)
        self.firsts = [sum(depths[:stage]) for stage in range(len(depths))]  # block that each stage begins with
        self.frames = frames
        self.pooled = pooled
        self.own_classifier_fits = pooled

    def lengths(self, frames: int) -> tuple[int]:
        """Time steps of the last map for a clip of `frames` frames.

        Raises:
            ValueError: another number of frames than it has positions for.
        """
        if frames != self.frames:
            raise ValueError(f"this MViT has positions for {self.frames} frames, not for {frames}")
        return (1 if self.pooled else frames // 2,)

    def parts(self) -> dict[str, list[nn.Module]]:
        """All layers; positions belong to the stem, the last norm to the last stage."""
        network = self.network
        ends = [*self.firsts[1:], len(network.blocks)]
        named: dict[str, list[nn.Module]] = {"stem": [network.conv_proj, network.pos_encoding]}
        for number, (first, end) in enumerate(zip(self.firsts, ends, strict=True), 1):
            named[f"stage{number}"] = list(network.blocks[first:end])
        named[f"stage{len(ends)}"].append(network.norm)
        return named

    def trunk(self, clip: Tensor) -> tuple[Tensor]:
        """The last map, behind the last norm."""
        network = self.network
        tokens = network.conv_proj(clip).flatten(2).transpose(1, 2)  # N C T H W → N THW C
        tokens = network.pos_encoding(tokens)  # and the class token in front
        shape = (network.pos_encoding.temporal_size, *network.pos_encoding.spatial_size)
        for block in network.blocks:
            tokens, shape = block(tokens, shape)
        tokens = network.norm(tokens).transpose(1, 2)  # N 1+THW C → N C 1+THW
        if self.pooled:
            return (tokens[:, :, 0, None, None, None],)
        return (tokens[:, :, 1:].unflatten(2, shape),)


def multiscale_blocks(depths: Sequence[int], widths: Sequence[int], heads: Sequence[int], version: int) -> list[Any]:
    """torchvision's settings of each block of an MViT.

    Queries are pooled by 2 in space where a stage behind the first begins; keys and values by 8 in the first stage and
    by half as much in each stage behind it (Fan et al., 2021, Section 3.2).
    """
    from torchvision.models.video.mvit import MSBlockConfig

    kernel = [3, 3, 3]
    blocks = []
    for stage, depth in enumerate(depths):
        for block in range(depth):
            begins = block == 0 and stage > 0
            arriving = widths[stage - 1] if begins and version == 2 else widths[stage]
            widens = version == 1 and block == depth - 1 and stage + 1 < len(depths)
            leaving = widths[stage + 1] if widens else widths[stage]
            across = max(8 // 2**stage, 1)
            stride = [1, 2, 2] if begins else [1, 1, 1]
            pools = begins or version == 2  # v2 pools queries everywhere, with stride 1
            blocks.append(
                MSBlockConfig(
                    num_heads=heads[stage],
                    input_channels=arriving,
                    output_channels=leaving,
                    kernel_q=kernel if pools else [],
                    kernel_kv=kernel,
                    stride_q=stride if pools else [],
                    stride_kv=[1, across, across],
                )
            )
    return blocks


def check_stages(depths: Sequence[int], heads: Sequence[int], widths: Sequence[int]) -> None:
    """ValueError unless each stage has blocks, and attention heads that divide its channels."""
    even = len(depths) == len(heads) == len(widths) > 0
    if not even or min(*depths, *heads, *widths) < 1 or sum(depths) < 2:
        raise ValueError(
            f"depths={list(depths)}, heads={list(heads)}, widths={list(widths)}; give one of each for every stage, "
            "each at least 1, and two blocks in all"
        )
    for width, number in zip(widths, heads, strict=True):
        if width % number:
            raise ValueError(f"{number} attention heads do not divide {width} channels")
