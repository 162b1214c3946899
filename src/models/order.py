"""What a head makes of a clip whose time steps stand in another order, or of which one is hidden.

The steps are those of the maps that the heads read, behind reduction and early fusion. With late fusion pathways differ
in length, and one arrangement of time holds for all: the steps of a longer map move in blocks, each with the step of
the shortest map that covers the same part of the clip.

A hidden step is replaced by the mean of the other steps, for every head alike: that is neutral for average pooling,
which becomes the mean over the others, and other heads keep the number of steps that their weights belong to.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from src.models.pooling.head import as_maps
from src.models.recognizer import Recognizer

DRAWS = 20
SEED = 0  # of the draws: networks with as many time steps are tried with the same ones


@dataclass(frozen=True)
class Variant:
    """One way to show the time steps to a head.

    steps: in the order in which they are shown, counted from 0.
    hidden: the one that the mean of the others stands for; None hides none.
    """

    steps: tuple[int, ...]
    hidden: int | None = None

    def of(self, feature_map: Tensor) -> Tensor:
        """A map (N, C, T, H, W) shown this way, the same shape; T is at least the number of steps."""
        parts = blocks(feature_map.shape[2], len(self.steps))
        if self.hidden is not None:
            return _without(feature_map, parts[self.hidden])
        positions: list[int] = []
        for step in self.steps:
            positions += parts[step]
        return feature_map[:, :, positions]


def _without(feature_map: Tensor, part: range) -> Tensor:
    others = [position for position in range(feature_map.shape[2]) if position not in part]
    changed = feature_map.clone()
    changed[:, :, part.start : part.stop] = feature_map[:, :, others].mean(dim=2, keepdim=True)
    return changed


def blocks(length: int, steps: int) -> list[range]:
    """Which of the `length` steps of a map belong to each of `steps` parts of the clip, none of them empty."""
    return [range(step * length // steps, (step + 1) * length // steps) for step in range(steps)]


def shuffled(steps: int, draws: int = DRAWS) -> list[Variant]:
    """Different orders of the time steps, drawn at random, never the true one; all there are where that is fewer."""
    true = tuple(range(steps))
    if math.factorial(steps) - 1 <= draws:
        return [Variant(order) for order in itertools.permutations(true) if order != true]
    generator = np.random.default_rng(SEED)
    drawn: list[Variant] = []
    while len(drawn) < draws:
        variant = Variant(tuple(generator.permutation(steps).tolist()))
        if variant.steps != true and variant not in drawn:
            drawn.append(variant)
    return drawn


def backwards(steps: int) -> Variant:
    """The last step first."""
    return Variant(tuple(reversed(range(steps))))


def each_hidden(steps: int) -> list[Variant]:
    """Every step hidden in turn."""
    return [Variant(tuple(range(steps)), step) for step in range(steps)]


def logits(recognizer: Recognizer, maps: Sequence[Tensor], variants: Sequence[Variant]) -> Tensor:
    """What `recognizer.trunk` gives → logits (N, variants, classes), without another pass of the trunk.

    Heads that need tokens only get all variants as one batch; the others one by one, in the memory of one test step.
    """
    read = recognizer.pooling.maps(recognizer.reduce(maps))
    at_once = 1
    if not recognizer.pooling.reads_maps:
        read = [as_maps(feature_map) for feature_map in read]
        at_once = len(variants)
    results = []
    for start in range(0, len(variants), at_once):
        portion = variants[start : start + at_once]
        shown = [torch.cat([variant.of(feature_map) for variant in portion]) for feature_map in read]  # AN C T H W
        decided = recognizer.decide(shown)
        results.append(decided.view(len(portion), -1, decided.shape[1]))  # AN K → A N K
    return torch.cat(results).transpose(0, 1)  # A N K → N A K
