"""The whole network: backbone → feature maps → fusion and temporal head → dropout → classifier."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from src.models.backbones.backbone import Backbone
from src.models.backbones.convolution import take_convolutions
from src.models.backbones.stage import Stage
from src.models.pooling.fusion import FUSIONS, HeadMaker
from src.models.pooling.head import as_maps

MOST_KINDS = 64  # of regions, by their shapes: PyTorch compiles code that they share at most 8 times


class Recognizer(nn.Module):
    """Clips in, class scores out.

    head: called as `head(channels=…, length=…)` once per pathway (fusion="late") or once (fusion="early").
    frames: length T of the clips; heads have weights per time step.
    dropout: rate in front of the classifier.
    mean, std: per input channel, on a 0..1 scale; uint8 clips are normalised with them, on the device.

    Raises ValueError for arguments that do not go together.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: Backbone,
        head: HeadMaker,
        *,
        fusion: str,
        frames: int,
        num_classes: int,
        dropout: float,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        if fusion not in FUSIONS:
            raise ValueError(f"unknown fusion '{fusion}'; choose {' or '.join(FUSIONS)}")
        if num_classes < 1:
            raise ValueError(f"num_classes={num_classes} must be at least 1")
        self.memory_format = torch.contiguous_format
        self.frozen: list[nn.Module] = []
        self.resting: list[nn.Module] = []
        self.norms_kept = self.norms_fixed = False
        self.tokens = False
        self.compiled = False
        self.backbone = backbone
        self.pooling = FUSIONS[fusion](head, backbone.channels, backbone.lengths(frames))
        self.steps = min(backbone.lengths(frames))  # of time, in the shortest map
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(self.pooling.out_channels, num_classes)
        nn.init.xavier_uniform_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)
        take_convolutions(self)
        # Settings, not weights: they come from the configuration and stay out of checkpoints.
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1, 1), persistent=False)

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (N, C, T, H, W), uint8 or already normalised floating point → logits (N, classes)."""
        return self.classify(self.trunk(clip))

    def trunk(self, clip: Tensor) -> tuple[Tensor, ...]:
        """Each pathway's map (N, Ci, Ti, Hi, Wi) in front of the reduction; takes the clips that `forward` takes.

        It is all that the rest of the network sees of a clip. With `tokens` it is averaged over space.
        """
        with self.stance():
            maps = self.backbone.trunk(self.normalize(clip))
        return tuple(as_maps(feature_map) for feature_map in maps) if self.tokens else maps

    def classify(self, maps: Sequence[Tensor]) -> Tensor:
        """What `trunk` gives → logits (N, classes)."""
        return self.decide(self.reduce(maps))

    def reduce(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """What `trunk` gives → the last feature map of each pathway, behind its reduction."""
        with self.stance():
            return self.backbone.reduce(maps)

    def decide(self, features: Sequence[Tensor]) -> Tensor:
        """What `features` gives, or the maps that the heads read → logits (N, classes)."""
        logits: Tensor = self.classifier(self.dropout(self.pooling(features)))
        return logits

    def features(self, clip: Tensor) -> tuple[Tensor, ...]:
        """The last feature map of each pathway, (N, Ci, Ti, Hi, Wi), as the head reads it."""
        return self.reduce(self.trunk(clip))

    def freeze(self, last: str | None = None, tokens: bool | None = None) -> Self:
        """Keep the trunk, whole or up to its part `last`, as it is: nothing learns, batch norms keep their statistics.

        tokens: of a whole trunk only the tokens count, which the head reads as maps of one position; None: where that
            changes nothing.

        Raises:
            ValueError: the trunk has no such part.
        """
        parts = self.backbone.parts()
        if last is not None and last not in parts:
            raise ValueError(f"freeze.last={last}: it takes one of {', '.join(parts)}")
        for name, modules in parts.items():
            for module in modules:
                module.requires_grad_(False).eval()
            self.frozen += modules
            if name == last:
                break
        if last is None:
            self.tokens = not self.reads_maps() if tokens is None else tokens
        return self

    def reads_maps(self) -> bool:
        """Whether what follows the trunk looks at single positions of its maps, not at their tokens alone."""
        return self.pooling.reads_maps or self.backbone.reduces()

    def let_rest(self, modules: list[nn.Module], with_gradients: bool = False) -> Self:
        """Freeze these modules of the trunk until others, or none, are to rest.

        with_gradients: compute their gradients, which somebody waits for; nothing may follow from them.
        """
        for module in self.resting:
            module.requires_grad_(True)
        self.resting = modules
        for module in modules:
            module.requires_grad_(with_gradients)
        return self._without_norms()

    def keep_norms(self, fixed: bool) -> Self:
        """Keep the statistics of the trunk's batch norms as they are; fixed: their scales and shifts as well."""
        self.norms_kept, self.norms_fixed = True, fixed
        return self._without_norms()

    def _without_norms(self) -> Self:
        if self.norms_fixed:
            for norm in self._norms():
                norm.requires_grad_(False)
        return self.train(self.training)

    def _norms(self) -> list[nn.Module]:
        """The trunk's batch norms as they are now: Lightning puts synchronised ones in their place."""
        parts = [part for modules in self.backbone.parts().values() for part in modules]
        return [module for part in parts for module in part.modules() if isinstance(module, _BatchNorm)]

    def train(self, mode: bool = True) -> Self:
        """As every module's; what is frozen or rests, and batch norms that are kept, stay in evaluation mode."""
        super().train(mode)
        for module in (*self.frozen, *self.resting, *(self._norms() if self.norms_kept else [])):
            module.eval()
        return self

    def channels_last(self) -> Self:
        """Lay clips and convolutions out with a pixel's channels side by side: same numbers, another speed."""
        self.memory_format = torch.channels_last_3d
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                module.to(memory_format=torch.channels_last_3d)
        return self

    def checkpointing(self) -> bool:
        """Compute the maps inside of blocks again in the backward pass instead of keeping them: same numbers.

        False where no part of the network can: other libraries' have no `Stage`.
        """
        stages = [module for module in self.modules() if isinstance(module, Stage)]
        for stage in stages:
            stage.checkpointing = True
        return bool(stages)

    def compile_regions(self, backend: str = "inductor") -> Self:
        """Compile the backbone in place, block by block, for training: same numbers up to rounding.

        Names of weights stay. The head is left as it is, so that dropout and masking draw what they drew. Nothing is
        compiled in evaluation, where batches have all sizes.
        """
        self.compiled = True
        dynamo = torch._dynamo.config
        dynamo.recompile_limit = max(dynamo.recompile_limit, MOST_KINDS)
        for region in self.backbone.regions():
            region.compile(backend=backend, dynamic=False)
        return self

    def stance(self) -> AbstractContextManager[Any]:
        """How compiled regions are called within the block: as they are, or, in evaluation, uncompiled."""
        if self.compiled and not self.training:
            stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
            return stance
        return nullcontext()

    def normalize(self, clip: Tensor) -> Tensor:
        """uint8 clips become (x / 255 − mean) / std; floating-point clips count as normalised and stay.

        Raises ValueError for another shape, number of channels or type.
        """
        if clip.ndim != 5 or clip.shape[1] != len(self.mean):
            raise ValueError(f"a clip is (N, {len(self.mean)}, T, H, W) for this network, not {tuple(clip.shape)}")
        if clip.is_floating_point():
            return clip
        if clip.dtype != torch.uint8:
            raise ValueError(f"a clip is uint8 or normalised floating point, not {clip.dtype}")
        clip = clip.to(self.mean.dtype, memory_format=self.memory_format)
        return torch.addcmul(-self.mean / self.std, clip, 1 / (255 * self.std))  # the same, in one pass
