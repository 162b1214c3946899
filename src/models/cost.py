"""Parameters and operations of a network, part by part, as the paper counts them.

Counts follow from shapes alone, so that a batch of no clips is enough: no layer has anything to compute then.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from src.models.recognizer import Recognizer

PARTS = ("backbone", "reduction", "head", "classifier")


@dataclass(frozen=True)
class Cost:
    """What one clip costs.

    params: number of trained values.
    macs: multiply-accumulates of convolutions and linear layers, those inside attention and LSTM included.
    operations: the paper's GFlops: macs, 2 per batch-norm output, 1 per output of a ReLU that is a module,
        1 per output of a plain max-pooling module.
    """

    params: int = 0
    macs: int = 0
    operations: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.params + other.params, self.macs + other.macs, self.operations + other.operations)


def measure(recognizer: Recognizer, clip: Tensor) -> dict[str, Cost]:
    """The cost of each of PARTS for one of the normalised clips (N, C, T, H, W); N may be 0."""
    costs: dict[str, Cost] = defaultdict(Cost)
    handles = []

    def count(part: str, module: nn.Module, inputs: Any, output: Any) -> None:
        macs = multiply_accumulates(module, inputs, output)
        costs[part] += Cost(macs=macs, operations=macs + other_operations(module, output))

    for name, module in recognizer.named_modules():
        part = part_of(name)
        params = sum(p.numel() for p in module.parameters(recurse=False))
        costs[part] += Cost(params=params)
        handles.append(module.register_forward_hook(partial(count, part)))
    training = recognizer.training
    with torch.no_grad():
        recognizer.eval()(clip)
    recognizer.train(training)
    for handle in handles:
        handle.remove()
    return {part: costs[part] for part in PARTS}


def part_of(name: str) -> str:
    """Which of PARTS the recognizer's module of this name belongs to."""
    words = name.split(".")
    if words[0] == "pooling":
        return "head"
    if words[0] == "backbone":
        return "reduction" if any(word.startswith("reduction") for word in words) else "backbone"
    return "classifier"


def multiply_accumulates(module: nn.Module, inputs: Any, output: Any) -> int:
    """The multiply-accumulates of one call that use this module's own weights, for one clip."""
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return _size(output) * module.weight[0].numel()
    if isinstance(module, nn.Linear):
        return _size(output) * module.in_features
    if isinstance(module, nn.MultiheadAttention):  # never calls its output projection as a module
        queries, keys = inputs[0].shape[1], inputs[1].shape[1]  # both (N, L, C)
        return int(2 * (queries + keys) * module.embed_dim**2)
    if isinstance(module, nn.LSTM):
        weights = sum(p.numel() for name, p in module.named_parameters() if name.startswith("weight"))
        return int(inputs[0].shape[1] * weights)  # (N, T, C)
    return 0


def other_operations(module: nn.Module, output: Any) -> int:
    """What the paper counts beside multiply-accumulates, for one clip."""
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
        return 2 * _size(output)
    if isinstance(module, nn.ReLU) or type(module) is nn.MaxPool3d:
        return _size(output)
    return 0


def _size(output: Tensor) -> int:
    """Values of one clip, without the batch dimension."""
    return math.prod(output.shape[1:])


def total(parts: Mapping[str, Cost]) -> Cost:
    """The sum over all parts."""
    return sum(parts.values(), Cost())
